//! Every fault on every operation, before and after its effect.

use rstest::rstest;

use super::*;
use crate::message::{Body, Delivery};

/// One deed of a client, and how to see that it took effect.
struct Deed {
    operation: &'static str,
    method: &'static str,
    path: fn(u64) -> String,
    body: fn() -> Value,
    took_effect: fn(&mut Account, u64) -> bool,
}

/// The calls that a controller of servers makes. Reads have no effect to be seen.
const DEEDS: [Deed; 8] = [
    Deed {
        operation: "create_server",
        method: "POST",
        path: |_| "/v1/servers".to_owned(),
        body: || order("b"),
        took_effect: |account, _| account.get("/_sim/state")["serversCreated"] == 2,
    },
    Deed {
        operation: "update_server",
        method: "PUT",
        path: |id| format!("/v1/servers/{id}"),
        body: || json!({"labels": {"new": "1"}}),
        took_effect: |account, _| {
            account.get("/_sim/state")["servers"][0]["labels"] == json!({"new": "1"})
        },
    },
    Deed {
        operation: "delete_server",
        method: "DELETE",
        path: |id| format!("/v1/servers/{id}"),
        body: || Value::Null,
        took_effect: |account, _| account.get("/_sim/state")["servers"][0]["status"] == "deleting",
    },
    Deed {
        operation: "poweroff_server",
        method: "POST",
        path: |id| format!("/v1/servers/{id}/actions/poweroff"),
        body: || Value::Null,
        took_effect: |account, _| account.get("/_sim/state")["servers"][0]["status"] == "stopping",
    },
    Deed {
        operation: "list_servers",
        method: "GET",
        path: |_| "/v1/servers".to_owned(),
        body: || Value::Null,
        took_effect: |_, _| false,
    },
    Deed {
        operation: "get_server",
        method: "GET",
        path: |id| format!("/v1/servers/{id}"),
        body: || Value::Null,
        took_effect: |_, _| false,
    },
    Deed {
        operation: "list_actions",
        method: "GET",
        path: |_| "/v1/actions?id=600000000000000".to_owned(),
        body: || Value::Null,
        took_effect: |_, _| false,
    },
    Deed {
        operation: "list_images",
        method: "GET",
        path: |_| "/v1/images".to_owned(),
        body: || Value::Null,
        took_effect: |_, _| false,
    },
];

/// What a client sees of a struck call.
#[derive(Debug, PartialEq)]
enum Seen {
    Error(u16, String),
    Raw(u16, &'static str),
    Empty(u16),
    Json(u16, Value),
    Nothing(Delivery),
    Half,
}

fn seen(answer: &Answer) -> Seen {
    match (&answer.delivery, &answer.body) {
        (Delivery::Cut | Delivery::Hang(_), _) => Seen::Nothing(answer.delivery),
        (Delivery::Half, _) => Seen::Half,
        (_, Body::Empty) => Seen::Empty(answer.status),
        (_, Body::Raw { content_type, .. }) => Seen::Raw(answer.status, content_type),
        (_, Body::Json(body)) => match body["error"]["code"].as_str() {
            Some(code) => Seen::Error(answer.status, code.to_owned()),
            None => Seen::Json(answer.status, body.clone()),
        },
    }
}

fn error(status: u16, code: &str, details: Value) -> (Value, Seen) {
    let fault = json!({"kind": "json", "status": status, "code": code, "details": details});
    (fault, Seen::Error(status, code.to_owned()))
}

/// Faults whose reply does not depend on the right one, and what is seen of them.
fn faults() -> Vec<(Value, Seen)> {
    let nothing = Value::Null;
    let mut all: Vec<(Value, Seen)> = [
        (400, "json_error"),
        (401, "unauthorized"),
        (401, "token_readonly"),
        (403, "forbidden"),
        (403, "maintenance"),
        (404, "not_found"),
        (409, "conflict"),
        (409, "uniqueness_error"),
        (412, "resource_unavailable"),
        (412, "placement_error"),
        (422, "invalid_input"),
        (422, "service_error"),
        (422, "unsupported_error"),
        (423, "locked"),
        (423, "protected"),
        (429, "rate_limit_exceeded"),
        (500, "server_error"),
        (502, "bad_gateway"),
        (503, "unavailable"),
        (504, "timeout"),
        // None that any client knows.
        (418, "moon_phase_error"),
    ]
    .into_iter()
    .map(|(status, code)| error(status, code, nothing.clone()))
    .collect();
    all.push(error(
        403,
        "resource_limit_exceeded",
        json!({"limits": [{"name": "server_limit"}]}),
    ));
    let hang = std::time::Duration::from_secs(60);
    all.extend([
        (json!({"kind": "html"}), Seen::Raw(502, "text/html")),
        (
            json!({"kind": "html", "status": 200}),
            Seen::Raw(200, "text/html"),
        ),
        (json!({"kind": "text"}), Seen::Raw(504, "text/plain")),
        (
            json!({"kind": "rate_limited"}),
            Seen::Error(429, "rate_limit_exceeded".to_owned()),
        ),
        (json!({"kind": "cut"}), Seen::Nothing(Delivery::Cut)),
        (
            json!({"kind": "hang", "ms": 60_000}),
            Seen::Nothing(Delivery::Hang(hang)),
        ),
        (
            json!({"kind": "odd_json", "body": {}}),
            Seen::Json(200, json!({})),
        ),
    ]);
    all
}

#[rstest]
#[case::before("before")]
#[case::after("after")]
fn every_fault_strikes_every_operation_before_or_after_its_effect(#[case] when: &str) {
    for deed in &DEEDS {
        for (fault, expected) in faults() {
            let mut account = Account::new();
            let id = account.running("a");
            let told = format!("{} {when} {fault}", deed.operation);
            account.fault(&json!({
                "match": {"operation": deed.operation}, "when": when, "fault": fault,
            }));
            let mut request = Request::new(deed.method, &(deed.path)(id));
            let body = (deed.body)();
            if !body.is_null() {
                request = request.json(&body);
            }
            let struck = account.send(&request);
            assert_eq!(seen(&struck), expected, "{told}");
            let effect = when == "after" && deed.method != "GET";
            assert_eq!((deed.took_effect)(&mut account, id), effect, "{told}");
            assert!(account.send(&request).status < 500, "{told}: only once");
        }
    }
}

#[test]
fn every_reply_can_arrive_in_part_or_late_or_without_a_body_and_the_call_took_effect() {
    for deed in &DEEDS {
        for kind in [
            "drop_reply",
            "truncated",
            "half_json",
            "empty_body",
            "delay",
        ] {
            let mut account = Account::new();
            let id = account.running("a");
            let mut fault = json!({"kind": kind});
            if kind == "delay" {
                fault["ms"] = json!(50);
            }
            account.fault(&json!({"match": {"operation": deed.operation}, "fault": fault}));
            let mut request = Request::new(deed.method, &(deed.path)(id));
            let body = (deed.body)();
            if !body.is_null() {
                request = request.json(&body);
            }
            let struck = account.send(&request);
            let told = format!("{} {kind}: {struck:?}", deed.operation);
            match (kind, seen(&struck)) {
                ("drop_reply", Seen::Nothing(Delivery::Cut)) | ("truncated", Seen::Half) => {}
                ("empty_body", Seen::Empty(200 | 201)) => {}
                ("delay", Seen::Json(200 | 201, _)) => {}
                ("half_json", Seen::Raw(200 | 201, "application/json")) => {
                    let Body::Raw { bytes, .. } = &struck.body else {
                        panic!("{told}")
                    };
                    let parsed = serde_json::from_slice::<Value>(bytes);
                    assert!(parsed.unwrap_err().is_eof(), "{told}");
                }
                _ => panic!("{told}"),
            }
            let effect = deed.method != "GET";
            assert_eq!((deed.took_effect)(&mut account, id), effect, "{told}");
        }
    }
}

#[test]
fn enum_values_can_be_unknown_and_keys_new_wherever_they_are() {
    let mut account = Account::new();
    let mut labelled = order("a");
    labelled["labels"] = json!({"team": "x"});
    account.create(&labelled);
    let on_list = |fault: Value| json!({"match": {"operation": "list_servers"}, "fault": fault});
    account.fault(&on_list(json!({
        "kind": "replace_keys",
        "keys": {"servers.status": "dreaming", "server_type.cpu_type": "quantum", "blocked": 7},
    })));
    let odd = account.get("/v1/servers")["servers"][0].clone();
    assert_eq!(odd["status"], "dreaming");
    assert_eq!(odd["image"]["status"], "available", "another status");
    assert_eq!(odd["server_type"]["cpu_type"], "quantum");
    assert_eq!(odd["public_net"]["ipv4"]["blocked"], 7);

    account.fault(&on_list(
        json!({"kind": "extra_keys", "keys": {"novelty": {"a": [1]}}}),
    ));
    let body = account.get("/v1/servers");
    let novelty = json!({"a": [1]});
    for place in [
        "",
        "/meta/pagination",
        "/servers/0",
        "/servers/0/server_type/prices/0",
    ] {
        assert_eq!(body.pointer(place).unwrap()["novelty"], novelty, "{place}");
    }
    assert_eq!(body["servers"][0]["labels"], json!({"team": "x"}));

    account.fault(&on_list(
        json!({"kind": "missing_keys", "keys": ["servers.labels"]}),
    ));
    let body = account.get("/v1/servers");
    assert_eq!(body["servers"][0].get("labels"), None);
    assert!(body["servers"][0]["image"].get("labels").is_some());
    assert_eq!(
        account.get("/v1/servers")["servers"][0]["status"],
        "initializing"
    );
}

#[test]
fn one_server_can_be_odd_among_good_ones() {
    let mut account = Account::new();
    for name in ["good", "odd", "good-too"] {
        account.create(&order(name));
    }
    account.fault(&json!({"match": {"operation": "list_servers"}, "fault": {
        "kind": "missing_keys", "keys": ["servers.labels", "next_page"], "only": "odd",
    }}));
    let body = account.get("/v1/servers");
    let labelled: Vec<bool> = (0..3)
        .map(|n| body["servers"][n].get("labels").is_some())
        .collect();
    assert_eq!(labelled, [true, false, true]);
    assert!(body["meta"]["pagination"].get("next_page").is_some());
    account.fault(&json!({"match": {"operation": "get_server"}, "fault": {
        "kind": "replace_keys", "keys": {"server.status": "dreaming"}, "only": "good*",
    }, "count": 0}));
    let ids: Vec<u64> = (0..3)
        .map(|n| body["servers"][n]["id"].as_u64().unwrap())
        .collect();
    let statuses: Vec<Value> = ids
        .iter()
        .map(|id| account.server(*id)["status"].clone())
        .collect();
    assert_eq!(statuses, ["dreaming", "initializing", "dreaming"]);
}

#[test]
fn a_server_can_vanish_right_after_its_201() {
    let mut account = Account::new();
    account.fault(&json!({
        "match": {"operation": "create_server"}, "fault": {"kind": "vanishes"},
    }));
    let reply = account.post("/v1/servers", &order("a"));
    assert_eq!(reply.status, 201);
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(account.status_of("GET", &format!("/v1/servers/{id}")), 404);
    assert_eq!(account.get("/v1/servers")["servers"], json!([]));
    let action = account.action(&reply);
    assert_eq!(action["status"], "error");
    assert_eq!(action["error"]["code"], "server_does_not_exist_anymore");
    assert_eq!(account.get("/_sim/cost")["total"], "0.0000");
}

#[rstest]
#[case::all(json!({"kind": "loses_labels"}), json!({}))]
#[case::one(json!({"kind": "loses_labels", "keys": ["run"]}), json!({"team": "x"}))]
fn a_server_can_lose_the_labels_that_its_201_shows(#[case] fault: Value, #[case] left: Value) {
    let mut account = Account::new();
    account.fault(&json!({"match": {"operation": "create_server"}, "fault": fault}));
    let mut labelled = order("a");
    labelled["labels"] = json!({"team": "x", "run": "1"});
    let reply = account.post("/v1/servers", &labelled);
    assert_eq!(reply.value()["server"]["labels"], labelled["labels"]);
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(account.server(id)["labels"], left);
}

#[test]
fn a_token_can_become_read_only_or_be_revoked_and_come_back() {
    let mut account = Account::with(timed().token("token"));
    let id = account.running("a");
    account.put("/_sim/account", &json!({"token": "read_only"}));
    assert_eq!(code(&account.delete(id)), (401, "token_readonly"));
    assert_eq!(account.status_of("GET", "/v1/servers"), 200);
    let mut stranger = Request::new("GET", "/v1/servers");
    stranger.bearer = Some("wrong".to_owned());
    assert_eq!(account.send(&stranger).status, 401);
    account.put("/_sim/account", &json!({"token": "revoked"}));
    assert_eq!(account.status_of("GET", "/v1/servers"), 401);
    assert_eq!(account.get("/_sim/state")["token"], "revoked");
    account.put("/_sim/account", &json!({"token": "valid"}));
    assert_eq!(account.delete(id).status, 200);
}

#[test]
fn snapshots_come_and_go_by_the_control_api() {
    let mut account = Account::new();
    let query = "/v1/images?type=snapshot&label_selector=role=cattle-image&architecture=arm\
                 &status=available&sort=created:desc";
    let newest = |account: &mut Account| account.get(query)["images"][0]["id"].clone();
    assert_eq!(newest(&mut account), 123_457);
    let snapshot = json!({
        "id": 777, "architecture": "arm", "diskSize": 80, "created": "2026-11-20T08:00:00Z",
        "labels": {"role": "cattle-image"},
    });
    let made = account.post("/_sim/images", &snapshot);
    assert_eq!(made.status, 201);
    assert_eq!(made.value()["image"]["disk_size"], 80);
    assert_eq!(account.post("/_sim/images", &snapshot).status, 422, "twice");
    assert_eq!(newest(&mut account), 777);
    let on = |kind: &str| {
        let mut body = order("a");
        body["server_type"] = json!(kind);
        body["image"] = json!("777");
        body
    };
    let refused = account.post("/v1/servers", &on("cax11"));
    assert_eq!(code(&refused), (422, "invalid_input"));
    assert_eq!(
        refused.value()["error"]["message"],
        "image disk is bigger than server type disk"
    );
    account.create(&on("cax21"));

    let unready = account.post("/_sim/images", &json!({"status": "creating"}));
    let id = unready.value()["image"]["id"].clone();
    assert_eq!(unready.value()["image"]["architecture"], "x86");
    let mut body = order("b");
    body["image"] = id.clone();
    assert_eq!(account.post("/v1/servers", &body).status, 422);

    let gone = Request::new("DELETE", "/_sim/images/777");
    assert_eq!(account.send(&gone).status, 204);
    assert_eq!(newest(&mut account), 123_457);
    assert_eq!(account.send(&gone).status, 404);
}

#[test]
fn server_ids_can_have_fifteen_digits() {
    let mut account = Account::with(timed().first_server_id(600_000_000_000_000));
    let id = account.create(&order("a"));
    assert_eq!(id.to_string().len(), 15);
    assert_eq!(account.server(id)["name"], "a");
}
