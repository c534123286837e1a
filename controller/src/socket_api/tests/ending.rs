//! Destroy, rerun, extend, result.

use std::time::Duration;

use cattle_core::{lifecycle, names::RunId};
use cattle_schemas::status::PendingReason;
use serde_json::{Value, json};

use super::harness::{Controller, SPEC};
use crate::{edit, store::Store};

#[tokio::test]
async fn destroy_ends_the_run_and_removes_the_spec_that_the_socket_wrote() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    let reply = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(
        reply,
        json!({
            "name": "fix", "run": run.to_string(), "changed": true, "specRemoved": true,
            "handOverUntil": "2026-01-10T12:00:20Z"
        })
    );
    assert!(controller.files.files.lock().unwrap().is_empty());
    let status = controller.get("/v1/cattle/fix").await.ok();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Finishing"), &json!("destroyed"))
    );
    let again = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(
        again,
        json!({
            "name": "fix", "changed": false, "specRemoved": false,
            "handOverUntil": "2026-01-10T12:00:20Z"
        })
    );
}

#[tokio::test]
async fn destroy_lets_a_kept_server_go() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    controller.keep(run).await;
    let status = controller.get("/v1/cattle/fix").await.ok();
    let kept = |status: &Value| {
        let mut conditions = status["conditions"].as_array().unwrap().iter();
        conditions.any(|condition| condition["type"] == "Kept")
    };
    assert!(kept(&status), "{status:#}");
    let reply = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(
        reply,
        json!({
            "name": "fix", "run": run.to_string(), "released": true, "changed": true,
            "specRemoved": true
        })
    );
    let status = controller.get("/v1/cattle/fix").await.ok();
    assert!(!kept(&status), "{status:#}");
    assert_eq!(status["reason"], "task-failed", "its end stays what it was");
    let again = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(again["changed"], false);
}

#[tokio::test]
async fn destroy_waits_for_the_hand_over_unless_it_is_told_not_to() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    controller.delete("/v1/cattle/fix").await.ok();
    let now = controller.now();
    assert!(controller.run(run).await.is_handing_over(now));
    let status = controller.get("/v1/cattle/fix").await.ok();
    assert_eq!(status["phase"], "Finishing");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("its guest hands over"), "{message}");
    assert!(status["run"]["handOverUntil"].is_string(), "{status:#}");

    let reply = controller.delete("/v1/cattle/fix?now=true").await.ok();
    assert_eq!(
        reply,
        json!({
            "name": "fix", "run": run.to_string(), "released": true, "changed": true,
            "specRemoved": false
        })
    );
    let ended = controller.run(run).await;
    assert!(!ended.is_handing_over(now));

    controller.put("/v1/cattle/max", SPEC).await.ok();
    let other = controller.begin("max").await;
    controller.delete("/v1/cattle/max?now=true").await.ok();
    assert!(!controller.run(other).await.is_handing_over(now));
    controller
        .delete("/v1/cattle/max?soon=true")
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_pending_cattle_ends_before_it_starts() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let reply = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(
        (&reply["changed"], &reply["run"]),
        (&json!(true), &json!(null))
    );
    let status = controller.get("/v1/cattle/fix").await.ok();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Canceled"), &json!("destroyed"))
    );
}

#[tokio::test]
async fn a_spec_in_another_directory_stays_ended_until_rerun() {
    let controller = Controller::new().await;
    controller.drop_file("fix", SPEC).await;
    let run = controller.begin("fix").await;
    let reply = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(reply["specRemains"], "/srv/specs/fix.yaml");
    assert_eq!(reply["specRemoved"], false);
    controller.gone(run).await;
    let plan = controller.post("/v1/plan", json!({})).await.ok();
    assert_eq!(plan["actions"], json!([]), "nothing starts by itself");
    let rerun = controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .ok();
    assert_eq!(rerun, json!({ "name": "fix", "phase": "Pending" }));
    let plan = controller.post("/v1/plan", json!({})).await.ok();
    assert_eq!(plan["actions"][0]["verb"], "start");
}

#[tokio::test]
async fn rerun_refuses_what_is_not_over() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let pending = controller.post("/v1/cattle/fix/rerun", json!({})).await;
    pending.problem(409, "wrong-phase");
    let run = controller.begin("fix").await;
    let live = controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .problem(409, "wrong-phase");
    assert_eq!(
        live["detail"],
        format!("`fix` has a live run, {run}; destroy it first")
    );
    controller.delete("/v1/cattle/fix").await.ok();
    let gone = controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .problem(409, "wrong-phase");
    assert_eq!(gone["detail"], "`fix` has no spec any more; apply it again");
}

/// A run whose create was refused, with ten minutes to wait.
async fn refused(controller: &Controller) -> RunId {
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin_unmade("fix").await;
    let now = controller.now();
    let later = Some(now + Duration::from_secs(600));
    let edit = edit::of_run(run, move |run, _| {
        lifecycle::refuse_create(run, PendingReason::Config, "no such image", later, now)
    });
    controller.store.commit(vec![edit], now).await.unwrap();
    controller.pass().await;
    run
}

#[tokio::test]
async fn retry_looks_at_once_at_what_waits() {
    let controller = Controller::new().await;
    let run = refused(&controller).await;
    controller.wait(60);
    let reply = controller
        .post("/v1/cattle/fix/retry", json!({}))
        .await
        .ok();
    assert_eq!(reply["name"], "fix");
    assert_eq!(controller.run(run).await.retry_at, None);
    assert_eq!(controller.looks.0.lock().unwrap().len(), 1);
    let plan = controller.post("/v1/plan", json!({})).await.ok();
    assert_eq!(plan["actions"][0]["verb"], "retry");
}

#[tokio::test]
async fn retries_one_after_the_other_are_some_seconds_apart() {
    let controller = Controller::new().await;
    let run = refused(&controller).await;
    controller
        .post("/v1/cattle/fix/retry", json!({}))
        .await
        .ok();
    let wait = controller.run(run).await.retry_at.unwrap();
    assert_eq!(wait.until, controller.now() + Duration::from_secs(5));
}

/// Each costs calls that all share.
#[tokio::test]
async fn a_loop_of_retries_takes_a_look_now_and_then() {
    let controller = Controller::new().await;
    let _ = refused(&controller).await;
    let looks = || controller.looks.0.lock().unwrap().len();
    let retry = async || controller.post("/v1/cattle/fix/retry", json!({})).await;
    retry().await.ok();
    for _ in 0..3 {
        let problem = retry().await.problem(429, "too-many-requests");
        assert_eq!(problem["retryAfterSeconds"], 6, "{problem:#}");
    }
    assert_eq!(looks(), 1);
    controller.wait(5);
    retry().await.ok();
    assert_eq!(looks(), 2);
    // A bot's count for all that it has: its specs are without bound.
    controller.become_bot(1001);
    for name in ["one", "two"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
    }
    let retry = async |name: &str| {
        let path = format!("/v1/cattle/{name}/retry");
        controller.post(&path, json!({})).await
    };
    retry("one").await.ok();
    controller.wait(29);
    retry("two").await.problem(429, "too-many-requests");
    controller.wait(1);
    retry("two").await.ok();
    assert_eq!(looks(), 4);
}

#[tokio::test]
async fn rerun_of_what_never_had_a_server_is_such_a_look() {
    let controller = Controller::new().await;
    let run = refused(&controller).await;
    controller.wait(60);
    let reply = controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .ok();
    assert_eq!(reply, json!({ "name": "fix", "phase": "Pending" }));
    let run = controller.run(run).await;
    assert!(run.is_live());
    assert_eq!(run.retry_at, None);
}

#[tokio::test]
async fn retry_refuses_what_waits_for_nothing() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    let target = "/v1/cattle/fix/retry";
    let live = controller
        .post(target, json!({}))
        .await
        .problem(409, "wrong-phase");
    let detail = live["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("waits for nothing"), "{detail}");
    controller.finish(run, json!(1)).await;
    controller.gone(run).await;
    let ended = controller
        .post(target, json!({}))
        .await
        .problem(409, "wrong-phase");
    let detail = ended["detail"].as_str().unwrap();
    assert!(detail.contains("`rerun` runs it once more"), "{detail}");
}

#[tokio::test]
async fn a_run_that_was_named_and_is_over_takes_nothing_else_with_it() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let first = controller.begin("fix").await;
    controller.finish(first, json!(1)).await;
    controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .ok();
    let second = controller.begin("fix").await;
    let reply = controller.delete(&format!("/v1/cattle/{first}")).await.ok();
    assert_eq!(reply["changed"], false);
    assert!(controller.run(second).await.is_live());
    assert!(!controller.files.files.lock().unwrap().is_empty());
}

#[tokio::test]
async fn extend_adds_up_to_max_ttl_and_no_further() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let target = "/v1/cattle/fix/extend";
    controller
        .post(target, json!({ "by": "1h" }))
        .await
        .problem(409, "wrong-phase");
    controller.begin("fix").await;
    let once = controller.post(target, json!({ "by": "1h" })).await.ok();
    assert_eq!(once["expiresAt"], "2026-01-10T15:00:00Z");
    let cut = controller.post(target, json!({ "by": "7d" })).await.ok();
    assert_eq!(cut["expiresAt"], "2026-01-11T12:00:00Z");
    let full = controller
        .post(target, json!({ "by": "1s" }))
        .await
        .problem(409, "limit-reached");
    assert_eq!(full["retryable"], false);
    controller
        .post(target, json!({ "by": "soon" }))
        .await
        .problem(400, "bad-request");
    controller
        .post(target, json!({}))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_result_is_there_once_it_was_handed_over() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let target = "/v1/cattle/fix/result";
    controller.get(target).await.problem(404, "no-result");
    let run = controller.begin("fix").await;
    controller.get(target).await.problem(404, "no-result");
    controller.finish(run, json!({ "pr": 42 })).await;
    let reply = controller.get(target).await.ok();
    assert_eq!(
        reply,
        json!({
            "name": "fix", "run": run.to_string(), "endReason": "completed", "exitCode": 0,
            "result": { "pr": 42 }
        })
    );
}

#[tokio::test]
async fn prune_removes_the_specs_that_the_caller_applied_from_there_and_ends_no_run_itself() {
    let controller = Controller::new().await;
    let from = |name: &str, set: &str| format!("/v1/cattle/{name}?applySet={set}");
    controller.put(&from("gone", "batch"), SPEC).await.ok();
    controller.put(&from("elsewhere", "other"), SPEC).await.ok();
    controller.put("/v1/cattle/alone", SPEC).await.ok();
    let run = controller.begin("gone").await;
    let names = ["gone", "elsewhere", "alone", "unknown", "../x"];
    let request = json!({ "applySet": "batch", "names": names });
    controller.become_bot(1001);
    let nothing = controller.post("/v1/prune", request.clone()).await.ok();
    assert_eq!(nothing, json!({ "items": [] }), "it is an operator's");
    controller.become_operator();
    let reply = controller.post("/v1/prune", request.clone()).await.ok();
    assert_eq!(
        reply,
        json!({ "items": [{ "name": "gone", "run": run.to_string() }] })
    );
    assert!(controller.run(run).await.is_live());
    let left = controller.files.files.lock().unwrap().len();
    assert_eq!(left, 2);
    let again = controller.post("/v1/prune", request).await.ok();
    assert_eq!(again, json!({ "items": [] }));
}
