use cattle_core::names::ServerId;
use insta::assert_snapshot;
use serde_json::json;

use super::{
    super::{Client, Endpoint, EndpointError, Kind},
    TOKEN, TTL, client,
    fake::{Answer, Fake},
    fleet, page, refusal,
};

/// Everything that a person or a log could see of a failure.
async fn seen(answer: Answer) -> String {
    let fake = Fake::start(vec![answer]).await;
    let error = client(&fake.url)
        .get_server(ServerId(42), TTL)
        .await
        .unwrap_err();
    format!("{error}\n{error:?}")
}

#[tokio::test]
async fn a_message_is_never_the_way_out_for_the_token() {
    let part = &TOKEN[10..40];
    let told = format!("token {part}... has reached its limit; Bearer {TOKEN}");
    let seen = seen(Answer::Json(429, refusal("rate_limit_exceeded", &told))).await;
    for start in 0..TOKEN.len() - 8 {
        assert!(!seen.contains(&TOKEN[start..start + 8]), "{seen}");
    }
    assert!(
        seen.contains("token [redacted]... has reached its limit; Bearer [redacted]"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_message_cannot_write_on_the_terminal_nor_fill_the_log() {
    let told = format!("\u{1b}[2Jhello\u{202e} {}", "x ".repeat(9_000));
    let fake = Fake::start(vec![Answer::Json(403, refusal("forbidden", &told))]).await;
    let error = client(&fake.url)
        .get_server(ServerId(42), TTL)
        .await
        .unwrap_err();
    assert!(
        error.message.starts_with("\\u{1b}[2Jhello\\u{202e} x x"),
        "{}",
        error.message
    );
    assert!(error.message.chars().count() <= 301);
}

#[tokio::test]
async fn an_error_names_what_was_asked_and_what_support_needs() {
    let headers = "X-Correlation-Id: 0f3d9a\r\n";
    let body = refusal("locked", "resource is locked");
    let fake = Fake::start(vec![Answer::WithHeaders(423, headers, body)]).await;
    let error = client(&fake.url)
        .get_server(ServerId(42), TTL)
        .await
        .unwrap_err();
    assert_snapshot!(error, @"cannot read server 42: resource is locked (locked), HTTP 423, correlation id 0f3d9a");
}

#[tokio::test]
async fn a_new_code_is_shown_as_it_came() {
    let fake = Fake::start(vec![Answer::Json(
        418,
        refusal("teapot", "short and stout"),
    )])
    .await;
    let error = client(&fake.url)
        .get_server(ServerId(42), TTL)
        .await
        .unwrap_err();
    assert_snapshot!(error, @"cannot read server 42: teapot: short and stout, HTTP 418");
}

#[tokio::test]
async fn a_body_is_never_quoted() {
    let seen = seen(Answer::Html(200, "<html>hunter2</html>")).await;
    assert!(!seen.contains("hunter2"), "{seen}");
    assert!(seen.contains("(not JSON), HTTP 200"), "{seen}");
}

#[tokio::test]
async fn an_endless_reply_is_cut_off() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\"{}\"",
        "x".repeat(9 * 1024 * 1024)
    );
    let fake = Fake::start(vec![Answer::Raw(long)]).await;
    let error = client(&fake.url)
        .get_server(ServerId(42), TTL)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Fake::start(vec![Answer::Json(200, json!({}))]).await;
    let redirect = format!(
        "HTTP/1.1 307 X\r\nLocation: {}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.url
    );
    let fake = Fake::start(vec![Answer::Raw(redirect)]).await;
    let error = client(&fake.url)
        .get_server(ServerId(42), TTL)
        .await
        .unwrap_err();
    assert_eq!((error.status, &error.kind), (Some(307), &Kind::Gateway));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn every_call_is_authenticated_and_named() {
    let fake = Fake::start(vec![Answer::Json(200, page("servers", vec![], None))]).await;
    client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    let head = &fake.requests()[0].head;
    let bearer = format!("authorization: bearer {}\r\n", TOKEN.to_ascii_lowercase());
    assert!(head.contains(&bearer));
    assert!(head.contains("user-agent: clawdlets-cattle/"));
    assert!(head.contains("accept: application/json\r\n"));
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_endpoint_changes_nothing() {
    let fake = Fake::start(vec![Answer::Json(404, refusal("not_found", ""))]).await;
    client(&format!("{}/v1/", fake.url))
        .get_server(ServerId(42), TTL)
        .await
        .unwrap();
    assert_eq!(fake.requests()[0].line, "GET /v1/servers/42");
}

#[tokio::test]
async fn headers_teach_the_rate_limit_and_hetzners_clock() {
    let headers = "RateLimit-Limit: 3600\r\nratelimit-remaining: 3456\r\nRateLimit-Reset: 1795345200\r\nDate: Sun, 22 Nov 2020 10:00:00 GMT\r\n";
    let fake = Fake::start(vec![Answer::WithHeaders(
        404,
        headers,
        refusal("not_found", ""),
    )])
    .await;
    let client = client(&fake.url);
    assert_eq!(client.calls(), None);
    client.get_server(ServerId(42), TTL).await.unwrap();
    let calls = client.calls().unwrap();
    assert_eq!(
        (calls.limit, calls.remaining, calls.reserve),
        (3600, 3456, 360)
    );
    // The two dates of this reply are years apart: they tell nothing about the refill.
    assert_eq!(client.refill(), 1.0);
    // Nor is one reply's date believed that our clock does not have.
    let dispute = client.clock().clocks().trust.dispute().unwrap();
    assert!(dispute.ahead < chrono::TimeDelta::days(-6 * 365));
    assert!(!client.clock().judges());
}

#[test]
fn the_token_goes_only_where_it_cannot_be_read_on_the_way() {
    let refused = |url: &str| {
        let endpoint = Endpoint {
            url: url.to_owned(),
            token: TOKEN.to_owned().into(),
        };
        Client::new(&endpoint).err().map(|error| error.to_string())
    };
    assert_eq!(refused("https://api.hetzner.cloud/v1"), None);
    assert_eq!(refused("http://127.0.0.1:8000"), None);
    assert_eq!(refused("http://[::1]:8000/v1"), None);
    assert_eq!(refused("http://localhost:8000"), None);
    for url in [
        "http://api.hetzner.cloud/v1",
        "http://127.0.0.1.example.org",
        "ftp://localhost",
        "file:///etc",
    ] {
        let why = refused(url).unwrap();
        assert!(why.contains("must be https"), "{url}: {why}");
    }
    for url in [
        "https://user:pw@api.hetzner.cloud/v1",
        "https://x/?a=b",
        "https://x/#y",
    ] {
        assert!(refused(url).unwrap().contains("plain base URL"), "{url}");
    }
    assert!(refused("api.hetzner.cloud").unwrap().contains("not a URL"));
}

#[test]
fn a_token_that_no_header_can_carry_is_refused_unseen() {
    for token in ["", " \n", "ab\ncd", "ab\u{0}"] {
        let endpoint = Endpoint {
            url: "https://x/v1".to_owned(),
            token: token.to_owned().into(),
        };
        assert!(matches!(Client::new(&endpoint), Err(EndpointError::Token)));
    }
}
