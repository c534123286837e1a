//! What holds for every route, and the document that lists them.

use reqwest::Method;
use serde_json::Value;

use super::{
    super::{openapi, routes::ROUTES},
    harness::{Answer, Controller},
};

#[tokio::test]
async fn whatever_does_not_fit_is_a_problem() {
    let controller = Controller::new().await;
    let unknown = controller
        .get("/v1/cows")
        .await
        .problem(404, "no-such-route");
    insta::assert_json_snapshot!(unknown, @r#"
    {
      "code": "no-such-route",
      "detail": "the API has no path `/v1/cows`",
      "retryable": false,
      "status": 404,
      "title": "No such path",
      "type": "about:blank"
    }
    "#);
    let patch = Answer::of(controller.request(Method::PATCH, "/v1/cattle")).await;
    assert!(patch.header("allow").contains("GET"));
    patch.problem(405, "method-not-allowed");
    for (target, detail) in [
        (
            "/v1/cattle?colour=red",
            "unknown field `colour`, expected one of `selector`",
        ),
        ("/v1/cattle?all=yes", "all: "),
        ("/v1/cattle?limit=1&limit=2", "duplicate field `limit`"),
        ("/v1/cattle/%ff", "Invalid UTF-8"),
    ] {
        let problem = controller.get(target).await.problem(400, "bad-request");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains(detail), "{target}: {told}");
    }
    let body = controller
        .request(Method::POST, "/v1/reap")
        .body("{\"dryrun\": true}");
    Answer::of(body).await.problem(400, "bad-request");
    let long = controller
        .request(Method::POST, "/v1/plan")
        .body("x".repeat(5 * 1024 * 1024));
    Answer::of(long).await.problem(413, "too-large");
    controller.get("/metrics").await.problem(503, "unavailable");
}

#[tokio::test]
async fn every_route_of_the_table_answers() {
    let controller = Controller::new().await;
    for route in ROUTES {
        let path = route.path.replace("{name}", "none").replace("{id}", "none");
        let method = Method::from_bytes(route.verb.as_str().as_bytes()).unwrap();
        let answer = Answer::of(controller.request(method, &path)).await;
        let code = serde_json::from_str::<Value>(&answer.text).unwrap_or_default()["code"].clone();
        assert!(
            code != "no-such-route" && answer.status != 405 && answer.status != 500,
            "{} {}: {}",
            route.verb.as_str(),
            route.path,
            answer.text
        );
    }
    let served = controller.get("/openapi.json").await.ok();
    assert_eq!(served, openapi());
}

/// `UPDATE=1 cargo test -p cattle-controller openapi` writes the document anew.
#[test]
fn the_committed_openapi_document_is_the_served_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
    let mut now = serde_json::to_string_pretty(&openapi()).unwrap();
    now.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == now,
        "schemas/openapi.json is out of date: run this test with UPDATE=1"
    );
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = openapi();
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    references += 1;
                }
                open.extend(map.values());
            }
            Value::Array(list) => open.extend(list),
            _ => {}
        }
    }
    assert!(references > 20);
    let mut ids: Vec<&str> = ROUTES.iter().map(|route| route.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), ROUTES.len(), "operation ids are unique");
}
