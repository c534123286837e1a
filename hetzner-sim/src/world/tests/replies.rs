//! What replies look like.

use rstest::rstest;

use super::*;

/// Sorted keys of an object, for comparing with what clients insist on.
fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_server_has_every_key_of_the_api_and_no_datacenter() {
    let mut account = Account::new();
    let id = account.running("a");
    let server = account.server(id);
    insta::assert_snapshot!(keys(&server).join(" "), @"backup_window created id image included_traffic ingoing_traffic iso labels load_balancers location locked name outgoing_traffic placement_group primary_disk_size private_net protection public_net rescue_enabled server_type status volumes");
    insta::assert_snapshot!(keys(&server["public_net"]).join(" "), @"firewalls floating_ips ipv4 ipv6");
    insta::assert_snapshot!(keys(&server["public_net"]["ipv6"]).join(" "), @"blocked dns_ptr id ip");
}

#[test]
fn an_image_has_its_deprecation_and_the_old_key_only_on_request() {
    let mut today = Account::new();
    let image = today.get("/v1/images/123456")["image"].clone();
    insta::assert_snapshot!(keys(&image).join(" "), @"architecture bound_to created created_from deleted deprecation description disk_size id image_size labels name os_flavor os_version protection rapid_deploy status type");
    let mut before = Account::with(timed().legacy_deprecated(true));
    let image = before.get("/v1/images/123456")["image"].clone();
    assert_eq!(image["deprecated"], Value::Null);
    assert!(keys(&image).contains(&"deprecated"));
}

#[test]
fn a_server_type_says_where_it_is_sold_and_the_old_key_only_on_request() {
    let mut today = Account::new();
    let kind = today.get("/v1/server_types/114")["server_type"].clone();
    insta::assert_snapshot!(keys(&kind).join(" "), @"architecture category cores cpu_type deprecation description disk id locations memory name prices storage_type");
    assert_eq!(
        kind["locations"][1],
        json!({"id": 2, "name": "nbg1", "available": true, "recommended": true, "deprecation": null})
    );
    assert_eq!(
        kind["prices"][0]["price_hourly"],
        json!({"net": "0.0088000000", "gross": "0.0088000000000000"})
    );
    let mut before = Account::with(timed().legacy_deprecated(true));
    let kind = before.get("/v1/server_types/114")["server_type"].clone();
    assert_eq!(kind["deprecated"], false);
}

#[test]
fn an_actions_nullable_keys_are_there() {
    let mut account = Account::new();
    let reply = account.post("/v1/servers", &order("a"));
    insta::assert_snapshot!(keys(&reply.value()["action"]).join(" "), @"command error finished id progress resources started status");
}

#[test]
fn every_reply_carries_limits_a_correlation_id_and_the_date() {
    let mut account = Account::new();
    for path in ["/v1/servers", "/v1/servers/1", "/v1/datacenters"] {
        let answer = account.send(&Request::new("GET", path));
        assert_eq!(answer.header("ratelimit-limit"), Some("3600"));
        assert!(answer.header("ratelimit-remaining").is_some());
        assert!(answer.header("ratelimit-reset").is_some());
        assert!(answer.header("x-correlation-id").is_some());
        assert_eq!(answer.header("date"), Some("Sun, 22 Nov 2026 12:00:00 GMT"));
    }
}

#[test]
fn hetzners_clock_can_differ_from_ours() {
    let mut account = Account::new();
    account.put("/_sim/clock", &json!({"offsetMs": 90_000}));
    let reply = account.post("/v1/servers", &order("a"));
    assert_eq!(reply.header("date"), Some("Sun, 22 Nov 2026 12:01:30 GMT"));
    assert_eq!(reply.value()["server"]["created"], "2026-11-22T12:01:30Z");
    // Durations stay what they are.
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(account.pass(10_000).server(id)["status"], "running");
}

#[test]
fn servers_are_selected_by_label_name_and_several_statuses() {
    let mut account = Account::new();
    for (name, team) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut body = order(name);
        body["labels"] = json!({"team": team});
        account.create(&body);
    }
    let names = |account: &mut Account, query: &str| -> Vec<String> {
        account.get(&format!("/v1/servers?{query}"))["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&mut account, "label_selector=team=x&sort=name:desc"),
        ["c", "a"]
    );
    assert_eq!(names(&mut account, "name=b"), ["b"]);
    // An empty name is no filter: it once deleted the wrong server.
    assert_eq!(names(&mut account, "name=").len(), 3);
    account.pass(10_000);
    let first = account.get("/v1/servers?name=a")["servers"][0]["id"]
        .as_u64()
        .unwrap();
    account.act(first, "poweroff");
    account.pass(2000);
    assert_eq!(names(&mut account, "status=off"), ["a"]);
    assert_eq!(names(&mut account, "status=off&status=running").len(), 3);
    assert_eq!(names(&mut account, "status=initializing").len(), 0);
}

#[test]
fn a_long_list_is_paged_to_its_end() {
    let mut account = Account::with(timed().rate_limit(36_000));
    for n in 0..60 {
        account.create(&order(&format!("s{n}")));
    }
    let mut seen = 0;
    let mut page = json!(1);
    while let Some(number) = page.as_u64() {
        let body = account.get(&format!("/v1/servers?page={number}"));
        let servers = body["servers"].as_array().unwrap().len();
        assert!(servers > 0, "a page beyond the end: {number}");
        seen += servers;
        page = body["meta"]["pagination"]["next_page"].clone();
    }
    assert_eq!(seen, 60);
}

#[test]
fn images_are_filtered_as_by_an_uploader_that_looks_for_its_own() {
    let mut account = Account::new();
    let found = account.get(
        "/v1/images?type=snapshot&label_selector=role=cattle-image&architecture=x86&status=available&sort=created:desc",
    );
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
    assert_eq!(found["images"][0]["id"], 123_456);
    let hidden = account.get("/v1/images?name=debian-11");
    assert_eq!(hidden["images"], json!([]));
    for yes in ["true", "True"] {
        let shown = account.get(&format!(
            "/v1/images?name=debian-11&include_deprecated={yes}"
        ));
        assert_eq!(shown["images"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn an_unknown_server_type_is_an_empty_list() {
    let mut account = Account::new();
    let answer = account.send(&Request::new("GET", "/v1/server_types?name=cx22"));
    assert_eq!(
        (answer.status, &answer.value()["server_types"]),
        (200, &json!([]))
    );
}

#[test]
fn prices_are_those_of_the_captured_list() {
    let mut account = Account::new();
    let pricing = account.get("/v1/pricing")["pricing"].clone();
    assert_eq!(pricing["currency"], "EUR");
    assert_eq!(pricing["server_types"].as_array().unwrap().len(), 25);
    let cpx22 = pricing["server_types"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["name"] == "cpx22")
        .unwrap();
    assert_eq!(cpx22["prices"][0]["price_monthly"]["net"], "19.4900000000");
    assert_eq!(
        pricing["primary_ips"][0]["prices"][0]["price_hourly"]["net"],
        "0.0008000000"
    );
}

#[test]
fn calls_are_logged_with_what_they_were_about() {
    let mut account = Account::new();
    let id = account.create(&order("a"));
    account.pass(1500).delete(id);
    account.get("/v1/nonsense");
    let log = account.get("/_sim/calls");
    assert_eq!(log["calls"][0]["operation"], "create_server");
    assert_eq!(log["calls"][0]["serverName"], "a");
    assert_eq!(log["calls"][0]["serverId"], id);
    assert_eq!(log["calls"][1]["status"], 423);
    assert_eq!(log["calls"][1]["errorCode"], "locked");
    assert_eq!(log["calls"][1]["atMs"], 1500);
    assert_eq!(log["calls"][2]["operation"], "unknown");
    assert_eq!(log["total"], 3);
    assert_eq!(
        account.get("/_sim/calls?since=2")["calls"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    account.send(&Request::new("DELETE", "/_sim/calls"));
    account.get("/v1/servers");
    let log = account.get("/_sim/calls");
    assert_eq!(log["calls"].as_array().unwrap().len(), 1);
    assert_eq!(log["calls"][0]["seq"], 4);
}

#[test]
fn ssh_keys_are_unique_by_name_and_fingerprint() {
    let mut account = Account::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me";
    let made = account.post("/v1/ssh_keys", &json!({"name": "k", "public_key": key}));
    assert_eq!(made.status, 201);
    let fingerprint = made.value()["ssh_key"]["fingerprint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(fingerprint.len(), 47);
    let found = account.get(&format!("/v1/ssh_keys?fingerprint={fingerprint}"));
    assert_eq!(found["ssh_keys"][0]["name"], "k");
    for name in ["k", "other"] {
        let again = account.post("/v1/ssh_keys", &json!({"name": name, "public_key": key}));
        assert_eq!(code(&again), (409, "uniqueness_error"));
    }
    let bad = account.post("/v1/ssh_keys", &json!({"name": "b", "public_key": "hello"}));
    assert_eq!(code(&bad), (422, "invalid_input"));
}

#[rstest]
#[case::firewall("firewalls", "firewall", json!({}))]
#[case::placement_group("placement_groups", "placement_group", json!({"type": "spread"}))]
fn a_rename_to_a_name_that_is_taken_or_empty_is_refused_and_labels_are_replaced(
    #[case] plural: &str,
    #[case] singular: &str,
    #[case] more: Value,
) {
    let mut account = Account::new();
    let mut made = |name: &str| {
        let mut body = more.clone();
        body["name"] = json!(name);
        body["labels"] = json!({"old": "1"});
        let answer = account.post(&format!("/v1/{plural}"), &body);
        answer.value()[singular]["id"].as_u64().unwrap()
    };
    let (first, second) = (made("a"), made("b"));
    let path = format!("/v1/{plural}/{second}");
    let taken = account.put(&path, &json!({"name": "a"}));
    assert_eq!(code(&taken), (409, "uniqueness_error"));
    let empty = account.put(&path, &json!({"name": ""}));
    assert_eq!(code(&empty), (422, "invalid_input"));
    let changed = account.put(&path, &json!({"name": "c", "labels": {"new": "1"}}));
    assert_eq!(changed.value()[singular]["name"], "c");
    assert_eq!(changed.value()[singular]["labels"], json!({"new": "1"}));
    let listed = account.get(&format!("/v1/{plural}?sort=name:desc"));
    let ids: Vec<&Value> = listed[plural]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["id"])
        .collect();
    assert_eq!(ids, [second, first]);
}

#[test]
fn a_spread_group_holds_ten() {
    let mut account = Account::new();
    let group = account.post(
        "/v1/placement_groups",
        &json!({"name": "g", "type": "spread"}),
    );
    let group = group.value()["placement_group"]["id"].as_u64().unwrap();
    let mut body = order("s");
    body["placement_group"] = json!(group);
    for n in 0..10 {
        body["name"] = json!(format!("s{n}"));
        account.create(&body);
    }
    body["name"] = json!("s10");
    assert_eq!(
        code(&account.post("/v1/servers", &body)),
        (412, "placement_error")
    );
}
