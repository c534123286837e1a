//! Secrets are where they are used and nowhere else: this reads everything and looks.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::ExitStatusExt,
    },
    path::Path,
    process::Command,
};

use cattle_tests::{
    Controller, MODEL_KEY, Project, Sim, SimOptions, TOKEN, binary, eventually, files_beneath,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Keeps each guest's bootstrap file, which the guest itself removes, then is the guest.
const GUEST: &str = r#"#!/bin/sh
cp "$3/run/clawdlets/cattle/bootstrap.json" "@KEPT@/$$.json" && exec "@GUEST@" "$@"
"#;

fn token(file: &Path) -> String {
    let value: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let token = value["token"].as_str();
    token
        .unwrap_or_else(|| panic!("{}: {value:#}", file.display()))
        .to_owned()
}

/// Where a secret is, as it is or in hexadecimal.
fn finds(bytes: &[u8], secret: &str) -> bool {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in secret.bytes() {
        write!(hex, "{byte:02x}").unwrap();
    }
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    text.contains(&secret.to_lowercase()) || text.contains(&hex)
}

#[test]
fn a_secret_in_a_label_reaches_nobody() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let with_label = |name: &str, value: &str| {
        let spec = Project::spec("sleep 300", &[]);
        let labels = format!("kind: Cattle\nmetadata:\n  labels: {{ note: \"{value}\" }}\n");
        project.drop_spec(name, &spec.replace("kind: Cattle\n", &labels));
    };
    with_label("harmless", "nothing");
    with_label("leaks", MODEL_KEY);
    let refused = project.wait_until("leaks", "it is refused for its label", |status| {
        status["message"]
            .as_str()
            .is_some_and(|it| it.contains("spec.note"))
    });
    assert_eq!(
        (&refused["phase"], &refused["reason"]),
        (&json!("Pending"), &json!("config"))
    );
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("the secret `zai_api_key`"), "{message}");

    // Nor does one that is written onto a server that runs.
    project.wait_for("harmless", "/phase", &json!("Running"));
    with_label("harmless", MODEL_KEY);
    let withheld = |status: &Value| {
        let conditions = status["conditions"].as_array().unwrap().clone();
        let mut withheld = conditions.into_iter();
        withheld.find(|it| it["reason"] == "labels-withheld")
    };
    let told = project.wait_until("harmless", "it says what is withheld", |status| {
        withheld(status).is_some()
    });
    let message = withheld(&told).unwrap()["message"].to_string();
    assert!(
        message.contains("`spec.note` holds the value of the secret `zai_api_key`"),
        "{message}"
    );
    let (_, events) = project.get("/v1/cattle/harmless/events").unwrap();
    let events = events.to_string();
    assert_eq!(events.matches("not everything is written").count(), 1);
    // What the reaper reads is put right all the same.
    let expiry = || sim.servers_of("harmless")[0]["labels"]["expires-at"].clone();
    let before = expiry();
    let _ = project
        .clawdlets(&["cattle", "extend", "harmless", "--by", "1h"])
        .ok();
    eventually("its new expiry is on its server", || {
        (expiry() != before).then_some(())
    });
    let told = format!(
        "{} {}",
        sim.call("GET", "/_sim/calls", None),
        json!(sim.living())
    );
    assert!(!finds(told.as_bytes(), MODEL_KEY));
    assert_eq!(project.status("harmless").unwrap()["phase"], "Running");
    assert!(sim.servers_of("leaks").is_empty());
    with_label("harmless", "mended");
    project.wait_until("harmless", "nothing is withheld any more", |status| {
        withheld(status).is_none()
    });
    let label = &sim.servers_of("harmless")[0]["labels"]["spec.note"];
    assert_eq!(label, "mended");
}

/// Elsewhere, and by the old name too.
fn move_secrets(project: &Project, to: &Path) {
    let real = project.secrets().canonicalize().unwrap();
    fs::rename(real, to).unwrap();
    // The name itself, or the link that it became before.
    let _ = fs::remove_file(project.secrets());
    std::os::unix::fs::symlink(to, project.secrets()).unwrap();
}

#[test]
fn a_bot_learns_nothing_of_a_secret_that_it_names_as_its_task() {
    let project = Project::new();
    let secrets = project.path().join("secrets");
    move_secrets(&project, &secrets);
    fs::write(secrets.join("shaped"), "{\"message\": \"hunter2\"}").unwrap();
    let bots = project.path().join("cattle/bots");
    fs::create_dir(&bots).unwrap();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &["--specs", bots.to_str().unwrap()]);
    for (name, file) in [
        ("key", "zai_api_key"),
        ("shaped", "shaped"),
        ("none", "no-such"),
    ] {
        let spec = Project::spec("x", &[]).replace(
            "task:\n    message: x",
            &format!("taskFile: ../../secrets/{file}"),
        );
        fs::write(bots.join(format!("{name}.yaml")), spec).unwrap();
    }
    let said = ["key", "shaped", "none"].map(|name| {
        let status = project.wait_until(name, "it is said to be wrong", |status| {
            status["diagnostics"][0]["message"].is_string()
        });
        let said = status["diagnostics"][0]["message"].as_str().unwrap();
        said.rsplit_once("`: ").unwrap().1.to_owned()
    });
    assert_eq!(said, ["it must lie beneath `cattle/` of the project"; 3]);
    assert_eq!(sim.state()["serversCreated"], 0);
}

#[test]
fn secrets_where_a_spec_could_name_them_are_refused_and_open_ones_told() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    move_secrets(&project, &project.specs().join("secrets"));
    let refused = Controller::refused(&mut Controller::command(&project, &sim));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let told = "where specs name files that are read";
    assert!(refused.stderr.contains(told), "{refused:?}");

    move_secrets(&project, &project.path().join("secrets"));
    let key = project.secrets().join("zai_api_key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let _controller = Controller::start(&project, &sim, &[]);
    let log = fs::read_to_string(project.log()).unwrap();
    let advice = format!("`chmod 600 {}`", key.display());
    assert_eq!(log.matches(&advice).count(), 1, "{log}");
}

#[test]
fn the_process_keeps_no_token_that_others_could_read() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let command = Controller::command(&project, &sim);
    // Where core dumps are possible at all.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(project.around());
    Controller::place_env(&mut limited, &project, &sim);
    let controller = Controller::from(&mut limited).answering(&project);
    let pid = controller.pid();
    for file in ["environ", "cmdline"] {
        // Root may look; anybody else may not, which is as good.
        if let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) {
            assert!(!finds(&bytes, TOKEN), "{file}");
        }
    }
    // And what it opened to hand the token over to itself is empty.
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
    {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).unwrap_or_default();
        if target.to_string_lossy().contains("memfd") {
            assert_eq!(fs::read(&path).unwrap(), b"");
        }
    }
    // Of a process that is not dumpable everything in `/proc` is root's, and no core is written.
    let owner = fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    assert_eq!(owner, 0);
    let crash = |pid: u32| {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        // Shells let what they start in the background ignore QUIT.
        kill_process(pid, Signal::ABORT).unwrap();
    };
    crash(pid);
    let status = controller.ended();
    assert!(!status.core_dumped(), "{status}");
    // Whether this machine writes cores at all.
    let mut other = Command::new("sh");
    other.args(["-c", "ulimit -c unlimited 2>/dev/null; exec sleep 600"]);
    let mut other = other.current_dir(project.around()).spawn().unwrap();
    eventually("it sleeps", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", other.id())).ok()?;
        (name == "sleep\n").then_some(())
    });
    crash(other.id());
    if !other.wait().unwrap().core_dumped() {
        eprintln!("this machine writes no cores: only the owner in `/proc` was looked at");
    }
}

#[test]
fn no_secret_is_in_user_data_logs_errors_or_the_ledger() {
    let project = Project::new();
    let kept = project.around().join("kept");
    fs::create_dir(&kept).unwrap();
    let guest = project.around().join("guest.sh");
    let script = GUEST
        .replace("@KEPT@", &kept.to_string_lossy())
        .replace("@GUEST@", &binary("clf-cattle").to_string_lossy());
    fs::write(&guest, script).unwrap();
    fs::set_permissions(&guest, fs::Permissions::from_mode(0o700)).unwrap();
    let sim = Sim::start(
        &project,
        &SimOptions {
            args: vec!["--keep-guests".to_owned()],
            guest_command: Some(guest),
            ..SimOptions::default()
        },
    );
    // Errors of every kind, one of which quotes the token as the real API was seen to.
    for fault in [
        json!({"match": {"operation": "create_server"},
            "fault": {"kind": "rate_limited", "leakToken": true}}),
        json!({"match": {"operation": "create_server"}, "nth": 2, "fault": {"kind": "html"}}),
        json!({"match": {"operation": "list_servers"}, "fault": {"kind": "text",
            "body": format!("no luck, {TOKEN}")}}),
        json!({"match": {"operation": "delete_server"}, "fault": {"kind": "json", "status": 409,
            "code": "conflict", "message": format!("Bearer {TOKEN}")}}),
    ] {
        sim.call("POST", "/_sim/faults", Some(&fault));
    }
    let controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("works", &Project::spec("sleep 300 marker", &[]));
    project.drop_spec("done", &Project::spec("ok", &[]));
    project.drop_spec("fails", &Project::spec("fail 7", &[]));
    project.drop_spec("broken", "spec: [");
    project.wait_for("works", "/phase", &json!("Running"));
    project.wait_for("done", "/phase", &json!("Succeeded"));
    project.wait_for("fails", "/phase", &json!("Failed"));

    let mut secrets = vec![TOKEN.to_owned(), MODEL_KEY.to_owned()];
    let bootstraps: Vec<String> = files_beneath(&kept)
        .iter()
        .map(|file| token(file))
        .collect();
    assert_eq!(bootstraps.len(), 3);
    secrets.extend(bootstraps.iter().cloned());
    let server = sim.servers_of("works").remove(0);
    let root = project.guests().join(server["id"].to_string());
    let session = token(&root.join("run/clawdlets/cattle/session.json"));
    secrets.push(session.clone());
    assert!(
        secrets.iter().all(|secret| secret.len() >= 20),
        "short enough to be found anywhere"
    );

    // What a person or a bot gets to see.
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for args in [
        &["list", "-o", "json"][..],
        &["list", "-o", "wide"],
        &["describe", "works", "-o", "json"],
        &["describe", "fails"],
        &["describe", "broken"],
        &["events", "-o", "json"],
        &["logs", "fails"],
        &["result", "done"],
        &["plan", "-o", "json"],
        &["rerun", "works"],
        &["destroy", "no-such"],
        &[
            "spawn",
            "--persona",
            "rex",
            "--message",
            "x",
            "--model",
            "openai/none",
        ],
    ] {
        let mut all = vec!["cattle"];
        all.extend(args);
        let ran = project.clawdlets(&all);
        places.push((format!("{args:?}"), format!("{ran:?}").into_bytes()));
    }
    for path in [
        "/v1/limits",
        "/metrics",
        "/readyz",
        "/v1/openapi.json",
        "/v1/jobs",
    ] {
        places.push((
            path.to_owned(),
            format!("{:?}", project.get(path)).into_bytes(),
        ));
    }
    drop(controller);
    // What is on disk, and what Hetzner was told.
    for file in files_beneath(&project.state()) {
        places.push((file.display().to_string(), fs::read(&file).unwrap()));
    }
    places.push((
        "controller.log".to_owned(),
        fs::read(project.log()).unwrap(),
    ));
    let told = sim.call("GET", "/_sim/calls", None);
    for fault in 1..=4 {
        let calls = told["calls"].as_array().unwrap();
        let struck = calls.iter().any(|call| call["fault"] == fault);
        assert!(struck, "fault {fault} met no call");
    }
    places.push(("calls".to_owned(), told.to_string().into_bytes()));
    // A guest's disk is its unpacked user_data and what it wrote itself.
    for file in files_beneath(&project.guests()) {
        if !file.ends_with("run/clawdlets/cattle/session.json") {
            places.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
    }
    for server in sim.living().iter().chain(&sim.deleted()) {
        // The one secret that user_data carries: it is spent within the minute.
        let mut text = server.to_string();
        for bootstrap in &bootstraps {
            text = text.replace(bootstrap, "");
        }
        places.push((format!("server {}", server["name"]), text.into_bytes()));
    }

    let mut leaks = Vec::new();
    for (place, bytes) in &places {
        for (number, secret) in secrets.iter().enumerate() {
            if finds(bytes, secret) {
                leaks.push(format!("secret {number} is in {place}"));
            }
        }
    }
    assert_eq!(leaks, [""; 0]);
    // That the search would find something there.
    for (place, known) in [
        ("state.sqlite", "works"),
        ("controller.log", "works"),
        ("task.json", "marker"),
    ] {
        assert!(
            places
                .iter()
                .any(|(name, bytes)| name.contains(place) && finds(bytes, known)),
            "{known} is not in {place}"
        );
    }
    let user_data = server["user_data"].as_str().unwrap();
    assert!(
        bootstraps
            .iter()
            .any(|bootstrap| user_data.contains(bootstrap))
    );
    eventually("the session's guest goes on", || {
        (token(&root.join("run/clawdlets/cattle/session.json")) == session).then_some(())
    });
}
