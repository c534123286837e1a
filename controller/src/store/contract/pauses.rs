//! A pause holds until it is ended, whatever happens to the process.

use cattle_core::{lifecycle, pause::Pause};
use cattle_schemas::{event::EventReason, status::PauseReason};

use super::{
    super::{
        Edit, Store,
        fixture::{after, start},
    },
    applied, contract,
};
use crate::edit::of_pause;

contract!(
    one_pause_of_a_reason_and_subject_holds_at_a_time,
    a_pause_that_is_over_is_read_for_an_hour_and_kept_until_its_retention,
    the_beginning_and_the_end_of_a_pause_are_told,
);

fn begin(reason: PauseReason, subject: &str, message: &str) -> Edit {
    let fresh = Pause {
        subject: subject.to_owned(),
        ends: true,
        ..Pause::by_controller(reason, message, start())
    };
    of_pause(reason, subject, move |held| lifecycle::pause(held, &fresh))
}

fn end(reason: PauseReason, subject: &str, at: i64) -> Edit {
    of_pause(reason, subject, move |held| {
        lifecycle::resume(held, "operator (uid 0)", "mended", true, after(at))
    })
}

async fn held<S: Store>(store: &S) -> Vec<(PauseReason, String, String)> {
    let pauses = store.pauses().await.unwrap().into_iter();
    pauses
        .map(|it| (it.reason, it.subject, it.message))
        .collect()
}

async fn one_pause_of_a_reason_and_subject_holds_at_a_time<S: Store>(store: &S) {
    let deletes = PauseReason::Deletes;
    applied(
        store,
        vec![
            begin(deletes, "dir:a", "one"),
            begin(deletes, "dir:b", "two"),
            begin(PauseReason::Ledger, "", "three"),
        ],
    )
    .await;
    let again = vec![
        begin(deletes, "dir:a", "one"),
        begin(deletes, "dir:a", "more"),
    ];
    assert_eq!(store.commit(again, start()).await.unwrap(), [false, true]);
    let told =
        |reason, subject: &str, message: &str| (reason, subject.to_owned(), message.to_owned());
    assert_eq!(
        held(store).await,
        [
            told(deletes, "dir:a", "more"),
            told(deletes, "dir:b", "two"),
            told(PauseReason::Ledger, "", "three"),
        ]
    );
    let ends = vec![end(deletes, "dir:a", 5), end(deletes, "dir:a", 6)];
    assert_eq!(store.commit(ends, after(6)).await.unwrap(), [true, false]);
    assert_eq!(held(store).await.len(), 2);
    applied(store, vec![begin(deletes, "dir:a", "again")]).await;
    assert_eq!(held(store).await[2], told(deletes, "dir:a", "again"));
}

async fn a_pause_that_is_over_is_read_for_an_hour_and_kept_until_its_retention<S: Store>(
    store: &S,
) {
    let reason = PauseReason::Deletes;
    applied(
        store,
        vec![begin(reason, "x", "a"), begin(reason, "y", "b")],
    )
    .await;
    applied(store, vec![end(reason, "x", 10)]).await;
    let read = async |since| {
        let ledger = store.ledger(vec![], after(since)).await.unwrap();
        ledger.pauses
    };
    let both = read(10).await;
    assert_eq!(both.len(), 2);
    let resumed = both[0].resumed.as_ref().unwrap();
    assert_eq!((resumed.at, resumed.confirmed), (after(10), true));
    assert_eq!(read(11).await.len(), 1);
    store.forget_before(after(20)).await.unwrap();
    let left = read(0).await;
    assert_eq!(left.len(), 1, "what holds is never forgotten");
    assert!(left[0].holds());
}

async fn the_beginning_and_the_end_of_a_pause_are_told<S: Store>(store: &S) {
    applied(store, vec![begin(PauseReason::Ledger, "", "it was lost")]).await;
    applied(store, vec![end(PauseReason::Ledger, "", 5)]).await;
    let events = store.events(0, None, 10).await.unwrap();
    let reasons: Vec<_> = events.iter().map(|event| event.reason).collect();
    assert_eq!(reasons, [EventReason::Paused, EventReason::Resumed]);
    assert!(events[0].message.contains("it was lost"), "{events:?}");
    assert!(events[0].cattle.is_none());
}
