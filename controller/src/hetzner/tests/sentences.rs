//! What a person reads when the account or the endpoint is what is wrong: one sentence with the fix.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use insta::assert_snapshot;
use serde_json::json;

use super::{
    super::{ApiError, DEFAULT_ENDPOINT, Kind, Operation},
    TTL, client,
    fake::{Answer, Fake},
    fleet, refusal,
};

/// The sentence for a list, with the port of this test taken out.
async fn said(url: &str) -> String {
    let error = client(url).list_servers(&fleet(), TTL).await.unwrap_err();
    let told = crate::report(&error);
    let port = url.rsplit(':').next().unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    match port.as_str() {
        "" => told,
        port => told.replace(port, "PORT"),
    }
}

async fn answered(answer: Answer) -> String {
    said(&Fake::start(vec![answer]).await.url).await
}

/// What says so to whoever speaks TLS to it.
fn plain(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        stream.write_all(answer).unwrap();
    });
    url
}

#[tokio::test]
async fn a_token_that_is_refused_is_one_sentence_with_the_fix() {
    let answer = Answer::Json(401, refusal("unauthorized", "unable to authenticate"));
    assert_snapshot!(answered(answer).await, @"cannot list the servers: Hetzner refuses the token: it is mistyped, revoked or another API's (unauthorized); give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start), HTTP 401");
    let answer = Answer::Json(403, refusal("token_readonly", "only GET"));
    assert_snapshot!(answered(answer).await, @"cannot list the servers: Hetzner refuses the token: it may only read (token_readonly); give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start), HTTP 403");
}

#[tokio::test]
async fn an_endpoint_where_nothing_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    drop(listener);
    assert_snapshot!(said(&url).await, @"cannot list the servers: nothing listens at http://127.0.0.1:PORT/v1 (HCLOUD_ENDPOINT)");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    assert_snapshot!(said("https://no-such-host.invalid/v1").await, @"cannot list the servers: the host of https://no-such-host.invalid/v1 (HCLOUD_ENDPOINT) is not known");
}

#[tokio::test]
async fn tls_to_a_plain_port_is_named() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        assert_eq!(
            said(&plain(answer)).await,
            "cannot list the servers: what listens at https://127.0.0.1:PORT/v1 (HCLOUD_ENDPOINT) does not speak TLS"
        );
    }
}

#[tokio::test]
async fn another_web_server_is_named() {
    assert_snapshot!(answered(Answer::Html(200, "<html>It works!</html>")).await, @"cannot list the servers: what answers at http://127.0.0.1:PORT (HCLOUD_ENDPOINT) does not do so as Hetzner's API does (not JSON), HTTP 200");
    assert_snapshot!(answered(Answer::Json(200, json!({ "hello": "world" }))).await, @"cannot list the servers: what answers at http://127.0.0.1:PORT (HCLOUD_ENDPOINT) does not do so as Hetzner's API does (no `servers` in it), HTTP 200");
    assert_snapshot!(answered(Answer::Html(404, "<html>not here</html>")).await, @"cannot list the servers: what answers at http://127.0.0.1:PORT (HCLOUD_ENDPOINT) does not do so as Hetzner's API does, HTTP 404");
    assert_snapshot!(answered(Answer::Json(401, json!({ "message": "who are you?" }))).await, @"cannot list the servers: what answers at http://127.0.0.1:PORT (HCLOUD_ENDPOINT) does not do so as Hetzner's API does, HTTP 401");
    assert_snapshot!(answered(Answer::Json(404, refusal("not_found", "no such route"))).await, @"cannot list the servers: no API is at http://127.0.0.1:PORT (HCLOUD_ENDPOINT); Hetzner's ends in /v1, HTTP 404");
}

#[tokio::test]
async fn a_gateway_in_front_of_the_api_is_not_blamed_on_the_endpoint() {
    assert_snapshot!(answered(Answer::Html(502, "<html>")).await, @"cannot list the servers: Hetzner answered without an explanation, HTTP 502");
}

#[test]
fn nobody_is_asked_about_an_endpoint_that_nobody_set() {
    let says = |kind: Kind, status| {
        let mut error = ApiError::new(Operation::ListServers, "the servers", kind);
        error.status = status;
        error.at(&DEFAULT_ENDPOINT.into()).to_string()
    };
    assert_snapshot!(says(Kind::NotSent, None), @"cannot list the servers: no connection to https://api.hetzner.cloud/v1");
    assert_snapshot!(says(Kind::Gateway, Some(404)), @"cannot list the servers: Hetzner answered without an explanation, HTTP 404");
    assert_snapshot!(says(Kind::Unreadable("not JSON".to_owned()), Some(200)), @"cannot list the servers: Hetzner's answer is unreadable (not JSON), HTTP 200");
}

#[tokio::test]
async fn calls_tell_whether_the_token_is_taken() {
    use cattle_core::{
        account::{Refusal, Token},
        names::ServerId,
    };
    let answers = vec![
        Answer::Html(502, "<html>"),
        Answer::Json(404, refusal("not_found", "")),
        Answer::Json(401, refusal("token_readonly", "")),
        Answer::Json(404, refusal("not_found", "")),
        Answer::Json(200, json!({ "action": { "id": 1 } })),
        Answer::Json(401, refusal("unauthorized", "")),
        Answer::Html(401, "<html>"),
        Answer::Json(404, refusal("not_found", "")),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let token = client.token();
    let seen = || token.borrow().refusal();
    let id = ServerId(1);
    client.get_server(id, TTL).await.unwrap_err();
    assert_eq!(*token.borrow(), Token::Unknown, "nobody looked at it");
    client.get_server(id, TTL).await.unwrap();
    assert_eq!(*token.borrow(), Token::Accepted);
    client.delete_server(id).await.unwrap_err();
    assert_eq!(seen(), Some(Refusal::ReadOnly));
    client.get_server(id, TTL).await.unwrap();
    assert_eq!(seen(), Some(Refusal::ReadOnly), "a read proves no write");
    client.delete_server(id).await.unwrap();
    assert_eq!(*token.borrow(), Token::Accepted);
    client.get_server(id, TTL).await.unwrap_err();
    assert_eq!(seen(), Some(Refusal::Unauthorized));
    client.get_server(id, TTL).await.unwrap_err();
    assert_eq!(seen(), Some(Refusal::Unauthorized));
    client.get_server(id, TTL).await.unwrap();
    assert_eq!(*token.borrow(), Token::Accepted);
}

#[tokio::test]
async fn the_rate_limit_says_nothing_of_the_token() {
    let refusal = refusal("rate_limit_exceeded", "unauthenticated calls count too");
    let fake = Fake::start(vec![Answer::Json(429, refusal)]).await;
    let client = client(&fake.url);
    client.list_servers(&fleet(), TTL).await.unwrap_err();
    assert_eq!(
        *client.token().borrow(),
        cattle_core::account::Token::Unknown
    );
}
