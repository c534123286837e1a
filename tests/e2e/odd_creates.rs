//! Creates that were accepted and answered oddly: each server is found by its name and run, and
//! there is never a second one.

use cattle_tests::{Controller, Project, Sim, SimOptions};
use serde_json::json;

#[test]
fn no_reply_to_a_create_costs_a_server_or_makes_two() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let many = "x".repeat(512 * 1024);
    let replies = [
        ("empty", json!({ "kind": "empty_body" })),
        ("page", json!({ "kind": "html", "status": 200 })),
        ("truncated", json!({ "kind": "truncated" })),
        ("half", json!({ "kind": "half_json" })),
        (
            "object",
            json!({ "kind": "odd_json", "status": 201, "body": {} }),
        ),
        (
            "array",
            json!({ "kind": "odd_json", "status": 201, "body": [] }),
        ),
        (
            "null",
            json!({ "kind": "odd_json", "status": 201, "body": null }),
        ),
        (
            "nameless",
            json!({ "kind": "missing_keys", "keys": ["server.id"] }),
        ),
        (
            "texts",
            json!({ "kind": "replace_keys", "keys": { "server.id": "forty-two" } }),
        ),
        (
            "long",
            json!({ "kind": "text", "status": 201, "body": many }),
        ),
        (
            "words",
            json!({ "kind": "replace_keys", "keys": { "server.status": "dreaming", "action.status": "pondering", "server.server_type": 7 } }),
        ),
        (
            "bare",
            json!({ "kind": "missing_keys", "keys": ["server.name", "server.labels", "server.created", "action", "next_actions"] }),
        ),
        (
            "more",
            json!({ "kind": "extra_keys", "keys": { "novelty": [null] } }),
        ),
        (
            "redirect",
            json!({ "kind": "text", "status": 302, "body": "elsewhere" }),
        ),
        ("gateway", json!({ "kind": "text", "status": 504 })),
        (
            "failed",
            json!({ "kind": "json", "status": 500, "code": "server_error", "message": "oops" }),
        ),
        (
            "mixed",
            json!({ "kind": "json", "status": 503, "code": "resource_unavailable", "message": "?" }),
        ),
        ("lost", json!({ "kind": "drop_reply" })),
    ];
    for (name, fault) in &replies {
        let matching =
            json!({ "operation": "create_server", "serverName": format!("cattle-{name}-*") });
        let rule = json!({ "match": matching, "when": "after", "fault": fault });
        sim.call("POST", "/_sim/faults", Some(&rule));
    }
    let _controller = Controller::start(&project, &sim, &[]);
    for (name, _) in &replies {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
    }
    for (name, fault) in &replies {
        // The guest may report in before its server is found.
        let status = project.wait_until(name, "it runs on a server that is known", |status| {
            status["phase"] == "Running" && status["run"]["server"]["id"].is_u64()
        });
        let servers = sim.servers_of(name);
        assert_eq!(servers.len(), 1, "{fault}: {servers:#?}");
        assert_eq!(servers[0]["id"], status["run"]["server"]["id"], "{fault}");
        assert_eq!(servers[0]["labels"]["run"], status["run"]["run"], "{fault}");
        assert_eq!(project.runs_of(name), 1, "{fault}");
    }
    let rules = sim.call("GET", "/_sim/faults", None);
    for rule in rules["faults"].as_array().unwrap() {
        assert_eq!(rule["struck"], 1, "{rule}");
    }
    let created = sim.state()["serversCreated"].as_u64();
    assert_eq!(created, Some(replies.len() as u64));
}
