//! Firewalls: rules, and membership that trails the labels. The lag is 4 s.

use rstest::rstest;

use super::*;

fn udp_only() -> Value {
    json!({"direction": "in", "protocol": "udp", "port": "41641", "source_ips": ["0.0.0.0/0", "::/0"]})
}

fn by_selector(selector: &str) -> Value {
    json!({"type": "label_selector", "label_selector": {"selector": selector}})
}

fn labelled(name: &str, labels: Value) -> Value {
    let mut body = order(name);
    body["labels"] = labels;
    body
}

impl Account {
    fn firewall(&mut self, body: &Value) -> u64 {
        let answer = self.post("/v1/firewalls", body);
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.value()["firewall"]["id"].as_u64().unwrap()
    }

    fn firewalls_of(&mut self, server: u64) -> Value {
        self.server(server)["public_net"]["firewalls"].clone()
    }
}

#[test]
fn a_rule_is_shown_with_both_address_lists_and_the_port() {
    let mut account = Account::new();
    let icmp = json!({"direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0"]});
    let id = account.firewall(&json!({"name": "f", "rules": [icmp]}));
    let shown = account.get(&format!("/v1/firewalls/{id}"));
    assert_eq!(
        shown["firewall"]["rules"][0],
        json!({"direction": "in", "protocol": "icmp", "port": null, "description": null,
            "source_ips": ["0.0.0.0/0"], "destination_ips": []})
    );
}

#[test]
fn a_firewall_given_at_creation_is_pending_and_then_applied() {
    let mut account = Account::new();
    let firewall = account.firewall(&json!({"name": "f", "rules": [udp_only()]}));
    let mut body = order("a");
    body["firewalls"] = json!([{"firewall": firewall}]);
    let reply = account.post("/v1/servers", &body);
    assert_eq!(
        reply.value()["next_actions"][1]["command"],
        "apply_firewall"
    );
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(
        account.firewalls_of(id),
        json!([{"id": firewall, "status": "pending"}])
    );
    account.pass(1000);
    assert_eq!(
        account.firewalls_of(id),
        json!([{"id": firewall, "status": "applied"}])
    );
}

#[test]
fn membership_by_selector_trails_the_labels() {
    let mut account = Account::new();
    let firewall = account.firewall(&json!({"name": "f", "apply_to": [by_selector("team=x")]}));
    let id = account.create(&labelled("a", json!({"team": "x"})));
    assert_eq!(account.pass(1999).firewalls_of(id), json!([]));
    account.pass(1);
    assert_eq!(
        account.firewalls_of(id),
        json!([{"id": firewall, "status": "pending"}])
    );
    account.pass(2000);
    assert_eq!(
        account.firewalls_of(id),
        json!([{"id": firewall, "status": "applied"}])
    );
    let shown = account.get(&format!("/v1/firewalls/{firewall}"));
    assert_eq!(
        shown["firewall"]["applied_to"][0]["applied_to_resources"],
        json!([{"type": "server", "server": {"id": id}}])
    );
    account.put(&format!("/v1/servers/{id}"), &json!({"labels": {}}));
    assert_eq!(account.pass(1999).firewalls_of(id)[0]["status"], "applied");
    assert_eq!(account.pass(1).firewalls_of(id), json!([]));
}

#[rstest]
#[case(1000)]
#[case(5000)]
fn membership_trails_by_as_much_as_is_configured(#[case] lag: i64) {
    let ms = u64::try_from(lag).unwrap();
    let mut account = Account::with(timed().firewall_lag_ms(ms));
    account.firewall(&json!({"name": "f", "apply_to": [by_selector("team=x")]}));
    let id = account.create(&labelled("a", json!({"team": "x"})));
    assert_eq!(account.pass(lag / 2 - 1).firewalls_of(id), json!([]));
    assert_eq!(account.pass(1).firewalls_of(id)[0]["status"], "pending");
    account.pass(lag / 2 - 1);
    assert_eq!(account.firewalls_of(id)[0]["status"], "pending");
    assert_eq!(account.pass(1).firewalls_of(id)[0]["status"], "applied");
}

#[test]
fn a_member_by_selector_is_not_removed_by_hand() {
    let mut account = Account::new();
    let firewall = account.firewall(&json!({"name": "f", "apply_to": [by_selector("team")]}));
    let id = account.create(&labelled("a", json!({"team": "x"})));
    account.pass(4000);
    let answer = account.post(
        &format!("/v1/firewalls/{firewall}/actions/remove_from_resources"),
        &json!({"remove_from": [{"type": "server", "server": {"id": id}}]}),
    );
    assert_eq!(code(&answer), (422, "firewall_managed_by_label_selector"));
}

#[test]
fn a_used_firewall_is_not_deleted() {
    let mut account = Account::new();
    let firewall = account.firewall(&json!({"name": "f"}));
    let id = account.running("a");
    let path = format!("/v1/firewalls/{firewall}");
    let target = json!([{"type": "server", "server": {"id": id}}]);
    let apply = format!("{path}/actions/apply_to_resources");
    assert_eq!(
        account.post(&apply, &json!({"apply_to": target})).status,
        201
    );
    let again = account.post(&apply, &json!({"apply_to": target}));
    assert_eq!(code(&again), (422, "firewall_already_applied"));
    let refused = account.send(&Request::new("DELETE", &path));
    assert_eq!(code(&refused), (422, "resource_in_use"));
    let remove = format!("{path}/actions/remove_from_resources");
    assert_eq!(
        account
            .post(&remove, &json!({"remove_from": target}))
            .status,
        201
    );
    assert_eq!(account.status_of("DELETE", &path), 204);
    assert_eq!(account.status_of("GET", &path), 404);
}

#[test]
fn a_firewall_is_free_once_its_servers_are_gone() {
    let mut account = Account::new();
    let firewall = account.firewall(&json!({"name": "f"}));
    let mut body = order("a");
    body["firewalls"] = json!([{"firewall": firewall}]);
    let id = account.create(&body);
    account.pass(10_000).delete(id);
    let path = format!("/v1/firewalls/{firewall}");
    assert_eq!(account.status_of("DELETE", &path), 422);
    assert_eq!(account.pass(5000).status_of("DELETE", &path), 204);
}

#[test]
fn set_rules_replaces_and_an_empty_list_clears() {
    let mut account = Account::new();
    let id = account.firewall(&json!({"name": "f", "rules": [udp_only()]}));
    let path = format!("/v1/firewalls/{id}/actions/set_rules");
    let answer = account.post(&path, &json!({"rules": []}));
    assert_eq!(
        answer.value()["actions"][0]["command"],
        "set_firewall_rules"
    );
    let shown = account.get(&format!("/v1/firewalls/{id}"));
    assert_eq!(shown["firewall"]["rules"], json!([]));
}

#[test]
fn names_are_unique_and_labels_change_alone() {
    let mut account = Account::new();
    let id = account.firewall(&json!({"name": "f", "labels": {"ledger": "a.1"}}));
    let again = account.post("/v1/firewalls", &json!({"name": "f"}));
    assert_eq!(code(&again), (409, "uniqueness_error"));
    let path = format!("/v1/firewalls/{id}");
    account.put(&path, &json!({"labels": {"ledger": "a.2"}}));
    let found = account.get("/v1/firewalls?name=f&label_selector=ledger=a.2");
    assert_eq!(found["firewalls"][0]["name"], "f");
    account.firewall(&json!({"name": "x".repeat(128)}));
    let long = account.post("/v1/firewalls", &json!({"name": "x".repeat(129)}));
    assert_eq!(code(&long), (422, "invalid_input"));
}

#[rstest]
#[case::direction("direction", json!("up"))]
#[case::protocol("protocol", json!("sctp"))]
#[case::no_port("port", Value::Null)]
#[case::port_zero("port", json!("0"))]
#[case::port_order("port", json!("90-80"))]
#[case::port_number("port", json!("70000"))]
#[case::no_cidr("source_ips", json!(["1.2.3.4"]))]
#[case::long_mask("source_ips", json!(["1.2.3.4/33"]))]
#[case::no_source("source_ips", json!([]))]
#[case::description("description", json!("x".repeat(256)))]
fn a_bad_rule_is_refused(#[case] field: &str, #[case] value: Value) {
    let mut account = Account::new();
    let mut rule = udp_only();
    rule[field] = value;
    let answer = account.post("/v1/firewalls", &json!({"name": "f", "rules": [rule]}));
    assert_eq!(code(&answer), (422, "invalid_input"));
}

#[test]
fn fifty_rules_are_enough() {
    let mut account = Account::new();
    let rules = |n| json!({"name": format!("f{n}"), "rules": vec![udp_only(); n]});
    assert_eq!(account.post("/v1/firewalls", &rules(50)).status, 201);
    assert_eq!(account.post("/v1/firewalls", &rules(51)).status, 422);
}
