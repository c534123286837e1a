//! How replies travel.

use super::*;

#[tokio::test]
async fn a_server_lives_and_dies_over_http() {
    let harness = Harness::new(quick()).await;
    let id = harness.create(&order("a")).await;
    harness.reaches(id, "running").await;
    harness.delete(id).await;
    harness.reaches(id, "gone").await;
    assert_eq!(harness.sim.cost().total.to_string(), "0.0096");
    assert_eq!(harness.sim.snapshot()["maxServersAtOnce"], 1);
    assert_eq!(harness.sim.calls()[0].operation, "create_server");
    harness.sim.shutdown().await;
}

#[tokio::test]
async fn time_passes_while_nobody_calls() {
    let harness = Harness::new(quick()).await;
    harness.create(&order("a")).await;
    let created = harness.sim.calls_total();
    eventually("the server runs", || async {
        harness.sim.snapshot()["servers"][0]["status"] == "running"
    })
    .await;
    assert_eq!(harness.sim.calls_total(), created);
}

#[tokio::test]
async fn headers_arrive_and_hetzners_date_once() {
    let harness = Harness::new(quick()).await;
    let reply = harness
        .request(
            Method::GET,
            "/v1/servers?per_page=2&status=running&status=off",
        )
        .send()
        .await
        .unwrap();
    let headers = reply.headers();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["ratelimit-remaining"], "3599");
    assert_eq!(headers.get_all("date").iter().count(), 1);
    assert_eq!(
        headers["link"],
        "</v1/servers?status=running&status=off&page=1&per_page=2>; rel=last"
    );
}

#[tokio::test]
async fn a_selector_arrives_decoded_from_form_and_percent_encoding() {
    let harness = Harness::new(quick()).await;
    let mut body = order("a");
    body["labels"] = json!({"team": "x"});
    harness.create(&body).await;
    for query in ["team+in+(x,y)", "team%20in%20%28x%2Cy%29", "team%3Dx"] {
        let found = harness
            .get(&format!("/v1/servers?label_selector={query}"))
            .await;
        assert_eq!(found["meta"]["pagination"]["total_entries"], 1, "{query}");
    }
}

#[tokio::test]
async fn a_cut_connection_brings_no_reply_and_the_next_call_works() {
    let harness = Harness::new(quick()).await;
    for kind in ["cut", "drop_reply"] {
        harness
            .post("/_sim/faults", &json!({"fault": {"kind": kind}}))
            .await;
        let name = kind.replace('_', "-");
        let lost = harness
            .request(Method::POST, "/v1/servers")
            .json(&order(&name))
            .send()
            .await;
        assert!(lost.is_err(), "{kind}: {lost:?}");
    }
    let left = harness.get("/v1/servers").await;
    assert_eq!(left["meta"]["pagination"]["total_entries"], 1);
    assert_eq!(left["servers"][0]["name"], "drop-reply");
}

#[tokio::test]
async fn a_truncated_reply_breaks_off_within_the_body() {
    let harness = Harness::new(quick()).await;
    harness
        .post("/_sim/faults", &json!({"fault": {"kind": "truncated"}}))
        .await;
    let reply = harness
        .request(Method::GET, "/v1/locations")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
    assert!(reply.content_length().unwrap() > 500);
    assert!(reply.bytes().await.is_err());
}

#[tokio::test]
async fn a_hanging_reply_ends_in_a_closed_connection_and_a_late_one_in_a_reply() {
    let harness = Harness::new(quick()).await;
    harness
        .post(
            "/_sim/faults",
            &json!({"fault": {"kind": "hang", "ms": 60}}),
        )
        .await;
    let begun = Instant::now();
    assert!(
        harness
            .request(Method::GET, "/v1/servers")
            .send()
            .await
            .is_err()
    );
    assert!(begun.elapsed() >= Duration::from_millis(60));
    harness
        .post(
            "/_sim/faults",
            &json!({"fault": {"kind": "delay", "ms": 60}}),
        )
        .await;
    let begun = Instant::now();
    let late = harness
        .request(Method::GET, "/v1/servers")
        .send()
        .await
        .unwrap();
    assert_eq!(late.status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn stopping_waits_for_no_hanging_call() {
    let harness = Harness::new(quick()).await;
    let hang = json!({"fault": {"kind": "hang", "ms": 600_000}});
    harness.post("/_sim/faults", &hang).await;
    let call = harness.request(Method::GET, "/v1/servers").send();
    let call = tokio::spawn(call);
    eventually("the call hangs", || async {
        harness.sim.calls_total() == 1
    })
    .await;
    let begun = Instant::now();
    harness.sim.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn gateways_answer_in_html_and_text() {
    let harness = Harness::new(quick()).await;
    for (kind, status, content_type) in [("html", 502, "text/html"), ("text", 504, "text/plain")] {
        harness
            .post("/_sim/faults", &json!({"fault": {"kind": kind}}))
            .await;
        let reply = harness
            .request(Method::GET, "/v1/servers")
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), status);
        assert_eq!(reply.headers()["content-type"], content_type);
        assert!(reply.json::<Value>().await.is_err());
    }
}

#[tokio::test]
async fn many_creates_side_by_side_all_arrive() {
    let harness = Harness::new(quick()).await;
    let names: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    let bodies: Vec<Value> = names.iter().map(|name| order(name)).collect();
    let creates = bodies.iter().map(|body| harness.create(body));
    let mut ids = futures_util::future::join_all(creates).await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}
