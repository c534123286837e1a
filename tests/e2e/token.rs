//! The API token is in no log, file, message, answer or argument, however it is written, and not a
//! part of it. (What else is secret: `secrets.rs`.)

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    process::Command,
};

use cattle_tests::{Controller, Project, Sim, SimOptions, binary, files_beneath};
use serde_json::json;

/// As long as a real one, and without a word in it.
const TOKEN: &str = "Zq3vXk9LmW2pTf7YbR5nCj8HsD4gAu6EeKx1QyVtBw0MiPzNoFrJcGlShUdIaOq7";
/// Shorter parts are in any log by chance.
const PIECE: usize = 8;

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..=three.len() {
            let six = bits >> (18 - 6 * place) & 63;
            text.push(char::from(alphabet[six as usize]));
        }
    }
    text
}

/// The token as it is, in hexadecimal, in base64 wherever it begins in what was encoded, and percent
/// encoded.
fn writings() -> Vec<String> {
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut texts = vec![TOKEN.to_owned(), hex.to_uppercase(), hex, percent];
    for skipped in 0..3 {
        let encoded = base64(&TOKEN.as_bytes()[skipped..]);
        texts.push(encoded.replace('+', "-").replace('/', "_"));
        texts.push(encoded);
    }
    texts
}

/// Looks for any piece of any writing.
struct Search(HashSet<Vec<u8>>);

impl Search {
    fn new() -> Self {
        let writings = writings();
        let pieces = writings
            .iter()
            .flat_map(|text| text.as_bytes().windows(PIECE));
        Self(pieces.map(<[u8]>::to_vec).collect())
    }

    fn finds(&self, bytes: &[u8]) -> Option<String> {
        bytes
            .windows(PIECE)
            .find(|window| self.0.contains(*window))
            .map(|window| String::from_utf8_lossy(window).into_owned())
    }
}

#[test]
fn the_search_finds_a_part_of_the_token_however_it_is_written() {
    let search = Search::new();
    assert_eq!(base64(b"Hetzner"), "SGV0em5lcg");
    for text in writings() {
        for part in [
            &text[..PIECE],
            &text[20..20 + PIECE],
            &text[text.len() - PIECE..],
        ] {
            assert!(
                search
                    .finds(format!("some {part} words").as_bytes())
                    .is_some(),
                "{part}"
            );
        }
    }
    let header = base64(format!("Authorization: Bearer {TOKEN}").as_bytes());
    assert!(search.finds(header.as_bytes()).is_some());
    assert_eq!(
        search.finds(b"limit of 3600 requests per hour reached"),
        None
    );
}

/// The arguments and the environment of every process that the simulator started.
fn guests(sim: u32) -> Vec<(String, Vec<u8>)> {
    let children = fs::read_to_string(format!("/proc/{sim}/task/{sim}/children"));
    let of_threads = fs::read_dir(format!("/proc/{sim}/task")).unwrap().flatten();
    let mut pids: BTreeSet<String> = words(&children.unwrap_or_default());
    for thread in of_threads {
        let children = fs::read_to_string(thread.path().join("children"));
        pids.append(&mut words(&children.unwrap_or_default()));
    }
    let mut seen = Vec::new();
    for pid in pids {
        for file in ["cmdline", "environ"] {
            // It may be over by now.
            if let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) {
                seen.push((format!("guest {pid} {file}"), bytes));
            }
        }
    }
    seen
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Everything that the API could say of the token in its errors.
fn faults() -> Vec<serde_json::Value> {
    let quoted = [
        format!("limit reached for token {}...", &TOKEN[..12]),
        format!("Bearer {TOKEN}"),
        format!("Basic {}", base64(format!("x:{TOKEN}").as_bytes())),
        format!("...{}", &TOKEN[TOKEN.len() - PIECE..]),
    ];
    let create = |name: &str, when: &str, fault: serde_json::Value| {
        let matching =
            json!({ "operation": "create_server", "serverName": format!("cattle-{name}-*") });
        json!({ "match": matching, "when": when, "fault": fault })
    };
    let list = |nth: u8, fault: serde_json::Value| json!({ "match": { "operation": "list_servers" }, "nth": nth, "fault": fault });
    let mut faults = vec![
        create(
            "bob",
            "before",
            json!({ "kind": "rate_limited", "leakToken": true }),
        ),
        create("eve", "after", json!({ "kind": "html" })),
        create(
            "rex",
            "after",
            json!({ "kind": "text", "status": 201, "body": TOKEN }),
        ),
        create(
            "zoe",
            "before",
            json!({ "kind": "action_error", "message": TOKEN }),
        ),
        list(2, json!({ "kind": "rate_limited", "leakToken": true })),
        list(3, json!({ "kind": "text", "status": 502, "body": TOKEN })),
    ];
    for (nth, message) in quoted.iter().enumerate() {
        let quoting = |status: u16, code: &str| {
            json!({ "kind": "json", "status": status, "code": code, "message": message,
                "details": { "fields": [{ "name": message, "messages": [message] }] } })
        };
        let delete = json!({ "operation": "delete_server" });
        faults.push(json!({ "match": delete, "nth": nth + 1, "fault": quoting(409, "conflict") }));
        // Its code, too.
        faults.push(create(
            &format!("quoted{nth}"),
            "before",
            quoting(422, message),
        ));
    }
    faults
}

#[test]
fn the_token_is_nowhere_but_in_the_header() {
    let project = Project::new();
    let sim = Sim::start(
        &project,
        &SimOptions {
            args: vec![
                "--token".to_owned(),
                TOKEN.to_owned(),
                "--keep-guests".to_owned(),
            ],
            ..SimOptions::default()
        },
    );
    for fault in faults() {
        sim.call("POST", "/_sim/faults", Some(&fault));
    }
    let command = || {
        let mut command = Controller::command(&project, &sim);
        command.env("HCLOUD_TOKEN", TOKEN).env("RUST_LOG", "trace");
        command.env("RUST_BACKTRACE", "full");
        command
    };
    let mut controller = Controller::from(&mut command()).answering(&project);
    for name in ["ada", "bob", "eve", "rex", "zoe"] {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
    }
    for nth in 0..4 {
        project.drop_spec(&format!("quoted{nth}"), &Project::spec("ok", &[]));
    }
    project.drop_spec("done", &Project::spec("ok", &[]));
    project.drop_spec("fails", &Project::spec("fail 7", &[]));
    for name in ["ada", "bob", "eve", "rex"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    for nth in 0..4 {
        project.wait_for(&format!("quoted{nth}"), "/reason", &json!("config"));
    }
    project.wait_for("done", "/phase", &json!("Succeeded"));
    project.wait_for("fails", "/phase", &json!("Failed"));

    let mut places = guests(sim.pid());
    assert!(
        places.iter().any(|(_, bytes)| !bytes.is_empty()),
        "there are no guests"
    );
    let pid = controller.pid();
    places.push((
        "the controller's arguments".to_owned(),
        fs::read(format!("/proc/{pid}/cmdline")).unwrap(),
    ));

    // Both ways in which it is refused, over everything that is said.
    for token in ["read_only", "revoked"] {
        sim.call("PUT", "/_sim/account", Some(&json!({ "token": token })));
        project.drop_spec(&token.replace('_', "-"), &Project::spec("ok", &[]));
        project.wait_for(&token.replace('_', "-"), "/reason", &json!("account"));
        for (what, mut command) in [("once", once(&project, &sim)), ("reap", reap(&sim))] {
            let output = command.output().unwrap();
            places.push((what.to_owned(), [output.stdout, output.stderr].concat()));
        }
        answers(&project, &mut places);
    }
    sim.call("PUT", "/_sim/account", Some(&json!({ "token": "valid" })));

    // Killed and started again: the write-ahead log is there as it was left.
    controller.kill();
    files(&project, &mut places);
    let mut controller = Controller::from(&mut command()).answering(&project);
    project.wait_for("done", "/phase", &json!("Succeeded"));
    answers(&project, &mut places);
    controller.terminate();
    files(&project, &mut places);
    places.push((
        "the API's servers".to_owned(),
        sim.state().to_string().into_bytes(),
    ));

    let search = Search::new();
    let leaks: Vec<String> = places
        .iter()
        .filter_map(|(place, bytes)| Some(format!("{place}: {}", search.finds(bytes)?)))
        .collect();
    assert_eq!(leaks, [""; 0]);

    // That the faults were met and looked at.
    let everything = places
        .iter()
        .map(|(_, bytes)| String::from_utf8_lossy(bytes));
    let everything = everything.collect::<Vec<_>>().join("\n");
    for known in ["[redacted]", "TRACE", "may only read", "unauthorized"] {
        assert!(everything.contains(known), "{known} is nowhere");
    }
    for part in [
        "state.sqlite",
        "controller.log",
        "/v1/limits",
        "guest ",
        "once",
        "reap",
    ] {
        let there = places
            .iter()
            .any(|(place, bytes)| place.contains(part) && !bytes.is_empty());
        assert!(there, "{part} was not searched");
    }
    let rules = sim.call("GET", "/_sim/faults", None);
    let struck = rules["faults"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["struck"] != 0);
    assert!(struck.count() >= 10, "{rules:#}");
}

fn once(project: &Project, sim: &Sim) -> Command {
    let mut command = Command::new(binary("clf-orchestrator"));
    command
        .args(["once", "--dry-run", "--project"])
        .arg(project.path());
    command.arg("--secrets-dir").arg(project.secrets());
    with_token(command, sim)
}

fn reap(sim: &Sim) -> Command {
    let mut command = Command::new(binary("clf-orchestrator"));
    command.args(["reap", "--all-fleets"]);
    with_token(command, sim)
}

fn with_token(mut command: Command, sim: &Sim) -> Command {
    command
        .env("HCLOUD_TOKEN", TOKEN)
        .env("HCLOUD_ENDPOINT", sim.url())
        .env("RUST_LOG", "trace")
        .env_remove("CLF_SOCKET_PATH");
    command
}

/// What every GET route of the socket answers, and what the CLI makes of it.
fn answers(project: &Project, places: &mut Vec<(String, Vec<u8>)>) {
    let (_, document) = project.get("/openapi.json").unwrap();
    let routes = document["paths"].as_object().unwrap().iter();
    let gets: Vec<&String> = routes
        .filter(|(_, methods)| methods.get("get").is_some())
        .map(|(path, _)| path)
        .collect();
    assert!(gets.len() >= 11, "{gets:?}");
    for route in gets {
        for name in ["ada", "done", "fails", "no-such"] {
            let path = route.replace("{name}", name).replace("{id}", name);
            let answer = format!("{:?}", project.get(&path));
            places.push((path, answer.into_bytes()));
        }
    }
    for args in [
        &["list", "-o", "wide"][..],
        &["describe", "ada"],
        &["describe", "fails", "-o", "json"],
        &["events"],
        &["plan"],
        &["reap"],
    ] {
        let ran = project.clawdlets(&[&["cattle"], args].concat());
        places.push((format!("{args:?}"), format!("{ran:?}").into_bytes()));
    }
}

/// What is on disk.
fn files(project: &Project, places: &mut Vec<(String, Vec<u8>)>) {
    let mut files = files_beneath(&project.state());
    files.extend(files_beneath(&project.guests()));
    files.push(project.log());
    for file in files {
        places.push((file.display().to_string(), fs::read(&file).unwrap()));
    }
}
