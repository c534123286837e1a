//! Pause and resume.

use std::sync::Arc;

use cattle_core::{
    lifecycle,
    pause::{Pause, PauseItem},
};
use cattle_schemas::status::PauseReason;
use serde_json::json;

use super::harness::{Controller, SPEC};
use crate::{edit, store::Store};

/// The controller pauses by itself: ends of a source, of which this many are listed.
async fn brake(controller: &Controller, source: &str, runs: &[&str]) {
    let items = runs.iter().map(|name| PauseItem {
        cattle: name.parse().unwrap(),
        hash: "0123456789ab".parse().unwrap(),
        run: None,
        message: "its spec was removed".to_owned(),
    });
    let fresh = Pause {
        subject: source.to_owned(),
        ends: true,
        items: items.collect(),
        ..Pause::by_controller(PauseReason::Deletes, "too many at once", controller.now())
    };
    let edit = edit::of_pause(PauseReason::Deletes, source, move |held| {
        lifecycle::pause(held, &fresh)
    });
    let store = Arc::clone(&controller.store);
    store.commit(vec![edit], controller.now()).await.unwrap();
}

#[tokio::test]
async fn what_an_operator_pauses_waits_with_the_sentence_until_resume() {
    let controller = Controller::new().await;
    let why = json!({ "starts": true, "why": "month end" });
    let paused = controller.post("/v1/pause", why).await.ok();
    assert_eq!(
        paused["message"],
        "paused by operator (uid 0) since 2026-01-10 12:00:00 UTC: month end; \
         `clawdlets cattle resume --reason paused` goes on"
    );
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    controller.pass().await;
    let status = controller.get("/v1/cattle/fix").await.ok();
    assert_eq!(status["reason"], "starts-paused", "{status:#}");
    assert_eq!(status["message"], paused["message"]);
    // A second pause adds to the first.
    let ends = json!({ "ends": true, "why": "year end" });
    let both = controller.post("/v1/pause", ends).await.ok();
    assert_eq!(
        (&both["starts"], &both["ends"]),
        (&json!(true), &json!(true))
    );
    let resumed = controller.post("/v1/resume", json!({})).await.ok();
    assert_eq!(resumed["message"], "starts and ends go on (paused)");
    let events = controller.get("/v1/events?after=0").await.ok();
    let reasons: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["reason"].as_str().unwrap())
        .filter(|reason| ["paused", "resumed"].contains(reason))
        .collect();
    assert_eq!(reasons, ["paused", "paused", "resumed"]);
    let plan = controller.post("/v1/plan", json!({})).await.ok();
    assert_eq!(plan["waiting"], json!([]), "{plan:#}");
}

#[tokio::test]
async fn a_pause_says_what_and_why() {
    let controller = Controller::new().await;
    for body in [
        json!({ "why": "neither" }),
        json!({ "starts": true, "why": "  " }),
        json!({ "starts": true, "why": "x".repeat(501) }),
        json!({ "starts": true }),
    ] {
        let refused = controller.post("/v1/pause", body).await;
        refused.problem(400, "bad-request");
    }
    let list = controller.get("/v1/pauses").await.ok();
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn without_a_reason_resume_acts_only_if_exactly_one_pause_holds() {
    let controller = Controller::new().await;
    let why = json!({ "ends": true, "why": "month end" });
    controller.post("/v1/pause", why).await.ok();
    brake(&controller, "dir:/srv/specs", &["a", "b"]).await;
    let refused = controller.post("/v1/resume", json!({})).await;
    let refused = refused.problem(409, "confirm-needed");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with("2 pauses hold; say which: "), "{detail}");
    assert!(
        detail.contains("`clawdlets cattle resume --reason paused`"),
        "{detail}"
    );
    assert!(detail.contains("--reason deletes --digest "), "{detail}");
    let reply = controller
        .post("/v1/resume", json!({ "reason": "paused" }))
        .await
        .ok();
    assert_eq!(reply["pauses"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_is_confirmed_by_its_digest_and_a_changed_one_is_refused() {
    let controller = Controller::new().await;
    let source = "dir:/srv/specs";
    brake(&controller, source, &["a", "b"]).await;
    brake(&controller, "uid:1001", &["c"]).await;
    let list = controller.get("/v1/pauses").await.ok();
    let shown = &list["items"][0];
    assert_eq!(shown["subject"], source);
    assert_eq!(shown["items"][1]["cattle"], "b");
    let digest = shown["digest"].as_str().unwrap().to_owned();
    let resume = async |body| controller.post("/v1/resume", body).await;
    let blind = resume(json!({ "reason": "deletes" })).await;
    blind.problem(409, "confirm-needed");

    // One more would end now.
    brake(&controller, source, &["a", "b", "d"]).await;
    let stale = resume(json!({ "reason": "deletes", "digest": digest })).await;
    let stale = stale.problem(409, "changed");
    let list = controller.get("/v1/pauses").await.ok();
    let command = list["items"][0]["command"].as_str().unwrap();
    assert!(stale["detail"].as_str().unwrap().contains(command));

    let digest = &list["items"][0]["digest"];
    let reply = resume(json!({ "reason": "deletes", "digest": digest }))
        .await
        .ok();
    assert_eq!(reply["message"], "ends go on (deletes)");
    assert_eq!(
        reply["pauses"][0]["subject"], "uid:1001",
        "that one still holds"
    );
    let other = json!({ "reason": "paused" });
    let reply = resume(other).await.ok();
    assert_eq!(
        reply["message"],
        "nothing is paused for the reason `paused`"
    );
    let runs = json!({ "reason": "deletes", "digest": digest, "runs": ["a"] });
    resume(runs).await.problem(400, "bad-request");
}
