//! What else is done to a server: rebuilt, imaged, backed up, resized, renamed.

use rstest::rstest;

use super::*;

impl Account {
    fn act_with(&mut self, id: u64, verb: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/servers/{id}/actions/{verb}"), body)
    }
}

#[test]
fn a_rebuild_puts_another_image_and_other_user_data_on_the_same_server() {
    let mut account = Account::new();
    let id = account.running("a");
    let body = json!({"image": "debian-12", "user_data": "#cloud-config\n"});
    let reply = account.act_with(id, "rebuild", &body);
    assert_eq!(reply.value()["action"]["command"], "rebuild_server");
    assert_eq!(reply.value()["root_password"], Value::Null);
    assert_eq!(account.server(id)["status"], "rebuilding");
    assert_eq!(account.delete(id).status, 423);
    account.pass(2000);
    let server = account.server(id);
    assert_eq!(server["status"], "running");
    assert_eq!(server["image"]["name"], "debian-12");
    let state = account.get("/_sim/state");
    assert_eq!(state["servers"][0]["user_data"], "#cloud-config\n");
}

#[rstest]
#[case::of_another_architecture(json!(123_457), 422, "invalid_input")]
#[case::that_is_none(json!("plan9"), 422, "invalid_input")]
fn a_rebuild_is_refused_with_an_image(
    #[case] image: Value,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let mut account = Account::new();
    let id = account.running("a");
    let refused = account.act_with(id, "rebuild", &json!({"image": image}));
    assert_eq!(code(&refused), (status, expected));
    assert_eq!(account.server(id)["status"], "running");
}

#[test]
fn protection_covers_rebuilds_and_is_changed_as_a_pair() {
    let mut account = Account::new();
    let id = account.running("a");
    let half = account.act_with(id, "change_protection", &json!({"delete": true}));
    assert_eq!(code(&half), (422, "invalid_input"));
    let both = json!({"delete": true, "rebuild": true});
    account.act_with(id, "change_protection", &both);
    account.pass(1);
    let refused = account.act_with(id, "rebuild", &json!({"image": "debian-12"}));
    assert_eq!(code(&refused), (423, "protected"));
}

#[test]
fn a_backup_needs_a_window_is_bound_to_its_server_and_goes_with_it() {
    let mut account = Account::new();
    let id = account.running("a");
    let backup = json!({"type": "backup"});
    assert_eq!(account.act_with(id, "create_image", &backup).status, 422);
    account.act(id, "enable_backup");
    account.pass(1);
    assert_eq!(account.server(id)["backup_window"], "22-02");
    let made = account.act_with(id, "create_image", &backup);
    assert_eq!(made.value()["image"]["bound_to"], id);
    account.pass(1);
    let bound = format!("/v1/images?type=backup&bound_to={id}");
    assert_eq!(account.get(&bound)["images"].as_array().unwrap().len(), 1);
    account.act(id, "disable_backup");
    account.pass(1);
    assert_eq!(account.server(id)["backup_window"], Value::Null);
    account.delete(id);
    account.pass(5000);
    assert_eq!(account.get(&bound)["images"], json!([]));
}

#[test]
fn a_snapshot_of_a_server_is_as_large_as_its_disk_and_outlives_it() {
    let mut account = Account::new();
    let mut larger = order("a");
    larger["server_type"] = json!("cx33");
    let id = account.create(&larger);
    account.pass(10_000);
    let labels = json!({"labels": {"role": "mine"}, "description": "d"});
    let made = account.act_with(id, "create_image", &labels);
    let image = made.value()["image"].clone();
    assert_eq!(image["disk_size"], 80);
    assert_eq!(image["created_from"], json!({"id": id, "name": "a"}));
    account.pass(1);
    account.delete(id);
    account.pass(5000);
    let mut small = order("b");
    small["image"] = image["id"].clone();
    assert_eq!(
        code(&account.post("/v1/servers", &small)),
        (422, "invalid_input")
    );
    small["server_type"] = json!("cx33");
    account.create(&small);
}

#[test]
fn a_type_is_changed_only_of_a_server_that_is_off_and_only_to_one_that_fits() {
    let mut account = Account::new();
    let id = account.running("a");
    let to = |kind: &str| json!({"server_type": kind});
    let refused = account.act_with(id, "change_type", &to("cx33"));
    assert_eq!(code(&refused), (422, "server_not_stopped"));
    account.act(id, "poweroff");
    account.pass(2000);
    for kind in ["cax21", "cx999"] {
        let refused = account.act_with(id, "change_type", &to(kind));
        assert_eq!(code(&refused), (422, "invalid_server_type"), "{kind}");
    }
    assert_eq!(account.act_with(id, "change_type", &to("cx33")).status, 201);
    assert_eq!(account.server(id)["server_type"]["name"], "cx33");
}

#[test]
fn a_server_is_not_renamed_to_a_name_that_is_taken() {
    let mut account = Account::new();
    let id = account.running("a");
    account.running("b");
    let path = format!("/v1/servers/{id}");
    let taken = account.put(&path, &json!({"name": "b"}));
    assert_eq!(code(&taken), (409, "uniqueness_error"));
    assert_eq!(account.put(&path, &json!({"name": "a"})).status, 200);
    assert_eq!(account.put(&path, &json!({"name": "c"})).status, 200);
    assert_eq!(account.get("/v1/servers?name=c")["servers"][0]["id"], id);
    account.create(&order("a"));
}

#[test]
fn actions_without_an_id_are_refused_and_repeated_ids_are_all_answered() {
    let mut account = Account::new();
    let first = account.post("/v1/servers", &order("a"));
    let refused = account.send(&Request::new("GET", "/v1/actions"));
    assert_eq!(code(&refused), (422, "invalid_input"));
    let ids = [
        &first.value()["action"]["id"],
        &first.value()["next_actions"][0]["id"],
    ];
    let both = account.get(&format!("/v1/actions?id={}&id={}&id=7", ids[0], ids[1]));
    let found: Vec<&Value> = both["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["id"])
        .collect();
    assert_eq!(found, ids);
    assert_eq!(both.get("meta"), None);
}

#[test]
fn a_month_costs_its_cap_and_the_address_its_own() {
    let mut account = Account::new();
    account.create(&order("a"));
    // The rest of November, all of December, and the first hour of January.
    account.now = "2027-01-01T00:30:00Z".parse().unwrap();
    let cost = account.get("/_sim/cost");
    // 204 started hours in November are below the cap of 5.49, December's 744 are not.
    assert_eq!(cost["serversTotal"], "7.2940");
    assert_eq!(cost["ipv4Total"], "0.6640");
}

#[rstest]
#[case("servers")]
#[case("firewalls")]
#[case("ssh_keys")]
#[case("placement_groups")]
#[case("images")]
#[case("primary_ips")]
fn every_list_that_can_be_selected_from_refuses_a_malformed_selector(#[case] list: &str) {
    let mut account = Account::new();
    let path = format!("/v1/{list}?label_selector=");
    assert_eq!(account.status_of("GET", &format!("{path}!absent")), 200);
    assert_eq!(account.status_of("GET", &format!("{path}a in (b")), 422);
    let none = account.get(&format!("{path}no-such-label"));
    assert_eq!(none[list], json!([]));
}
