//! Whose server is it? Replies get lost, people and tools write labels over ours, and copy them.

use std::time::Duration;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually, eventually_within};
use serde_json::{Value, json};

/// A TTL, its hand-over and the passes after it, on a machine that does much else.
const LONG: Duration = Duration::from_secs(180);

fn start() -> (Project, Sim, Controller) {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let controller = Controller::start(&project, &sim, &[]);
    (project, sim, controller)
}

fn id_of(server: &Value) -> u64 {
    server["id"].as_u64().unwrap()
}

/// The one server that there is.
fn only(sim: &Sim) -> Value {
    let servers = sim.living();
    assert_eq!(servers.len(), 1, "{servers:#?}");
    servers[0].clone()
}

fn relabel(sim: &Sim, server: u64, labels: &Value) {
    let path = format!("/_sim/servers/{server}/labels");
    sim.call("PUT", &path, Some(&json!({ "labels": labels })));
}

/// A condition of this kind.
fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == kind)
}

fn events(project: &Project, name: &str) -> String {
    project
        .clawdlets(&["cattle", "events", name])
        .ok()
        .stdout
        .clone()
}

/// A create whose reply never comes; its server has lost every label before anybody asks for it.
fn lost_and_stripped(project: &Project, sim: &Sim, name: &str, spec: &str) -> u64 {
    let rule = json!({
        "match": { "operation": "create_server" },
        "fault": { "kind": "hang", "ms": 3_000 }, "when": "after",
    });
    sim.call("POST", "/_sim/faults", Some(&rule));
    project.drop_spec(name, spec);
    let made = eventually("the server is made", || sim.living().pop());
    let id = id_of(&made);
    sim.call("POST", &format!("/_sim/servers/{id}/strip-labels"), None);
    id
}

#[test]
fn a_server_whose_reply_and_labels_were_lost_is_its_runs_to_the_end() {
    let (project, sim, _controller) = start();
    let spec = Project::spec("sleep 300", &["ttl: 40s"]);
    let id = lost_and_stripped(&project, &sim, "lost", &spec);

    let status = project.wait_until("lost", "it runs on its server", |status| {
        status["phase"] == "Running" && status["run"]["server"]["id"] == id
    });
    assert!(status["run"]["expiresAt"].is_string(), "{status:#}");
    eventually_within(LONG, "its labels are set again", || {
        (only(&sim)["labels"]["run"] == status["run"]["run"]).then_some(())
    });
    eventually_within(LONG, "its time is up", || {
        sim.living().is_empty().then_some(())
    });
    let status = project.wait_for("lost", "/phase", &json!("Failed"));
    assert_eq!(status["run"]["endReason"], "ttl-expired");
    assert_eq!(project.runs_of("lost"), 1);
    assert_eq!(sim.deleted().len(), 1, "one server was made");
}

#[test]
fn destroy_takes_a_server_whose_reply_and_labels_were_lost() {
    let (project, sim, _controller) = start();
    let spec = Project::spec("sleep 300", &[]);
    lost_and_stripped(&project, &sim, "lost", &spec);
    project.wait_for("lost", "/phase", &json!("Running"));

    let _ = project.clawdlets(&["cattle", "destroy", "lost"]).ok();

    eventually_within(LONG, "its server is gone", || {
        sim.living().is_empty().then_some(())
    });
    let status = project.wait_for("lost", "/phase", &json!("Canceled"));
    assert!(status["run"]["goneAt"].is_string(), "{status:#}");
}

#[test]
fn what_another_owner_takes_over_is_never_deleted_and_the_run_says_so() {
    let (project, sim, _controller) = start();
    let taken: [(&str, &str, &str); 3] = [
        ("fleet", "fleet", "other"),
        ("marked", "apricote.de/created-by", "hcloud-upload-image"),
        ("managed", "managed-by", "terraform"),
    ];
    let mut servers = Vec::new();
    for (name, key, value) in taken {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
        project.wait_for(name, "/phase", &json!("Running"));
        let server = &sim.servers_of(name)[0];
        let mut labels = server["labels"].clone();
        labels[key] = json!(value);
        relabel(&sim, id_of(server), &labels);
        servers.push((name, id_of(server), server["labels"].clone(), labels));
    }

    for (name, id, _, labels) in &servers {
        let _ = project.clawdlets(&["cattle", "destroy", name]).ok();
        let status = project.wait_until(name, "its server is another's", |status| {
            status["run"]["endReason"] == "destroyed" && condition(status, "TakenOver").is_some()
        });
        let said = condition(&status, "TakenOver").unwrap()["message"].clone();
        assert!(said.as_str().unwrap().contains(&id.to_string()), "{said}");
        assert_eq!(status["phase"], "Finishing", "it keeps its slot");
        assert!(events(&project, name).contains("taken-over"));
        let listed = project.clawdlets(&["cattle", "list"]).ok();
        assert!(listed.stdout.contains("taken over"), "{listed:?}");
        let there = sim.living();
        let there = there.iter().find(|server| server["id"] == *id);
        assert_eq!(there.unwrap()["labels"], *labels, "nothing was written");
    }
    let (_, metrics) = project.get("/metrics").unwrap();
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("cattle_servers_taken_over 3"), "{metrics}");

    // The first gets its own labels back, and goes.
    let (name, id, ours, _) = &servers[0];
    relabel(&sim, *id, ours);
    eventually_within(LONG, "it is gone once it is ours again", || {
        sim.living().iter().all(|it| it["id"] != *id).then_some(())
    });
    project.wait_for(name, "/phase", &json!("Canceled"));
    // The second is deleted by its new owner.
    let (name, id, ..) = &servers[1];
    sim.call("DELETE", &format!("/v1/servers/{id}"), None);
    eventually_within(LONG, "its run is over with it", || {
        let status = project.status(name)?;
        (status["phase"] == "Canceled").then_some(())
    });
    // The third is given up: its new owner keeps it.
    let (name, id, ..) = &servers[2];
    let said = project.clawdlets(&["cattle", "destroy", name]).ok();
    assert!(said.stdout.contains("given up"), "{said:?}");
    project.wait_for(name, "/phase", &json!("Canceled"));
    assert_eq!(only(&sim)["id"], *id);
    let deletes = |id: u64| {
        let calls = sim.calls_since(0);
        let of =
            move |call: &&Value| call["operation"] == "delete_server" && call["serverId"] == id;
        calls.iter().filter(of).count()
    };
    assert_eq!(deletes(*id), 0, "it was never even tried");
}

#[test]
fn a_second_server_with_a_runs_labels_is_shown_and_goes_with_the_run() {
    let (project, sim, _controller) = start();
    project.drop_spec("worker", &Project::spec("wait go", &[]));
    project.wait_for("worker", "/phase", &json!("Running"));
    let first = only(&sim);
    let body = json!({
        "name": "copy", "server_type": "cx23", "image": "ubuntu-24.04", "location": "nbg1",
        "labels": first["labels"],
    });
    let copy = sim.call("POST", "/v1/servers", Some(&body));
    let copy = id_of(&copy["server"]);

    let status = project.wait_until("worker", "its duplicate is shown", |status| {
        condition(status, "Duplicate").is_some()
    });
    let said = condition(&status, "Duplicate").unwrap()["message"].clone();
    assert!(said.as_str().unwrap().contains(&copy.to_string()), "{said}");
    assert_eq!(status["phase"], "Running");
    let list = project.list();
    let item = list
        .iter()
        .find(|item| item["run"]["server"]["id"] == copy)
        .unwrap_or_else(|| panic!("the copy is in no list: {list:#?}"));
    assert_eq!(item["name"], "copy");
    assert!(condition(item, "Duplicate").is_some(), "{item:#}");
    let table = project.clawdlets(&["cattle", "list"]).ok();
    assert!(table.stdout.contains("duplicate"), "{table:?}");
    assert!(events(&project, "worker").contains("duplicate-found"));
    let (_, metrics) = project.get("/metrics").unwrap();
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("cattle_servers_duplicate 1"), "{metrics}");

    std::fs::write(project.ran().join("go"), "").unwrap();
    project.wait_for("worker", "/phase", &json!("Succeeded"));
    eventually_within(LONG, "both are gone", || {
        sim.living().is_empty().then_some(())
    });
}
