//! Scripted faults and the hand of the control API.

use super::*;
use crate::message::{Body, Delivery};

fn on_create(fault: Value) -> Value {
    json!({"match": {"operation": "create_server"}, "fault": fault})
}

#[test]
fn a_fault_strikes_before_the_effect_once_and_is_logged() {
    let mut account = Account::new();
    let rule = json!({"kind": "json", "status": 503, "code": "unavailable", "message": "later"});
    account.fault(&on_create(rule));
    let struck = account.post("/v1/servers", &order("a"));
    assert_eq!(code(&struck), (503, "unavailable"));
    assert!(struck.header("ratelimit-limit").is_some());
    assert_eq!(account.get("/v1/servers")["servers"], json!([]));
    assert_eq!(account.post("/v1/servers", &order("a")).status, 201);
    assert_eq!(account.get("/_sim/calls")["calls"][0]["fault"], 1);
    assert_eq!(account.get("/_sim/faults")["faults"][0]["struck"], 1);
}

#[test]
fn a_fault_after_the_effect_leaves_a_server_that_the_client_does_not_know() {
    let mut account = Account::new();
    account.fault(&json!({
        "match": {"method": "POST", "path": "/v1/servers", "serverName": "a*"},
        "when": "after",
        "fault": {"kind": "html"},
    }));
    assert_eq!(account.post("/v1/servers", &order("b")).status, 201);
    let struck = account.post("/v1/servers", &order("a1"));
    assert_eq!(struck.status, 502);
    assert!(matches!(
        struck.body,
        Body::Raw {
            content_type: "text/html",
            ..
        }
    ));
    assert_eq!(
        account.get("/v1/servers?name=a1")["servers"][0]["name"],
        "a1"
    );
}

#[test]
fn a_look_by_name_fails_beside_lists_that_do_not() {
    let mut account = Account::new();
    account.fault(&json!({
        "match": {"operation": "list_servers", "query": "name=*"}, "count": 0,
        "fault": {"kind": "html"},
    }));
    assert_eq!(account.status_of("GET", "/v1/servers?name=a"), 502);
    assert_eq!(account.status_of("GET", "/v1/servers"), 200);
    assert_eq!(account.status_of("GET", "/v1/servers?page=1"), 200);
}

#[test]
fn a_dropped_reply_took_effect_and_a_cut_one_did_not() {
    let mut account = Account::new();
    account.fault(&on_create(json!({"kind": "drop_reply"})));
    account.fault(&json!({
        "match": {"operation": "create_server"}, "nth": 2, "fault": {"kind": "cut"}
    }));
    let dropped = account.post("/v1/servers", &order("a"));
    let cut = account.post("/v1/servers", &order("b"));
    assert_eq!(dropped.delivery, Delivery::Cut);
    assert_eq!(cut.delivery, Delivery::Cut);
    let listed = account.get("/v1/servers");
    assert_eq!(listed["meta"]["pagination"]["total_entries"], 1);
    let log = account.get("/_sim/calls");
    assert_eq!(log["calls"][0]["status"], Value::Null);
    assert_eq!(log["calls"][0]["serverName"], "a");
}

#[test]
fn the_nth_call_and_a_count_choose_which_calls_are_struck() {
    let mut account = Account::new();
    account.fault(&json!({
        "match": {"operation": "list_servers"}, "nth": 2, "count": 2,
        "fault": {"kind": "text"},
    }));
    let statuses: Vec<u16> = (0..5)
        .map(|_| account.status_of("GET", "/v1/servers"))
        .collect();
    assert_eq!(statuses, [200, 504, 504, 200, 200]);
    account.fault(&json!({"count": 0, "fault": {"kind": "rate_limited", "leakToken": true}}));
    let limited = account.send(&Request::new("GET", "/v1/images"));
    assert_eq!(code(&limited), (429, "rate_limit_exceeded"));
    assert!(
        limited.value()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("token")
    );
    account.send(&Request::new("DELETE", "/_sim/faults"));
    assert_eq!(account.status_of("GET", "/v1/images"), 200);
}

#[test]
fn a_probability_strikes_some_calls_and_the_same_ones_for_the_same_seed() {
    let struck = |seed| -> Vec<bool> {
        let mut account = Account::with(timed().seed(seed));
        account.fault(&json!({"count": 0, "probability": 0.5, "fault": {"kind": "text"}}));
        (0..40)
            .map(|_| account.status_of("GET", "/v1/servers") == 504)
            .collect()
    };
    let first = struck(7);
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(first, struck(7));
    assert_ne!(first, struck(8));
}

#[test]
fn keys_can_go_missing_from_a_right_reply() {
    let mut account = Account::new();
    account.create(&order("a"));
    account.fault(&json!({
        "match": {"operation": "list_servers"},
        "fault": {"kind": "missing_keys", "keys": ["server_type", "next_page"]},
    }));
    let body = account.get("/v1/servers");
    assert_eq!(body["servers"][0].get("server_type"), None);
    assert_eq!(body["meta"]["pagination"].get("next_page"), None);
    assert_eq!(body["servers"][0]["name"], "a");
}

#[test]
fn odd_json_truncation_delays_and_hangs_are_passed_on() {
    let mut account = Account::new();
    account.fault(&json!({"fault": {"kind": "odd_json", "body": [1, "two"]}}));
    assert_eq!(account.get("/v1/servers"), json!([1, "two"]));
    account.fault(&json!({"fault": {"kind": "truncated"}}));
    let half = account.send(&Request::new("GET", "/v1/servers"));
    assert_eq!((half.status, half.delivery), (200, Delivery::Half));
    account.fault(&json!({"fault": {"kind": "delay", "ms": 70}}));
    let late = account.send(&Request::new("GET", "/v1/servers"));
    assert_eq!(
        late.delivery,
        Delivery::Late(std::time::Duration::from_millis(70))
    );
    account.fault(&json!({"fault": {"kind": "hang", "ms": 80}}));
    let hung = account.send(&Request::new("GET", "/v1/servers"));
    assert_eq!(
        hung.delivery,
        Delivery::Hang(std::time::Duration::from_millis(80))
    );
}

#[test]
fn a_misspelt_fault_is_refused() {
    let mut account = Account::new();
    for rule in [
        json!({"fault": {"kind": "explode"}}),
        json!({"fault": {"kind": "cut"}, "wehn": "after"}),
        json!({"fault": {"kind": "hang", "milliseconds": 5}}),
    ] {
        assert_eq!(account.post("/_sim/faults", &rule).status, 422, "{rule}");
    }
}

#[test]
fn a_failed_creation_is_a_404_after_the_201_and_costs_nothing() {
    let mut account = Account::new();
    account.fault(&on_create(json!({"kind": "action_error"})));
    let reply = account.post("/v1/servers", &order("a"));
    assert_eq!(reply.status, 201);
    assert_eq!(reply.value()["action"]["error"], Value::Null);
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    account.pass(1000);
    assert_eq!(account.action(&reply)["status"], "error");
    assert_eq!(account.action(&reply)["error"]["code"], "action_failed");
    let next = reply.value()["next_actions"][0]["id"].as_u64().unwrap();
    let next = account.get(&format!("/v1/actions/{next}"));
    assert_eq!(
        next["action"]["error"]["code"],
        "server_does_not_exist_anymore"
    );
    assert_eq!(account.status_of("GET", &format!("/v1/servers/{id}")), 404);
    assert_eq!(account.get("/_sim/cost")["total"], "0.0000");
    assert_eq!(account.post("/v1/servers", &order("a")).status, 201);
}

#[test]
fn a_stuck_server_initializes_for_good_bills_and_can_be_deleted() {
    let mut account = Account::new();
    account.fault(&on_create(json!({"kind": "stuck_initializing"})));
    let reply = account.post("/v1/servers", &order("a"));
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(account.delete(id).status, 423);
    account.pass(3_600_000);
    assert_eq!(account.server(id)["status"], "initializing");
    assert_eq!(account.action(&reply)["status"], "running");
    assert_ne!(account.get("/_sim/cost")["total"], "0.0000");
    assert_eq!(account.delete(id).status, 200);
    account.pass(5000);
    assert_eq!(account.status_of("GET", &format!("/v1/servers/{id}")), 404);
    assert_eq!(account.action(&reply)["status"], "error");
}

#[test]
fn a_server_that_stays_off_comes_up_at_the_next_poweron() {
    let mut account = Account::new();
    account.fault(&on_create(json!({"kind": "stays_off"})));
    let id = account.create(&order("a"));
    assert_eq!(account.pass(60_000).server(id)["status"], "off");
    account.act(id, "poweron");
    assert_eq!(account.pass(2000).server(id)["status"], "running");
}

#[test]
fn a_delete_can_fail_in_its_action_or_never_end() {
    let mut account = Account::new();
    let id = account.running("a");
    let on_delete =
        |kind: &str| json!({"match": {"operation": "delete_server"}, "fault": {"kind": kind}});
    account.fault(&on_delete("action_error"));
    let failed = account.delete(id);
    account.pass(5000);
    assert_eq!(account.action(&failed)["status"], "error");
    assert_eq!(account.server(id)["status"], "off");
    account.fault(&on_delete("action_stuck"));
    let stuck = account.delete(id);
    account.pass(86_400_000);
    assert_eq!(account.action(&stuck)["status"], "running");
    assert_eq!(account.server(id)["status"], "deleting");
}

#[test]
fn servers_vanish_turn_off_stick_and_lose_labels_by_hand() {
    let mut account = Account::new();
    let mut body = order("a");
    body["labels"] = json!({"k": "v", "l": "w"});
    let id = account.create(&body);
    account.pass(10_000);
    account.post("/_sim/servers/a/strip-labels", &json!({"keys": ["k"]}));
    assert_eq!(account.server(id)["labels"], json!({"l": "w"}));
    account.put("/_sim/servers/a/labels", &json!({"labels": {"n": "1"}}));
    assert_eq!(account.server(id)["labels"], json!({"n": "1"}));
    account.post(&format!("/_sim/servers/{id}/off"), &json!({}));
    assert_eq!(account.server(id)["status"], "off");
    account.post("/_sim/servers/a/set-status", &json!({"status": "dreaming"}));
    assert_eq!(account.server(id)["status"], "dreaming");
    account.post("/_sim/servers/a/stick", &json!({}));
    assert_eq!(account.pass(99_000).server(id)["status"], "initializing");
    account.post("/_sim/servers/a/lock", &json!({"ms": 500}));
    assert_eq!(account.delete(id).status, 423);
    account.post("/_sim/servers/a/vanish", &json!({}));
    assert_eq!(account.status_of("GET", &format!("/v1/servers/{id}")), 404);
    assert_eq!(
        account.post("/_sim/servers/a/vanish", &json!({})).status,
        404
    );
}

#[test]
fn timings_change_for_what_begins_later() {
    let mut account = Account::new();
    account.put("/_sim/timing", &json!({"createMs": 0, "bootMs": 0}));
    let id = account.create(&order("a"));
    assert_eq!(account.server(id)["status"], "running");
}
