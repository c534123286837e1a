//! Every operation answers in its shape, and the check would notice if it did not.

use std::collections::BTreeSet;

use rstest::rstest;

use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me";

/// Makes every call that there is, so that each reply is checked on its way out.
fn every_operation(account: &mut Account) {
    let key = account.post("/v1/ssh_keys", &json!({"name": "k", "public_key": KEY}));
    let key = key.value()["ssh_key"]["id"].clone();
    let rule = json!({"direction": "in", "protocol": "udp", "port": "41641",
        "source_ips": ["0.0.0.0/0"]});
    let firewall = account.post("/v1/firewalls", &json!({"name": "f", "rules": [rule]}));
    let firewall = firewall.value()["firewall"]["id"].clone();
    let group = account.post(
        "/v1/placement_groups",
        &json!({"name": "g", "type": "spread"}),
    );
    let group = group.value()["placement_group"]["id"].clone();
    let mut full = order("a");
    full["labels"] = json!({"example.com/team": "x", "empty": ""});
    full["ssh_keys"] = json!([key]);
    full["firewalls"] = json!([{"firewall": firewall}]);
    full["placement_group"] = group.clone();
    let id = account.create(&full);
    let mut bare = order("b");
    bare["public_net"] = json!({"enable_ipv4": false, "enable_ipv6": false});
    account.create(&bare);
    account.pass(10_000);

    let ip = account.get("/v1/primary_ips")["primary_ips"][0]["id"].clone();
    let reads = [
        "servers",
        "images",
        "server_types",
        "locations",
        "firewalls",
        "ssh_keys",
        "placement_groups",
        "primary_ips",
        "networks",
        "volumes",
        "floating_ips",
        "isos",
        "load_balancers",
        "load_balancer_types",
        "certificates",
        "pricing",
        "images?include_deprecated=true&per_page=50",
        "actions?id=600000000000000",
        "actions/600000000000000",
        "server_types/114",
        "locations/1",
        "images/123456",
        "servers/actions",
        "firewalls/actions",
        "images/actions",
        "ssh_keys/actions",
        "placement_groups/actions",
        "primary_ips/actions",
        "volumes/actions",
        "networks/actions",
        "floating_ips/actions",
        "load_balancers/actions",
        "certificates/actions",
    ];
    for path in reads {
        assert_eq!(
            account.status_of("GET", &format!("/v1/{path}")),
            200,
            "{path}"
        );
    }
    for path in [
        format!("servers/{id}"),
        format!("firewalls/{firewall}"),
        format!("ssh_keys/{key}"),
        format!("placement_groups/{group}"),
        format!("primary_ips/{ip}"),
    ] {
        assert_eq!(
            account.status_of("GET", &format!("/v1/{path}")),
            200,
            "{path}"
        );
    }

    let snapshot = account.act(id, "create_image");
    let snapshot = snapshot.value()["image"]["id"].clone();
    account.pass(10);
    let in_group = json!({"placement_group": group});
    let acts = [
        ("poweroff", json!(null)),
        ("remove_from_placement_group", json!(null)),
        ("add_to_placement_group", in_group),
        ("change_type", json!({"server_type": "cx33"})),
        ("poweron", json!(null)),
        ("reboot", json!(null)),
        ("reset", json!(null)),
        ("enable_rescue", json!(null)),
        ("disable_rescue", json!(null)),
        ("enable_backup", json!(null)),
        ("disable_backup", json!(null)),
        ("reset_password", json!(null)),
        (
            "change_protection",
            json!({"delete": false, "rebuild": false}),
        ),
        ("rebuild", json!({"image": "debian-12"})),
        ("shutdown", json!(null)),
    ];
    for (verb, body) in acts {
        let path = format!("/v1/servers/{id}/actions/{verb}");
        assert_eq!(account.post(&path, &body).status, 201, "{verb}");
        account.pass(5000);
        account.server(id);
    }
    let selector = json!({"type": "label_selector", "label_selector": {"selector": "empty"}});
    let server = json!({"type": "server", "server": {"id": id}});
    for (verb, body) in [
        ("set_rules", json!({"rules": []})),
        ("remove_from_resources", json!({"remove_from": [server]})),
        ("apply_to_resources", json!({"apply_to": [selector]})),
    ] {
        let path = format!("/v1/firewalls/{firewall}/actions/{verb}");
        assert_eq!(account.post(&path, &body).status, 201, "{verb}");
        account.pass(10_000);
        account.get(&format!("/v1/firewalls/{firewall}"));
        account.server(id);
    }
    account.post(
        &format!("/v1/firewalls/{firewall}/actions/remove_from_resources"),
        &json!({"remove_from": [selector]}),
    );
    account.pass(10_000);
    let renamed = json!({"labels": {"new": "1"}});
    for path in [
        format!("servers/{id}"),
        format!("images/{snapshot}"),
        format!("firewalls/{firewall}"),
        format!("ssh_keys/{key}"),
        format!("placement_groups/{group}"),
    ] {
        assert_eq!(
            account.put(&format!("/v1/{path}"), &renamed).status,
            200,
            "{path}"
        );
        let status = if path.starts_with("servers") {
            200
        } else {
            204
        };
        assert_eq!(
            account.status_of("DELETE", &format!("/v1/{path}")),
            status,
            "{path}"
        );
    }
    account.pass(10_000);
}

#[test]
fn every_operation_answers_in_its_shape_and_every_shape_has_its_operation() {
    let mut account = Account::new();
    every_operation(&mut account);
    let calls = account.world.calls();
    let answered: BTreeSet<&str> = calls
        .iter()
        .filter(|call| call.status.is_some_and(|status| status < 300))
        .map(|call| call.operation.as_str())
        .collect();
    assert_eq!(answered, Shapes::get().operations().collect());
}

#[test]
fn all_of_it_holds_with_two_snapshots_more_and_an_odd_clock() {
    let mut account = Account::new();
    account.put("/_sim/clock", &json!({"offsetMs": 90_000}));
    account.post("/_sim/images", &json!({"status": "creating"}));
    let deprecation =
        json!({"announced": "2026-08-30T00:00:00Z", "unavailableAfter": "2027-11-30T00:00:00Z"});
    account.post(
        "/_sim/images",
        &json!({"deprecation": deprecation, "protected": true}),
    );
    every_operation(&mut account);
}

/// A right reply that the cases below spoil.
fn right() -> Value {
    let mut account = Account::new();
    account.running("a");
    account.get("/v1/servers")
}

#[rstest]
#[case::renamed("/servers/0", "primary_disk_size", Some("disk_size"), None)]
#[case::invented("/servers/0/public_net/ipv4", "", Some("gateway"), None)]
#[case::missing_though_null("/servers/0", "iso", None, None)]
#[case::removed_by_hetzner("/servers/0", "", Some("datacenter"), None)]
#[case::removed_by_hetzner_in_november("/servers/0/server_type", "", Some("deprecated"), None)]
#[case::another_type("/servers/0", "locked", None, Some(json!("no")))]
#[case::labels_as_array("/servers/0", "labels", None, Some(json!([])))]
#[case::a_number_for_money("/servers/0/server_type/prices/0/price_hourly", "net", None, Some(json!(0.1)))]
#[case::a_page_too_long("/meta/pagination", "per_page", None, Some(json!(51)))]
#[case::a_time_without_a_zone("/servers/0", "created", None, Some(json!("2026-11-22T12:00:00")))]
fn a_reply_of_another_shape_is_noticed(
    #[case] place: &str,
    #[case] take: &str,
    #[case] put: Option<&str>,
    #[case] instead: Option<Value>,
) {
    let mut body = right();
    let problem = |body: &Value| Shapes::get().problem("list_servers", 200, body);
    assert_eq!(problem(&body), None);
    let object = body.pointer_mut(place).unwrap().as_object_mut().unwrap();
    let taken = object.remove(take);
    if let Some(instead) = instead {
        object.insert(take.to_owned(), instead);
    } else if let Some(put) = put {
        object.insert(put.to_owned(), taken.unwrap_or(Value::Null));
    }
    assert!(problem(&body).is_some(), "{body:#}");
}

#[rstest]
#[case::another_status(201, right())]
#[case::no_body(200, Value::Null)]
#[case::an_error_without_its_code(404, json!({"error": {"message": "m", "details": null}}))]
#[case::an_error_with_anothers_details(423, json!({"error": {"code": "locked", "message": "m",
    "details": {"limits": [{"name": "server_limit"}]}}}))]
fn an_answer_of_another_kind_is_noticed(#[case] status: u64, #[case] body: Value) {
    assert!(
        Shapes::get()
            .problem("list_servers", status, &body)
            .is_some()
    );
    assert!(
        Shapes::get()
            .problem("no_such_operation", 200, &right())
            .is_some()
    );
}
