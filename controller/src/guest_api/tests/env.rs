//! The env: once, for one caller.

use std::{fs, sync::Arc};

use cattle_core::{desired::Authority, lifecycle};
use cattle_schemas::{event::EventReason, guest::EnvReply, problem::ErrorCode, status::EndReason};
use futures_util::future::join_all;
use reqwest::Method;

use super::{
    both_stores,
    ranch::{API_KEY, GITHUB_TOKEN, KEY, OTHER_KEY, Ranch, find_in_files, json, refused, status},
};
use crate::store::{SqliteStore, fixture};

both_stores!(
    the_env_has_the_models_key_and_a_session,
    a_lost_reply_is_answered_again_with_a_fresh_session,
    another_key_is_refused_and_an_alarm,
    another_address_is_refused_with_the_right_key,
    of_fifty_callers_with_different_keys_one_gets_the_env,
    the_same_caller_many_times_at_once_ends_with_one_valid_session,
    the_first_report_closes_the_window,
    a_call_without_a_proper_key_does_not_spend_the_token,
    a_missing_secret_does_not_spend_the_token,
    the_attempt_that_comes_first_voids_the_others,
    a_run_that_is_stopped_or_expired_or_over_hands_nothing_out,
    a_session_token_buys_no_env,
    the_github_token_is_for_operators_runs_that_ask_for_it,
    a_persona_that_holds_a_secret_is_not_handed_out,
    no_guest_gets_a_credential_of_the_controllers_own,
    alarms_do_not_fill_the_ledger,
);

async fn the_env_has_the_models_key_and_a_session(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let reply: EnvReply = json(guest.env(KEY).await).await;
    let names: Vec<&str> = reply.env.keys().map(String::as_str).collect();
    assert_eq!(names, ["ZAI_API_KEY", "Z_AI_API_KEY"]);
    assert!(reply.env.values().all(|value| **value == API_KEY));
    assert_eq!(
        (reply.run, reply.model.as_str()),
        (guest.run.to_string(), "zai/glm-4.7")
    );
    assert_eq!(
        (reply.persona_digest, reply.session_token.len()),
        (None, 64)
    );
    assert!(ranch.run(&guest).await.env_at.is_some());
    assert!(ranch.rung().await);
    assert_eq!(ranch.events(EventReason::EnvHandedOut).await.len(), 1);
}

async fn a_lost_reply_is_answered_again_with_a_fresh_session(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let lost = guest.session().await;
    let session = guest.session().await;
    assert_ne!(lost, session);
    assert_eq!(
        status(guest.report(&lost, r#"{"kind":"ready"}"#).await).await,
        403
    );
    assert_eq!(
        guest.report(&session, r#"{"kind":"ready"}"#).await.status(),
        200
    );
    assert_eq!(
        ranch.events(EventReason::EnvHandedOut).await.len(),
        1,
        "told once"
    );
    assert!(ranch.events(EventReason::Alert).await.is_empty());
}

async fn another_key_is_refused_and_an_alarm(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.session().await;
    let (status, problem) = refused(guest.env(OTHER_KEY).await).await;
    assert_eq!(
        (status, problem.code, problem.retryable),
        (403, ErrorCode::Forbidden, false)
    );
    assert_eq!(ranch.events(EventReason::Alert).await.len(), 1);
    // The first one's session is not touched by it.
    assert_eq!(
        guest.report(&session, r#"{"kind":"ready"}"#).await.status(),
        200
    );
}

async fn another_address_is_refused_with_the_right_key(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.session().await;
    let thief = ranch.guest(1, guest.token.clone(), "127.0.0.2");
    assert_eq!(status(thief.env(KEY).await).await, 403);
    assert_eq!(
        status(thief.report(&session, r#"{"kind":"ready"}"#).await).await,
        403
    );
    assert_eq!(ranch.events(EventReason::Alert).await.len(), 2);
    assert!(ranch.run(&guest).await.started_at.is_none());
}

async fn of_fifty_callers_with_different_keys_one_gets_the_env(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let calls = (0..50).map(|nth| {
        let guest = guest.clone();
        async move { guest.env(&format!("{nth:032x}")).await.status().as_u16() }
    });
    let answers = join_all(calls).await;
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|status| [200, 403].contains(status)),
        "{answers:?}"
    );
    let tokens = ranch.store.tokens(guest.run).await.unwrap();
    assert_eq!(tokens.len(), 2, "the bootstrap token and one session");
}

async fn the_same_caller_many_times_at_once_ends_with_one_valid_session(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let calls = (0..10).map(|_| guest.env(KEY));
    let answers: Vec<u16> = join_all(calls)
        .await
        .iter()
        .map(|answer| answer.status().as_u16())
        .collect();
    // Who came in between is asked to come again, and never taken for a thief.
    assert!(
        answers.iter().all(|status| [200, 503].contains(status)),
        "{answers:?}"
    );
    assert!(ranch.events(EventReason::Alert).await.is_empty());
    let tokens = ranch.store.tokens(guest.run).await.unwrap();
    assert_eq!(tokens.iter().filter(|token| !token.voided).count(), 2);
}

async fn the_first_report_closes_the_window(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    let tokens = ranch.store.tokens(guest.run).await.unwrap();
    assert_eq!(
        tokens.iter().filter(|token| !token.voided).count(),
        1,
        "the session alone"
    );
    assert_eq!(status(guest.env(KEY).await).await, 403);
    assert_eq!(
        guest
            .report(&session, r#"{"kind":"heartbeat"}"#)
            .await
            .status(),
        200
    );
}

async fn a_call_without_a_proper_key_does_not_spend_the_token(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let without = guest
        .call(Method::GET, "/v1/cattle/env", &guest.token)
        .send()
        .await
        .unwrap();
    assert_eq!(status(without).await, 400);
    for key in ["", "abc", &KEY[1..], &"z".repeat(32), &"a".repeat(129)] {
        assert_eq!(status(guest.env(key).await).await, 400, "{key}");
    }
    assert!(ranch.run(&guest).await.env_at.is_none());
    guest.session().await;
}

async fn a_missing_secret_does_not_spend_the_token(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    fs::remove_file(ranch.secret("zai_api_key")).unwrap();
    let (status, problem) = refused(guest.env(KEY).await).await;
    assert_eq!((status, problem.retryable), (503, true));
    assert!(problem.retry_after_seconds.is_some());
    let alerts = ranch.events(EventReason::Alert).await;
    assert!(
        alerts[0]
            .message
            .contains("there is no secret `zai_api_key`"),
        "{}",
        alerts[0].message
    );
    assert!(ranch.run(&guest).await.env_at.is_none());

    fs::write(ranch.secret("zai_api_key"), API_KEY).unwrap();
    guest.session().await;

    let nobody = ranch
        .start_with("max", 2, |run| run.spec.model = "openai/gpt".to_owned())
        .await;
    assert_eq!(refused(nobody.env(KEY).await).await.0, 503);
    let alerts = ranch.events(EventReason::Alert).await;
    let said = &alerts.last().unwrap().message;
    assert!(
        said.contains("missing modelSecrets entry for openai"),
        "{said}"
    );
}

async fn the_attempt_that_comes_first_voids_the_others(ranch: Ranch) {
    let first = ranch.start("rex", 1).await;
    let second = ranch.guest(1, ranch.token(1, 2).await, "127.0.0.1");
    let session = second.session().await;
    assert_eq!(status(first.env(OTHER_KEY).await).await, 403);
    assert_eq!(
        status(first.env(KEY).await).await,
        403,
        "not even with the key of the other"
    );
    assert_eq!(
        second
            .report(&session, r#"{"kind":"ready"}"#)
            .await
            .status(),
        200
    );
}

async fn a_run_that_is_stopped_or_expired_or_over_hands_nothing_out(ranch: Ranch) {
    let now = ranch.clock.now();
    let stopped = ranch.start("stopped", 1).await;
    let stop = move |run: &mut _| lifecycle::stop(run, EndReason::Destroyed, "asked for", now);
    ranch.commit(vec![fixture::edit(stopped.run, stop)]).await;
    assert_eq!(status(stopped.env(KEY).await).await, 403);

    let expired = ranch
        .start_with("expired", 2, |run| run.expires_at = now)
        .await;
    assert_eq!(status(expired.env(KEY).await).await, 403);

    let over = ranch.start("over", 3).await;
    ranch
        .commit(vec![fixture::end(over.run, EndReason::BootTimeout, now)])
        .await;
    assert_eq!(status(over.env(KEY).await).await, 410);

    for guest in [stopped, expired, over] {
        assert!(ranch.run(&guest).await.env_at.is_none());
    }
}

async fn a_session_token_buys_no_env(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.session().await;
    let with_session = ranch.guest(1, session, "127.0.0.1");
    assert_eq!(status(with_session.env(KEY).await).await, 403);
    assert_eq!(
        status(guest.report(&guest.token, r#"{"kind":"ready"}"#).await).await,
        403
    );
    assert_eq!(
        status(ranch.guest(1, "0".repeat(64), "127.0.0.1").env(KEY).await).await,
        403
    );
}

async fn the_github_token_is_for_operators_runs_that_ask_for_it(ranch: Ranch) {
    let asks = ranch
        .start_with("rex", 1, |run| run.spec.with_github_token = true)
        .await;
    let reply: EnvReply = json(asks.env(KEY).await).await;
    assert_eq!(*reply.env["GITHUB_TOKEN"], GITHUB_TOKEN);

    let of_a_bot = ranch.start_with("max", 2, |run| {
        run.spec.with_github_token = true;
        run.authority = Authority::Bot;
    });
    assert_eq!(status(of_a_bot.await.env(KEY).await).await, 503);
}

async fn no_guest_gets_a_credential_of_the_controllers_own(ranch: Ranch) {
    // Somebody mixed the files up.
    std::fs::write(ranch.secret("hcloud_token"), "hc-token-0123456789abcdef").unwrap();
    std::fs::write(ranch.secret("zai_api_key"), "hc-token-0123456789abcdef").unwrap();
    let guest = ranch.start("rex", 1).await;
    assert_eq!(status(guest.env(KEY).await).await, 503);
    let alerts = ranch.events(EventReason::Alert).await;
    let told = &alerts[0].message;
    assert!(told.contains("holds the value of `hcloud_token`"), "{told}");
    assert!(!told.contains("hc-token"), "{told}");
    assert!(ranch.run(&guest).await.env_at.is_none());
}

async fn a_persona_that_holds_a_secret_is_not_handed_out(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    ranch.persona_file("memory/notes.md", &format!("the key is {API_KEY}"));
    assert_eq!(status(guest.env(KEY).await).await, 503);
    let alerts = ranch.events(EventReason::Alert).await;
    assert!(
        alerts[0].message.contains("the secret `zai_api_key`"),
        "{}",
        alerts[0].message
    );
    assert!(!alerts[0].message.contains(API_KEY));
    assert!(ranch.run(&guest).await.env_at.is_none());
}

async fn alarms_do_not_fill_the_ledger(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    guest.session().await;
    for _ in 0..10 {
        assert_eq!(status(guest.env(OTHER_KEY).await).await, 403);
    }
    assert!(ranch.events(EventReason::Alert).await.len() <= 3);
}

#[tokio::test]
async fn no_token_and_no_secret_value_is_in_the_ledgers_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("state.sqlite"))
        .await
        .unwrap();
    let mut ranch = Ranch::open(Arc::new(store.clone())).await;
    let guest = ranch.start("rex", 1).await;
    let first = guest.session().await;
    let session = guest.started().await;
    guest.env(OTHER_KEY).await;
    guest.log(&session, 0, b"some output").await;
    let texts = [
        guest.token.as_str(),
        &first,
        &session,
        API_KEY,
        GITHUB_TOKEN,
        KEY,
        OTHER_KEY,
    ];
    // Also in the write-ahead log, before and after it is merged.
    assert_eq!(find_in_files(dir.path(), &texts), None);
    assert!(
        find_in_files(dir.path(), &["Fix the flaky test"]).is_some(),
        "the search finds what is there"
    );
    ranch.close().await;
    store.close().await;
    assert_eq!(find_in_files(dir.path(), &texts), None);
    assert_eq!(find_in_files(&ranch.dir.path().join("logs"), &texts), None);
}
