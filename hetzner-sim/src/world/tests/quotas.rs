//! The account's limits.

use super::*;

/// The limit that a create met.
fn limit(answer: &Answer) -> Option<&str> {
    answer.value()["error"]["details"]["limits"][0]["name"].as_str()
}

#[test]
fn primary_ips_count_on_for_a_while_after_their_server() {
    let mut account = Account::new();
    account.put(
        "/_sim/quota",
        &json!({"maxPrimaryIps": 2, "addressFreesAfterMs": 30_000}),
    );
    let first = account.running("a");
    let refused = account.post("/v1/servers", &order("b"));
    assert_eq!(code(&refused), (403, "resource_limit_exceeded"));
    assert_eq!(limit(&refused), Some("primary_ip_limit"));
    account.delete(first);
    // Gone after 5 s; its addresses 30 s later.
    account.pass(5_000 + 29_999);
    let refused = account.post("/v1/servers", &order("b"));
    assert_eq!(limit(&refused), Some("primary_ip_limit"));
    account.pass(1);
    let mut one_address = order("b");
    one_address["public_net"] = json!({"enable_ipv4": true, "enable_ipv6": false});
    account.create(&one_address);
    let refused = account.post("/v1/servers", &order("c"));
    assert_eq!(limit(&refused), Some("primary_ip_limit"));
    one_address["name"] = json!("c");
    account.create(&one_address);
}

#[test]
fn dedicated_cores_are_limited_and_shared_ones_are_not() {
    let mut account = Account::new();
    account.put("/_sim/quota", &json!({"maxDedicatedCores": 3}));
    let dedicated = |name: &str| {
        let mut body = order(name);
        body["server_type"] = json!("ccx13");
        body
    };
    let first = account.create(&dedicated("a"));
    let refused = account.post("/v1/servers", &dedicated("b"));
    assert_eq!(limit(&refused), Some("dedicated_core_limit"));
    account.create(&order("b"));
    account.pass(10_000).delete(first);
    account.pass(5_000).create(&dedicated("c"));
}

#[test]
fn each_limit_is_set_alone() {
    let mut account = Account::new();
    for body in [
        json!({"maxServers": 7}),
        json!({"maxPrimaryIps": 8}),
        json!({"maxDedicatedCores": 9}),
        json!({"addressFreesAfterMs": 10}),
        json!({}),
    ] {
        assert_eq!(account.put("/_sim/quota", &body).status, 204);
    }
    let state = account.get("/_sim/state");
    for (key, value) in [
        ("maxServers", 7),
        ("maxPrimaryIps", 8),
        ("maxDedicatedCores", 9),
        ("addressFreesAfterMs", 10),
    ] {
        assert_eq!(state[key], value, "{key}");
    }
    assert_eq!(
        account.put("/_sim/quota", &json!({"maxVolumes": 1})).status,
        422
    );
}
