//! What may go wrong with a server between its create and its guest's call, how it is found out,
//! and what becomes of the cattle. The core's tests say each rule; these say that it is so over HTTP.

use serde_json::{Value, json};

use crate::stage::{GIVE_UP, Stage, boots, ended, has_failed};

/// Longer than the first backoff.
const BACKOFF: u64 = 40;

/// The first run came to nothing, as it should; the next one, after the backoff, works.
async fn replaced(stage: &mut Stage, name: &str) -> String {
    let status = stage.until(name, has_failed).await;
    let run = ended(&status).unwrap();
    assert_eq!(run["endReason"], "create-failed", "{status:#}");
    let (first, message) = (
        run["run"].clone(),
        run["message"].as_str().unwrap().to_owned(),
    );
    stage.clear_faults();
    stage
        .until(name, |status| {
            status["reason"] == "backoff" || boots(status)
        })
        .await;
    stage.pass_time(BACKOFF).await;
    let status = stage.until(name, boots).await;
    assert_ne!(status["run"]["run"], first);
    let mut servers = stage.servers();
    servers.retain(|server| server["labels"]["cattle-name"] == name);
    assert_eq!(servers.len(), 1, "the first server is gone");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_action_fails_ends_with_its_code_and_asks_for_its_server_at_the_end() {
    let mut stage = Stage::open().await;
    let fault = json!({ "kind": "action_error", "code": "action_failed", "message": "no luck" });
    stage.fault("create_server", &fault, &json!({}));
    stage.drop_spec("rex");
    insta::assert_snapshot!(replaced(&mut stage, "rex").await, @"Hetzner accepted the create, but its create_server ended in `action_failed`");
    // Before a delete it is looked at; what is gone then needs none.
    assert_eq!(stage.calls("get_server").len(), 1);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_as_soon_as_its_201_is_out_was_never_made() {
    let mut stage = Stage::open().await;
    stage.fault("create_server", &json!({ "kind": "vanishes" }), &json!({}));
    stage.drop_spec("rex");
    insta::assert_snapshot!(replaced(&mut stage, "rex").await, @"Hetzner accepted the create, but its create_server ended in `server_does_not_exist_anymore`");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_its_actions_are_forgotten_too_the_server_itself_is_asked_for() {
    let mut stage = Stage::open().await;
    stage.fault("create_server", &json!({ "kind": "vanishes" }), &json!({}));
    let nothing = json!({ "kind": "odd_json", "body": { "actions": [] } });
    stage.fault("list_actions", &nothing, &json!({}));
    stage.drop_spec("rex");
    insta::assert_snapshot!(replaced(&mut stage, "rex").await, @"Hetzner accepted the create, but its server was gone before it ran");
    assert_eq!(stage.calls("get_server").len(), 1);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unclear_about_many_is_asked_with_one_call_and_what_is_stuck_is_replaced() {
    let mut stage = Stage::open().await;
    stage.fault(
        "create_server",
        &json!({ "kind": "stuck_initializing" }),
        &json!({ "count": 0 }),
    );
    for name in ["ann", "bob", "cat"] {
        stage.drop_spec(name);
    }
    for name in ["ann", "bob", "cat"] {
        stage
            .until(name, |status| {
                status["run"]["server"]["status"] == "initializing"
            })
            .await;
    }
    assert_eq!(
        stage.calls("list_actions").len(),
        0,
        "nothing is unclear yet"
    );
    stage.pass_time(151).await;
    let ids = stage
        .until_there("one call for all three", |stage| {
            let calls = stage.calls("list_actions");
            calls
                .iter()
                .map(|call| call.query.len())
                .find(|ids| *ids >= 6)
        })
        .await;
    assert!(ids <= 25, "{ids}");
    assert_eq!(stage.calls("get_server").len(), 0);
    stage.pass_time(12 * 60 - 151 + 1).await;
    for name in ["ann", "bob", "cat"] {
        let status = stage.until(name, has_failed).await;
        let run = ended(&status).unwrap();
        assert_eq!(run["endReason"], "create-failed");
        assert_eq!(
            run["message"],
            "Hetzner has not started its server within 12m; it is still initializing"
        );
    }
    replaced(&mut stage, "ann").await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_born_off_is_powered_on_and_is_the_same_run() {
    let stage = Stage::open().await;
    stage.fault("create_server", &json!({ "kind": "stays_off" }), &json!({}));
    stage.drop_spec("rex");
    let status = stage.until("rex", boots).await;
    assert_eq!(status.get("earlierRuns"), None);
    assert_eq!(stage.calls("poweron_server").len(), 1);
    stage
        .until_told(
            "rex",
            "the server was off before its task began: powered on",
        )
        .await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_power_on_is_tried_again_after_its_wait() {
    let mut stage = Stage::open().await;
    stage.fault("create_server", &json!({ "kind": "stays_off" }), &json!({}));
    let locked =
        json!({ "kind": "json", "status": 423, "code": "locked", "message": "it is locked" });
    stage.fault("poweron_server", &locked, &json!({}));
    stage.drop_spec("rex");
    stage
        .until_told("rex", "the server was found off: cannot power on")
        .await;
    assert_eq!(stage.calls("poweron_server").len(), 1);
    stage.pass_time(11).await;
    stage.until("rex", boots).await;
    assert_eq!(stage.calls("poweron_server").len(), 2);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_power_ons_and_no_more() {
    let mut stage = Stage::open().await;
    stage.fault("create_server", &json!({ "kind": "stays_off" }), &json!({}));
    stage.fault(
        "poweron_server",
        &json!({ "kind": "html", "status": 502 }),
        &json!({ "count": 0 }),
    );
    stage.drop_spec("rex");
    for n in 1..=3 {
        stage
            .until_there("a power-on", |stage| {
                (stage.calls("poweron_server").len() == n).then_some(())
            })
            .await;
        stage.pass_time(11).await;
    }
    stage.pass_time(61).await;
    let message = replaced(&mut stage, "rex").await;
    assert!(
        message.starts_with("its server was found off and could not be powered on, 3 times ("),
        "{message}"
    );
    assert_eq!(stage.calls("poweron_server").len(), 3);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stays_off_after_its_power_on_is_replaced_within_a_minute() {
    let mut stage = Stage::open().await;
    for operation in ["create_server", "poweron_server"] {
        stage.fault(operation, &json!({ "kind": "stays_off" }), &json!({}));
    }
    stage.drop_spec("rex");
    stage.until_told("rex", "powered on").await;
    stage.pass_time(61).await;
    insta::assert_snapshot!(replaced(&mut stage, "rex").await, @"its server was found off again after it was powered on");
    assert_eq!(stage.calls("poweron_server").len(), 1);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_on_that_fails_says_with_what() {
    let mut stage = Stage::open().await;
    stage.fault("create_server", &json!({ "kind": "stays_off" }), &json!({}));
    let fault = json!({ "kind": "action_error", "code": "host_gone", "message": "no host" });
    stage.fault("poweron_server", &fault, &json!({}));
    stage.drop_spec("rex");
    stage.until_told("rex", "powered on").await;
    stage
        .until("rex", |status| {
            status["message"]
                .as_str()
                .is_some_and(|it| it.contains("host_gone"))
        })
        .await;
    stage.pass_time(61).await;
    insta::assert_snapshot!(replaced(&mut stage, "rex").await, @"its server was found off again after it was powered on (Hetzner did not start the server: its start_server ended in `host_gone`)");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_never_ends_is_told_and_tried_again() {
    let mut stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    stage.fault(
        "delete_server",
        &json!({ "kind": "action_stuck" }),
        &json!({}),
    );
    stage.pass_time(16 * 60).await;
    stage
        .until("rex", |status| {
            let run = ended(status).and_then(|run| run["endReason"].as_str());
            run == Some("boot-timeout")
        })
        .await;
    let words = format!(
        "its delete was accepted and has not ended within {} s",
        GIVE_UP.as_secs()
    );
    stage.until_told("rex", &words).await;
    assert!(
        !stage.calls("get_server").is_empty(),
        "it was asked for by id"
    );
    let deletes = stage.calls("delete_server").len();
    stage.pass_time(70).await;
    stage
        .until_there("a further delete", |stage| {
            (stage.calls("delete_server").len() > deletes).then_some(())
        })
        .await;
    let id = stage.servers()[0]["id"].clone();
    stage.control("POST", &format!("servers/{id}/vanish"), &Value::Null);
    stage.pass_time(70).await;
    stage.until_told("rex", "is gone").await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_labels_gets_them_back() {
    let stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    let before = stage.servers().remove(0);
    let strip = |body: &Value| {
        stage.control(
            "POST",
            &format!("servers/{}/strip-labels", before["id"]),
            body,
        )
    };
    for lost in [
        json!({}),
        json!({ "keys": ["fleet"] }),
        json!({ "keys": ["expires-at"] }),
    ] {
        strip(&lost);
        stage
            .until_there("its labels", |stage| {
                (stage.servers()[0]["labels"] == before["labels"]).then_some(())
            })
            .await;
    }
    let status = stage.get("cattle/rex").await;
    assert!(boots(&status), "{status:#}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_given_to_another_fleet_is_left_to_it() {
    let stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    let server = stage.servers().remove(0);
    let mut labels = server["labels"].clone();
    labels["fleet"] = json!("theirs");
    stage.control(
        "PUT",
        &format!("servers/{}/labels", server["id"]),
        &json!({ "labels": labels }),
    );
    stage
        .until_there("a question", |stage| {
            (stage.calls("get_server").len() > 3).then_some(())
        })
        .await;
    assert_eq!(stage.calls("update_server").len(), 0);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_servers_are_shown_and_go_on_and_go_at_their_time() {
    let mut stage = Stage::open().await;
    for name in ["ann", "bob"] {
        stage.drop_spec(name);
    }
    for name in ["ann", "bob"] {
        stage.until(name, boots).await;
    }
    let odd = json!({ "kind": "missing_keys", "keys": ["servers.name", "servers.created", "servers.status"] });
    stage.fault("list_servers", &odd, &json!({ "count": 0 }));
    let readable = |status: &Value| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let found = conditions
            .clone()
            .find(|it| it["type"] == "ServersReadable");
        found.is_none_or(|it| it["status"] == true)
    };
    let status = stage.until("ann", |status| !readable(status)).await;
    assert!(boots(&status), "{status:#}");
    let controller = stage.get("cattle").await["controller"].clone();
    assert!(!readable(&controller), "{controller:#}");
    let reply = stage.sim.calls();
    assert!(
        !reply.iter().any(|call| call.operation == "get_server"),
        "nothing is missing"
    );
    stage.clear_faults();
    stage.until("ann", readable).await;

    // What nobody stands behind goes at its time, though its list entry is odd.
    stage.fault("list_servers", &odd, &json!({ "count": 0 }));
    stage.pass_time(2 * 3600 + 1).await;
    stage
        .until_there("both gone", |stage| {
            stage.servers().is_empty().then_some(())
        })
        .await;
    stage.close().await;
}
