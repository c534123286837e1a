//! What is taken from the guest of a run that is over.

use cattle_core::{lifecycle, names::RunId};
use cattle_schemas::{
    event::EventReason,
    guest::{MAX_LOG_CHUNK_BYTES, Outcome, ReportReply, Stop},
    status::EndReason,
};

use super::{
    both_stores,
    calls::{HEARTBEAT, finished, outcome},
    ranch::{Guest, KEY, Ranch, eventually, json, status},
};
use crate::store::{Edit, fixture};

both_stores!(
    a_guest_is_told_to_stop_and_may_hand_over,
    after_its_result_a_guest_sends_the_rest_of_its_log,
    a_log_over_a_slow_link_arrives_whole,
    when_the_hand_over_is_over_all_tokens_are_void,
    nothing_that_is_handed_over_changes_the_end,
    a_guest_that_never_reported_in_hands_nothing_over,
);

fn end(ranch: &Ranch, run: RunId, reason: EndReason) -> Edit {
    fixture::end(run, reason, ranch.clock.now())
}

fn with_log(log_bytes: u64) -> Outcome {
    Outcome {
        log_bytes,
        ..outcome()
    }
}

/// Its result is there and has ended the run; 5 bytes of its log are.
async fn result_first(ranch: &Ranch, log_bytes: u64) -> (Guest, String) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    guest.log(&session, 0, b"first").await;
    let report = finished(with_log(log_bytes));
    let reply: ReportReply = json(guest.say(&session, &report).await).await;
    assert_eq!(reply.stop, None);
    ranch
        .commit(vec![end(ranch, guest.run, EndReason::Completed)])
        .await;
    assert!(ranch.rung().await);
    (guest, session)
}

async fn a_guest_is_told_to_stop_and_may_hand_over(ranch: Ranch) {
    for (nth, reason) in (1..).zip([
        EndReason::TtlExpired,
        EndReason::Destroyed,
        EndReason::SpecRemoved,
        EndReason::SpecChanged,
    ]) {
        let guest = ranch.start(&format!("rex-{nth}"), nth).await;
        let session = guest.started().await;
        ranch.commit(vec![end(&ranch, guest.run, reason)]).await;
        let reply: ReportReply = json(guest.report(&session, HEARTBEAT).await).await;
        let Some(Stop {
            reason: told,
            grace_seconds,
        }) = reply.stop
        else {
            panic!("no stop");
        };
        assert_eq!(told, reason.as_str());
        assert!((1..=20).contains(&grace_seconds), "{grace_seconds}");
        assert_eq!(guest.log(&session, 0, b"last words").await.next_offset, 10);
        let reply: ReportReply = json(guest.say(&session, &finished(with_log(20))).await).await;
        assert_eq!(reply.stop, None, "it has stopped");
        assert_eq!(guest.log(&session, 10, b"the end").await.next_offset, 17);
        assert_eq!(status(guest.persona(&session).await).await, 410);
        assert_eq!(status(guest.env(KEY).await).await, 410);
    }
}

async fn after_its_result_a_guest_sends_the_rest_of_its_log(ranch: Ranch) {
    let (guest, session) = result_first(&ranch, 12).await;
    let reply: ReportReply = json(guest.report(&session, HEARTBEAT).await).await;
    assert_eq!((reply.stop, reply.stay), (None, false));
    guest.log(&session, 5, b" sec").await;
    assert!(!ranch.rung().await, "there is more to come");
    guest.log(&session, 9, b"ond").await;
    assert!(ranch.rung().await, "a pass finds that it is whole");
    assert_eq!(ranch.logs.read(guest.run, 0, 100).unwrap(), b"first second");
}

async fn a_log_over_a_slow_link_arrives_whole(ranch: Ranch) {
    // 3.9 MB as a link of 64 KB/s brings them: a sixth of a second each call, one after the other,
    // most of them long after the result.
    let piece = 16 * 1024;
    let pieces = 240_u64;
    assert!(piece <= MAX_LOG_CHUNK_BYTES);
    let (guest, session) = result_first(&ranch, 5 + pieces * piece as u64).await;
    for nth in 0..pieces {
        let bytes = vec![b'a' + u8::try_from(nth % 26).unwrap(); piece];
        let (guest, session, bytes) = (&guest, &session, &bytes);
        eventually("it is taken, after a 429 or two", || async move {
            let answer = guest.send_log(session, 5 + nth * piece as u64, bytes).await;
            match answer.status().as_u16() {
                200 => true,
                429 => false,
                other => panic!("{other}"),
            }
        })
        .await;
    }
    let run = ranch.run(&guest).await;
    assert_eq!(ranch.logs.length(guest.run).unwrap(), run.log_written());
}

async fn when_the_hand_over_is_over_all_tokens_are_void(ranch: Ranch) {
    let (guest, session) = result_first(&ranch, 12).await;
    let over = fixture::edit(guest.run, |run| lifecycle::handed_over(run, 5));
    ranch.commit(vec![over]).await;
    assert_eq!(
        status(guest.send_log(&session, 5, b"late").await).await,
        410
    );
    assert_eq!(status(guest.report(&session, HEARTBEAT).await).await, 410);
    let tokens = ranch.store.tokens(guest.run).await.unwrap();
    assert!(tokens.iter().all(|token| token.voided));
    let told = ranch.events(EventReason::HandedOver).await;
    assert_eq!(told[0].message, "its log is cut: 5 of 12 bytes arrived");
}

async fn nothing_that_is_handed_over_changes_the_end(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.started().await;
    ranch
        .commit(vec![end(&ranch, guest.run, EndReason::Destroyed)])
        .await;
    let before = ranch.run(&guest).await.ended;
    let report = finished(with_log(0));
    assert_eq!(guest.say(&session, &report).await.status(), 200);
    let run = ranch.run(&guest).await;
    assert_eq!(run.ended, before);
    assert_eq!(
        run.outcome,
        Some(with_log(0)),
        "it is there to be looked at"
    );
    let late = Outcome {
        exit_code: Some(1),
        ..with_log(0)
    };
    assert_eq!(guest.say(&session, &finished(late)).await.status(), 200);
    assert_eq!(ranch.run(&guest).await.outcome, Some(with_log(0)));
}

async fn a_guest_that_never_reported_in_hands_nothing_over(ranch: Ranch) {
    let guest = ranch.start("rex", 1).await;
    let session = guest.session().await;
    ranch
        .commit(vec![end(&ranch, guest.run, EndReason::Destroyed)])
        .await;
    assert_eq!(status(guest.report(&session, HEARTBEAT).await).await, 410);
    assert_eq!(status(guest.send_log(&session, 0, b"x").await).await, 410);
}
