use cattle_schemas::status::PendingReason;
use serde_json::{Value, json};

use super::{
    super::{CreateOutcome, NewServer},
    TTL, client,
    fake::{Answer, Fake},
    labels, refusal, server,
};

pub(super) fn new_server() -> NewServer {
    NewServer {
        name: "cattle-rex-9g5fav".to_owned(),
        server_type: "cx23".to_owned(),
        location: "nbg1".to_owned(),
        image: "123456".to_owned(),
        labels: labels(),
        user_data: "#cloud-config\nbootstrap: SECRET-BOOTSTRAP-TOKEN\n"
            .to_owned()
            .into(),
        ssh_keys: vec!["clawdlets-prod-0123".to_owned()],
        firewall: 38,
    }
}

/// What the one create came to.
async fn outcome(answer: Answer) -> CreateOutcome {
    let fake = Fake::start(vec![answer]).await;
    client(&fake.url)
        .create_server(&new_server(), TTL)
        .await
        .unwrap_err()
        .outcome()
}

#[tokio::test]
async fn a_create_says_everything_that_the_server_needs() {
    let reply = json!({
        "server": server(42),
        "action": { "id": 600_000_000_000_001_u64 },
        "next_actions": [{ "id": 600_000_000_000_002_u64 }],
        "root_password": null,
    });
    let fake = Fake::start(vec![Answer::Json(201, reply)]).await;
    let created = client(&fake.url)
        .create_server(&new_server(), TTL)
        .await
        .unwrap();
    assert_eq!(created.server.id.0, 42);
    assert_eq!(created.actions, [600_000_000_000_001, 600_000_000_000_002]);
    let request = &fake.requests()[0];
    assert_eq!(request.line, "POST /servers");
    assert_eq!(
        request.json(),
        json!({
            "name": "cattle-rex-9g5fav",
            "server_type": "cx23",
            "location": "nbg1",
            "image": "123456",
            "labels": labels(),
            "user_data": "#cloud-config\nbootstrap: SECRET-BOOTSTRAP-TOKEN\n",
            "ssh_keys": ["clawdlets-prod-0123"],
            "firewalls": [{ "firewall": 38 }],
            "start_after_create": true,
        })
    );
}

#[tokio::test]
async fn a_server_that_bills_is_not_lost_for_want_of_a_key() {
    let fake = Fake::start(vec![Answer::Json(201, json!({ "server": { "id": 42 } }))]).await;
    let created = client(&fake.url)
        .create_server(&new_server(), TTL)
        .await
        .unwrap();
    assert_eq!(created.server.id.0, 42);
    assert_eq!(created.server.name, "cattle-rex-9g5fav");
    assert_eq!(created.server.labels.cattle.unwrap().as_str(), "rex");
}

#[tokio::test]
async fn after_a_lost_or_unreadable_reply_the_server_may_exist() {
    for answer in [
        Answer::Cut,
        Answer::Raw("HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n{\"server\":{\"id\":4".to_owned()),
        Answer::Raw("HTTP/1.1 201 Created\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{\"server\":{\"id\":4".to_owned()),
        Answer::Json(201, json!({})),
        Answer::Html(200, "<html>welcome</html>"),
        Answer::Html(502, "<html>bad gateway</html>"),
        Answer::Html(504, "upstream request timeout"),
        Answer::Json(500, refusal("server_error", "oops")),
        Answer::Json(503, refusal("unavailable", "")),
        Answer::Json(504, refusal("timeout", "")),
        Answer::Json(500, refusal("a_code_of_2027", "")),
        Answer::Raw("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()),
    ] {
        assert_eq!(outcome(answer).await, CreateOutcome::MayExist);
    }
}

#[tokio::test]
async fn no_stock_leads_to_the_next_pair() {
    for (status, body) in [
        (
            412,
            refusal("resource_unavailable", "error during placement"),
        ),
        (
            412,
            refusal("resource_unavailable", "server location disabled"),
        ),
        (
            422,
            refusal("invalid_input", "unsupported location for server type"),
        ),
        (412, refusal("placement_error", "")),
        (422, refusal("placement_error", "")),
    ] {
        let outcome = outcome(Answer::Json(status, body)).await;
        assert!(
            matches!(outcome, CreateOutcome::NextCandidate { .. }),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_looked_up() {
    let body = refusal("uniqueness_error", "server name is already used");
    assert_eq!(
        outcome(Answer::Json(409, body)).await,
        CreateOutcome::Uniqueness
    );
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_has_made_nothing() {
    for (status, code) in [(409, "conflict"), (423, "locked")] {
        let outcome = outcome(Answer::Json(status, refusal(code, ""))).await;
        assert!(
            matches!(outcome, CreateOutcome::Refused { .. }),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_somebody_must_mend_stays_pending_with_the_reason() {
    use PendingReason::{Account, Config};
    let limits = json!({ "error": {
        "code": "resource_limit_exceeded", "message": "server limit exceeded",
        "details": { "limits": [{ "name": "server_limit" }] },
    } });
    let fields: Value = json!({ "error": {
        "code": "invalid_input", "message": "invalid input",
        "details": { "fields": [{ "name": "user_data", "messages": ["Length must be between 0 and 32768."] }] },
    } });
    for (status, body, wanted, told) in [
        (
            403,
            limits,
            Account,
            "a limit of the account is reached: server limit exceeded [server_limit] (resource_limit_exceeded); delete something or ask Hetzner for more, HTTP 403",
        ),
        (
            403,
            refusal("forbidden", "no permission"),
            Account,
            "Hetzner does not let the account do this: no permission (forbidden); its Cloud Console or support says why, HTTP 403",
        ),
        (
            401,
            refusal("unauthorized", "unable to authenticate"),
            Account,
            "Hetzner refuses the token: it is mistyped, revoked or another API's (unauthorized); give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start), HTTP 401",
        ),
        (
            401,
            refusal(
                "token_readonly",
                "token is only allowed to perform GET requests",
            ),
            Account,
            "Hetzner refuses the token: it may only read (token_readonly); give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start), HTTP 401",
        ),
        (
            422,
            fields,
            Config,
            "invalid input [user_data: Length must be between 0 and 32768.] (invalid_input), HTTP 422",
        ),
        (
            422,
            refusal("invalid_input", "server type 104 is deprecated"),
            Config,
            "server type 104 is deprecated (invalid_input), HTTP 422",
        ),
    ] {
        let CreateOutcome::Pending {
            reason, message, ..
        } = outcome(Answer::Json(status, body)).await
        else {
            panic!("not pending: {told}");
        };
        assert_eq!(reason, wanted, "{told}");
        assert_eq!(
            message,
            format!("cannot create server `cattle-rex-9g5fav`: {told}")
        );
    }
}

#[tokio::test]
async fn a_rate_limit_waits_as_long_as_the_bucket_needs() {
    let headers =
        "RateLimit-Limit: 3600\r\nRateLimit-Remaining: 0\r\nRateLimit-Reset: 1795345200\r\n";
    let body = refusal(
        "rate_limit_exceeded",
        "limit of 3600 requests per hour reached",
    );
    let outcome = outcome(Answer::WithHeaders(429, headers, body)).await;
    let CreateOutcome::Pending {
        reason, retry_in, ..
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(reason, PendingReason::RateLimited);
    assert!(
        (1.0..=3.0).contains(&retry_in.as_secs_f64()),
        "{retry_in:?}"
    );
}

#[tokio::test]
async fn without_a_connection_there_is_certainly_no_server() {
    // Bound and dropped: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&url)
        .create_server(&new_server(), TTL)
        .await
        .unwrap_err();
    let CreateOutcome::Pending { reason, .. } = error.outcome() else {
        panic!("{error:?}")
    };
    assert_eq!(reason, PendingReason::HetznerUnreachable);
}
