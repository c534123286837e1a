//! The rate limit's gate against the simulator's bucket, in real time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cattle_controller::{
    clock::Clock,
    hetzner::{Client, Endpoint, Scope},
    identity::Identity,
    lister::{Lister, Pace},
    store::MemoryStore,
    world::Bell,
};
use cattle_core::{example, fleet::Fleet, names::ServerId, observed::Observed, rate::Class};
use hetzner_sim::{Config, Request, Sim};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::hetzner::TTL;

const TOKEN: &str = "rate-limited-project";

async fn project(config: Config) -> (Sim, Client) {
    let sim = Sim::start(config.token(TOKEN)).await.unwrap();
    let client = another_tool(&sim);
    (sim, client)
}

/// A client that knows nothing of what others ask.
fn another_tool(sim: &Sim) -> Client {
    let endpoint = Endpoint {
        url: sim.url(),
        token: TOKEN.to_owned().into(),
    };
    Client::new(&endpoint).unwrap()
}

fn refused(sim: &Sim) -> usize {
    let calls = sim.calls();
    calls.iter().filter(|call| call.status == Some(429)).count()
}

/// A call of this class; nothing that it asks for is there.
async fn call(client: &Client, class: Class) {
    let client = client.as_class(class);
    assert_eq!(client.get_server(ServerId(42), TTL).await.unwrap(), None);
}

/// A bucket of sixty, and one call a second.
fn small() -> Config {
    Config::default().rate_limit(60).rate_refill(3600)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_far_beyond_the_bucket_meets_no_429_and_deletes_go_at_once() {
    let (sim, client) = project(small()).await;
    call(&client, Class::List).await;
    let mut creates = JoinSet::new();
    for _ in 0..70 {
        let client = client.clone();
        creates.spawn(async move { call(&client, Class::Create).await });
    }
    // Until only what is kept for deletes is left.
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.calls().unwrap().remaining > 6 {
        assert!(Instant::now() < deadline, "{:?}", client.calls());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    let mut deletes = JoinSet::new();
    for _ in 0..6 {
        let client = client.clone();
        deletes.spawn(async move { call(&client, Class::Delete).await });
    }
    deletes.join_all().await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "deletes waited {:?}",
        began.elapsed()
    );
    assert!(!creates.is_empty(), "some creates still wait");
    creates.abort_all();
    assert_eq!(refused(&sim), 0);
    assert!(client.refill() > 0.9, "{}", client.refill());
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_uses_is_noticed() {
    let (sim, client) = project(Config::default()).await;
    call(&client, Class::Read).await;
    let other = another_tool(&sim);
    for _ in 0..25 {
        call(&other, Class::Read).await;
    }
    call(&client, Class::Read).await;
    let calls = client.calls().unwrap();
    assert_eq!(calls.used_last_hour, 2);
    // A slow machine refills one or the other meanwhile.
    assert!((20..=25).contains(&calls.others_last_hour), "{calls:?}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_answered_with_a_pause_and_not_with_a_storm() {
    let (sim, client) = project(Config::default().rate_limit(60).rate_refill(18_000)).await;
    call(&client, Class::Read).await;
    // Another tool empties the bucket behind our back.
    let nothing = Request::new("PUT", "/_sim/rate-limit").json(&json!({ "remaining": 0 }));
    let set = sim.control(&nothing);
    assert!(set.status < 300, "{set:?}");
    let first = client.list_scope(&Scope::AllFleets, TTL).await.unwrap_err();
    assert_eq!(first.status, Some(429));
    let mut urgent = JoinSet::new();
    for class in [Class::List, Class::Delete].repeat(5) {
        let client = client.clone();
        urgent.spawn(async move { call(&client, class).await });
    }
    tokio::time::timeout(Duration::from_secs(30), urgent.join_all())
        .await
        .unwrap();
    assert_eq!(refused(&sim), 1);
    let calls = sim.calls();
    let pause = calls[2].at_ms - calls[1].at_ms;
    assert!(pause >= 950, "the next call came after {pause} ms");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_list_of_each_interval_goes_whatever_is_kept_and_those_in_between_wait() {
    // Sixty calls an hour: nothing is refilled while this runs.
    let (sim, client) = project(Config::default().rate_limit(60)).await;
    let fleet = example::FILES
        .iter()
        .find(|(path, _)| *path == "fleet/clawdlets.json");
    let fleet = Fleet::load("clawdlets.json", fleet.unwrap().1).unwrap();
    let (_fleets, fleet) = watch::channel(Arc::new(fleet));
    let (observed, seen) = watch::channel(Arc::new(Observed::default()));
    let (_wanted, soon) = watch::channel(true);
    let lister = Lister {
        client: Arc::new(client.clone()),
        clock: Clock::default(),
        fleet,
        observed,
        soon,
        bell: Bell::default(),
        pace: Pace {
            idle: Duration::from_millis(600),
            busy: Duration::from_millis(20),
            page: Duration::ZERO,
        },
        certain: None,
        identity: Identity::open(Arc::new(MemoryStore::new()), true)
            .await
            .unwrap(),
    };
    let set =
        sim.control(&Request::new("PUT", "/_sim/rate-limit").json(&json!({ "remaining": 15 })));
    assert!(set.status < 300, "{set:?}");
    let stop = CancellationToken::new();
    let running = tokio::spawn(lister.run(stop.clone()));
    let deadline = Instant::now() + Duration::from_secs(20);
    while sim.calls().len() < 12 {
        assert!(Instant::now() < deadline, "{:?}", sim.calls());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(seen.borrow().unreachable, None);
    let mut calls = sim.calls();
    calls.retain(|call| call.operation == "list_servers");
    let lists: Vec<i64> = calls.iter().map(|call| call.at_ms).collect();
    let gaps: Vec<i64> = lists.windows(2).map(|two| two[1] - two[0]).collect();
    // Thirteen are left after the first list and its look at the firewall, so two more may go between;
    // nine are not for them.
    assert!(gaps[0] + gaps[1] < 500, "{gaps:?}");
    assert!(gaps[3..].iter().all(|gap| *gap >= 500), "{gaps:?}");
    sim.shutdown().await;
}
