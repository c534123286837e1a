//! Everything of one fleet goes, at once, with nothing but the token.

use std::process::Command;

use cattle_tests::{Controller, Project, Ran, Sim, SimOptions, TOKEN, binary};
use serde_json::{Value, json};

fn stop(sim: &Sim, args: &[&str]) -> Ran {
    let mut command = Command::new(binary("clf-orchestrator"));
    command
        .arg("stop")
        .args(args)
        .env("HCLOUD_TOKEN", TOKEN)
        .env("HCLOUD_ENDPOINT", sim.url())
        .env_remove("RUST_LOG");
    command.output().unwrap().into()
}

fn create(sim: &Sim, name: &str, labels: &Value) {
    let body = json!({
        "name": name, "server_type": "cpx22", "image": "debian-13", "location": "nbg1", "labels": labels,
    });
    sim.call("POST", "/v1/servers", Some(&body));
}

fn names(sim: &Sim) -> Vec<String> {
    let servers = sim.living();
    let name = |server: &Value| server["name"].as_str().unwrap().to_owned();
    servers.iter().map(name).collect()
}

#[test]
fn every_server_of_the_fleet_goes_and_no_other() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = Controller::start(&project, &sim, &[]);
    for name in ["one", "two"] {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
        project.wait_for(name, "/phase", &json!("Running"));
    }
    controller.kill();
    let ours = json!({ "managed-by": "clawdlets", "cattle": "true", "fleet": "example" });
    let with = |key: &str, value: &str| {
        let mut labels = ours.clone();
        labels[key] = json!(value);
        labels
    };
    create(&sim, "orphan", &ours);
    create(&sim, "theirs", &with("fleet", "theirs"));
    create(&sim, "no-cattle", &with("cattle", "false"));
    create(
        &sim,
        "uploader",
        &with("apricote.de/created-by", "hcloud-upload-image"),
    );
    create(&sim, "plain", &json!({}));
    let spared = ["theirs", "no-cattle", "uploader", "plain"];

    for args in [
        &["--fleet", "example"][..],
        &["--fleet", "example", "--confirm", "exmaple"],
        &["--fleet", "example", "--confirm", ""],
    ] {
        let refused = stop(&sim, args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let told = "clf-orchestrator stop --fleet example --confirm example";
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
    let dry = stop(&sim, &["--fleet", "example", "--dry-run", "-o", "json"]).ok();
    assert_eq!(dry.json()["servers"].as_array().unwrap().len(), 3);
    assert_eq!(sim.living().len(), 7, "nothing was deleted yet");

    let done = stop(
        &sim,
        &["--fleet", "example", "--confirm", "example", "-o", "json"],
    )
    .ok();

    assert_eq!(names(&sim), spared);
    let reply = done.json();
    assert_eq!(reply["remaining"], 0, "{reply:#}");
    assert_eq!(reply["servers"].as_array().unwrap().len(), 3);
    assert!(done.stderr.contains("gone"), "no progress: {done:?}");
    assert!(done.stderr.contains("clawdlets cattle pause"), "{done:?}");
    let again = stop(&sim, &["--fleet", "example", "--confirm", "example"]).ok();
    assert!(
        again.stdout.contains("no server of fleet example"),
        "{again:?}"
    );
}

#[test]
fn one_that_cannot_be_deleted_stops_no_other() {
    let project = Project::new();
    let options = SimOptions {
        without_guests: true,
        ..SimOptions::default()
    };
    let sim = Sim::start(&project, &options);
    let ours = json!({ "managed-by": "clawdlets", "cattle": "true", "fleet": "example" });
    for name in ["a", "b", "c"] {
        create(&sim, name, &ours);
    }
    let rule = json!({
        "match": { "operation": "delete_server", "serverName": "a" }, "count": 0,
        "fault": { "kind": "json", "status": 423, "code": "protected", "message": "server is protected" },
    });
    sim.call("POST", "/_sim/faults", Some(&rule));

    let done = stop(&sim, &["--fleet", "example", "--confirm", "example"]);

    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(names(&sim), ["a"]);
    let said = done.stdout.lines().last().unwrap();
    assert!(
        said.contains("1 of 3") && said.contains("remain"),
        "{done:?}"
    );
    assert!(done.stdout.contains("server is protected"), "{done:?}");
}
