//! What an edit does to its row, and to nothing else.

use cattle_core::lifecycle;
use cattle_schemas::status::EndReason;

use super::{
    super::{
        Edit, Store, TokenKind,
        fixture::{after, cattle, edit, end, gone, insert, run, run_id, start},
    },
    applied, assignment, contract, event, hash, name, put_assignment, token,
};

contract!(
    a_run_is_read_back_as_it_was_written,
    a_second_live_run_of_one_cattle_is_refused,
    a_run_id_is_used_once,
    an_edit_sees_the_row_as_it_is_and_may_refuse,
    a_run_and_its_assignment_change_together,
    an_edit_of_no_run_is_not_applied,
    commit_keeps_what_applied_and_commit_all_drops_everything,
    later_edits_of_a_commit_see_earlier_ones,
    concurrent_commits_are_applied_one_after_the_other,
    a_token_belongs_to_a_live_run_and_is_void_after_it,
    the_tokens_of_a_kept_run_are_void_once_it_is_let_go,
    the_tokens_of_a_run_that_hands_over_are_void_once_it_has,
    all_but_one_token_can_be_voided,
);

async fn a_run_is_read_back_as_it_was_written<S: Store>(store: &S) {
    let mut written = run("rex", 1);
    written.spec.task.message = "naïve \u{202e} \0 'quoted' \"too\"".to_owned();
    applied(store, vec![insert(written.clone())]).await;
    assert_eq!(store.run(run_id(1)).await.unwrap(), Some(written));
    assert_eq!(store.run(run_id(2)).await.unwrap(), None);
}

async fn a_second_live_run_of_one_cattle_is_refused<S: Store>(store: &S) {
    applied(store, vec![insert(run("rex", 1))]).await;
    let second = store.commit(vec![insert(run("rex", 2)), insert(run("max", 3))], start());
    assert_eq!(second.await.unwrap(), vec![false, true]);
    applied(
        store,
        vec![
            end(run_id(1), EndReason::Destroyed, after(1)),
            insert(run("rex", 2)),
        ],
    )
    .await;
}

async fn a_run_id_is_used_once<S: Store>(store: &S) {
    applied(store, vec![insert(run("rex", 1))]).await;
    assert_eq!(
        store
            .commit(vec![insert(run("max", 1))], start())
            .await
            .unwrap(),
        vec![false]
    );
    assert_eq!(
        store.run(run_id(1)).await.unwrap().unwrap().cattle,
        name("rex")
    );
}

async fn an_edit_sees_the_row_as_it_is_and_may_refuse<S: Store>(store: &S) {
    applied(store, vec![insert(run("rex", 1))]).await;
    applied(
        store,
        vec![end(run_id(1), EndReason::BootTimeout, after(1))],
    )
    .await;
    // A decision on the old view comes second and changes nothing, not even what it tells.
    let late = store.commit(
        vec![end(run_id(1), EndReason::Destroyed, after(2))],
        start(),
    );
    assert_eq!(late.await.unwrap(), vec![false]);
    let ended = store.run(run_id(1)).await.unwrap().unwrap().ended.unwrap();
    assert_eq!(ended.reason, EndReason::BootTimeout);
    assert_eq!(store.events(0, None, 10).await.unwrap().len(), 1);
}

async fn a_run_and_its_assignment_change_together<S: Store>(store: &S) {
    applied(
        store,
        vec![put_assignment("rex", "0123456789ab"), insert(run("rex", 1))],
    )
    .await;
    applied(
        store,
        vec![edit(run_id(1), |run| {
            lifecycle::env_handed_out(run, after(1))
        })],
    )
    .await;
    applied(store, vec![end(run_id(1), EndReason::Destroyed, after(2))]).await;
    let known = store.assignments(name("rex")).await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].0, hash("0123456789ab"));
    assert_eq!(
        known[0].1.ended.as_ref().map(|end| end.reason),
        Some(EndReason::Destroyed)
    );
}

async fn an_edit_of_no_run_is_not_applied<S: Store>(store: &S) {
    let edits = vec![gone(run_id(1), start())];
    assert_eq!(store.commit(edits, start()).await.unwrap(), vec![false]);
    assert!(
        !store
            .commit_all(vec![gone(run_id(1), start())], start())
            .await
            .unwrap()
    );
}

async fn commit_keeps_what_applied_and_commit_all_drops_everything<S: Store>(store: &S) {
    let mixed = || {
        vec![
            Edit::Event(event("rex", "before")),
            insert(run("rex", 1)),
            gone(run_id(9), start()),
        ]
    };
    let mut told = store.subscribe();
    assert!(!store.commit_all(mixed(), start()).await.unwrap());
    assert_eq!(store.run(run_id(1)).await.unwrap(), None);
    assert!(store.events(0, None, 10).await.unwrap().is_empty());
    assert!(
        store
            .ledger(vec![], start())
            .await
            .unwrap()
            .creates_last_hour
            .is_empty()
    );
    assert!(told.try_recv().is_err());
    assert_eq!(
        store.commit(mixed(), start()).await.unwrap(),
        vec![true, true, false]
    );
    assert!(store.run(run_id(1)).await.unwrap().is_some());
    assert!(
        store
            .commit_all(vec![insert(run("max", 2))], start())
            .await
            .unwrap()
    );
}

async fn later_edits_of_a_commit_see_earlier_ones<S: Store>(store: &S) {
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            Edit::InsertToken(token(1, 1)),
            end(run_id(1), EndReason::SpecChanged, after(1)),
            insert(run("rex", 2)),
        ],
    )
    .await;
    assert!(store.token([1; 32]).await.unwrap().unwrap().voided);
}

async fn concurrent_commits_are_applied_one_after_the_other<S: Store>(store: &S) {
    let spec = cattle("rex");
    applied(store, vec![insert(run("rex", 1))]).await;
    let commits = (0..50).map(|_| {
        let edit = Edit::Assignment {
            cattle: spec.name.clone(),
            hash: spec.hash.clone(),
            edit: Box::new(|known| {
                let mut next = known.clone().unwrap_or_else(assignment);
                next.failed_starts += 1;
                *known = Some(next);
                Some(vec![event("rex", "counted")])
            }),
        };
        let end = end(run_id(1), EndReason::Destroyed, after(1));
        store.commit(vec![edit, end], start())
    });
    let answers = futures_util::future::join_all(commits).await;
    let ends = answers
        .into_iter()
        .filter(|answer| answer.as_ref().unwrap()[1])
        .count();
    assert_eq!(ends, 1, "a run ends once");
    assert_eq!(
        store.assignments(spec.name).await.unwrap()[0]
            .1
            .failed_starts,
        50
    );
    assert_eq!(store.events(0, None, 100).await.unwrap().len(), 51);
}

async fn a_token_belongs_to_a_live_run_and_is_void_after_it<S: Store>(store: &S) {
    let mut session = token(2, 1);
    session.kind = TokenKind::Session;
    session.idempotency = Some([7; 32]);
    session.peer = Some("100.64.0.9".to_owned());
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            Edit::InsertToken(token(1, 1)),
            Edit::InsertToken(session.clone()),
        ],
    )
    .await;
    assert_eq!(store.token([1; 32]).await.unwrap(), Some(token(1, 1)));
    assert_eq!(store.token([2; 32]).await.unwrap(), Some(session));
    assert_eq!(store.token([3; 32]).await.unwrap(), None);
    let refused = vec![
        Edit::InsertToken(token(1, 1)),
        Edit::InsertToken(token(4, 99)),
    ];
    assert_eq!(
        store.commit(refused, start()).await.unwrap(),
        [false, false]
    );

    applied(store, vec![end(run_id(1), EndReason::Destroyed, after(1))]).await;
    assert!(store.token([1; 32]).await.unwrap().unwrap().voided);
    assert!(store.token([2; 32]).await.unwrap().unwrap().voided);
    let late = store.commit(vec![Edit::InsertToken(token(5, 1))], start());
    assert_eq!(late.await.unwrap(), [false]);
}

async fn the_tokens_of_a_kept_run_are_void_once_it_is_let_go<S: Store>(store: &S) {
    let keep = |nth| {
        edit(run_id(nth), move |run| {
            let mut ending = lifecycle::Ending::new(EndReason::TaskFailed, "for the test");
            ending.hold_until = Some(after(600));
            lifecycle::end(run, None, &ending, after(1))
        })
    };
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            insert(run("max", 2)),
            Edit::InsertToken(token(1, 1)),
            Edit::InsertToken(token(2, 2)),
            keep(1),
            keep(2),
        ],
    )
    .await;
    let voided = async |nth| store.token([nth; 32]).await.unwrap().unwrap().voided;
    assert!(!voided(1).await && !voided(2).await);
    let late = store.commit(vec![Edit::InsertToken(token(3, 1))], start());
    assert_eq!(late.await.unwrap(), [false], "but it gets no other one");
    let release = edit(run_id(1), |run| lifecycle::release(run, "let go"));
    applied(store, vec![release, gone(run_id(2), after(2))]).await;
    assert!(voided(1).await && voided(2).await);
}

async fn the_tokens_of_a_run_that_hands_over_are_void_once_it_has<S: Store>(store: &S) {
    let mut started = run("rex", 1);
    let _ = lifecycle::env_handed_out(&mut started, after(1));
    let _ = lifecycle::ready(&mut started, after(2));
    applied(
        store,
        vec![
            insert(started),
            Edit::InsertToken(token(1, 1)),
            end(run_id(1), EndReason::Destroyed, after(3)),
        ],
    )
    .await;
    let voided = async || store.token([1; 32]).await.unwrap().unwrap().voided;
    assert!(!voided().await);
    let late = store.commit(vec![Edit::InsertToken(token(2, 1))], start());
    assert_eq!(late.await.unwrap(), [false], "but it gets no other one");
    let over = edit(run_id(1), |run| lifecycle::handed_over(run, 300));
    applied(store, vec![over]).await;
    assert!(voided().await);
    let run = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!((run.log_stored, run.handover_until()), (Some(300), None));
}

async fn all_but_one_token_can_be_voided<S: Store>(store: &S) {
    let insert_token = |nth, run| Edit::InsertToken(token(nth, run));
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            insert(run("max", 2)),
            insert_token(1, 1),
            insert_token(2, 1),
            insert_token(3, 2),
            Edit::VoidTokens {
                run: run_id(1),
                except: Some([2; 32]),
            },
        ],
    )
    .await;
    let voided = async |nth| store.token([nth; 32]).await.unwrap().unwrap().voided;
    assert!(voided(1).await);
    assert!(!voided(2).await);
    assert!(!voided(3).await);
    applied(
        store,
        vec![Edit::VoidTokens {
            run: run_id(1),
            except: None,
        }],
    )
    .await;
    assert!(voided(2).await);
}
