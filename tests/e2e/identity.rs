//! A token of another project, and a 404 that is not true: no run is ended for them, and no server is
//! forgotten.

use std::fs;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::{Value, json};

/// What is said while the token opens another project.
const FOREIGN: &str = "the token opens a project in which nothing of this fleet is";

fn condition(project: &Project, kind: &str) -> Option<Value> {
    let (_, list) = project.get("/v1/cattle")?;
    let conditions = list["controller"]["conditions"].as_array()?.clone();
    conditions.into_iter().find(|it| it["type"] == kind)
}

/// Waits until a condition of the controller is so.
fn wait_for_condition(project: &Project, kind: &str, status: bool) -> Value {
    eventually(&format!("{kind} is {status}"), || {
        condition(project, kind).filter(|it| it["status"] == status)
    })
}

fn alerts(project: &Project, cattle: Option<&str>) -> Vec<String> {
    let path = match cattle {
        Some(name) => format!("/v1/cattle/{name}/events"),
        None => "/v1/events?limit=1000".to_owned(),
    };
    let (_, events) = project.get(&path).unwrap();
    let events = events["items"].as_array().unwrap().clone();
    events
        .iter()
        .filter(|event| event["reason"] == "alert")
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

fn metric(project: &Project, name: &str) -> String {
    let (_, metrics) = project.get("/metrics").unwrap();
    let text = metrics.as_str().unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

/// Lets tasks end that wait for it.
fn go(project: &Project) {
    fs::write(project.ran().join("go"), "").unwrap();
}

#[test]
fn a_token_of_an_empty_project_ends_nothing_and_forgets_no_server() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let empty = Sim::start(&project, &SimOptions::default());
    let mut controller = Controller::start(&project, &sim, &[]);
    for name in ["worker", "leaving"] {
        project.drop_spec(name, &Project::spec("wait go", &[]));
    }
    for name in ["worker", "leaving"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    controller.kill();

    let mut controller = Controller::start(&project, &empty, &[]);
    let condition = wait_for_condition(&project, "ProjectIsOurs", false);
    assert!(
        condition["message"].as_str().unwrap().starts_with(FOREIGN),
        "{condition}"
    );
    project.drop_spec("later", &Project::spec("ok", &[]));
    let later = project.wait_for("later", "/reason", &json!("starts-paused"));
    assert!(later["message"].as_str().unwrap().starts_with(FOREIGN));
    // The look at it before its delete is answered 404, which proves nothing.
    let _ = project.clawdlets(&["cattle", "destroy", "leaving"]).ok();
    eventually("its delete was about to be tried", || {
        let calls = empty.calls_since(0);
        calls
            .iter()
            .any(|call| call["operation"] == "get_server" && call["status"] == 404)
            .then_some(())
    });
    let leaving = project.wait_until("leaving", "its delete was answered", |status| {
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("Hetzner knows no such server"))
    });
    assert_eq!(leaving["phase"], "Finishing", "{leaving:#}");
    let worker = project.status("worker").unwrap();
    assert_eq!(worker["phase"], "Running", "{worker:#}");
    let (ready, problem) = project.get("/readyz").unwrap();
    assert_eq!(ready, 503);
    assert!(problem["detail"].as_str().unwrap().starts_with(FOREIGN));
    let listed = project.clawdlets(&["cattle", "list"]).ok();
    assert!(listed.stderr.contains(FOREIGN), "{listed:?}");
    let told = alerts(&project, None);
    assert_eq!(
        told.iter().filter(|it| it.starts_with(FOREIGN)).count(),
        1,
        "{told:?}"
    );
    assert!(metric(&project, "cattle_project_is_ours").ends_with(" 0"));
    let writes = empty.writes_since(0);
    assert!(
        writes
            .iter()
            .all(|call| call.starts_with("DELETE /v1/servers/")),
        "{writes:?}"
    );
    controller.kill();

    let _controller = Controller::start(&project, &sim, &[]);
    wait_for_condition(&project, "ProjectIsOurs", true);
    project.wait_for("later", "/phase", &json!("Succeeded"));
    project.wait_until("leaving", "its server is gone", |status| {
        status["run"]["goneAt"].is_string()
    });
    go(&project);
    let worker = project.wait_for("worker", "/phase", &json!("Succeeded"));
    assert_eq!(worker["earlierRuns"], Value::Null, "{worker:#}");
    for name in ["worker", "leaving", "later"] {
        assert_eq!(project.runs_of(name), 1, "{name}");
    }
    sim.wait_until_empty();
}

/// No 404 proves it, and the token is the right one: somebody has to say so, for each run.
#[test]
fn what_was_deleted_by_hand_with_its_firewall_is_given_up_when_somebody_says_so() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["worker", "other"] {
        project.drop_spec(name, &Project::spec("wait go", &[]));
    }
    for name in ["worker", "other"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    for server in sim.living() {
        sim.call("DELETE", &format!("/v1/servers/{}", server["id"]), None);
    }
    sim.wait_until_empty();
    let firewall = sim.call("GET", "/v1/firewalls", None)["firewalls"][0]["id"].clone();
    eventually("nothing uses the firewall any more", || {
        let reply = sim.try_call("DELETE", &format!("/v1/firewalls/{firewall}"));
        (reply == 204).then_some(())
    });

    let condition = wait_for_condition(&project, "ProjectIsOurs", false);
    let said = condition["message"].as_str().unwrap();
    assert!(said.contains("`clawdlets cattle destroy NAME`"), "{said}");
    project.drop_spec("later", &Project::spec("ok", &[]));
    project.wait_for("later", "/reason", &json!("starts-paused"));
    let destroy = |name: &str| {
        project
            .clawdlets(&["cattle", "destroy", "--now", name])
            .ok()
            .stdout
    };
    for name in ["worker", "other"] {
        assert!(destroy(name).contains("ends"), "it lives");
    }
    for name in ["worker", "other"] {
        let way_out = format!("`clawdlets cattle destroy {name}` gives it up");
        project.wait_until(name, "the way out is said", |status| {
            status["message"]
                .as_str()
                .is_some_and(|text| text.contains(&way_out))
        });
        let told = destroy(name);
        assert!(told.contains("is given up"), "{told}");
    }
    wait_for_condition(&project, "ProjectIsOurs", true);
    project.wait_for("later", "/phase", &json!("Succeeded"));
    sim.wait_until_empty();
}

#[test]
fn a_404_and_a_list_without_the_server_end_no_run_whose_guest_reports() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("worker", &Project::spec("wait go", &[]));
    project.wait_for("worker", "/phase", &json!("Running"));
    let fault = |operation: &str, fault: Value| {
        let rule = json!({"match": {"operation": operation}, "count": 0, "fault": fault});
        sim.call("POST", "/_sim/faults", Some(&rule));
    };
    fault(
        "list_servers",
        json!({"kind": "odd_json", "body": {"servers": [], "meta": {}}}),
    );
    fault(
        "get_server",
        json!({"kind": "json", "status": 404, "code": "not_found", "message": "server not found"}),
    );
    eventually("it was asked for twice", || {
        let calls = sim.calls_since(0);
        let asked = calls
            .iter()
            .filter(|call| call["operation"] == "get_server");
        (asked.count() >= 2).then_some(())
    });
    let status = project.status("worker").unwrap();
    assert_eq!(status["phase"], "Running", "{status:#}");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("its server is not there, but its guest reported"),
        "{message}"
    );
    let told = alerts(&project, Some("worker"));
    let held = told
        .iter()
        .filter(|it| it.contains("but its guest reported"));
    assert_eq!(held.count(), 1, "{told:?}");
    assert!(metric(&project, "cattle_servers_missing").ends_with(" 1"));

    sim.call("DELETE", "/_sim/faults", None);
    go(&project);
    project.wait_for("worker", "/phase", &json!("Succeeded"));
    assert_eq!(project.runs_of("worker"), 1);
    sim.wait_until_empty();
}
