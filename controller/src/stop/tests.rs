#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::hetzner::tests::{
    client,
    fake::{Answer, Fake},
    fleet, page, refusal, server,
};

const QUICK: Patience = Patience {
    look: Duration::from_millis(1),
    again: Duration::from_millis(1),
    give_up: Duration::from_secs(30),
};

fn list(servers: &[&Value]) -> Answer {
    let servers = servers.iter().map(|server| (*server).clone()).collect();
    Answer::Json(200, page("servers", servers, None))
}

fn got(server: &Value) -> Answer {
    Answer::Json(200, json!({ "server": server }))
}

fn accepted() -> Answer {
    Answer::Json(200, json!({ "action": { "id": 9 } }))
}

fn missing() -> Answer {
    Answer::Json(404, refusal("not_found", "server not found"))
}

async fn stopped(
    dry_run: bool,
    patience: Patience,
    answers: Vec<Answer>,
) -> (Stopped, Vec<String>) {
    let fake = Fake::start(answers).await;
    let done = stop(&client(&fake.url), &fleet(), dry_run, patience, |_| {})
        .await
        .unwrap();
    let lines = fake.requests().into_iter().map(|request| request.line);
    let lines = lines.map(|line| line.split('?').next().unwrap().to_owned());
    (done, lines.collect())
}

#[tokio::test]
async fn each_is_read_again_deleted_and_waited_for() {
    let one = server(1);
    let answers = vec![
        list(&[&one]),
        got(&one),
        accepted(),
        // Not listed any more: only a 404 proves it.
        list(&[]),
        missing(),
        list(&[]),
    ];
    let slow = Patience {
        again: Duration::from_secs(60),
        ..QUICK
    };
    let (done, lines) = stopped(false, slow, answers).await;
    assert!(done.is_done(), "{done:?}");
    assert!(done.servers[0].gone);
    assert_eq!(
        lines[..5],
        [
            "GET /servers",
            "GET /servers/1",
            "DELETE /servers/1",
            "GET /servers",
            "GET /servers/1"
        ]
    );
}

#[tokio::test]
async fn a_dry_run_only_names_them() {
    let (one, two) = (server(1), server(2));
    let (done, lines) = stopped(true, QUICK, vec![list(&[&one, &two])]).await;
    assert_eq!(lines, ["GET /servers"]);
    assert!(done.is_done() && done.servers.len() == 2 && done.remaining == 2);
}

#[tokio::test]
async fn what_is_not_ours_any_more_is_spared() {
    let listed = server(1);
    let mut given_away = listed.clone();
    given_away["labels"]["fleet"] = json!("test");
    let mut marked = listed.clone();
    marked["labels"]["apricote.de/created-by"] = json!("hcloud-upload-image");
    for now in [given_away, marked] {
        let answers = vec![list(&[&listed]), got(&now), list(&[])];
        let (done, lines) = stopped(false, QUICK, answers).await;
        assert!(!lines.iter().any(|line| line.starts_with("DELETE")));
        assert!(done.is_done() && done.servers.is_empty(), "{done:?}");
    }
}

#[tokio::test]
async fn one_that_cannot_be_deleted_stops_no_other_and_remains() {
    let one = server(1);
    let answers = vec![
        list(&[&one]),
        got(&one),
        Answer::Json(423, refusal("locked", "another action is running")),
        list(&[&one]),
        got(&one),
        Answer::Json(423, refusal("protected", "server is protected")),
    ];
    let (done, _) = stopped(false, QUICK, answers).await;
    assert!(!done.is_done());
    assert_eq!(done.remaining, 1);
    let error = done.servers[0].error.as_deref().unwrap();
    assert!(error.contains("server is protected (protected)"), "{error}");
}
