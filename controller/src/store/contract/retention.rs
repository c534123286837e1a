//! What is forgotten, and what never is.

use cattle_core::lifecycle;
use cattle_schemas::{guest::Outcome, status::EndReason};

use super::{
    super::{
        Edit, Store,
        fixture::{after, edit, end, gone, insert, run, run_id},
    },
    applied, contract, event, name, put_assignment, token,
};

contract!(
    forgotten_event_numbers_are_not_used_again,
    retention_removes_results_and_keeps_the_fact,
    what_belongs_to_a_live_run_is_not_forgotten,
);

/// A run that is over and gone, with a result.
async fn finished<S: Store>(store: &S, cattle: &str, nth: u64, at: i64) {
    let outcome = Outcome {
        exit_code: Some(0),
        signal: None,
        cause: None,
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

async fn forgotten_event_numbers_are_not_used_again<S: Store>(store: &S) {
    applied(store, vec![Edit::Event(event("rex", "old"))]).await;
    let old = store.events(0, None, 1).await.unwrap()[0].id;
    store.forget_before(after(10)).await.unwrap();
    assert!(store.events(0, None, 1).await.unwrap().is_empty());
    applied(store, vec![Edit::Event(event("rex", "new"))]).await;
    assert!(store.events(0, None, 1).await.unwrap()[0].id > old);
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
