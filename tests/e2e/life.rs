//! The life of one cattle, from its spec file to its last trace.

use std::time::{Duration, Instant};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::{Value, json};

/// A spec counts as removed only after this long: a `git checkout` deletes and recreates.
const ABSENCE: Duration = Duration::from_secs(15);

fn start() -> (Project, Sim, Controller) {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let controller = Controller::start(&project, &sim, &[]);
    (project, sim, controller)
}

fn expiry(server: &Value) -> i64 {
    let seconds = server["labels"]["expires-at"].as_str().unwrap();
    seconds.parse().unwrap()
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|one| one["type"] == kind);
    found.unwrap_or(&Value::Null)
}

#[test]
fn a_dropped_spec_becomes_a_vm_whose_task_runs_once_and_whose_server_goes() {
    let (project, sim, _controller) = start();

    project.drop_spec("hello", &Project::spec("ok hello", &[]));

    let status = project.wait_for("hello", "/phase", &json!("Succeeded"));
    assert_eq!(status["run"]["exitCode"], 0);
    assert_eq!(status["run"]["endReason"], "completed");
    assert_eq!(project.runs_of("hello"), 1);
    sim.wait_until_empty();
    assert_eq!(sim.deleted().len(), 1);
    let result = project.clawdlets(&["cattle", "result", "hello"]).ok();
    assert_eq!(result.json(), json!({"answer": "hello"}));
    let logs = project.clawdlets(&["cattle", "logs", "hello"]).ok();
    assert!(logs.stdout.contains("task hello: ok hello"), "{logs:?}");
}

#[test]
fn an_edit_of_the_ttl_relabels_the_server_and_an_edit_of_the_message_replaces_the_run() {
    let (project, sim, _controller) = start();
    project.drop_spec("worker", &Project::spec("sleep 300", &["ttl: 2h"]));
    let before = project.wait_for("worker", "/phase", &json!("Running"));
    let server = sim.servers_of("worker").remove(0);

    project.drop_spec("worker", &Project::spec("sleep 300", &["ttl: 1h"]));

    let relabeled = eventually("the server's expiry is an hour earlier", || {
        let now = sim.servers_of("worker").remove(0);
        (expiry(&now) == expiry(&server) - 3_600).then_some(now)
    });
    assert_eq!(relabeled["id"], server["id"]);
    assert_eq!(relabeled["labels"]["run"], server["labels"]["run"]);
    let status = project.wait_for("worker", "/spec/ttl", &json!("1h"));
    assert_eq!(status["run"]["run"], before["run"]["run"]);
    assert_eq!(status["phase"], "Running");

    project.drop_spec("worker", &Project::spec("ok now", &["ttl: 1h"]));

    let after = project.wait_for("worker", "/phase", &json!("Succeeded"));
    assert_ne!(after["run"]["run"], before["run"]["run"]);
    assert_eq!(after["earlierRuns"][0]["run"], before["run"]["run"]);
    assert_eq!(after["earlierRuns"][0]["endReason"], "spec-changed");
    assert_eq!(project.runs_of("worker"), 2, "once for each message");
    sim.wait_until_empty();
    assert_eq!(sim.deleted().len(), 2);
}

#[test]
fn a_broken_spec_freezes_its_server_until_it_is_mended() {
    let (project, sim, _controller) = start();
    let good = Project::spec("sleep 300", &["ttl: 1h"]);
    project.drop_spec("worker", &good);
    let before = project.wait_for("worker", "/phase", &json!("Running"));
    let calls = sim.last_call();

    project.drop_spec("worker", &good.replace("persona:", "presona:"));

    let broken = project.wait_until("worker", "its spec is not valid", |status| {
        condition(status, "SpecValid")["status"] == false
    });
    assert_eq!(broken["phase"], "Running");
    assert_eq!(broken["run"]["run"], before["run"]["run"]);
    let list = project.clawdlets(&["cattle", "list"]).ok();
    assert!(list.stdout.contains("Running"), "{list:?}");
    assert!(list.stdout.contains("spec invalid, line 4"), "{list:?}");
    let described = project.clawdlets(&["cattle", "describe", "worker"]).ok();
    for said in ["worker.yaml:4:3", "presona", "did you mean `persona`?"] {
        assert!(described.stderr.contains(said), "{said}: {described:?}");
    }
    assert_eq!(project.plan()["actions"], json!([]));

    project.drop_spec("worker", &good);

    project.wait_until("worker", "its spec is valid", |status| {
        condition(status, "SpecValid")["status"] == true
    });
    assert_eq!(project.plan()["actions"], json!([]));
    let after = project.status("worker").unwrap();
    assert_eq!(after["phase"], "Running");
    assert_eq!(after["run"]["run"], before["run"]["run"]);
    assert_eq!(sim.writes_since(calls), [""; 0], "the server was touched");
    assert_eq!(project.runs_of("worker"), 1);
}

#[test]
fn the_ttl_ends_a_run_whose_spec_is_broken() {
    let (project, sim, _controller) = start();
    let good = Project::spec("sleep 300", &["ttl: 8s"]);
    project.drop_spec("worker", &good);
    project.wait_for("worker", "/phase", &json!("Running"));

    project.drop_spec("worker", &good.replace("persona:", "presona:"));

    let ended = project.wait_for("worker", "/phase", &json!("Failed"));
    assert_eq!(ended["run"]["endReason"], "ttl-expired");
    assert_eq!(condition(&ended, "SpecValid")["status"], false);
    sim.wait_until_empty();

    project.drop_spec("worker", &good);

    project.wait_until("worker", "its spec is valid", |status| {
        condition(status, "SpecValid")["status"] == true
    });
    assert_eq!(project.plan()["actions"], json!([]));
    assert_eq!(
        project.runs_of("worker"),
        1,
        "what was mended has run already"
    );
}

#[test]
fn a_removed_spec_takes_its_server_along_after_the_absence_and_stays_ended_when_it_returns() {
    let (project, sim, _controller) = start();
    let spec = Project::spec("sleep 300", &["ttl: 1h"]);
    project.drop_spec("worker", &spec);
    let before = project.wait_for("worker", "/phase", &json!("Running"));

    project.remove_spec("worker");
    let removed = Instant::now();

    sim.wait_until_empty();
    assert!(removed.elapsed() >= ABSENCE, "{:?}", removed.elapsed());
    let ended = project.wait_for("worker", "/phase", &json!("Canceled"));
    assert_eq!(ended["run"]["endReason"], "spec-removed");

    project.drop_spec("worker", &spec);

    project.wait_until("worker", "its spec is back", |status| {
        status["origin"].is_object()
    });
    assert_eq!(project.plan()["actions"], json!([]));
    let back = project.status("worker").unwrap();
    assert_eq!(back["phase"], "Canceled");
    assert_eq!(back["run"]["run"], before["run"]["run"]);
    assert_eq!(sim.state()["serversCreated"], 1);

    let said = project.clawdlets(&["cattle", "rerun", "worker"]).ok();
    assert!(said.stdout.starts_with("worker runs again"), "{said:?}");

    let again = project.wait_for("worker", "/phase", &json!("Running"));
    assert_ne!(again["run"]["run"], before["run"]["run"]);
    eventually("its task began once more", || {
        (project.runs_of("worker") == 2).then_some(())
    });
    let refused = project.clawdlets(&["cattle", "rerun", "worker"]);
    assert_eq!(refused.code, Some(6), "{refused:?}");
}
