use std::sync::Arc;

use cattle_core::names::ServerId;
use serde_json::json;

use super::{
    super::{ActionStatus, Deleted, Disposition, Kind, Pace},
    TTL, client,
    fake::{Answer, Fake},
    labels, page, refusal, server,
};

#[tokio::test]
async fn only_hetzners_own_not_found_proves_that_a_server_is_gone() {
    let answers = vec![
        Answer::Json(404, refusal("not_found", "server not found")),
        Answer::Html(404, "<html>not here</html>"),
        Answer::Json(200, json!({})),
        Answer::Json(200, json!({ "server": null })),
        Answer::Json(200, json!({ "server": server(7) })),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let get = || client.get_server(ServerId(42), TTL);
    assert_eq!(get().await.unwrap(), None);
    assert_eq!(get().await.unwrap_err().kind, Kind::Gateway);
    let missing = Kind::Unreadable("no server in it".to_owned());
    assert_eq!(get().await.unwrap_err().kind, missing);
    assert_eq!(get().await.unwrap_err().kind, missing);
    let other = Kind::Unreadable("another server in it".to_owned());
    assert_eq!(get().await.unwrap_err().kind, other);
    assert_eq!(fake.requests()[0].line, "GET /servers/42");
}

#[tokio::test]
async fn a_server_is_found_by_exactly_its_name() {
    let mut other = server(1);
    other["name"] = json!("cattle-rex-other");
    let answers = vec![
        Answer::Json(200, page("servers", vec![other.clone(), server(2)], None)),
        Answer::Json(200, page("servers", vec![other], None)),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let found = client.find_server("cattle-rex-2", TTL).await.unwrap();
    assert_eq!(found.unwrap().id, ServerId(2));
    assert_eq!(client.find_server("cattle-rex-2", TTL).await.unwrap(), None);
    assert_eq!(fake.requests()[0].line, "GET /servers?name=cattle-rex-2");
}

#[tokio::test]
#[should_panic(expected = "never looked for by an empty name")]
async fn nobody_looks_for_an_empty_name() {
    let fake = Fake::start(vec![]).await;
    client(&fake.url).find_server("", TTL).await.ok();
}

#[tokio::test]
async fn a_delete_is_accepted_gone_or_refused() {
    let answers = vec![
        Answer::Json(
            200,
            json!({ "action": { "id": 612_345_678_901_234_u64, "status": "running" } }),
        ),
        Answer::Html(200, "<html>"),
        Answer::Json(404, refusal("not_found", "")),
        Answer::Json(
            423,
            refusal(
                "locked",
                "cannot perform operation because resource is locked",
            ),
        ),
        Answer::Json(423, refusal("protected", "server is protected")),
        Answer::Html(404, "<html>"),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let delete = || client.delete_server(ServerId(42));
    assert_eq!(
        delete().await.unwrap(),
        Deleted::Accepted {
            action: Some(612_345_678_901_234)
        }
    );
    assert_eq!(delete().await.unwrap(), Deleted::Accepted { action: None });
    assert_eq!(delete().await.unwrap(), Deleted::AlreadyGone);
    assert_eq!(
        delete().await.unwrap_err().disposition(),
        Disposition::Retry(Pace::Locked)
    );
    assert_eq!(
        delete().await.unwrap_err().disposition(),
        Disposition::Operator
    );
    assert_eq!(
        delete().await.unwrap_err().disposition(),
        Disposition::Retry(Pace::Locked)
    );
    assert_eq!(fake.requests()[0].line, "DELETE /servers/42");
}

#[tokio::test]
async fn labels_are_replaced_and_nothing_else() {
    let fake = Fake::start(vec![Answer::Json(200, json!({ "server": server(42) }))]).await;
    client(&fake.url)
        .relabel(ServerId(42), &labels())
        .await
        .unwrap();
    let request = &fake.requests()[0];
    assert_eq!(request.line, "PUT /servers/42");
    assert_eq!(request.json(), json!({ "labels": labels() }));
}

#[tokio::test]
async fn nothing_that_holds_a_secret_is_sent() {
    let fake = Fake::start(vec![Answer::Json(204, json!(null))]).await;
    let search = |bytes: &[u8]| match String::from_utf8_lossy(bytes).contains("hunter2") {
        true => Err("it holds the value of the secret `key`".to_owned()),
        false => Ok(()),
    };
    let client = client(&fake.url).searching(Arc::new(search));
    let mut labels = labels();
    labels.insert("spec.note".to_owned(), "hunter2".to_owned());
    let error = client.relabel(ServerId(42), &labels).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Operator);
    let told = error.to_string();
    assert!(
        told.ends_with("not sent: it holds the value of the secret `key`"),
        "{told}"
    );
    assert!(fake.requests().is_empty());
    // What stops the bill has no body, and nothing stops it.
    client.delete_server(ServerId(42)).await.unwrap();
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn powering_on_answers_with_the_action() {
    let fake = Fake::start(vec![Answer::Json(201, json!({ "action": { "id": 9 } }))]).await;
    assert_eq!(
        client(&fake.url).power_on(ServerId(42)).await.unwrap(),
        Some(9)
    );
    assert_eq!(fake.requests()[0].line, "POST /servers/42/actions/poweron");
}

#[tokio::test]
async fn actions_are_asked_for_25_at_a_time() {
    let some = json!({ "actions": [
        { "id": 600_000_000_000_001_u64, "command": "create_server", "status": "success", "error": null },
        { "id": 2, "command": "start_server", "status": "error", "error": { "code": "action_failed" } },
        { "id": 3, "command": "x", "status": "pondering" },
        { "no": "id" },
    ] });
    let answers = vec![
        Answer::Json(200, some),
        Answer::Json(200, json!({ "actions": [] })),
    ];
    let fake = Fake::start(answers).await;
    let ids: Vec<u64> = (1..=30).collect();
    let actions = client(&fake.url).actions(&ids).await.unwrap();
    let statuses: Vec<_> = actions.iter().map(|action| action.status.clone()).collect();
    let failed = ActionStatus::Error {
        code: "action_failed".to_owned(),
    };
    assert_eq!(
        statuses,
        [ActionStatus::Success, failed, ActionStatus::Unknown]
    );
    let requests = fake.requests();
    assert_eq!(requests[0].line.matches("id=").count(), 25);
    assert_eq!(
        requests[1].line,
        "GET /actions?id=26&id=27&id=28&id=29&id=30"
    );
}
