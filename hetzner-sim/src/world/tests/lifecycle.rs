//! From the accepted POST to the 404, and what it costs.

use super::*;

#[test]
fn a_server_initializes_starts_and_runs() {
    let mut account = Account::new();
    let reply = account.post("/v1/servers", &order("a"));
    let body = reply.value();
    assert_eq!(reply.status, 201);
    assert_eq!(body["server"]["status"], "initializing");
    assert_eq!(body["server"]["locked"], true);
    assert_eq!(body["action"]["command"], "create_server");
    assert_eq!(body["action"]["status"], "running");
    assert_eq!(body["next_actions"][0]["command"], "start_server");
    let id = body["server"]["id"].as_u64().unwrap();

    assert_eq!(account.pass(999).server(id)["status"], "initializing");
    assert_eq!(account.pass(1).server(id)["status"], "starting");
    assert_eq!(account.action(&reply)["status"], "success");
    assert_eq!(account.pass(8999).server(id)["status"], "starting");
    assert_eq!(account.pass(1).server(id)["status"], "running");
    assert_eq!(account.server(id)["locked"], false);
}

#[test]
fn ids_are_as_large_as_real_ones() {
    let mut account = Account::new();
    let reply = account.post("/v1/servers", &order("a"));
    let action = reply.value()["action"]["id"].as_u64().unwrap();
    let next = reply.value()["next_actions"][0]["id"].as_u64().unwrap();
    let server = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(action.to_string().len(), 15);
    assert_eq!(next, action + 1);
    assert!(server > i32::MAX as u64);
}

#[test]
fn progress_rises_and_ends_at_a_hundred() {
    let mut account = Account::new();
    let reply = account.post("/v1/servers", &order("a"));
    assert_eq!(account.pass(500).action(&reply)["progress"], 50);
    assert_eq!(account.action(&reply)["finished"], Value::Null);
    assert_eq!(account.pass(500).action(&reply)["progress"], 100);
    assert_eq!(account.action(&reply)["finished"], "2026-11-22T12:00:01Z");
}

#[test]
fn without_start_after_create_it_ends_off() {
    let mut account = Account::new();
    let mut body = order("a");
    body["start_after_create"] = json!(false);
    let reply = account.post("/v1/servers", &body);
    assert_eq!(reply.value()["next_actions"], json!([]));
    let id = reply.value()["server"]["id"].as_u64().unwrap();
    assert_eq!(account.pass(20_000).server(id)["status"], "off");
    assert_eq!(account.act(id, "poweron").status, 201);
    assert_eq!(account.pass(2000).server(id)["status"], "running");
}

#[test]
fn a_password_comes_only_without_keys() {
    let mut account = Account::new();
    let reply = account.post("/v1/servers", &order("a"));
    assert!(reply.value()["root_password"].is_string());
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let body = json!({"name": "k", "public_key": key});
    assert_eq!(account.post("/v1/ssh_keys", &body).status, 201);
    let mut with_key = order("b");
    with_key["ssh_keys"] = json!(["k"]);
    let reply = account.post("/v1/servers", &with_key);
    assert_eq!(reply.value()["root_password"], Value::Null);
}

#[test]
fn a_running_action_locks_the_server_but_not_its_labels() {
    let mut account = Account::new();
    let id = account.create(&order("a"));
    let locked = json!({"error": {
        "code": "locked",
        "message": "cannot perform operation because resource is locked",
        "details": {},
    }});
    assert_eq!(account.delete(id).value(), &locked);
    assert_eq!(account.act(id, "poweroff").status, 423);
    let labels = account.put(&format!("/v1/servers/{id}"), &json!({"labels": {"a": "b"}}));
    assert_eq!(labels.status, 200);
    assert_eq!(account.pass(10_000).act(id, "poweroff").status, 201);
    assert_eq!(account.delete(id).status, 423);
    assert_eq!(account.pass(2000).delete(id).status, 200);
}

#[test]
fn a_label_put_replaces_the_whole_map_and_a_rename_leaves_it() {
    let mut account = Account::new();
    let id = account.running("a");
    let path = format!("/v1/servers/{id}");
    account.put(&path, &json!({"labels": {"a": "1", "b": "2"}}));
    account.put(&path, &json!({"labels": {"b": "3"}}));
    assert_eq!(account.server(id)["labels"], json!({"b": "3"}));
    account.put(&path, &json!({"name": "z"}));
    assert_eq!(account.server(id)["name"], "z");
    assert_eq!(account.server(id)["labels"], json!({"b": "3"}));
    account.put(&path, &json!({"labels": {}}));
    assert_eq!(account.server(id)["labels"], json!({}));
}

#[test]
fn a_deleted_server_is_seen_until_the_action_ends_and_its_action_longer() {
    let mut account = Account::new();
    let id = account.running("a");
    let reply = account.delete(id);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.value()["action"]["command"], "delete_server");
    assert_eq!(account.pass(4999).server(id)["status"], "deleting");
    assert_eq!(account.delete(id).status, 423);
    account.pass(1);
    assert_eq!(account.status_of("GET", &format!("/v1/servers/{id}")), 404);
    assert_eq!(code(&account.delete(id)), (404, "not_found"));
    assert_eq!(account.action(&reply)["status"], "success");
}

#[test]
fn a_name_is_taken_until_the_delete_action_ends() {
    let mut account = Account::new();
    let id = account.running("a");
    account.delete(id);
    let refused = account.pass(4999).post("/v1/servers", &order("a"));
    assert_eq!(
        refused.value()["error"],
        json!({"code": "uniqueness_error", "message": "server name is already used", "details": {}})
    );
    assert_eq!(refused.status, 409);
    assert_eq!(account.pass(1).post("/v1/servers", &order("a")).status, 201);
}

#[test]
fn power_actions_have_the_commands_of_the_api() {
    let mut account = Account::new();
    let id = account.running("a");
    for (verb, command, after) in [
        ("poweroff", "stop_server", "off"),
        ("poweron", "start_server", "running"),
        ("reboot", "reboot_server", "running"),
        ("reset", "reset_server", "running"),
        ("shutdown", "shutdown_server", "off"),
    ] {
        let reply = account.act(id, verb);
        assert_eq!(reply.value()["action"]["command"], command);
        assert_eq!(account.pass(2000).server(id)["status"], after, "{verb}");
    }
}

#[test]
fn several_actions_are_asked_for_at_once_and_unknown_ones_left_out() {
    let mut account = Account::new();
    let reply = account.post("/v1/servers", &order("a"));
    let a = reply.value()["action"]["id"].as_u64().unwrap();
    let body = account.get(&format!("/v1/actions?id={a}&id={}&id=7", a + 1));
    assert_eq!(body["actions"].as_array().unwrap().len(), 2);
    assert_eq!(body.get("meta"), None);
    let none = account.send(&Request::new("GET", "/v1/actions"));
    assert_eq!(code(&none), (422, "invalid_input"));
}

#[test]
fn actions_are_listed_by_server_and_status() {
    let mut account = Account::new();
    let a = account.running("a");
    account.running("b");
    account.act(a, "poweroff");
    let of_a = account.get(&format!("/v1/servers/{a}/actions?sort=id:desc"));
    assert_eq!(of_a["actions"][0]["command"], "stop_server");
    assert_eq!(of_a["meta"]["pagination"]["total_entries"], 3);
    let running = account.get("/v1/servers/actions?status=running");
    assert_eq!(running["meta"]["pagination"]["total_entries"], 1);
}

#[test]
fn a_server_costs_its_started_hours_from_the_end_of_creation_on_and_its_address_apart() {
    let mut account = Account::new();
    let id = account.create(&order("a"));
    account.pass(999);
    assert_eq!(account.get("/_sim/cost")["total"], "0.0000");
    account.pass(1);
    assert_eq!(account.get("/_sim/cost")["total"], "0.0096");
    // Off still bills.
    account.pass(60_000).act(id, "poweroff");
    account.pass(3_600_000);
    let cost = account.get("/_sim/cost");
    assert_eq!(cost["serversTotal"], "0.0176");
    assert_eq!(cost["ipv4Total"], "0.0016");
    account.delete(id);
    account.pass(100_000_000);
    assert_eq!(account.get("/_sim/cost")["total"], "0.0192");
    assert_eq!(account.get("/_sim/cost")["startedHours"], 2);
}

#[test]
fn a_server_without_ipv4_pays_for_none() {
    let mut account = Account::new();
    let mut body = order("a");
    body["public_net"] = json!({"enable_ipv4": false});
    let id = account.create(&body);
    account.pass(10_000);
    assert_eq!(account.server(id)["public_net"]["ipv4"], Value::Null);
    assert_eq!(account.get("/_sim/cost")["ipv4Total"], "0.0000");
}

#[test]
fn servers_at_once_counts_creates_and_deletes_in_flight() {
    let mut account = Account::new();
    let a = account.running("a");
    account.delete(a);
    account.create(&order("b"));
    account.pass(60_000);
    account.create(&order("c"));
    let state = account.get("/_sim/state");
    assert_eq!(state["maxServersAtOnce"], 2);
    assert_eq!(state["serversCreated"], 3);
    assert_eq!(state["deletedServers"][0]["id"], a);
    assert_eq!(
        state["deletedServers"][0]["deleted"],
        "2026-11-22T12:00:15Z"
    );
}

#[test]
fn the_actions_of_a_server_that_is_not_there_are_a_404() {
    let mut account = Account::new();
    assert_eq!(account.status_of("GET", "/v1/servers/1/actions"), 404);
    assert_eq!(account.status_of("GET", "/v1/firewalls/1/actions"), 404);
}

#[test]
fn servers_of_long_ago_are_forgotten_one_by_one_but_not_what_they_cost() {
    let mut account = Account::with(timed().create_ms(0).boot_ms(0));
    account.world.gone_kept = 5;
    for n in 0..8 {
        let id = account.create(&order(&format!("s{n}")));
        account.world.advance(account.now);
        account.world.remove_server(id);
    }
    let cost = account.world.cost();
    assert_eq!(cost.servers.len(), 5);
    assert_eq!(cost.started_hours, 8);
    assert_eq!(cost.total.to_string(), "0.0768");
}

#[test]
fn equal_seeds_give_equal_accounts() {
    let mut one = Account::new();
    let mut two = Account::new();
    let mut other = Account::with(timed().seed(2));
    let reply = |account: &mut Account| account.post("/v1/servers", &order("a")).value().clone();
    assert_eq!(reply(&mut one), reply(&mut two));
    assert_ne!(
        reply(&mut one)["server"]["id"],
        reply(&mut other)["server"]["id"]
    );
}
