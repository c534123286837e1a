//! What may start, in which order, and what the rest is told.

use std::sync::Arc;

use cattle_core::{
    account::{AccountLimit, Refusal},
    action::{Action, Calls},
    clock::Wait,
    desired::{Requester, SpecState},
    ledger::AssignmentEnd,
    lifecycle::{self, deadlines},
};
use cattle_schemas::status::{EndReason, PendingReason};

use crate::fixture::*;

fn crowd(n: u64, requester: &str, max_instances: u32) -> World {
    let mut world = World::empty();
    world.limits.max_instances = max_instances;
    for i in 0..n {
        add(&mut world, &format!("{requester}-{i:03}"), requester, at(i));
    }
    world
}

fn add(world: &mut World, text: &str, requester: &str, queued_at: cattle_schemas::Timestamp) {
    world.set_spec(SpecState::Valid(Arc::new(cattle(text))), &name(text));
    let requester = Requester(requester.to_owned());
    world
        .desired
        .specs
        .get_mut(&name(text))
        .unwrap()
        .origin
        .requester = requester.clone();
    let mut assignment = assignment(queued_at);
    assignment.requester = requester;
    world
        .ledger
        .assignments
        .insert((name(text), hash(1)), assignment);
}

fn started(world: &World) -> Vec<String> {
    world
        .plan()
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Start { cattle, .. } => Some(cattle.name.to_string()),
            _ => None,
        })
        .collect()
}

#[test]
fn no_more_start_than_servers_are_allowed_and_the_rest_knows_its_place() {
    let world = crowd(5, "a", 3);
    assert_eq!(started(&world), ["a-000", "a-001", "a-002"]);
    let plan = world.plan();
    let places: Vec<_> = plan
        .waiting
        .iter()
        .map(|w| (w.cattle.as_str(), w.queue_position))
        .collect();
    assert_eq!(places, [("a-003", Some(1)), ("a-004", Some(2))]);
    insta::assert_snapshot!(plan.waiting[0].message, @"3 of 3 servers exist (cattle.hetzner.maxInstances); starts when one is gone");
}

#[test]
fn the_oldest_starts_first() {
    let mut world = crowd(2, "a", 1);
    add(&mut world, "z", "a", at(0) - secs(1));
    assert_eq!(started(&world), ["z"]);
}

#[test]
fn who_only_comes_now_stands_behind_everybody_who_waits() {
    let mut world = crowd(0, "a", 1);
    let now = world.now;
    add(&mut world, "waits", "a", now);
    add(&mut world, "comes", "a", now);
    world.ledger.assignments.remove(&(name("comes"), hash(1)));
    assert_eq!(started(&world), ["waits"]);
}

#[test]
fn requesters_take_turns() {
    let mut world = crowd(10, "a", 4);
    add(&mut world, "b-000", "b", at(50));
    add(&mut world, "b-001", "b", at(51));
    assert_eq!(started(&world), ["a-000", "b-000", "a-001", "b-001"]);
}

#[test]
fn who_has_fewer_live_runs_is_next_however_long_the_others_wait() {
    let mut world = crowd(10, "a", 2);
    world.limits.max_instances = 2;
    world = world.with_run("a-000", 1);
    add(&mut world, "b-000", "b", at(99));
    assert_eq!(started(&world), ["b-000"]);
}

#[test]
fn an_ended_run_keeps_its_slot_until_its_server_is_gone() {
    let mut world = World::ended().with_spec(cattle("max"));
    world.limits.max_instances = 1;
    assert_eq!(
        world.waits(),
        [("max".to_owned(), "max-instances".to_owned())]
    );
    assert!(world.plan().list_soon);
    let _ = lifecycle::mark_gone(world.rex(), at(100));
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn a_server_without_a_run_takes_a_slot() {
    let mut world = World::running();
    world.ledger.runs.clear();
    world.desired.specs.clear();
    world.limits.max_instances = 1;
    let world = world.with_spec(cattle("max"));
    assert_eq!(
        world.waits(),
        [("max".to_owned(), "max-instances".to_owned())]
    );
}

#[test]
fn a_server_listed_before_it_was_proved_gone_takes_none() {
    let mut world = World::ended().with_spec(cattle("max"));
    world.limits.max_instances = 1;
    let _ = lifecycle::mark_gone(world.rex(), at(101));
    world.now = at(101);
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn another_fleets_server_takes_none() {
    let mut world = World::running();
    world.ledger = Default::default();
    world.desired.specs.clear();
    world.limits.max_instances = 1;
    world.limits.fleet = "other".parse().unwrap();
    assert_eq!(world.with_spec(cattle("max")).verbs(), ["enqueue", "start"]);
}

#[test]
fn a_requesters_limit_holds_only_its_own() {
    let mut world = crowd(3, "a", 10);
    world.limits.live_runs_per_requester = 2;
    add(&mut world, "b-000", "b", at(50));
    assert_eq!(started(&world), ["a-000", "b-000", "a-001"]);
    assert_eq!(
        world.waits(),
        [("a-002".to_owned(), "requester-limit".to_owned())]
    );
}

#[test]
fn the_hours_creates_run_out_and_come_back() {
    let mut world = crowd(2, "a", 10);
    world.limits.creates_per_hour = 2;
    world.ledger.creates_last_hour = vec![at(10)];
    assert_eq!(started(&world), ["a-000"]);
    let plan = world.plan();
    assert_eq!(plan.waiting[0].reason, PendingReason::CreatesPerHour);
    assert_eq!(plan.next_wake, Some(at(3610)));
    world.now = at(3610);
    world.observed.listed_at = Some(world.now);
    assert_eq!(started(&world).len(), 2);
}

#[test]
fn each_closed_gate_says_which_it_is() {
    type Gate = (fn(&mut World), &'static str, &'static str);
    let gates: [Gate; 6] = [
        (
            |w| w.limits.enabled = false,
            "starts-paused",
            "set cattle.enabled to true",
        ),
        (
            |w| w.pause(true, false),
            "starts-paused",
            "a look at it; `clawdlets cattle resume --reason paused` goes on",
        ),
        (
            |w| w.observed.listed_at = None,
            "hetzner-unreachable",
            "first list",
        ),
        (
            |w| w.now = at(100) + deadlines::LIST_STALE,
            "hetzner-unreachable",
            "last listed at",
        ),
        (
            |w| w.refuse_token(Refusal::Unauthorized),
            "account",
            "Hetzner refuses the token",
        ),
        (
            |w| {
                w.refuse_token(Refusal::ReadOnly);
                w.observed.listed_at = None;
            },
            "account",
            "Hetzner refuses the token",
        ),
    ];
    for (close, reason, message) in gates {
        let mut world = World::dropped();
        close(&mut world);
        let plan = world.plan();
        assert_eq!(
            plan.actions.len(),
            1,
            "{reason}: only the place in the queue"
        );
        assert_eq!(plan.waiting[0].reason.as_str(), reason);
        assert!(
            plan.waiting[0].message.contains(message),
            "{}",
            plan.waiting[0].message
        );
    }
}

#[test]
fn what_waited_too_long_ends_as_not_started() {
    let mut world = crowd(1, "a", 0);
    world.now = at(86_399);
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.plan().next_wake, Some(at(86_400)));
    world.now = at(86_400);
    insta::assert_snapshot!(world.actions().join("\n"), @"close a-000: end it without a server, as not-started: still pending after startWithin (1d)");
}

#[test]
fn a_failed_start_waits_for_its_backoff() {
    let mut world = World::dropped();
    let mut queued = assignment(at(90));
    queued.failed_starts = 1;
    queued.not_before = Some(Wait::until(at(130), at(100)));
    world
        .ledger
        .assignments
        .insert((name("rex"), hash(1)), queued);
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.next_wake, Some(at(130)));
    assert!(plan.waiting[0].message.starts_with("1 of 3 runs failed"));
    world.later(30);
    assert_eq!(world.verbs(), ["start"]);
}

#[test]
fn an_ended_assignment_does_not_start() {
    let mut world = World::dropped();
    let mut spent = assignment(at(90));
    spent.ended = Some(AssignmentEnd {
        reason: EndReason::Destroyed,
        at: at(95),
        message: "destroyed".to_owned(),
        reopens: false,
    });
    world
        .ledger
        .assignments
        .insert((name("rex"), hash(1)), spent);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_token_that_may_only_read_is_tried_by_one_create_now_and_then() {
    let mut world = crowd(3, "ada", 10);
    world.refuse_token(Refusal::ReadOnly);
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.plan().next_wake, Some(at(130)));
    (world.now, world.observed.listed_at) = (at(130), Some(at(130)));
    assert_eq!(world.verbs(), ["start"]);
    assert_eq!(world.plan().waiting.len(), 2);
    // While that one is under way, nothing else tries.
    let world = world.with_run("ada-000", 1);
    assert!(!world.verbs().contains(&"start"), "{:?}", world.verbs());
}

#[test]
fn a_token_that_is_refused_stops_no_end() {
    let mut world = World::running();
    world.refuse_token(Refusal::ReadOnly);
    world.now = at(100_000);
    world.observed.listed_at = Some(world.now);
    assert_eq!(world.verbs(), ["end"]);
}

fn calls(creates: u32) -> Calls {
    Calls {
        creates,
        more_at: Some(at(105)),
        left: 6 + creates,
        limit: 60,
        reserve: 6,
    }
}

#[test]
fn no_more_start_than_the_rate_limit_has_room_for() {
    let mut world = crowd(4, "a", 10);
    world.limits.calls = calls(2);
    assert_eq!(started(&world), ["a-000", "a-001"]);
    let plan = world.plan();
    assert_eq!(plan.next_wake, Some(at(105)));
    let wait = &plan.waiting[0];
    assert_eq!(
        (wait.reason, wait.queue_position),
        (PendingReason::RateLimited, Some(1))
    );
    insta::assert_snapshot!(wait.message, @"Hetzner's rate limit: 8 of 60 calls left, 6 are kept for deletes; the next at 14:15:05 UTC");
}

#[test]
fn what_holds_a_start_anyway_is_named_before_the_rate_limit() {
    let mut world = crowd(2, "a", 0);
    world.limits.calls = calls(0);
    assert_eq!(world.waits()[0].1, "max-instances");
}

#[test]
fn a_further_attempt_waits_for_room_like_a_start() {
    let mut world = World::intended().with_spec(cattle("max"));
    let retries = |world: &World| {
        let actions = world.plan().actions;
        let retry = |action: &&Action| matches!(action, Action::Retry { .. });
        actions.iter().filter(retry).count()
    };
    world.limits.calls = calls(1);
    let (retried, queued) = (retries(&world), started(&world).len());
    assert_eq!((retried, queued), (1, 0), "the attempt takes the only call");
    world.limits.calls = calls(0);
    assert_eq!((retries(&world), started(&world).len()), (0, 0));
    assert_eq!(world.plan().next_wake, Some(at(105)));
}

#[test]
fn what_a_limit_of_the_account_kept_back_is_looked_at_soon_after_our_own_deletes() {
    for (limit, looks) in [
        (AccountLimit::Servers, &[205][..]),
        (AccountLimit::DedicatedCores, &[205]),
        (AccountLimit::PrimaryIps, &[205, 230, 265]),
    ] {
        let mut world = World::intended();
        let account = PendingReason::Account;
        let run = world.rex();
        run.posted_at = at(100);
        let _ = lifecycle::refuse_create(run, account, "server limit", Some(at(400)), at(100));
        run.create_limit = Some(limit);
        world.now = at(201);
        assert_eq!(world.plan().next_wake, Some(at(400)));
        // Gone before it was tried: that freed nothing for it, but an address may come.
        world.limits.server_gone_at = Some(at(200));
        for look in looks {
            let plan = world.plan();
            assert_eq!(plan.actions, []);
            assert_eq!(plan.next_wake, Some(at(*look)));
            world.now = at(*look);
            assert_eq!(world.verbs(), ["retry"], "{limit:?}");
            // In vain once more.
            world.rex().posted_at = at(*look);
        }
        assert_eq!(world.plan().next_wake, Some(at(400)), "{limit:?}");
        // A limit that nobody named frees nothing that we would know of.
        world.rex().create_limit = None;
        world.rex().posted_at = at(100);
        assert_eq!(world.plan().next_wake, Some(at(400)));
    }
}
