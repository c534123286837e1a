//! Destroy, rerun, extend, result.

use serde_json::{Value, json};

use super::harness::{Controller, SPEC};

#[tokio::test]
async fn destroy_ends_the_run_and_removes_the_spec_that_the_socket_wrote() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    let reply = controller.delete("/v1/cattle/fix").await.ok();
    assert_eq!(
        reply,
        json!({ "name": "fix", "run": run.to_string(), "changed": true, "specRemoved": true })
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
        json!({ "name": "fix", "changed": false, "specRemoved": false })
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
