//! What a plan and those who look are told.

use cattle_core::{
    desired::{Authority, Requester},
    ledger::CreateState,
    lifecycle,
    names::SpecHash,
    substance::Substance,
};
use cattle_schemas::{
    job::JobState,
    status::{EndReason, PendingReason},
};

use super::{
    super::{
        Edit, IdempotentReply, RunFilter, SocketSpec, Store, Wanted,
        fixture::{MAX_TTL, after, edit, end, gone, insert, run, run_id, start},
    },
    applied, assignment, contract, event, hash, job, name, put_assignment,
};

contract!(
    events_are_numbered_in_order_and_told_to_subscribers,
    a_plan_gets_what_is_not_settled_and_the_latest_of_each_wanted_name,
    a_plan_gets_wanted_live_and_open_assignments,
    a_plan_gets_assignments_that_may_be_the_same_as_what_is_wanted,
    creates_are_counted_once_for_each_attempt,
    a_create_that_was_refused_for_certain_counts_no_more,
    runs_are_filtered_newest_first,
    jobs_page_newest_first,
    the_first_reply_to_a_key_is_remembered,
    socket_specs_and_values_are_replaced_and_forgotten,
);

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
    let wanted = [
        (name("rex"), hash("0123456789ab")),
        (name("rex"), hash("ffffffffffff")),
        (name("bob"), hash("0123456789ab")),
        (name("new"), hash("0123456789ab")),
    ];
    let wanted = wanted.map(Wanted::from).to_vec();
    let ledger = store.ledger(wanted, start()).await.unwrap();
    // Not 1 (not the latest) and not 3 (settled and unwanted).
    assert_eq!(
        ledger.runs.keys().copied().collect::<Vec<_>>(),
        [run_id(2), run_id(4), run_id(5)]
    );
}

async fn a_plan_gets_assignments_that_may_be_the_same_as_what_is_wanted<S: Store>(store: &S) {
    let content = |of: u8| SpecHash::from_digest(&[of; 32]);
    let over = |cattle: &str, with_hash: &str, made_of: Option<u8>| Edit::Assignment {
        cattle: name(cattle),
        hash: hash(with_hash),
        edit: Box::new(move |known| {
            let mut over = assignment();
            over.substance = made_of.map(|of| Substance {
                content: content(of),
                ..Substance::default()
            });
            let _ = lifecycle::close(&mut over, EndReason::NotStarted, "too late", start());
            *known = Some(over);
            Some(Vec::new())
        }),
    };
    applied(
        store,
        vec![
            over("rex", "aaaaaaaaaaaa", Some(1)),
            over("rex", "bbbbbbbbbbbb", Some(2)),
            over("rex", "cccccccccccc", None),
            over("max", "dddddddddddd", Some(1)),
        ],
    )
    .await;
    let wanted = Wanted {
        content: Some(content(1)),
        ..Wanted::from((name("rex"), hash("ffffffffffff")))
    };
    let ledger = store.ledger(vec![wanted], start()).await.unwrap();
    let hashes: Vec<String> = ledger
        .assignments
        .keys()
        .map(|(cattle, hash)| format!("{cattle} {hash}"))
        .collect();
    // Of its persona and task, or nobody knows of which.
    assert_eq!(hashes, ["rex aaaaaaaaaaaa", "rex cccccccccccc"]);
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
        .ledger(vec![(name("rex"), hash("ffffffffffff")).into()], start())
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
            run.create = CreateState::Refused;
            lifecycle::retry(run, MAX_TTL, at)
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
    adopted.create = CreateState::Accepted;
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

async fn a_create_that_was_refused_for_certain_counts_no_more<S: Store>(store: &S) {
    let refused = |id| {
        edit(run_id(id), |run| {
            lifecycle::refuse_create(run, PendingReason::Config, "no such image", None, start())
        })
    };
    applied(store, vec![insert(run("rex", 1)), insert(run("max", 2))]).await;
    applied(store, vec![refused(1)]).await;
    let ledger = store.ledger(vec![], after(-1)).await.unwrap();
    assert_eq!(ledger.creates_last_hour.len(), 1, "max's alone");
    // While the reply to an earlier attempt is missing, a server may come of it.
    let retry = edit(run_id(2), |run| lifecycle::retry(run, MAX_TTL, after(5)));
    applied(store, vec![retry]).await;
    applied(store, vec![refused(2)]).await;
    let ledger = store.ledger(vec![], after(-1)).await.unwrap();
    assert_eq!(ledger.creates_last_hour.len(), 2);
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
