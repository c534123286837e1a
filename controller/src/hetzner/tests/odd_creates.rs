//! A create that was accepted and answered oddly: the server exists and bills, so it is either known
//! at once, or certain to be looked for.

use serde_json::{Value, json};

use super::{
    super::{CreateOutcome, transport::MAX_REPLY_BYTES},
    TTL, client,
    create::new_server,
    fake::{Answer, Fake},
    page, server,
};

fn accepted(body: &Value) -> String {
    raw(&body.to_string())
}

fn raw(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// All that is in a create's reply, as the API gives it.
fn reply() -> Value {
    json!({
        "server": server(42),
        "action": { "id": 600_000_000_000_001_u64, "command": "create_server", "status": "running" },
        "next_actions": [{ "id": 600_000_000_000_002_u64, "command": "start_server" }],
        "root_password": null,
    })
}

#[tokio::test]
async fn what_cannot_be_read_is_looked_up_by_name() {
    let whole = reply().to_string();
    let halved = &whole[..whole.len() / 2];
    let cut = format!(
        "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{halved}",
        whole.len()
    );
    let mut without_id = reply();
    without_id["server"].as_object_mut().unwrap().remove("id");
    let huge = format!("{{\"server\":\"{}\"}}", "x".repeat(MAX_REPLY_BYTES));
    let endless = format!("HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{huge}");
    for (what, bytes) in [
        ("nothing", raw("")),
        (
            "no body at all",
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
        ),
        ("a page", raw("<html><body>welcome</body></html>")),
        ("half of it", raw(halved)),
        ("half of it, and the connection closed", cut),
        ("an empty object", accepted(&json!({}))),
        (
            "no server",
            accepted(&json!({ "server": null, "action": { "id": 1 } })),
        ),
        ("a server without an id", accepted(&without_id)),
        ("an array", accepted(&json!([reply()]))),
        ("null", accepted(&Value::Null)),
        ("a text", accepted(&json!("created"))),
        (
            "an id that is none",
            accepted(&json!({ "server": { "id": -1 } })),
        ),
        (
            "an id that is a text",
            accepted(&json!({ "server": { "id": "42" } })),
        ),
        ("too much", raw(&huge)),
        ("too much, and nobody said how much", endless),
        ("no UTF-8", raw("{\"server\":{\"id\":42,\"name\":\"\u{0}")),
    ] {
        let listed = page("servers", vec![named()], None);
        let fake = Fake::start(vec![Answer::Raw(bytes), Answer::Json(200, listed)]).await;
        let client = client(&fake.url);
        let new = new_server();
        let error = client.create_server(&new, TTL).await.unwrap_err();
        assert_eq!(error.outcome(), CreateOutcome::MayExist, "{what}: {error}");
        let found = client.find_server(&new.name, TTL).await.unwrap().unwrap();
        assert_eq!(found.labels.raw, new.labels, "{what}");
        let lines: Vec<String> = fake.requests().into_iter().map(|r| r.line).collect();
        assert_eq!(
            lines,
            ["POST /servers", "GET /servers?name=cattle-rex-9g5fav"],
            "{what}"
        );
    }
}

/// The server of [`new_server`].
fn named() -> Value {
    let mut server = server(42);
    server["name"] = json!(new_server().name);
    server
}

#[tokio::test]
async fn words_that_are_not_known_do_not_hide_the_server() {
    let mut odd = reply();
    odd["server"]["status"] = json!("levitating");
    odd["server"]["server_type"]["architecture"] = json!("riscv");
    odd["server"]["image"]["os_flavor"] = json!("plan9");
    odd["server"]["public_net"]["firewalls"][0]["status"] = json!("smouldering");
    odd["action"]["status"] = json!("pondering");
    odd["next_actions"][0]["status"] = json!(7);
    odd["quantum_state"] = json!({ "entangled": true });
    let fake = Fake::start(vec![Answer::Raw(accepted(&odd))]).await;
    let created = client(&fake.url)
        .create_server(&new_server(), TTL)
        .await
        .unwrap();
    assert_eq!(created.server.id.0, 42);
    assert_eq!(created.actions, [600_000_000_000_001, 600_000_000_000_002]);
}

#[tokio::test]
async fn a_look_by_name_that_cannot_be_read_does_not_say_that_there_is_none() {
    let mut nameless = named();
    nameless.as_object_mut().unwrap().remove("name");
    for answer in [
        Answer::Json(200, json!({})),
        Answer::Json(200, json!([])),
        Answer::Json(200, json!({ "servers": null })),
        Answer::Json(200, json!({ "servers": [{}] })),
        Answer::Json(200, json!({ "servers": [nameless] })),
        Answer::Json(200, json!({ "servers": [null] })),
        Answer::Html(200, "<html>"),
        Answer::Html(404, "<html>"),
        Answer::Json(404, super::refusal("not_found", "")),
        Answer::Cut,
    ] {
        let fake = Fake::start(vec![answer]).await;
        let error = client(&fake.url)
            .find_server("cattle-rex-9g5fav", TTL)
            .await
            .unwrap_err();
        assert!(error.retry_in().is_some(), "{error}");
    }
}
