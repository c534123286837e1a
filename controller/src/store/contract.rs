//! What every store must do; each test runs against memory and against SQLite.

#![allow(clippy::unwrap_used)]

use cattle_core::{
    desired::{Authority, Requester},
    ledger::Assignment,
    lifecycle,
    names::{CattleName, SpecHash},
};
use cattle_schemas::{
    event::{EventReason, NewEvent},
    guest::Outcome,
    job::{Job, JobKind, JobState},
    status::EndReason,
};

use super::{
    Edit, IdempotentReply, MemoryStore, RunFilter, SocketSpec, SqliteStore, Store, TokenKind,
    TokenRecord,
    fixture::{after, cattle, edit, end, gone, insert, run, run_id, start},
};

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod memory {
            use super::MemoryStore;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&MemoryStore::new()).await;
                }
            )*
        }
        mod sqlite {
            use super::SqliteStore;
            $(
                #[tokio::test]
                async fn $test() {
                    let dir = tempfile::tempdir().unwrap();
                    let store = SqliteStore::open(&dir.path().join("state.sqlite")).await.unwrap();
                    super::$test(&store).await;
                    store.close().await;
                }
            )*
        }
    };
}

contract!(
    a_run_is_read_back_as_it_was_written,
    a_second_live_run_of_one_cattle_is_refused,
    a_run_id_is_used_once,
    an_edit_sees_the_row_as_it_is_and_may_refuse,
    a_run_and_its_assignment_change_together,
    an_edit_of_no_run_is_not_applied,
    commit_keeps_what_applied_and_commit_all_drops_everything,
    later_edits_of_a_commit_see_earlier_ones,
    events_are_numbered_in_order_and_told_to_subscribers,
    forgotten_event_numbers_are_not_used_again,
    a_plan_gets_what_is_not_settled_and_the_latest_of_each_wanted_name,
    a_plan_gets_wanted_live_and_open_assignments,
    creates_are_counted_once_for_each_attempt,
    runs_are_filtered_newest_first,
    a_token_belongs_to_a_live_run_and_is_void_after_it,
    all_but_one_token_can_be_voided,
    retention_removes_results_and_keeps_the_fact,
    what_belongs_to_a_live_run_is_not_forgotten,
    jobs_page_newest_first,
    the_first_reply_to_a_key_is_remembered,
    socket_specs_and_values_are_replaced_and_forgotten,
    concurrent_commits_are_applied_one_after_the_other,
);

fn name(text: &str) -> CattleName {
    text.parse().unwrap()
}

fn hash(text: &str) -> SpecHash {
    text.parse().unwrap()
}

fn assignment() -> Assignment {
    lifecycle::enqueue(None, &Requester::operator(), start())
        .0
        .unwrap()
}

fn put_assignment(cattle: &str, with_hash: &str) -> Edit {
    Edit::Assignment {
        cattle: name(cattle),
        hash: hash(with_hash),
        edit: Box::new(|known| {
            *known = Some(assignment());
            Some(Vec::new())
        }),
    }
}

fn event(cattle: &str, message: &str) -> NewEvent {
    NewEvent {
        cattle: Some(cattle.to_owned()),
        run: None,
        reason: EventReason::Alert,
        message: message.to_owned(),
    }
}

fn token(nth: u8, run: u64) -> TokenRecord {
    TokenRecord {
        digest: [nth; 32],
        run: run_id(run),
        attempt: 1,
        kind: TokenKind::Bootstrap,
        idempotency: None,
        peer: None,
        voided: false,
    }
}

async fn applied<S: Store>(store: &S, edits: Vec<Edit>) {
    let count = edits.len();
    assert_eq!(
        store.commit(edits, start()).await.unwrap(),
        vec![true; count]
    );
}

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

async fn events_are_numbered_in_order_and_told_to_subscribers<S: Store>(store: &S) {
    let mut told = store.subscribe();
    for text in ["one", "two", "three"] {
        let of = if text == "two" { "max" } else { "rex" };
        applied(store, vec![Edit::Event(event(of, text))]).await;
    }
    let all = store.events(0, None, 10).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(
        all.iter()
            .map(|event| event.message.as_str())
            .collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
    for event in &all {
        // Told as it happens is the same as read later, to the microsecond.
        assert_eq!(told.recv().await.unwrap(), *event);
    }
    let of_rex = store
        .events(all[0].id, Some(name("rex")), 10)
        .await
        .unwrap();
    assert_eq!(of_rex, [all[2].clone()]);
    assert_eq!(store.events(0, None, 1).await.unwrap(), [all[0].clone()]);
    assert!(store.events(u64::MAX, None, 10).await.unwrap().is_empty());
}

async fn forgotten_event_numbers_are_not_used_again<S: Store>(store: &S) {
    applied(store, vec![Edit::Event(event("rex", "old"))]).await;
    let old = store.events(0, None, 1).await.unwrap()[0].id;
    store.forget_before(after(10)).await.unwrap();
    assert!(store.events(0, None, 1).await.unwrap().is_empty());
    applied(store, vec![Edit::Event(event("rex", "new"))]).await;
    assert!(store.events(0, None, 1).await.unwrap()[0].id > old);
}

async fn a_plan_gets_what_is_not_settled_and_the_latest_of_each_wanted_name<S: Store>(store: &S) {
    let end = |nth| end(run_id(nth), EndReason::Completed, after(1));
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            end(1),
            gone(run_id(1), after(2)),
            insert(run("rex", 2)),
            end(2),
            gone(run_id(2), after(2)),
            insert(run("max", 3)),
            end(3),
            gone(run_id(3), after(2)),
            insert(run("ada", 4)),
            end(4),
            insert(run("bob", 5)),
        ],
    )
    .await;
    let wanted = vec![
        (name("rex"), hash("0123456789ab")),
        (name("rex"), hash("ffffffffffff")),
        (name("bob"), hash("0123456789ab")),
        (name("new"), hash("0123456789ab")),
    ];
    let ledger = store.ledger(wanted, start()).await.unwrap();
    // Not 1 (not the latest) and not 3 (settled and unwanted).
    assert_eq!(
        ledger.runs.keys().copied().collect::<Vec<_>>(),
        [run_id(2), run_id(4), run_id(5)]
    );
}

async fn a_plan_gets_wanted_live_and_open_assignments<S: Store>(store: &S) {
    let close = |cattle: &str, with_hash: &str| Edit::Assignment {
        cattle: name(cattle),
        hash: hash(with_hash),
        edit: Box::new(|known| {
            let mut closed = assignment();
            let _ = lifecycle::close(&mut closed, EndReason::NotStarted, "too late", start());
            *known = Some(closed);
            Some(Vec::new())
        }),
    };
    applied(
        store,
        vec![
            close("rex", "0123456789ab"),
            close("rex", "ffffffffffff"),
            put_assignment("max", "eeeeeeeeeeee"),
            close("bob", "0123456789ab"),
            insert(run("bob", 1)),
            close("ada", "0123456789ab"),
        ],
    )
    .await;
    let ledger = store
        .ledger(vec![(name("rex"), hash("ffffffffffff"))], start())
        .await
        .unwrap();
    assert_eq!(
        ledger
            .assignments
            .keys()
            .map(|(cattle, hash)| format!("{cattle} {hash}"))
            .collect::<Vec<_>>(),
        ["bob 0123456789ab", "max eeeeeeeeeeee", "rex ffffffffffff"]
    );
}

async fn creates_are_counted_once_for_each_attempt<S: Store>(store: &S) {
    let attempt = |at| {
        edit(run_id(1), move |run| {
            run.create = cattle_core::ledger::CreateState::Refused;
            lifecycle::retry(run, super::fixture::MAX_TTL, at)
        })
    };
    applied(store, vec![insert(run("rex", 1))]).await;
    applied(store, vec![attempt(after(60))]).await;
    applied(
        store,
        vec![edit(run_id(1), |run| {
            lifecycle::env_handed_out(run, after(70))
        })],
    )
    .await;
    let mut adopted = run("max", 2);
    adopted.create = cattle_core::ledger::CreateState::Accepted;
    applied(store, vec![insert(adopted)]).await;
    let count = async |since| {
        store
            .ledger(vec![], since)
            .await
            .unwrap()
            .creates_last_hour
            .len()
    };
    assert_eq!(count(after(-1)).await, 2);
    assert_eq!(count(after(1)).await, 1);
    assert_eq!(count(after(61)).await, 0);
}

async fn runs_are_filtered_newest_first<S: Store>(store: &S) {
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            end(run_id(1), EndReason::Completed, after(10)),
            insert(run("rex", 2)),
            insert(run("max", 3)),
            end(run_id(3), EndReason::Completed, after(20)),
        ],
    )
    .await;
    let ids = async |filter| {
        store
            .runs(filter)
            .await
            .unwrap()
            .into_iter()
            .map(|run| run.id)
            .collect::<Vec<_>>()
    };
    let all = RunFilter::default();
    assert_eq!(ids(all.clone()).await, [run_id(3), run_id(2), run_id(1)]);
    assert_eq!(
        ids(RunFilter {
            limit: Some(1),
            ..all.clone()
        })
        .await,
        [run_id(3)]
    );
    let of_rex = RunFilter {
        cattle: Some(name("rex")),
        ..all.clone()
    };
    assert_eq!(ids(of_rex.clone()).await, [run_id(2), run_id(1)]);
    assert_eq!(
        ids(RunFilter {
            latest_only: true,
            ..of_rex
        })
        .await,
        [run_id(2)]
    );
    assert_eq!(
        ids(RunFilter {
            latest_only: true,
            ..all.clone()
        })
        .await,
        [run_id(3), run_id(2)]
    );
    let since = |seconds| RunFilter {
        ended_after: Some(after(seconds)),
        ..RunFilter::default()
    };
    assert_eq!(ids(since(15)).await, [run_id(3), run_id(2)]);
    assert_eq!(ids(since(25)).await, [run_id(2)]);
    assert_eq!(
        ids(RunFilter {
            latest_only: true,
            ..since(25)
        })
        .await,
        [run_id(2)]
    );
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

/// A run that is over and gone, with a result.
async fn finished<S: Store>(store: &S, cattle: &str, nth: u64, at: i64) {
    let outcome = Outcome {
        exit_code: Some(0),
        signal: None,
        message: None,
        result: Some(serde_json::json!({ "answer": 42 })),
        log_bytes: 3,
    };
    applied(
        store,
        vec![
            put_assignment(cattle, "0123456789ab"),
            insert(run(cattle, nth)),
            Edit::InsertToken(token(u8::try_from(nth).unwrap(), nth)),
            edit(run_id(nth), move |run| {
                lifecycle::env_handed_out(run, after(at))
            }),
            edit(run_id(nth), move |run| {
                lifecycle::outcome(run, outcome, after(at))
            }),
            end(run_id(nth), EndReason::Completed, after(at)),
            gone(run_id(nth), after(at)),
        ],
    )
    .await;
}

async fn retention_removes_results_and_keeps_the_fact<S: Store>(store: &S) {
    finished(store, "rex", 1, 10).await;
    finished(store, "max", 2, 100).await;
    assert_eq!(store.forget_before(after(50)).await.unwrap(), [run_id(1)]);
    assert!(
        store.forget_before(after(50)).await.unwrap().is_empty(),
        "each is named once"
    );

    let old = store.run(run_id(1)).await.unwrap().unwrap();
    let outcome = old.outcome.unwrap();
    assert_eq!((outcome.exit_code, outcome.result), (Some(0), None));
    assert_eq!(old.ended.unwrap().reason, EndReason::Completed);
    assert_eq!(store.assignments(name("rex")).await.unwrap().len(), 1);
    assert_eq!(store.token([1; 32]).await.unwrap(), None);

    let young = store.run(run_id(2)).await.unwrap().unwrap();
    assert!(young.outcome.unwrap().result.is_some());
    let left = store.events(0, None, 100).await.unwrap();
    assert!(
        left.iter()
            .all(|event| event.cattle.as_deref() == Some("max"))
    );
    assert!(!left.is_empty());
}

async fn what_belongs_to_a_live_run_is_not_forgotten<S: Store>(store: &S) {
    applied(
        store,
        vec![
            insert(run("rex", 1)),
            Edit::InsertToken(token(1, 1)),
            edit(run_id(1), |run| lifecycle::env_handed_out(run, after(1))),
            insert(run("max", 2)),
            end(run_id(2), EndReason::Destroyed, after(1)),
        ],
    )
    .await;
    assert!(
        store
            .forget_before(after(1_000_000))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.events(0, None, 10).await.unwrap().len(), 2);
    assert!(store.token([1; 32]).await.unwrap().is_some());
}

fn job(id: &str, requester: &str) -> Job {
    Job {
        id: id.to_owned(),
        kind: JobKind::CattleSpawn,
        state: JobState::Queued,
        requester: requester.to_owned(),
        created_at: start(),
        finished_at: None,
        cattle: Some("rex".to_owned()),
        run: None,
        end_reason: None,
        message: None,
    }
}

async fn jobs_page_newest_first<S: Store>(store: &S) {
    for (id, requester) in [("01A", "uid:1"), ("01B", "uid:2"), ("01C", "uid:1")] {
        store.put_job(job(id, requester)).await.unwrap();
    }
    let ids = async |requester: Option<&str>, before: Option<&str>, limit| {
        let jobs = store
            .jobs(
                requester.map(str::to_owned),
                before.map(str::to_owned),
                limit,
            )
            .await;
        jobs.unwrap()
            .into_iter()
            .map(|job| job.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None, 10).await, ["01C", "01B", "01A"]);
    assert_eq!(ids(Some("uid:1"), None, 1).await, ["01C"]);
    assert_eq!(ids(Some("uid:1"), Some("01C"), 10).await, ["01A"]);

    let mut done = job("01B", "uid:2");
    done.state = JobState::Done;
    done.finished_at = Some(after(5));
    store.put_job(done.clone()).await.unwrap();
    assert_eq!(store.job("01B".to_owned()).await.unwrap(), Some(done));
    store.forget_before(after(10)).await.unwrap();
    assert_eq!(store.job("01B".to_owned()).await.unwrap(), None);
    assert!(
        store.job("01A".to_owned()).await.unwrap().is_some(),
        "what is not over stays"
    );
}

async fn the_first_reply_to_a_key_is_remembered<S: Store>(store: &S) {
    let reply = |requester: &str, body: &str| IdempotentReply {
        requester: requester.to_owned(),
        key: "key".to_owned(),
        request: "digest".to_owned(),
        status: 200,
        body: body.to_owned(),
    };
    assert_eq!(
        store
            .remember(reply("uid:1", "one"), start())
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        store
            .remember(reply("uid:1", "two"), start())
            .await
            .unwrap(),
        Some(reply("uid:1", "one"))
    );
    assert_eq!(
        store
            .remember(reply("uid:2", "three"), start())
            .await
            .unwrap(),
        None,
        "keys are per requester"
    );
    let recall = async |requester: &str| {
        store
            .recall(requester.to_owned(), "key".to_owned())
            .await
            .unwrap()
    };
    assert_eq!(recall("uid:1").await, Some(reply("uid:1", "one")));
    assert_eq!(recall("uid:3").await, None);
    store.forget_before(after(1)).await.unwrap();
    assert_eq!(recall("uid:1").await, None);
}

async fn socket_specs_and_values_are_replaced_and_forgotten<S: Store>(store: &S) {
    let spec = |cattle: &str, authority| SocketSpec {
        cattle: name(cattle),
        requester: Requester::uid(1_001),
        authority,
        apply_set: Some("/home/me/specs".to_owned()),
    };
    for (cattle, authority) in [
        ("rex", Authority::Bot),
        ("rex", Authority::Operator),
        ("max", Authority::Bot),
    ] {
        store
            .put_socket_spec(name(cattle), Some(spec(cattle, authority)))
            .await
            .unwrap();
    }
    assert_eq!(
        store.socket_specs().await.unwrap(),
        [
            spec("max", Authority::Bot),
            spec("rex", Authority::Operator)
        ]
    );
    store.put_socket_spec(name("max"), None).await.unwrap();
    assert_eq!(store.socket_specs().await.unwrap().len(), 1);

    assert_eq!(store.meta("ledger-id".to_owned()).await.unwrap(), None);
    for value in ["one", "two"] {
        store
            .put_meta("ledger-id".to_owned(), value.to_owned())
            .await
            .unwrap();
    }
    assert_eq!(
        store.meta("ledger-id".to_owned()).await.unwrap(),
        Some("two".to_owned())
    );
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
