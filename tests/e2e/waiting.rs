//! What waits starts when its cause is mended, and not when some time of its own is over.

use std::fs;

use cattle_tests::{Controller, MODEL_KEY, Project, SSH_KEY, Sim, SimOptions, eventually};
use serde_json::{Value, json};

fn stock(sim: &Sim, change: &Value) {
    sim.call("PUT", "/_sim/stock", Some(change));
}

fn everything(supply: &str) -> Value {
    json!({ "all": supply })
}

fn succeeds(project: &Project, name: &str) -> Value {
    project.wait_for(name, "/phase", &json!("Succeeded"))
}

/// One pair, which nobody has.
fn out_of_stock() -> (Project, Sim) {
    let project = Project::new();
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cx23"]);
        fleet["cattle"]["hetzner"]["locations"] = json!(["nbg1"]);
        fleet["cattle"]["limits"]["serverTypes"] = json!(["cx23", "cpx22"]);
        fleet["cattle"]["limits"]["locations"] = json!(["nbg1", "fsn1"]);
    });
    let sim = Sim::start(&project, &SimOptions::default());
    let pair = json!({ "serverType": "cx23", "location": "nbg1", "supply": "out_of_stock" });
    stock(&sim, &json!({ "pairs": [pair] }));
    (project, sim)
}

#[test]
fn a_waiting_run_takes_what_the_fleet_or_its_spec_names_now() {
    let (project, sim) = out_of_stock();
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["by-fleet", "by-spec"] {
        project.drop_spec(name, &Project::spec("ok", &[]));
        project.wait_for(name, "/reason", &json!("out-of-stock"));
    }
    let text = Project::spec("ok", &["hetzner: { locations: [nbg1, fsn1] }"]);
    project.drop_spec("by-spec", &text);
    succeeds(&project, "by-spec");
    let waits = project.status("by-fleet").unwrap();
    assert_eq!(waits["phase"], "Pending", "{waits:#}");
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cx23", "cpx22"]);
    });
    let ran = succeeds(&project, "by-fleet");
    assert_eq!(ran["run"]["server"]["serverType"], "cpx22", "{ran:#}");
    assert!(ran["earlierRuns"].is_null(), "{ran:#}");
}

#[test]
fn a_waiting_run_whose_image_was_deleted_takes_the_one_that_the_fleet_names_now() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let quota = |servers: u32| {
        sim.call(
            "PUT",
            "/_sim/quota",
            Some(&json!({ "maxServers": servers })),
        );
    };
    quota(0);
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("waits", &Project::spec("ok", &[]));
    project.wait_for("waits", "/reason", &json!("account"));
    sim.call("DELETE", "/_sim/images/123456", None);
    sim.call(
        "POST",
        "/_sim/images",
        Some(&json!({ "id": 700_001, "architecture": "x86" })),
    );
    quota(50);
    project.configure(|fleet| fleet["cattle"]["hetzner"]["image"] = json!("700001"));
    succeeds(&project, "waits");
    assert_eq!(sim.deleted()[0]["image"]["id"], 700_001);
}

#[test]
fn after_a_restart_who_waited_longest_is_served_first_and_at_once() {
    let (project, sim) = out_of_stock();
    project.configure(|fleet| fleet["cattle"]["hetzner"]["maxInstances"] = json!(1));
    let mut controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("older", &Project::spec("ok", &[]));
    project.wait_for("older", "/reason", &json!("out-of-stock"));
    project.drop_spec("newer", &Project::spec("ok", &[]));
    project.wait_for("newer", "/reason", &json!("out-of-stock"));
    controller.terminate();
    stock(&sim, &everything("available"));
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["older", "newer"] {
        succeeds(&project, name);
    }
    let order: Vec<_> = sim
        .deleted()
        .iter()
        .map(|server| server["labels"]["cattle-name"].clone())
        .collect();
    assert_eq!(order, ["older", "newer"]);
}

#[test]
fn retry_asks_for_a_look_at_once_and_rerun_is_not_refused() {
    let (project, sim) = out_of_stock();
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["one", "two"] {
        project.drop_spec(name, &Project::spec("ok", &[]));
        project.wait_for(name, "/reason", &json!("out-of-stock"));
    }
    stock(&sim, &everything("available"));
    let said = project.clawdlets(&["cattle", "retry", "one", "two"]).ok();
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
    for name in ["one", "two"] {
        succeeds(&project, name);
    }
    let refused = project.clawdlets(&["cattle", "retry", "one"]);
    assert_eq!(refused.code, Some(6), "{refused:?}");
    assert!(refused.stderr.contains("`rerun`"), "{refused:?}");

    let pair = json!({ "serverType": "cx23", "location": "nbg1", "supply": "out_of_stock" });
    stock(&sim, &json!({ "pairs": [pair] }));
    project.drop_spec("three", &Project::spec("ok", &[]));
    project.wait_for("three", "/reason", &json!("out-of-stock"));
    stock(&sim, &everything("available"));
    let _ = project.clawdlets(&["cattle", "rerun", "three"]).ok();
    succeeds(&project, "three");
    assert_eq!(project.runs_of("three"), 1);
}

#[test]
fn a_firewall_that_was_deleted_by_hand_is_made_again_and_nobody_waits() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("first", &Project::spec("ok", &[]));
    succeeds(&project, "first");
    sim.wait_until_empty();
    let firewalls = sim.call("GET", "/v1/firewalls", None);
    let id = firewalls["firewalls"][0]["id"].as_u64().unwrap();
    sim.call("DELETE", &format!("/v1/firewalls/{id}"), None);
    project.drop_spec("second", &Project::spec("ok", &[]));
    let ran = succeeds(&project, "second");
    assert_eq!(ran["run"]["attempt"], 1, "{ran:#}");
}

#[test]
fn an_ssh_key_that_was_deleted_by_hand_is_there_again_and_nobody_waits() {
    let project = Project::new();
    project.configure(|fleet| fleet["fleet"]["sshAuthorizedKeys"] = json!([SSH_KEY]));
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let runs = |name: &str| {
        project.drop_spec(name, &Project::spec("ok", &[]));
        let ran = succeeds(&project, name);
        assert_eq!(ran["run"]["attempt"], 1, "{ran:#}");
        assert!(ran["earlierRuns"].is_null(), "{ran:#}");
        let keys = sim.call("GET", "/v1/ssh_keys", None);
        let [key] = &keys["ssh_keys"].as_array().unwrap()[..] else {
            panic!("not one key: {keys:#}");
        };
        key.clone()
    };
    let delete = |key: &Value| sim.call("DELETE", &format!("/v1/ssh_keys/{}", key["id"]), None);
    let first = runs("first");

    delete(&first);
    let second = runs("second");
    assert_ne!(second["id"], first["id"], "it was uploaded again");

    // And uploaded again by whoever deleted it, under a name of theirs.
    delete(&second);
    let theirs = json!({ "name": "by-hand", "public_key": SSH_KEY });
    sim.call("POST", "/v1/ssh_keys", Some(&theirs));
    assert_eq!(runs("third")["name"], "by-hand");
}

#[test]
fn a_secret_that_appears_starts_what_waits_for_it() {
    let project = Project::new();
    let secret = project.secrets().join("zai_api_key");
    fs::remove_file(&secret).unwrap();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("waits", &Project::spec("ok", &[]));
    let waits = project.wait_for("waits", "/reason", &json!("config"));
    let message = waits["message"].as_str().unwrap();
    assert!(
        message.contains("there is no secret `zai_api_key`"),
        "{message}"
    );
    assert!(
        waits["run"].is_null(),
        "nothing was begun for it: {waits:#}"
    );
    fs::write(secret, MODEL_KEY).unwrap();
    succeeds(&project, "waits");
}

#[test]
fn a_token_that_is_taken_again_starts_what_it_was_refused_for() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let becomes = |token: &str| {
        sim.call("PUT", "/_sim/account", Some(&json!({ "token": token })));
    };
    becomes("read_only");
    let mut controller = Controller::start(&project, &sim, &[]);
    for name in ["ada", "bob"] {
        project.drop_spec(name, &Project::spec("ok", &[]));
        project.wait_for(name, "/reason", &json!("account"));
    }
    // With another token, as after it was exchanged.
    controller.terminate();
    becomes("valid");
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["ada", "bob"] {
        succeeds(&project, name);
    }
    eventually("nobody says that it is refused", || {
        project.get("/readyz").filter(|(status, _)| *status == 200)
    });
}
