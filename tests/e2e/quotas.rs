//! The account's limits, which Hetzner names one by one.

use std::fs;

use cattle_tests::{Controller, Project, Sim, SimOptions};
use serde_json::{Value, json};

fn quota(sim: &Sim, quota: &Value) {
    sim.call("PUT", "/_sim/quota", Some(quota));
}

/// Two cattle where there is room for one: the second runs soon after the first has gone, and not
/// when a slow look is due.
fn the_second_follows_the_first(limits: &Value, says: &str) {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    quota(&sim, limits);
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("first", &Project::spec("wait go", &[]));
    project.wait_for("first", "/phase", &json!("Running"));
    project.drop_spec("second", &Project::spec("ok", &[]));
    let waits = project.wait_for("second", "/reason", &json!("account"));
    let message = waits["message"].as_str().unwrap();
    assert!(message.contains(says), "{message}");

    fs::write(project.ran().join("go"), "").unwrap();

    project.wait_for("first", "/phase", &json!("Succeeded"));
    project.wait_for("second", "/phase", &json!("Succeeded"));
    assert_eq!(project.runs_of("second"), 1);
}

#[test]
fn a_place_that_our_own_delete_freed_is_taken_soon() {
    the_second_follows_the_first(&json!({ "maxServers": 1 }), "server_limit");
}

#[test]
fn an_address_that_frees_a_while_after_its_server_is_taken_soon() {
    // A server has two.
    let limits = json!({ "maxPrimaryIps": 2, "addressFreesAfterMs": 8_000 });
    the_second_follows_the_first(&limits, "primary_ip_limit");
}

#[test]
fn without_dedicated_cores_the_next_shared_type_is_taken_at_once() {
    let project = Project::new();
    project.configure(|fleet| {
        let hetzner = &mut fleet["cattle"]["hetzner"];
        hetzner.as_object_mut().unwrap().remove("serverType");
        hetzner["serverTypes"] = json!(["ccx13", "ccx23", "cpx22"]);
    });
    let sim = Sim::start(&project, &SimOptions::default());
    quota(&sim, &json!({ "maxDedicatedCores": 0 }));
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("rex", &Project::spec("sleep 300", &[]));

    let status = project.wait_for("rex", "/phase", &json!("Running"));

    let server = &status["run"]["server"];
    assert_eq!(server["serverType"], "cpx22", "{status:#}");
    let creates = sim.writes_since(0);
    let creates = creates.iter().filter(|call| *call == "POST /v1/servers");
    assert_eq!(creates.count(), 2, "no second dedicated type is asked for");
}
