//! A pause holds until it is ended, whatever happens to the process; what brake and breaker count is
//! there after a restart.

use cattle_core::{
    breaker::ImageRecord, desired::Requester, lifecycle, names::RunId, pause::Pause,
};
use cattle_schemas::{
    event::EventReason,
    status::{EndReason, PauseReason},
};

use super::{
    super::{
        Edit, Store,
        fixture::{accepted, after, edit, end as end_run, gone, insert, run, run_id, start},
    },
    applied, contract,
};
use crate::edit::of_pause;

contract!(
    one_pause_of_a_reason_and_subject_holds_at_a_time,
    a_pause_that_is_over_is_read_for_an_hour_and_kept_until_its_retention,
    the_beginning_and_the_end_of_a_pause_are_told,
    what_runs_tell_of_an_image_stays_when_they_are_forgotten,
    ends_for_specs_are_read_with_what_they_count_for,
    a_task_that_counts_as_begun_says_nothing_of_its_image,
    steps_of_runs_are_counted_and_never_fewer,
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

/// Its guest reports for the first time.
fn reports(id: RunId, at: i64) -> Edit {
    edit(id, move |run| {
        let _ = lifecycle::env_handed_out(run, after(at));
        lifecycle::ready(run, after(at))
    })
}

async fn what_runs_tell_of_an_image_stays_when_they_are_forgotten<S: Store>(store: &S) {
    let image = async || {
        let ledger = store.ledger(vec![], start()).await.unwrap();
        ledger.images.get("123456").cloned().unwrap_or_default()
    };
    assert_eq!(image().await, ImageRecord::default());
    for nth in 1..=3 {
        let id = run_id(nth);
        let at = i64::try_from(nth).unwrap();
        applied(
            store,
            vec![
                insert(run("rex", nth)),
                accepted(id),
                end_run(id, EndReason::BootTimeout, after(at)),
                gone(id, after(at)),
            ],
        )
        .await;
    }
    assert!(image().await.is_open());
    assert_eq!(image().await.timed_out_at, Some(after(3)));
    store.forget_before(after(1_000)).await.unwrap();
    let release = Edit::Image {
        image: "123456".to_owned(),
        edit: Box::new(|record| {
            record.released_at = Some(after(9));
            true
        }),
    };
    applied(store, vec![release]).await;
    assert_eq!(image().await.probe_at(after(50)), Some(after(9)));
    // A report, and other ends than a timeout.
    applied(
        store,
        vec![
            insert(run("rex", 4)),
            reports(run_id(4), 20),
            end_run(run_id(4), EndReason::GuestLost, after(30)),
        ],
    )
    .await;
    let known = image().await;
    assert_eq!((known.timeouts, known.reported_at), (0, Some(after(20))));
}

async fn ends_for_specs_are_read_with_what_they_count_for<S: Store>(store: &S) {
    let counted = |nth| Edit::Run {
        id: run_id(nth),
        edit: Box::new(move |run, assignment| {
            let ending = lifecycle::Ending::new(EndReason::SpecRemoved, "for the test");
            let told = lifecycle::end(run, assignment.as_mut(), &ending, after(10));
            run.counts_for = Some(Requester::uid(7));
            told.applied.then(Vec::new)
        }),
    };
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            insert(run("max", 2)),
            counted(1),
            end_run(run_id(2), EndReason::SpecChanged, after(10)),
            gone(run_id(1), after(11)),
        ],
    )
    .await;
    let read = async |since| {
        let ledger = store.ledger(vec![], after(since)).await.unwrap();
        ledger.recent_ends.into_iter().map(|(_, of)| of.0)
    };
    assert_eq!(read(9).await.collect::<Vec<_>>(), ["uid:7"]);
    assert_eq!(read(11).await.count(), 0);
}

async fn a_task_that_counts_as_begun_says_nothing_of_its_image<S: Store>(store: &S) {
    let rejoined = edit(run_id(1), |run| lifecycle::rejoin(run, None));
    applied(
        store,
        vec![insert(run("rex", 1)), accepted(run_id(1)), rejoined],
    )
    .await;
    let reported = async || {
        let ledger = store.ledger(vec![], start()).await.unwrap();
        ledger.images.get("123456").and_then(|it| it.reported_at)
    };
    assert_eq!(reported().await, None);
    // Once it is heard it does.
    let heard = edit(run_id(1), |run| lifecycle::heartbeat(run, after(9)));
    applied(store, vec![heard]).await;
    assert_eq!(reported().await, Some(after(9)));
}

async fn steps_of_runs_are_counted_and_never_fewer<S: Store>(store: &S) {
    let steps = async || store.count_steps().await.unwrap();
    assert_eq!(steps().await, 0);
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            insert(run("max", 2)),
            accepted(run_id(1)),
        ],
    )
    .await;
    assert_eq!(steps().await, 2);
    applied(store, vec![reports(run_id(1), 1)]).await;
    assert_eq!(steps().await, 3);
    applied(
        store,
        vec![
            end_run(run_id(1), EndReason::GuestLost, after(2)),
            end_run(run_id(2), EndReason::Destroyed, after(2)),
            gone(run_id(1), after(3)),
        ],
    )
    .await;
    assert_eq!(steps().await, 6);
    store.forget_before(after(1_000)).await.unwrap();
    assert_eq!(steps().await, 6, "a run's row stays for good");
}
