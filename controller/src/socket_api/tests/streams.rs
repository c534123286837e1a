//! Logs.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::json;

use super::harness::{Controller, SPEC};

#[tokio::test]
async fn a_log_is_read_whole_from_an_offset_or_by_its_tail() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    controller
        .get("/v1/cattle/fix/logs")
        .await
        .problem(404, "not-found");
    let run = controller.begin("fix").await;
    controller
        .logs
        .0
        .lock()
        .unwrap()
        .insert(run, b"one two three".to_vec());
    let whole = controller.get("/v1/cattle/fix/logs").await;
    assert_eq!(whole.text, "one two three");
    assert_eq!(whole.header("clf-run"), run.to_string());
    for (query, text, offset) in [
        ("offset=4", "two three", "4"),
        ("tailBytes=5", "three", "8"),
        ("tailBytes=500", "one two three", "0"),
        ("offset=500", "", "500"),
    ] {
        let part = controller
            .get(&format!("/v1/cattle/fix/logs?{query}"))
            .await;
        assert_eq!(
            (part.text.as_str(), part.header("clf-log-offset")),
            (text, offset.to_owned())
        );
    }
    let both = controller
        .get("/v1/cattle/fix/logs?offset=1&tailBytes=1")
        .await;
    both.problem(400, "bad-request");
}

#[tokio::test]
async fn following_a_log_ends_with_its_run() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    let log = |text: &str| controller.logs.append(run, text);
    log("first ");
    let request = controller.request(Method::GET, "/v1/cattle/fix/logs?follow=true");
    let mut bytes = request.send().await.unwrap().bytes_stream();
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(10), bytes.next())
            .await
            .unwrap()
    };
    assert_eq!(next().await.unwrap().unwrap(), "first ");
    log("second");
    assert_eq!(next().await.unwrap().unwrap(), "second");
    controller.finish(run, json!(1)).await;
    assert!(next().await.is_none());
}

#[tokio::test]
async fn the_log_of_an_earlier_run_is_read_by_its_run() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let first = controller.begin("fix").await;
    controller.finish(first, json!(1)).await;
    controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .ok();
    let second = controller.begin("fix").await;
    controller
        .logs
        .0
        .lock()
        .unwrap()
        .insert(first, b"old".to_vec());
    controller
        .logs
        .0
        .lock()
        .unwrap()
        .insert(second, b"new".to_vec());
    assert_eq!(controller.get("/v1/cattle/fix/logs").await.text, "new");
    let old = controller
        .get(&format!("/v1/cattle/fix/logs?run={first}"))
        .await;
    assert_eq!(old.text, "old");
    assert_eq!(
        controller
            .get(&format!("/v1/cattle/{first}/logs"))
            .await
            .text,
        "old"
    );
    controller
        .get("/v1/cattle/fix/logs?run=fix")
        .await
        .problem(404, "not-found");
}
