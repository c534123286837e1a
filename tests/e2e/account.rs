//! A token that is refused and an endpoint that is none: one clear sentence, the same everywhere,
//! and once.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use cattle_tests::{Controller, Project, Ran, Sim, SimOptions, TOKEN, binary, eventually};
use serde_json::{Value, json};

const READ_ONLY: &str = "Hetzner refuses the token: it may only read (token_readonly); give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start)";
const REVOKED: &str = "Hetzner refuses the token: it is mistyped, revoked or another API's (unauthorized); give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start)";

fn becomes(sim: &Sim, token: &str) {
    sim.call("PUT", "/_sim/account", Some(&json!({ "token": token })));
}

/// Waits until `/readyz` says no for this reason, and that `list` says it once.
fn says(project: &Project, sentence: &str) {
    let problem = eventually("it is not ready, and says why", || {
        let (status, body) = project.get("/readyz")?;
        let detail = body["detail"].as_str().unwrap_or_default();
        (status == 503 && detail.contains(sentence)).then_some(body)
    });
    assert_eq!(problem["code"], "unavailable", "{problem:#}");
    let listed = project.clawdlets(&["cattle", "list"]).ok();
    let said = format!("{}{}", listed.stdout, listed.stderr);
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert_eq!(
        said.matches("oken").count(),
        sentence.matches("oken").count() + token_words(&said)
    );
}

/// `not TokenAccepted:`, the name of the condition.
fn token_words(said: &str) -> usize {
    said.matches("TokenAccepted").count()
}

fn is_ready(project: &Project) {
    eventually("it is ready", || {
        project.get("/readyz").filter(|(status, _)| *status == 200)
    });
}

fn conditions(project: &Project) -> Vec<Value> {
    let (_, list) = project.get("/v1/cattle").unwrap();
    list["controller"]["conditions"].as_array().unwrap().clone()
}

fn alerts(project: &Project) -> Vec<String> {
    let (_, events) = project.get("/v1/events").unwrap();
    let events = events["items"].as_array().unwrap().iter();
    events
        .filter(|event| event["reason"] == "alert" && event["cattle"].is_null())
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_token_that_is_revoked_is_said_so_until_it_is_taken_again() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("before", &Project::spec("sleep 300", &[]));
    project.wait_for("before", "/phase", &json!("Running"));
    becomes(&sim, "revoked");
    project.drop_spec("after", &Project::spec("ok", &[]));
    let status = project.wait_for("after", "/reason", &json!("account"));
    assert!(
        status["message"].as_str().unwrap().contains(REVOKED),
        "{status:#}"
    );
    says(&project, REVOKED);
    let refused: Vec<_> = conditions(&project)
        .into_iter()
        .filter(|condition| condition["status"] == false)
        .map(|condition| (condition["type"].clone(), condition["reason"].clone()))
        .collect();
    assert!(
        refused.contains(&(json!("TokenAccepted"), json!("unauthorized"))),
        "{refused:?}"
    );
    assert!(
        !refused.iter().any(|(kind, _)| kind == "HetznerReachable"),
        "{refused:?}"
    );
    assert_eq!(alerts(&project), [REVOKED]);
    let before = project.status("before").unwrap();
    assert_eq!(before["phase"], "Running", "it goes on: {before:#}");

    becomes(&sim, "valid");
    is_ready(&project);
    assert_eq!(alerts(&project).len(), 2);
    let list = project.clawdlets(&["cattle", "list"]).ok();
    assert!(!list.stderr.contains("oken"), "{}", list.stderr);
}

#[test]
fn a_token_that_may_only_read_is_known_from_the_first_write_on() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    becomes(&sim, "read_only");
    let mut controller = Controller::start(&project, &sim, &[]);
    is_ready(&project);
    for name in ["ada", "bob", "rex"] {
        project.drop_spec(name, &Project::spec("ok", &[]));
    }
    for name in ["ada", "bob", "rex"] {
        let status = project.wait_for(name, "/reason", &json!("account"));
        assert!(
            status["message"].as_str().unwrap().contains(READ_ONLY),
            "{status:#}"
        );
    }
    says(&project, READ_ONLY);
    assert!(sim.living().is_empty());
    controller.terminate();

    // With a ledger of its own: in the other one nothing is due before five minutes are over.
    let mut once = clf(&project, sim.url(), &["once"], true);
    let once = Controller::refused(once.arg("--state-dir").arg(project.around().join("once")));
    assert_eq!(once.code, Some(1));
    let last = once.stderr.lines().last().unwrap();
    assert_eq!(last, format!("clf-orchestrator: {READ_ONLY}"), "{once:#?}");
}

#[test]
fn a_reaper_that_may_not_delete_says_why_once() {
    let project = Project::new();
    let sim = Sim::start(
        &project,
        &SimOptions {
            without_guests: true,
            ..SimOptions::default()
        },
    );
    for name in ["a", "b"] {
        let labels = json!({
            "managed-by": "clawdlets", "cattle": "true", "fleet": "example", "expires-at": "1700000000",
        });
        sim.call("POST", "/v1/servers", Some(&json!({
            "name": name, "server_type": "cpx22", "image": "debian-13", "location": "nbg1", "labels": labels,
        })));
    }
    let reap = || {
        Controller::refused(&mut clf(
            &project,
            sim.url(),
            &["reap", "--all-fleets"],
            false,
        ))
    };
    becomes(&sim, "read_only");
    let refused = reap();
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert_eq!(refused.stderr.matches(READ_ONLY).count(), 1, "{refused:#?}");
    assert_eq!(
        (refused.stderr.lines().count(), refused.stdout.as_str()),
        (1, ""),
        "{refused:#?}"
    );
    becomes(&sim, "revoked");
    let refused = reap();
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    let wanted = format!("clf-orchestrator: cannot list the servers: {REVOKED}, HTTP 401");
    assert!(refused.stderr.starts_with(&wanted), "{refused:#?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:#?}");
}

/// A command of `clf-orchestrator` with this endpoint, and logs as they are by default.
fn clf(project: &Project, endpoint: &str, args: &[&str], placed: bool) -> Command {
    let mut command = Command::new(binary("clf-orchestrator"));
    command
        .args(args)
        .env("HCLOUD_TOKEN", TOKEN)
        .env("HCLOUD_ENDPOINT", endpoint)
        .env_remove("RUST_LOG")
        .env_remove("CLF_SOCKET_PATH")
        .stdout(Stdio::piped());
    if placed {
        command.arg("--project").arg(project.path());
        command.args(["--guest-listen", &project.guest_listen()]);
        command.arg("--secrets-dir").arg(project.secrets());
        command.arg("--specs").arg(project.specs());
    }
    command
}

/// Some other web server; answers everything alike.
fn other(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let length = answer.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
        );
    };
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address.to_string()
}

fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn an_endpoint_that_is_none_is_named_in_one_sentence() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let (nobody, page, json) = (nobody(), other("<html>It works!"), other("{\"hello\":1}"));
    let sim_at = sim
        .url()
        .trim_start_matches("http://")
        .trim_end_matches("/v1");
    let api = "as Hetzner's API does";
    for (endpoint, sentence) in [
        (
            format!("http://{nobody}/v1"),
            format!("nothing listens at http://{nobody}/v1 (HCLOUD_ENDPOINT)"),
        ),
        (
            format!("http://{page}/v1/"),
            format!(
                "what answers at http://{page}/v1 (HCLOUD_ENDPOINT) does not do so {api} (not JSON), HTTP 200"
            ),
        ),
        (
            format!("http://{json}"),
            format!(
                "what answers at http://{json} (HCLOUD_ENDPOINT) does not do so {api} (no `servers` in it), HTTP 200"
            ),
        ),
        (
            format!("https://{page}/v1"),
            format!("what listens at https://{page}/v1 (HCLOUD_ENDPOINT) does not speak TLS"),
        ),
        (
            format!("http://{sim_at}/v2"),
            format!(
                "no API is at http://{sim_at}/v2 (HCLOUD_ENDPOINT); Hetzner's ends in /v1, HTTP 404"
            ),
        ),
    ] {
        let told = format!("clf-orchestrator: cannot list the servers: {sentence}");
        for (args, placed) in [
            (&["reap", "--all-fleets"][..], false),
            (&["once", "--dry-run"], true),
        ] {
            let refused = Controller::refused(&mut clf(&project, &endpoint, args, placed));
            assert_eq!(
                (refused.code, refused.stdout.as_str()),
                (Some(1), ""),
                "{refused:#?}"
            );
            assert!(refused.stderr.starts_with(&told), "{told}\n{refused:#?}");
            assert_eq!(refused.stderr.lines().count(), 1, "{refused:#?}");
        }
        let mut command = Controller::command(&project, &sim);
        command.env("HCLOUD_ENDPOINT", &endpoint);
        let controller = Controller::from(&mut command).answering(&project);
        says_never_listed(&project, &sentence);
        drop(controller);
    }
}

fn says_never_listed(project: &Project, sentence: &str) {
    let detail = eventually("it says why it is not ready", || {
        let (status, body) = project.get("/readyz")?;
        let detail = body["detail"].as_str()?.to_owned();
        (status == 503 && detail.contains("HCLOUD_ENDPOINT")).then_some(detail)
    });
    assert!(detail.contains(sentence), "{sentence}\n{detail}");
    let listed: Ran = project.clawdlets(&["cattle", "list"]).ok();
    let said = format!("{}{}", listed.stdout, listed.stderr);
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert_eq!(said.matches("HCLOUD_ENDPOINT").count(), 1, "{said}");
}

#[test]
fn a_slash_at_the_end_of_the_endpoint_changes_nothing() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut command = Controller::command(&project, &sim);
    command.env("HCLOUD_ENDPOINT", format!("{}/", sim.url()));
    let _controller = Controller::from(&mut command).answering(&project);
    project.drop_spec("rex", &Project::spec("ok", &[]));
    project.wait_for("rex", "/phase", &json!("Succeeded"));
}
