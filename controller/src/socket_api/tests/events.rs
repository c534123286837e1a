//! Lists of events, and streams that go on where they broke off.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::harness::{Controller, SPEC};

async fn stream(controller: &Controller, target: &str, last: Option<u64>) -> Response {
    let mut request = controller
        .request(Method::GET, target)
        .header("Accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response
}

/// The lines of the stream until so many events are whole.
async fn take(response: Response, events: usize) -> Vec<Vec<String>> {
    let mut bytes = response.bytes_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < events {
        let next = tokio::time::timeout(Duration::from_secs(10), bytes.next()).await;
        text.push_str(std::str::from_utf8(&next.unwrap().unwrap().unwrap()).unwrap());
    }
    text.split("\n\n")
        .take(events)
        .map(|event| event.lines().map(str::to_owned).collect())
        .collect()
}

fn ids(list: &Value) -> Vec<u64> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_id_without_gap_or_repetition() {
    let controller = Controller::new().await;
    for name in ["a", "b", "c"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
    }
    let all = ids(&controller.get("/v1/events").await.ok());
    assert_eq!(all.len(), 3);
    let open = stream(&controller, "/v1/events", Some(all[0])).await;
    controller.put("/v1/cattle/d", SPEC).await.ok();
    let events = take(open, 3).await;
    let told: Vec<&str> = events.iter().map(|event| event[0].as_str()).collect();
    let after = ids(&controller
        .get(&format!("/v1/events?after={}", all[0]))
        .await
        .ok());
    let expected: Vec<String> = after.iter().map(|id| format!("id: {id}")).collect();
    assert_eq!(told, expected);
    assert_eq!(events[0][1], "event: queued");
    let data: Value = serde_json::from_str(events[0][2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(
        (&data["cattle"], &data["reason"]),
        (&json!("b"), &json!("queued"))
    );
}

#[tokio::test]
async fn a_stream_without_a_beginning_begins_now_and_tells_of_one_cattle_alone() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/a", SPEC).await.ok();
    let open = stream(&controller, "/v1/cattle/a/events", None).await;
    controller.put("/v1/cattle/b", SPEC).await.ok();
    controller.delete("/v1/cattle/a").await.ok();
    let events = take(open, 1).await;
    assert_eq!(events[0][1], "event: ended");
}

#[tokio::test]
async fn a_list_has_the_latest_or_what_follows_an_id() {
    let controller = Controller::new().await;
    for name in ["a", "b", "c"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
    }
    let all = ids(&controller.get("/v1/events").await.ok());
    let latest = ids(&controller.get("/v1/events?limit=2").await.ok());
    assert_eq!(latest, all[1..]);
    let following = ids(&controller.get("/v1/events?after=0&limit=2").await.ok());
    assert_eq!(following, all[..2]);
    controller
        .get("/v1/events?limit=0")
        .await
        .problem(400, "bad-request");
    controller
        .get("/v1/events?limit=5001")
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_bot_hears_of_its_own_alone() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/operators", SPEC).await.ok();
    controller.become_bot(1001);
    let open = stream(&controller, "/v1/events", Some(0)).await;
    controller.put("/v1/cattle/mine", SPEC).await.ok();
    let run = controller.begin("mine").await;
    controller.finish(run, json!(1)).await;
    let listed = controller.get("/v1/events").await;
    assert!(!listed.text.contains("operators"), "{}", listed.text);
    let events = take(open, ids(&listed.ok()).len()).await;
    assert!(
        events.iter().all(|event| event[2].contains("mine")),
        "{events:?}"
    );
}

#[tokio::test]
async fn shutting_down_ends_streams_at_once() {
    let mut controller = Controller::new().await;
    let open = stream(&controller, "/v1/events", None).await;
    controller.shut_down().await;
    let rest = tokio::time::timeout(Duration::from_secs(10), open.bytes()).await;
    assert!(rest.is_ok());
}
