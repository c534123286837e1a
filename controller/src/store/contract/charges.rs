//! What was billed is known for every run there ever was.

use cattle_core::{charge::Charge, lifecycle};
use cattle_schemas::{Timestamp, status::EndReason};

use super::{
    super::{
        Store,
        fixture::{accepted, after, edit, end, gone, insert, run, run_id},
    },
    applied, contract,
};

contract!(
    a_charge_begins_with_the_server_and_ends_with_it,
    charges_are_found_by_the_time_that_they_reach_into,
    retention_forgets_no_charge,
    what_a_dropped_transaction_billed_was_never_billed,
);

async fn all<S: Store>(store: &S) -> Vec<Charge> {
    store
        .charges(Timestamp::MIN_UTC..Timestamp::MAX_UTC)
        .await
        .unwrap()
}

/// A run whose server was there from ten seconds after the start until then.
async fn finished<S: Store>(store: &S, cattle: &str, nth: u64, until: i64) {
    let id = run_id(nth);
    applied(
        store,
        vec![
            insert(run(cattle, nth)),
            accepted(id),
            end(id, EndReason::Completed, after(until)),
            gone(id, after(until)),
        ],
    )
    .await;
}

async fn a_charge_begins_with_the_server_and_ends_with_it<S: Store>(store: &S) {
    applied(store, vec![insert(run("rex", 1)), insert(run("max", 2))]).await;
    assert!(all(store).await.is_empty(), "no server, no cost");
    applied(store, vec![accepted(run_id(1))]).await;
    let charges = all(store).await;
    assert_eq!(charges.len(), 1);
    assert_eq!(
        (charges[0].run, charges[0].created, charges[0].until),
        (run_id(1), after(10), None)
    );
    applied(store, vec![end(run_id(1), EndReason::Completed, after(60))]).await;
    assert_eq!(all(store).await, charges, "it bills until it is gone");
    applied(store, vec![gone(run_id(1), after(70))]).await;
    assert_eq!(all(store).await[0].until, Some(after(70)));
    // A second proof, of a server that was there again.
    applied(store, vec![gone(run_id(1), after(90))]).await;
    let charges = all(store).await;
    assert_eq!(charges[0].until, Some(after(90)));
    let known = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!(charges, [Charge::of_run(&known).unwrap()]);
}

async fn charges_are_found_by_the_time_that_they_reach_into<S: Store>(store: &S) {
    finished(store, "rex", 1, 100).await;
    finished(store, "max", 2, 200).await;
    applied(store, vec![insert(run("bob", 3)), accepted(run_id(3))]).await;
    let within = async |from, to| {
        let charges = store.charges(after(from)..after(to)).await.unwrap();
        let runs = charges.iter().map(|charge| charge.run.to_string());
        runs.collect::<Vec<_>>()
    };
    let ids = |ids: &[u64]| {
        let ids = ids.iter().map(|id| run_id(*id).to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(within(0, 1000).await, ids(&[1, 2, 3]));
    assert_eq!(within(100, 1000).await, ids(&[2, 3]));
    assert_eq!(within(500, 1000).await, ids(&[3]));
    assert_eq!(within(-50, 10).await, ids(&[]));
}

async fn retention_forgets_no_charge<S: Store>(store: &S) {
    finished(store, "rex", 1, 100).await;
    let charges = all(store).await;
    assert_eq!(
        store.forget_before(after(1_000)).await.unwrap(),
        [run_id(1)]
    );
    assert_eq!(all(store).await, charges);
    let known = store.run(run_id(1)).await.unwrap().unwrap();
    assert_eq!(charges, [Charge::of_run(&known).unwrap()]);
    assert!(charges[0].price.is_some());
}

async fn what_a_dropped_transaction_billed_was_never_billed<S: Store>(store: &S) {
    applied(store, vec![insert(run("rex", 1))]).await;
    let refused = edit(run_id(1), |run| lifecycle::release(run, "is not kept"));
    let edits = vec![accepted(run_id(1)), refused];
    assert!(!store.commit_all(edits, after(0)).await.unwrap());
    assert!(all(store).await.is_empty());
}
