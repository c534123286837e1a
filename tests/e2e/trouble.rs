//! Hetzner accepts a create and does not keep its word, or tells of servers in odd ways. What waits
//! for minutes is in the controller's own tests; here it is real processes and real guests.

use std::process::Command;

use cattle_tests::{Controller, Project, Ran, Sim, SimOptions, TOKEN, binary};
use serde_json::{Value, json};

fn fault(sim: &Sim, matches: &Value, fault: &Value, count: u32) {
    let rule = json!({ "match": matches, "fault": fault, "count": count });
    sim.call("POST", "/_sim/faults", Some(&rule));
}

#[test]
fn a_create_that_comes_to_nothing_is_made_good_and_its_task_runs_once() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let create = |server: &str| json!({ "operation": "create_server", "serverName": server });
    let failed = json!({ "kind": "action_error", "code": "action_failed", "message": "no luck" });
    fault(&sim, &create("cattle-broken-*"), &failed, 1);
    fault(
        &sim,
        &create("cattle-asleep-*"),
        &json!({ "kind": "stays_off" }),
        1,
    );
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["broken", "asleep"] {
        project.drop_spec(name, &Project::spec("ok", &[]));
    }

    let asleep = project.wait_for("asleep", "/phase", &json!("Succeeded"));
    assert_eq!(asleep["earlierRuns"], Value::Null, "{asleep:#}");
    let events = project.clawdlets(&["cattle", "events", "asleep"]).ok();
    assert!(events.stdout.contains("powered on"), "{events:?}");
    assert_eq!(project.runs_of("asleep"), 1);

    let waiting = project.wait_for("broken", "/reason", &json!("backoff"));
    let said = waiting["run"]["message"].as_str().unwrap();
    assert_eq!(waiting["run"]["endReason"], "create-failed");
    assert!(
        said.contains("create_server ended in `action_failed`"),
        "{said}"
    );
    // The backoff is Hetzner's time, which is believed at once where it is less than a minute off.
    sim.call("PUT", "/_sim/clock", Some(&json!({ "offsetMs": 45_000 })));
    let broken = project.wait_for("broken", "/phase", &json!("Succeeded"));
    assert_eq!(broken["earlierRuns"][0]["endReason"], "create-failed");
    assert_eq!(project.runs_of("broken"), 1);
    sim.wait_until_empty();
}

#[test]
fn lists_that_are_odd_from_first_to_last_hide_no_server() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let odd = json!({ "kind": "missing_keys", "keys": ["servers.name", "servers.created"] });
    fault(&sim, &json!({ "operation": "list_servers" }), &odd, 0);
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("worker", &Project::spec("sleep 300", &[]));
    project.wait_for("worker", "/phase", &json!("Running"));

    let status = project.wait_until("worker", "its server is shown as odd", |status| {
        let conditions = status["conditions"].as_array().unwrap();
        conditions
            .iter()
            .any(|it| it["type"] == "ServersReadable" && it["status"] == false)
    });
    assert_eq!(status["phase"], "Running");
    let id = status["run"]["server"]["id"].as_u64().unwrap();
    let reaper: Ran = Command::new(binary("clf-orchestrator"))
        .args(["reap", "--fleet", "example", "--dry-run"])
        .env("HCLOUD_TOKEN", TOKEN)
        .env("HCLOUD_ENDPOINT", sim.url())
        .output()
        .unwrap()
        .into();
    let said = format!("cannot be read: server server-{id} ({id}): its name is missing;");
    assert!(reaper.ok().stdout.contains(&said));
    let reaped = project.clawdlets(&["cattle", "reap"]).ok();
    assert!(reaped.stderr.contains(&said), "{reaped:?}");
    assert_eq!(project.runs_of("worker"), 1);

    let _ = project.clawdlets(&["cattle", "destroy", "worker"]).ok();
    sim.wait_until_empty();
}
