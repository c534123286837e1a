//! The token is in the `Authorization` header and nowhere else.

use std::{collections::BTreeSet, process::Command};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use cattle_core::names::ServerId;
use serde_json::json;

use super::{
    super::{ApiError, Client, Endpoint, Kind, Operation, transport::Call},
    TOKEN, TTL,
    fake::{Answer, Fake},
    fleet, page, refusal,
};
use crate::secrets::Secrets;

/// Every eight characters of the token, and of what it is in other writings.
fn pieces() -> BTreeSet<String> {
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut texts = vec![TOKEN.to_owned(), hex.to_uppercase(), hex];
    for skipped in 0..3 {
        texts.push(STANDARD_NO_PAD.encode(&TOKEN[skipped..]));
        texts.push(URL_SAFE_NO_PAD.encode(&TOKEN[skipped..]));
    }
    texts
        .iter()
        .flat_map(|text| (0..=text.len() - 8).map(|start| text[start..start + 8].to_owned()))
        .collect()
}

#[track_caller]
fn nothing_of_it_is_in(what: &str, text: &str) {
    for piece in pieces() {
        assert!(!text.contains(&piece), "{what} shows {piece}: {text}");
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        token: TOKEN.to_owned().into(),
    }
}

#[test]
fn the_search_would_find_it() {
    let pieces = pieces();
    assert!(pieces.contains(&TOKEN[3..11]));
    let encoded = STANDARD_NO_PAD.encode(format!("Bearer {TOKEN}"));
    assert!(pieces.iter().any(|piece| encoded.contains(piece)));
}

#[test]
fn debug_shows_no_token() {
    let endpoint = endpoint("https://x/v1");
    let client = Client::new(&endpoint).unwrap();
    let secrets = Secrets::open(None, None)
        .unwrap()
        .knowing("hcloud_token", endpoint.token.clone());
    let error = ApiError::new(Operation::ListServers, "the servers", Kind::NotSent);
    let shown = format!("{endpoint:?} {endpoint:#?} {client:?} {client:#?} {secrets:?} {error:?}");
    assert!(shown.contains("https://x/v1"));
    nothing_of_it_is_in("Debug", &shown);
    let unusable = super::super::EndpointError::Insecure {
        url: "http://x".to_owned(),
    };
    nothing_of_it_is_in("Debug", &format!("{unusable:?} {unusable}"));
}

#[tokio::test]
async fn whatever_the_api_says_of_it_is_not_repeated() {
    let encoded = STANDARD_NO_PAD.encode(format!("Bearer {TOKEN}"));
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    for told in [
        format!("limit reached for token {}...", &TOKEN[..8]),
        format!("limit reached for token ...{}", &TOKEN[TOKEN.len() - 8..]),
        format!("{}***{}", &TOKEN[..6], &TOKEN[58..]),
        format!("Bearer {TOKEN}"),
        format!("basic {encoded}"),
        format!("cut {}", &encoded[20..36]),
        format!("id {hex}"),
        format!("id {}", &hex[8..24].to_uppercase()),
    ] {
        let body = json!({ "error": {
            "code": told, "message": told,
            "details": { "fields": [{ "name": told, "messages": [told] }], "limits": [{ "name": told }] },
        } });
        let known = refusal("rate_limit_exceeded", &told);
        for body in [body, known] {
            let fake = Fake::start(vec![Answer::Json(429, body)]).await;
            let client = Client::new(&endpoint(&fake.url)).unwrap();
            let error = client.get_server(ServerId(42), TTL).await.unwrap_err();
            nothing_of_it_is_in(
                &told,
                &format!("{error} {error:?} {}", crate::report(&error)),
            );
        }
    }
}

#[tokio::test]
async fn a_header_that_repeats_it_is_no_correlation_id() {
    let answers = vec![
        Answer::WithHeaders(
            423,
            "X-Correlation-Id: jEheVytlAoFl7F8MqUQ7\r\n",
            refusal("locked", ""),
        ),
        Answer::WithHeaders(
            423,
            "X-Correlation-Id: 9f86d081884c7d659a2feaa0c55ad015\r\n",
            refusal("locked", ""),
        ),
    ];
    let fake = Fake::start(answers).await;
    let client = Client::new(&endpoint(&fake.url)).unwrap();
    let error = client.get_server(ServerId(42), TTL).await.unwrap_err();
    assert_eq!(error.correlation_id, None);
    let error = client.get_server(ServerId(42), TTL).await.unwrap_err();
    assert_eq!(
        error.correlation_id.as_deref(),
        Some("9f86d081884c7d659a2feaa0c55ad015")
    );
}

/// Set for the process that panics.
const PANICS: &str = "CATTLE_TEST_PANICS";

/// The panic is a process of its own, so that all of its outputs are seen: the hook's message, the
/// backtrace, the log at trace level.
#[test]
fn a_panic_amid_a_call_prints_no_token() {
    if std::env::var_os(PANICS).is_some() {
        return panics();
    }
    let name = "hetzner::tests::token::a_panic_amid_a_call_prints_no_token";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(PANICS, "1")
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    for expected in [
        "panicked at",
        "stack backtrace",
        "TRACE",
        "[redacted]",
        "cannot list",
    ] {
        assert!(shown.contains(expected), "no {expected}: {shown}");
    }
    nothing_of_it_is_in("a panic", &shown);
}

fn panics() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let leaks = refusal("rate_limit_exceeded", &format!("no more for {TOKEN}"));
        let answers = vec![
            Answer::Json(200, page("servers", vec![], None)),
            Answer::Json(429, leaks),
        ];
        let fake = Fake::start(answers).await;
        let endpoint = endpoint(&fake.url);
        let client = Client::new(&endpoint).unwrap();
        client.list_servers(&fleet(), TTL).await.unwrap();
        let call = Call::get(Operation::ListServers, "the servers", "/servers");
        let panic = tokio::spawn(async move {
            let in_scope = (endpoint, call);
            let listed = client.list_servers(&fleet(), TTL).await;
            let listed =
                listed.map_err(|error| format!("{error}, {error:?}, {client:?}, {:?}", in_scope.0));
            listed.map(drop).unwrap();
        });
        // As the daemon says it.
        let panic = panic.await.unwrap_err();
        tracing::error!(%panic, "the lister panicked");
        panic!("{panic} {panic:?}");
    });
}
