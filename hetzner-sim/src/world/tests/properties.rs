//! What holds whatever is done.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Something a client, a fault or the control API does to the n-th server, and the time after.
#[derive(Clone, Debug)]
struct Step {
    deed: usize,
    server: usize,
    pause_ms: i64,
}

const DEEDS: [&str; 14] = [
    "create", "delete", "poweron", "poweroff", "shutdown", "reboot", "reset", "vanish", "off",
    "stick", "label", "fail", "stay-off", "stuck",
];

fn script() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0..DEEDS.len(), 0..4usize, 0..12_000i64).prop_map(|(deed, server, pause_ms)| Step {
            deed,
            server,
            pause_ms,
        });
    proptest::collection::vec(step, 1..60)
}

fn perform(account: &mut Account, step: &Step) {
    let name = format!("s{}", step.server);
    let listed = account.get(&format!("/v1/servers?name={name}"));
    let id = listed["servers"][0]["id"].as_u64();
    let next_create =
        |kind: &str| json!({"match": {"operation": "create_server"}, "fault": {"kind": kind}});
    match (DEEDS[step.deed], id) {
        ("create", _) => {
            let mut body = order(&name);
            body["labels"] = json!({"team": name});
            account.post("/v1/servers", &body);
        }
        ("fail", _) => account.fault(&next_create("action_error")),
        ("stay-off", _) => account.fault(&next_create("stays_off")),
        ("stuck", _) => account.fault(&next_create("stuck_initializing")),
        ("delete", Some(id)) => drop(account.delete(id)),
        ("label", Some(id)) => {
            account.put(
                &format!("/v1/servers/{id}"),
                &json!({"labels": {"team": "s1"}}),
            );
        }
        (verb @ ("vanish" | "off" | "stick"), Some(id)) => {
            account.post(&format!("/_sim/servers/{id}/{verb}"), &json!({}));
        }
        (verb, Some(id)) => drop(account.act(id, verb)),
        (_, None) => {}
    }
}

fn account() -> Account {
    let mut account = Account::with(timed().rate_limit(36_000));
    let selector = json!({"type": "label_selector", "label_selector": {"selector": "team=s1"}});
    account.post(
        "/v1/firewalls",
        &json!({"name": "f", "apply_to": [selector]}),
    );
    account
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn time_in_small_steps_leads_where_one_jump_does(script in script(), piece in 1..4000i64) {
        let (mut jumping, mut stepping) = (account(), account());
        for step in &script {
            perform(&mut jumping, step);
            perform(&mut stepping, step);
            jumping.pass(step.pause_ms);
            let goal = stepping.now + Duration::milliseconds(step.pause_ms);
            while stepping.now < goal {
                stepping.now = goal.min(stepping.now + Duration::milliseconds(piece));
                stepping.world.advance(stepping.now);
            }
            prop_assert_eq!(jumping.get("/_sim/state"), stepping.get("/_sim/state"));
        }
        prop_assert_eq!(jumping.get("/v1/servers/actions"), stepping.get("/v1/servers/actions"));
    }

    #[test]
    fn names_stay_unique_costs_never_fall_and_locks_have_a_reason(script in script()) {
        let mut account = account();
        let mut owed = account.world.cost().total;
        for step in &script {
            perform(&mut account, step);
            account.pass(step.pause_ms);
            let state = account.get("/_sim/state");
            let servers = state["servers"].as_array().unwrap().clone();
            let names: BTreeSet<&str> = servers.iter().map(|s| s["name"].as_str().unwrap()).collect();
            prop_assert_eq!(names.len(), servers.len());
            prop_assert!(state["maxServersAtOnce"].as_u64().unwrap() >= servers.len() as u64);
            for server in &servers {
                let path = format!("/v1/servers/{}/actions?status=running", server["id"]);
                let running = account.get(&path)["meta"]["pagination"]["total_entries"].clone();
                let stuck = server["status"] == "initializing";
                prop_assert!(server["locked"] == false || running != 0 || stuck, "{}", server);
            }
            let now = account.world.cost().total;
            prop_assert!(now >= owed);
            owed = now;
        }
    }

    #[test]
    fn everything_comes_to_rest_and_every_server_can_be_deleted(script in script()) {
        let mut account = account();
        for step in &script {
            perform(&mut account, step);
            account.pass(step.pause_ms);
        }
        account.pass(60_000);
        let left: Vec<u64> = account.get("/v1/servers")["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["id"].as_u64().unwrap())
            .collect();
        for id in left {
            prop_assert_eq!(account.delete(id).status, 200);
        }
        account.pass(60_000);
        prop_assert_eq!(&account.get("/v1/servers")["servers"], &json!([]));
        let running = account.get("/v1/servers/actions?status=running");
        prop_assert_eq!(&running["actions"], &json!([]));
        prop_assert!(account.world.next_due().is_none());
    }
}
