//! What a guest says after it has its env.

use std::sync::Arc;

use cattle_core::lifecycle;
use cattle_schemas::{
    event::EventReason,
    guest::{
        EnvReply, LogsReply, MAX_LOG_CHUNK_BYTES, MAX_RESULT_BYTES, Outcome, Report, ReportKind,
        ReportReply,
    },
    problem::ErrorCode,
    spec_file::OnFailure,
    status::EndReason,
};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use sha2::{Digest, Sha256};

use super::{
    both_stores,
    ranch::{Guest, KEY, Ranch, eventually, json, refused, status},
};
use crate::store::{MemoryStore, fixture};

both_stores!(
    the_first_report_starts_the_task,
    heartbeats_are_written_and_wake_nobody,
    what_was_heard_is_written_at_the_shutdown,
    the_result_is_kept_once_and_wakes_the_loop,
    a_run_that_is_over_answers_gone,
    the_guest_of_a_server_that_is_to_be_kept_is_told_to_stay,
    a_kept_guest_is_heard_until_it_is_let_go_and_changes_nothing,
    a_kept_guest_is_heard_no_longer_than_its_server_is_kept,
    one_runs_session_feeds_only_its_own_run,
    log_bytes_are_taken_by_offset,
    bodies_have_bounds,
    reports_that_make_no_sense_are_refused,
    the_archive_is_the_one_that_was_announced,
    a_guest_that_calls_too_often_is_slowed_down,
    wrong_paths_and_methods_are_problems_too,
);

pub(super) fn outcome() -> Outcome {
    Outcome {
        exit_code: Some(0),
        signal: None,
        cause: None,
        message: None,
        result: Some(serde_json::json!({ "answer": 42 })),
        log_bytes: 0,
    }
}

pub(super) fn finished(outcome: Outcome) -> Report {
    Report {
        kind: ReportKind::Finished,
        outcome: Some(outcome),
    }
}

pub(super) const HEARTBEAT: &str = r#"{"kind":"heartbeat"}"#;
const READY: &str = r#"{"kind":"ready"}"#;

async fn the_first_report_starts_the_task(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.session().await;
    assert!(ranch.rung().await);
    let reply: ReportReply = json(guest.report(&session, READY).await).await;
    let run = ranch.run(&guest).await;
    assert_eq!(
        reply,
        ReportReply {
            stop: None,
            stay: false,
            // Two hours, less the hand-over, and the delete before an hour is full.
            seconds_left: Some(7165),
            expires_at: run.expires_at
        }
    );
    assert!(run.started_at.is_some());
    assert!(ranch.rung().await);
    // A lost acknowledgement: the same again, and nothing new.
    assert_eq!(guest.report(&session, READY).await.status(), 200);
    assert_eq!(ranch.run(&guest).await.started_at, run.started_at);
    assert_eq!(ranch.events(EventReason::Started).await.len(), 1);
    assert!(!ranch.rung().await);
}

async fn heartbeats_are_written_and_wake_nobody(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    assert!(ranch.rung().await);
    let before = ranch.run(&guest).await.last_seen_at;
    assert_eq!(guest.report(&session, HEARTBEAT).await.status(), 200);
    eventually("the sign of life is written", || async {
        ranch.run(&guest).await.last_seen_at > before
    })
    .await;
    let before = ranch.run(&guest).await.last_seen_at;
    guest.log(&session, 0, b"alive").await;
    eventually("a log is a sign of life", || async {
        ranch.run(&guest).await.last_seen_at > before
    })
    .await;
    assert!(!ranch.rung().await);
}

async fn what_was_heard_is_written_at_the_shutdown(mut ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    let before = ranch.run(&guest).await.last_seen_at;
    assert_eq!(guest.report(&session, HEARTBEAT).await.status(), 200);
    ranch.close().await;
    assert!(ranch.run(&guest).await.last_seen_at > before);
}

async fn the_result_is_kept_once_and_wakes_the_loop(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    assert!(ranch.rung().await);
    for exit_code in [0, 1, 0] {
        let report = finished(Outcome {
            exit_code: Some(exit_code),
            ..outcome()
        });
        let _: ReportReply = json(guest.say(&session, &report).await).await;
    }
    let run = ranch.run(&guest).await;
    assert_eq!(run.outcome, Some(outcome()), "the first one counts");
    assert_eq!(ranch.events(EventReason::Reported).await.len(), 1);
    assert!(ranch.rung().await);
}

async fn a_run_that_is_over_answers_gone(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    let end = fixture::end(guest.run, EndReason::GuestLost, ranch.clock.now());
    ranch.commit(vec![end]).await;
    assert_eq!(status(guest.report(&session, HEARTBEAT).await).await, 410);
    assert_eq!(
        status(guest.say(&session, &finished(outcome())).await).await,
        410
    );
    assert_eq!(status(guest.send_log(&session, 0, b"x").await).await, 410);
    assert_eq!(status(guest.persona(&session).await).await, 410);
    assert_eq!(ranch.run(&guest).await.outcome, None);
    assert_eq!(ranch.logs.length(guest.run).unwrap(), None);
}

fn failed() -> Outcome {
    Outcome {
        exit_code: Some(1),
        ..outcome()
    }
}

async fn the_guest_of_a_server_that_is_to_be_kept_is_told_to_stay(ranch: Ranch) {
    let hold = OnFailure::Hold("30m".parse().unwrap());
    let cases = [
        (false, OnFailure::Destroy, outcome(), true),
        (true, OnFailure::Destroy, failed(), false),
        (true, hold, failed(), true),
        (true, hold, outcome(), false),
    ];
    for (nth, (auto_shutdown, on_failure, outcome, stays)) in (1..).zip(cases) {
        let guest = ranch
            .start_with(&format!("rex-{nth}"), nth, |run| {
                run.spec.auto_shutdown = auto_shutdown;
                run.spec.on_failure = on_failure;
            })
            .await;
        let session = guest.started().await;
        let before: ReportReply = json(guest.report(&session, HEARTBEAT).await).await;
        assert!(!before.stay, "its task is not over");
        let reply: ReportReply = json(guest.say(&session, &finished(outcome)).await).await;
        assert_eq!(reply.stay, stays, "case {nth}");
        let after: ReportReply = json(guest.report(&session, HEARTBEAT).await).await;
        assert_eq!(after.stay, stays, "case {nth}");
    }
}

/// A run that failed, is over, and whose server is kept for so long; its session.
async fn kept(ranch: &Ranch, until: chrono::TimeDelta) -> (Guest, String) {
    let guest = ranch
        .start_with("rex", 1, |run| run.spec.auto_shutdown = false)
        .await;
    let session = guest.started().await;
    let _: ReportReply = json(guest.say(&session, &finished(failed())).await).await;
    let now = ranch.clock.now();
    let end = move |run: &mut _| {
        let mut ending = lifecycle::Ending::new(EndReason::TaskFailed, "it failed");
        ending.hold_until = Some(now + until);
        lifecycle::end(run, None, &ending, now)
    };
    ranch.commit(vec![fixture::edit(guest.run, end)]).await;
    (guest, session)
}

async fn a_kept_guest_is_heard_until_it_is_let_go_and_changes_nothing(ranch: Ranch) {
    let (guest, session) = kept(&ranch, chrono::TimeDelta::minutes(30)).await;
    let before = ranch.run(&guest).await;
    // Its acknowledgement may have been lost.
    for report in [HEARTBEAT, READY] {
        let reply: ReportReply = json(guest.report(&session, report).await).await;
        assert!(reply.stay && reply.stop.is_none());
    }
    let again: ReportReply = json(guest.say(&session, &finished(outcome())).await).await;
    assert!(again.stay);
    assert_eq!(status(guest.send_log(&session, 0, b"x").await).await, 410);
    assert_eq!(status(guest.persona(&session).await).await, 410);
    assert_eq!(status(guest.env(KEY).await).await, 410);
    assert_eq!(ranch.run(&guest).await, before);
    let thief = ranch.guest(1, guest.token.clone(), "127.0.0.2");
    assert_eq!(status(thief.report(&session, HEARTBEAT).await).await, 403);

    let release = fixture::edit(guest.run, |run| lifecycle::release(run, "let go"));
    ranch.commit(vec![release]).await;
    assert_eq!(status(guest.report(&session, HEARTBEAT).await).await, 410);
}

async fn a_kept_guest_is_heard_no_longer_than_its_server_is_kept(ranch: Ranch) {
    let (guest, session) = kept(&ranch, chrono::TimeDelta::zero()).await;
    assert_eq!(status(guest.report(&session, HEARTBEAT).await).await, 410);
}

async fn one_runs_session_feeds_only_its_own_run(ranch: Ranch) {
    let rex = ranch.start("rex", 1).await;
    let max = ranch.start("max", 2).await;
    let of_rex = rex.started().await;
    let of_max = max.started().await;
    // No call names a run, so all that max can do with rex's token is to be rex.
    max.log(&of_rex, 0, b"for rex").await;
    assert_eq!(ranch.logs.read(rex.run, 0, 100).unwrap(), b"for rex");
    assert_eq!(ranch.logs.length(max.run).unwrap(), None);
    assert_eq!(max.say(&of_max, &finished(outcome())).await.status(), 200);
    assert_eq!(ranch.run(&rex).await.outcome, None);
    // The end of one is not the end of the other.
    ranch
        .commit(vec![fixture::end(
            max.run,
            EndReason::Completed,
            ranch.clock.now(),
        )])
        .await;
    assert_eq!(status(max.report(&of_max, HEARTBEAT).await).await, 410);
    assert_eq!(rex.report(&of_rex, HEARTBEAT).await.status(), 200);
}

async fn log_bytes_are_taken_by_offset(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    let next = |next_offset| LogsReply {
        next_offset,
        full: false,
    };
    assert_eq!(guest.log(&session, 0, b"hello ").await, next(6));
    assert_eq!(guest.log(&session, 0, b"hello ").await, next(6));
    assert_eq!(guest.log(&session, 3, b"lo world").await, next(11));
    let (status, problem) = refused(guest.send_log(&session, 12, b"!").await).await;
    assert_eq!((status, problem.code), (409, ErrorCode::WrongPhase));
    assert_eq!(
        guest.log(&session, 0, b"").await,
        next(11),
        "where to go on"
    );
    assert_eq!(ranch.logs.read(guest.run, 0, 100).unwrap(), b"hello world");
    for path in [
        "/v1/cattle/logs",
        "/v1/cattle/logs?offset=-1",
        "/v1/cattle/logs?offset=x",
    ] {
        let answer = guest
            .call(Method::POST, path, &session)
            .body("x")
            .send()
            .await
            .unwrap();
        assert_eq!(super::ranch::status(answer).await, 400, "{path}");
    }
}

async fn bodies_have_bounds(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    let chunk = vec![b'x'; MAX_LOG_CHUNK_BYTES];
    assert_eq!(
        guest.log(&session, 0, &chunk).await.next_offset,
        chunk.len() as u64
    );
    let longer = vec![b'x'; MAX_LOG_CHUNK_BYTES + 1];
    assert_eq!(
        status(guest.send_log(&session, 0, &longer).await).await,
        413
    );

    let result = |length: usize| {
        let text = "x".repeat(length - 2);
        finished(Outcome {
            result: Some(text.into()),
            ..outcome()
        })
    };
    let (status, problem) = refused(guest.say(&session, &result(MAX_RESULT_BYTES + 1)).await).await;
    assert_eq!((status, problem.code), (413, ErrorCode::TooLarge));
    let huge = guest.report(&session, vec![b' '; 1024 * 1024]).await;
    assert_eq!(refused(huge).await.0, 413);
    assert_eq!(ranch.run(&guest).await.outcome, None);
    assert_eq!(
        guest
            .say(&session, &result(MAX_RESULT_BYTES))
            .await
            .status(),
        200
    );

    let long = Outcome {
        message: Some("ä".repeat(5_000)),
        ..outcome()
    };
    let other = ranch.start("max", 2).await;
    let session = other.started().await;
    assert_eq!(other.say(&session, &finished(long)).await.status(), 200);
    let kept = ranch.run(&other).await.outcome.unwrap().message.unwrap();
    assert_eq!(kept.chars().count(), 2_000);
}

async fn reports_that_make_no_sense_are_refused(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    let deep = format!(
        "{{\"kind\":\"finished\",\"outcome\":{{\"logBytes\":0,\"result\":{}",
        "[".repeat(10_000)
    );
    for body in [
        "",
        "{}",
        "[]",
        r#"{"kind":"finished"}"#,
        r#"{"kind":"sabotage"}"#,
        r#"{"kind":"heartbeat","outcome":{"logBytes":0}}"#,
        "\u{0}",
        &deep,
    ] {
        let (status, problem) = refused(guest.report(&session, body.to_owned()).await).await;
        assert_eq!(
            (status, problem.code),
            (400, ErrorCode::BadRequest),
            "{body:.40}"
        );
    }
    assert_eq!(ranch.run(&guest).await.outcome, None);
}

async fn the_archive_is_the_one_that_was_announced(ranch: Ranch) {
    ranch.persona_file("skills/review.md", "look twice");
    let guest = ranch.start("rex", 1).await;
    let reply: EnvReply = json(guest.env(KEY).await).await;
    ranch.persona_file("skills/review.md", "changed meanwhile");
    let archive = guest.persona(&reply.session_token).await;
    assert_eq!(archive.headers()["content-type"], "application/x-tar");
    let bytes = archive.bytes().await.unwrap();
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(reply.persona_digest, Some(digest));

    let bare = ranch
        .start_with("max", 2, |run| run.spec.persona = "nobody".parse().unwrap())
        .await;
    let session = bare.session().await;
    assert_eq!(status(bare.persona(&session).await).await, 404);
}

async fn a_guest_that_calls_too_often_is_slowed_down(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let other = ranch.start("max", 2).await;
    let session = guest.started().await;
    let answers = join_all((0..300).map(|_| guest.send_log(&session, 0, b""))).await;
    let slowed = answers
        .iter()
        .filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    assert!(slowed.count() > 50);
    assert_eq!(other.started().await.len(), 64, "others are not");
}

async fn wrong_paths_and_methods_are_problems_too(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let call = async |method, path: &str| {
        refused(guest.call(method, path, &guest.token).send().await.unwrap()).await
    };
    let (status, problem) = call(Method::GET, "/v1/cattle").await;
    assert_eq!((status, problem.code), (404, ErrorCode::NoSuchRoute));
    let (status, problem) = call(Method::POST, "/v1/cattle/env").await;
    assert_eq!((status, problem.code), (405, ErrorCode::MethodNotAllowed));
    let health = guest
        .call(Method::GET, "/healthz", "")
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn without_a_peer_check_nobody_comes_in_unless_hetzner_is_on_loopback() {
    let ranch = Ranch::with(Arc::new(MemoryStore::new()), false).await;
    let guest = ranch.start("rex", 1).await;
    assert_eq!(status(guest.env(KEY).await).await, 403);
    for path in ["/v1/cattle/env", "/v1/cattle/persona"] {
        let answer = guest
            .call(Method::GET, path, &guest.token)
            .send()
            .await
            .unwrap();
        assert_eq!(status(answer).await, 403);
    }
    assert_eq!(status(guest.report(&guest.token, READY).await).await, 403);
    assert_eq!(
        status(guest.send_log(&guest.token, 0, b"x").await).await,
        403
    );
    assert!(ranch.run(&guest).await.env_at.is_none());
    let health = guest
        .call(Method::GET, "/healthz", "")
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn wrong_tokens_are_slowed_down_and_right_ones_from_the_same_address_are_not() {
    let ranch = Ranch::open(Arc::new(MemoryStore::new())).await;
    let guest = ranch.start("rex", 1).await;
    let guesser = ranch.guest(1, "0".repeat(64), "127.0.0.1");
    let mut last = 403;
    for _ in 0..100 {
        last = status(guesser.env(KEY).await).await;
    }
    assert_eq!(last, 429);
    let session = guest.session().await;
    assert_eq!(session.len(), 64);
    assert_eq!(guest.send_log(&session, 0, b"x").await.status(), 200);
    assert_eq!(
        status(guesser.env(KEY).await).await,
        429,
        "the guesser still is"
    );
}

#[tokio::test]
async fn a_header_without_end_is_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let ranch = Ranch::open(Arc::new(MemoryStore::new())).await;
    let mut socket = tokio::net::TcpStream::connect(ranch.address())
        .await
        .unwrap();
    let flood = format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(64 * 1024));
    // The other end may close while we still write.
    let _ = socket.write_all(flood.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let guest = ranch.start("rex", 1).await;
    assert_eq!(guest.session().await.len(), 64, "others are served");
}
