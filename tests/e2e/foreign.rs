//! A Hetzner project is shared: with another fleet, with other tools, with people.

use std::process::Command;

use cattle_tests::{Controller, Project, Sim, SimOptions, TOKEN, binary, eventually};
use serde_json::{Value, json};

/// Long ago: whoever takes such a server for its own deletes it.
const EXPIRED: &str = "1000000000";

fn create(sim: &Sim, name: &str, labels: Value) -> u64 {
    let body = json!({
        "name": name, "server_type": "cx23", "image": "ubuntu-24.04", "location": "nbg1",
        "labels": labels,
    });
    let reply = sim.call("POST", "/v1/servers", Some(&body));
    reply["server"]["id"].as_u64().unwrap()
}

fn labels_of(sim: &Sim, id: u64) -> Value {
    let servers = sim.living();
    let found = servers.iter().find(|server| server["id"] == id);
    found.unwrap_or_else(|| panic!("server {id} is gone"))["labels"].clone()
}

#[test]
fn another_fleet_and_foreign_servers_are_never_touched() {
    let (ours, theirs) = (Project::new(), Project::new());
    theirs.configure(|fleet| fleet["cattle"]["fleet"] = json!("theirs"));
    let sim = Sim::start(&ours, &SimOptions::default());
    let mut neighbour = Controller::start(&theirs, &sim, &[]);
    // Of the same name as one of ours.
    theirs.drop_spec("worker", &Project::spec("sleep 300", &[]));
    theirs.wait_for("worker", "/phase", &json!("Running"));
    let their_server = sim.servers_of("worker")[0]["id"].as_u64().unwrap();
    // What follows is our doing alone.
    neighbour.kill();
    let ours_in_all = json!({
        "managed-by": "clawdlets", "cattle": "true", "fleet": "example",
        "cattle-name": "forgotten", "expires-at": EXPIRED,
    });
    let with = |key: &str, value: &str| {
        let mut labels = ours_in_all.clone();
        labels[key] = json!(value);
        labels
    };
    let foreign = [
        ("plain", json!({})),
        (
            "managed",
            json!({"managed-by": "clawdlets", "expires-at": EXPIRED}),
        ),
        ("no-cattle", with("cattle", "false")),
        ("third-fleet", with("fleet", "third")),
        ("other-manager", with("managed-by", "terraform")),
        (
            "apricote",
            with("apricote.de/created-by", "hcloud-upload-image"),
        ),
    ];
    let mut spared = vec![(their_server, labels_of(&sim, their_server))];
    for (name, labels) in foreign {
        spared.push((create(&sim, name, labels.clone()), labels));
    }
    // One that is ours and of a run nobody knows shows that this test would notice.
    let orphan = create(&sim, "orphan", ours_in_all.clone());
    let seen = sim.last_call();

    let _controller = Controller::start(&ours, &sim, &[]);
    ours.drop_spec("worker", &Project::spec("sleep 300", &["ttl: 1h"]));
    ours.wait_for("worker", "/phase", &json!("Running"));
    ours.drop_spec("worker", &Project::spec("sleep 300", &["ttl: 2h"]));
    ours.wait_for("worker", "/spec/ttl", &json!("2h"));
    let _ = ours.clawdlets(&["cattle", "reap"]).ok();
    for refused in ["plain", "third-fleet", &their_server.to_string()] {
        let said = ours.clawdlets(&["cattle", "destroy", refused]);
        assert_ne!(said.code, Some(0), "{refused}: {said:?}");
    }
    let _ = ours.clawdlets(&["cattle", "destroy", "worker"]).ok();
    eventually("what was ours is gone", || {
        sim.living()
            .iter()
            .all(|server| spared.iter().any(|(id, _)| server["id"] == *id))
            .then_some(())
    });
    let reaper = Command::new(binary("clf-orchestrator"))
        .args(["reap", "--fleet", "example"])
        .env("HCLOUD_TOKEN", TOKEN)
        .env("HCLOUD_ENDPOINT", sim.url())
        .output()
        .unwrap();
    assert!(reaper.status.success(), "{reaper:?}");

    for (id, labels) in &spared {
        assert_eq!(labels_of(&sim, *id), *labels);
    }
    let touched: Vec<Value> = sim
        .calls_since(seen)
        .into_iter()
        .filter(|call| call["method"] != "GET")
        .filter(|call| spared.iter().any(|(id, _)| call["serverId"] == *id))
        .collect();
    assert_eq!(touched, [Value::Null; 0]);
    let gone = sim.deleted();
    assert!(gone.iter().any(|server| server["id"] == orphan));
}
