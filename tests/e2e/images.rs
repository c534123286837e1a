//! Images by their labels, and pairs of server type and location that are refused.

use std::time::Duration;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually_within};
use serde_json::{Value, json};

/// What is not there is looked for every minute.
const LOOKED_FOR_AGAIN: Duration = Duration::from_secs(120);

const SELECTOR: &str = "role=e2e-image";

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == kind)
}

fn upload(sim: &Sim, id: u64, created: &str) {
    let snapshot = json!({
        "id": id, "architecture": "x86", "created": created, "labels": { "role": "e2e-image" },
    });
    sim.call("POST", "/_sim/images", Some(&snapshot));
}

/// What was asked of the images, and what servers were made of.
fn asked(sim: &Sim) -> Vec<String> {
    let calls = sim.calls_since(0);
    let paths = calls.iter().filter_map(|call| call["path"].as_str());
    let of_images = paths.filter(|path| path.starts_with("/v1/images"));
    of_images.map(ToOwned::to_owned).collect()
}

#[test]
fn a_fleet_whose_image_is_missing_says_so_and_starts_when_there_is_one() {
    let project = Project::new();
    project.configure(|fleet| fleet["cattle"]["hetzner"]["image"] = json!(SELECTOR));
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("waits", &Project::spec("ok", &[]));

    let status = project.wait_for("waits", "/reason", &json!("config"));
    let message = "no snapshot has the labels `role=e2e-image`";
    assert!(status["message"].as_str().unwrap().starts_with(message));
    let image = condition(&status, "ImageResolved").unwrap();
    assert_eq!(
        (&image["status"], &image["reason"]),
        (&json!(false), &json!("missing"))
    );
    let list = project.clawdlets(&["cattle", "list"]).ok();
    let said = format!("{}{}", list.stdout, list.stderr);
    assert!(said.contains(message), "{said}");
    assert!(said.contains("hcloud image add-label"), "{said}");
    let spawned = project.clawdlets(&[
        "cattle",
        "spawn",
        "--persona",
        "rex",
        "--message",
        "ok",
        "--name",
        "another",
    ]);
    assert_eq!(spawned.code, Some(6), "{spawned:?}");
    assert!(spawned.stderr.contains(message), "{spawned:?}");

    upload(&sim, 700_001, "2026-11-19T08:00:00Z");
    upload(&sim, 700_002, "2026-11-20T08:00:00Z");

    eventually_within(LOOKED_FOR_AGAIN, "it starts by itself", || {
        let status = project.status("waits")?;
        (status["phase"] == "Succeeded").then_some(())
    });
    let made = &sim.deleted()[0];
    assert_eq!(made["image"]["id"], 700_002, "{made:#}");
    let asked = asked(&sim);
    assert!((2..=4).contains(&asked.len()), "{asked:?}");
}

#[test]
fn out_of_stock_names_each_refusal_and_asks_for_nothing_again_too_soon() {
    let project = Project::new();
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cpx22", "cax11"]);
        fleet["cattle"]["hetzner"]["locations"] = json!(["nbg1", "fsn1"]);
    });
    let sim = Sim::start(&project, &SimOptions::default());
    let stock = |pairs: Value| sim.call("PUT", "/_sim/stock", Some(&pairs));
    stock(json!({ "all": "out_of_stock", "pairs": [
        { "serverType": "cpx22", "location": "fsn1", "supply": "withheld" },
    ] }));
    let _controller = Controller::start(&project, &sim, &[]);
    let names = ["job-0", "job-1", "job-2"];
    project.drop_spec(names[0], &Project::spec("ok", &[]));

    let status = project.wait_for(names[0], "/reason", &json!("out-of-stock"));

    let message = status["message"].as_str().unwrap();
    for told in [
        "cpx22 in nbg1: error during placement (resource_unavailable), tried again at ",
        "cpx22 in fsn1: unsupported location for server type (invalid_input), tried again at ",
    ] {
        assert!(message.contains(told), "{message}");
    }
    // The image is x86: of the arm type nothing is asked, and later starts ask for nothing at all.
    let creates = || {
        let writes = sim.writes_since(0);
        writes.iter().filter(|it| *it == "POST /v1/servers").count()
    };
    assert_eq!(creates(), 2, "{message}");
    for name in &names[1..] {
        project.drop_spec(name, &Project::spec("ok", &[]));
        let status = project.wait_for(name, "/reason", &json!("out-of-stock"));
        let message = status["message"].as_str().unwrap();
        assert!(message.contains("cpx22 in nbg1: error during"), "{message}");
    }
    assert_eq!(creates(), 2);
}

#[test]
fn a_pair_that_cannot_be_is_a_matter_of_configuration() {
    let project = Project::new();
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cax11", "cx24"]);
        fleet["cattle"]["hetzner"]["locations"] = json!(["nbg1"]);
    });
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("waits", &Project::spec("ok", &[]));

    let status = project.wait_for("waits", "/reason", &json!("config"));

    let message = status["message"].as_str().unwrap();
    for told in [
        "cax11 in nbg1: its architecture is arm, image `123456` is for x86",
        "cx24 in nbg1: there is no such type, did you mean `cx23`?",
    ] {
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(sim.servers_of("waits").len(), 0);
    project.configure(|fleet| fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cx23"]));
    project.wait_for("waits", "/phase", &json!("Succeeded"));
}
