//! Clocks that do not agree, and clocks that go back.

use cattle_core::{
    clock::{Clocks, Dispute, Trust},
    desired::RootState,
    guard,
    lifecycle::{self, deadlines},
    names::ServerId,
};
use cattle_schemas::{
    spec_file::OnFailure,
    status::{EndReason, PendingReason},
};
use chrono::TimeDelta;

use crate::fixture::*;

fn day_ahead() -> Dispute {
    Dispute {
        ahead: TimeDelta::days(1),
        since: at(100),
    }
}

/// Hetzner's first dates and our wall clock say different things.
fn unsettled(world: &mut World) {
    world.limits.clocks.trust = Trust::Unsettled(day_ahead());
}

/// So much later by the clock, seen by a list, and nothing heard meanwhile.
fn by_the_clock(world: &mut World, seconds: u64) {
    world.now += secs(seconds);
    world.observed.listed_at = Some(world.now);
}

#[test]
fn nothing_is_over_by_a_clock_that_does_not_tell_the_time() {
    let mut orphan = World::running();
    orphan.ledger = Default::default();
    orphan.desired.specs.clear();
    let mut kept = World::dropped();
    kept.edit(|cattle| cattle.on_failure = OnFailure::Hold("30m".parse().unwrap()));
    let mut kept = kept.with_run("rex", 1);
    kept.bind(run_id(1), ServerId(7));
    let _ = lifecycle::env_handed_out(kept.rex(), at(100));
    let _ = lifecycle::outcome(kept.rex(), outcome(1), at(100));
    let until = kept.rex().hold_until();
    assert!(until.is_some());
    let ending = lifecycle::Ending {
        hold_until: until,
        ..lifecycle::Ending::new(EndReason::TaskFailed, "failed")
    };
    let _ = lifecycle::end(kept.rex(), None, &ending, at(100));
    let worlds = [
        ("running", World::running()),
        ("booting", World::booting()),
        ("an orphan", orphan),
        ("kept", kept),
    ];
    for (what, mut world) in worlds {
        for trust in [Trust::Unheard, Trust::Unsettled(day_ahead())] {
            let mut world = world.clone();
            world.limits.clocks.trust = trust;
            by_the_clock(&mut world, 86_400);
            assert_eq!(world.verbs(), [""; 0], "{what}, {trust:?}");
        }
        // And by one that does, although Hetzner's latest date says something else.
        world.limits.clocks.trust = Trust::Disputed(day_ahead());
        by_the_clock(&mut world, 86_400);
        assert_ne!(world.verbs(), [""; 0], "{what}");
    }
}

#[test]
fn a_pending_cattle_is_not_given_up_by_a_clock_that_does_not_tell_the_time() {
    let mut world = World::dropped();
    let queued = assignment(at(90));
    world
        .ledger
        .assignments
        .insert((name("rex"), hash(1)), queued);
    world.limits.enabled = false;
    by_the_clock(&mut world, 30 * 86_400);
    assert_eq!(world.verbs(), ["close"]);
    unsettled(&mut world);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn nothing_starts_while_nobody_knows_the_time_and_the_wait_says_so() {
    let mut world = World::dropped();
    unsettled(&mut world);
    assert_eq!(
        world.verbs(),
        [""; 0],
        "its place would count from a wrong hour"
    );
    let plan = world.plan();
    assert_eq!(plan.waiting[0].reason, PendingReason::ClockSkew);
    let message = &plan.waiting[0].message;
    assert!(
        message.contains("is 1d ahead of this machine's"),
        "{message}"
    );
    // What was agreed once carries on: a date that is not believed holds nothing up.
    world.limits.clocks.trust = Trust::Disputed(day_ahead());
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn a_delete_is_tried_again_after_its_wait_though_the_clock_went_back_a_day() {
    let mut world = World::ended();
    let _ = lifecycle::delete_failed(world.rex(), "locked", secs(10), at(90_100));
    assert_eq!(world.verbs(), ["delete"], "not 25 hours later");
    let _ = lifecycle::delete_failed(world.rex(), "locked", secs(10), at(100));
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_backoff_that_is_a_day_away_is_over() {
    let mut world = World::dropped();
    let mut queued = assignment(at(90));
    queued.failed_starts = 1;
    queued.not_before = Some(cattle_core::clock::Wait::new(at(90_000), secs(30)));
    world
        .ledger
        .assignments
        .insert((name("rex"), hash(1)), queued);
    assert_eq!(world.verbs(), ["start"]);
}

#[test]
fn a_lost_reply_is_looked_for_though_its_call_is_dated_tomorrow() {
    let mut world = World::intended();
    world.rex().posted_at = at(90_000);
    world.rex().called_at = Some(at(90_000));
    world.desired.specs.clear();
    let unreadable = RootState::Unreadable("not mounted".to_owned());
    world.desired.roots.insert(ROOT.to_owned(), unreadable);
    assert_eq!(world.verbs(), ["redate", "look-up"]);
}

#[test]
fn a_vanished_server_is_asked_for_though_its_guest_was_heard_tomorrow() {
    let mut world = World::running();
    world.rex().last_seen_at = Some(at(90_000));
    world.rex().called_at = Some(at(90_000));
    world.observed.servers.clear();
    world.now = at(160);
    world.observed.listed_at = Some(at(160));
    assert_eq!(world.verbs(), ["confirm-gone"]);
}

#[test]
fn creates_of_tomorrow_use_nothing_up() {
    let mut world = World::dropped();
    world.limits.creates_per_hour = 1;
    world.ledger.creates_last_hour = vec![at(90_000)];
    assert_eq!(world.verbs(), ["enqueue", "start"]);
    world.ledger.creates_last_hour = vec![at(50)];
    assert_eq!(world.verbs(), ["enqueue"]);
}

#[test]
fn a_guest_that_was_heard_tomorrow_is_lost_three_minutes_from_now() {
    let mut world = World::running();
    world.rex().last_seen_at = Some(at(90_000));
    world.limits.guests_heard_since = Some(at(100));
    by_the_clock(&mut world, 179);
    assert_eq!(world.verbs(), [""; 0]);
    by_the_clock(&mut world, 1);
    assert_eq!(world.verbs(), ["end"]);
    // One that goes on calling is not.
    let _ = lifecycle::heartbeat(world.rex(), at(270));
    assert_eq!(world.rex().last_seen_at, Some(at(270)));
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_server_that_was_asked_for_tomorrow_has_its_time_to_boot_from_now() {
    let mut world = World::booting();
    world.rex().posted_at = at(90_000);
    world.rex().expires_at += TimeDelta::seconds(89_900);
    world.limits.guests_heard_since = Some(at(100));
    assert_eq!(world.verbs()[0], "redate");
    let _ = lifecycle::redate(world.rex(), at(100));
    let boot = deadlines::boot_within(world.rex()).as_secs();
    by_the_clock(&mut world, boot - 1);
    assert_eq!(world.verbs(), [""; 0]);
    by_the_clock(&mut world, 1);
    assert_eq!(world.verbs(), ["end"]);
}

#[test]
fn a_reply_that_dates_a_server_back_to_1970_ends_nothing() {
    let mut world = World::intended();
    let _ = lifecycle::retry(world.rex(), secs(86_400), at(105));
    let mut server = run_server(&world.server_of(run_id(1), ServerId(7)));
    server.created = Some(chrono::DateTime::UNIX_EPOCH);
    let _ = lifecycle::adopt(world.rex(), server);
    assert_eq!(
        world.rex().posted_at,
        at(100),
        "no server is older than its run"
    );
}

#[test]
fn the_guard_lets_nothing_be_over_by_a_clock_that_does_not_tell_the_time() {
    let mut late = World::running();
    by_the_clock(&mut late, 86_400);
    let mut silent = World::running();
    by_the_clock(&mut silent, 300);
    let mut unborn = World::booting();
    by_the_clock(&mut unborn, 3_600);
    let mut orphan = World::running();
    orphan.ledger = Default::default();
    orphan.desired.specs.clear();
    by_the_clock(&mut orphan, 86_400);
    for (world, rule) in [
        (&mut late, "tell the time"),
        (&mut silent, "tell the time"),
        (&mut unborn, "tell the time"),
        (&mut orphan, "tell the time"),
    ] {
        let plan = world.plan();
        assert_eq!(plan.actions.len(), 1, "{:?}", plan.actions);
        unsettled(world);
        let (guarded, violations) = guard::guard(plan, &world.inputs());
        assert!(guarded.actions.is_empty(), "{:?}", guarded.actions);
        assert!(violations[0].rule.contains(rule), "{}", violations[0]);
    }
    // Nor a guest be lost that was not listened for, or that was heard.
    let mut silent = World::running();
    by_the_clock(&mut silent, 300);
    let plan = silent.plan();
    for change in [
        (|world: &mut World| world.limits.guests_heard_since = Some(world.now)) as fn(&mut World),
        |world| world.limits.guests_heard_since = None,
        |world| world.rex().last_seen_at = Some(world.now),
    ] {
        let mut world = silent.clone();
        change(&mut world);
        let (_, violations) = guard::guard(plan.clone(), &world.inputs());
        assert!(
            violations[0].rule.contains("no guest is lost"),
            "{}",
            violations[0]
        );
    }
}

#[test]
fn the_condition_says_which_clock_is_wrong() {
    let told = |trust, wall_ahead| {
        let mut world = World::empty();
        world.limits.clocks = Clocks { trust, wall_ahead };
        let status = cattle_core::status::controller_status(
            "0.1.0",
            &world.limits,
            &world.observed,
            &world.desired,
            &world.ledger,
            None,
        );
        let mut conditions = status.conditions.into_iter();
        let skew = conditions
            .rfind(|it| it.kind == cattle_schemas::status::ConditionType::ClockSkew)
            .unwrap();
        format!("{} {}: {}", skew.status, skew.reason, skew.message)
    };
    let none = TimeDelta::zero();
    let nearly = cattle_core::plan::apart(TimeDelta::seconds(-10_799));
    assert_eq!(nearly, "is 3h behind");
    insta::assert_snapshot!([
        told(Trust::Agreed, none),
        told(Trust::Unheard, TimeDelta::days(1)),
        told(Trust::Agreed, TimeDelta::seconds(-3_600)),
        told(Trust::Disputed(day_ahead()), none),
        told(Trust::Unsettled(day_ahead()), none),
    ].join("\n"), @r"
    false agree: 
    false agree: 
    true own-clock: this machine's clock is 1h behind Hetzner's, which is the one that is used; set it right
    true hetzner: Hetzner's latest date is 1d ahead of its earlier ones; it is not believed, and nothing expires by it, until ten replies over five minutes have told the same
    true unsettled: Hetzner's clock is 1d ahead of this machine's: nothing starts or expires until ten of its replies over five minutes have told the same, or this machine's clock is set right
    ");
}

/// Its reply was lost, and the clock may be a day ahead: a further attempt would live a day longer.
#[test]
fn no_create_is_repeated_while_nobody_knows_the_time() {
    let mut world = World::intended();
    let run = world.rex();
    run.retry_at = None;
    by_the_clock(&mut world, 30);
    assert_eq!(world.verbs(), ["retry"]);
    let plan = world.plan();
    unsettled(&mut world);
    assert_eq!(world.verbs(), ["look-up"]);
    let (guarded, violations) = guard::guard(plan, &world.inputs());
    assert_eq!(guarded.actions, []);
    assert_eq!(
        violations[0].rule,
        "nothing is created while nobody knows what time it is"
    );
}

#[test]
fn nobody_is_given_up_for_a_wait_that_began_at_a_wrong_hour() {
    let mut world = World::dropped();
    for trust in [Trust::Unheard, Trust::Unsettled(day_ahead())] {
        world.limits.clocks.trust = trust;
        world.observed.listed_at = None;
        assert_eq!(world.verbs(), [""; 0], "{trust:?}");
    }
    // Where no reply has a date, ours is all there is.
    world.limits.clocks.trust = Trust::Unheard;
    world.observed.listed_at = Some(world.now);
    assert!(world.verbs().contains(&"enqueue"));
}

#[test]
fn a_time_to_live_that_is_edited_waits_until_the_time_is_known() {
    let mut world = World::running();
    world.edit(|cattle| cattle.ttl = secs(600));
    assert_eq!(world.verbs(), ["update", "relabel"]);
    unsettled(&mut world);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn no_server_outlives_its_time_because_a_clock_went_back() {
    let mut world = World::running();
    let ttl = world.rex().expires_at - world.rex().posted_at;
    let day = TimeDelta::days(1);
    let run = world.rex();
    (run.posted_at, run.expires_at) = (run.posted_at + day, run.expires_at + day);
    assert_eq!(world.verbs().first(), Some(&"redate"));
    let now = world.now;
    assert!(lifecycle::redate(world.rex(), now).applied);
    assert_eq!(world.rex().posted_at, now);
    assert_eq!(world.rex().expires_at, now + ttl);
    assert!(!lifecycle::redate(world.rex(), now).applied, "once");
    assert_eq!(world.verbs(), [""; 0]);
    // Not by a clock that does not tell the time, and what two clocks differ by anyway is nothing.
    let run = world.rex();
    run.posted_at = now + day;
    unsettled(&mut world);
    assert!(!world.verbs().contains(&"redate"));
    world.limits.clocks.trust = Trust::Agreed;
    world.rex().posted_at = now + TimeDelta::seconds(30);
    assert!(!world.verbs().contains(&"redate"));
}

#[test]
fn probes_are_an_hour_apart_though_a_timeout_was_noted_tomorrow() {
    let mut record = cattle_core::breaker::ImageRecord::default();
    for _ in 0..3 {
        record.learn(cattle_core::breaker::ImageFact::TimedOut(at(90_000)));
    }
    assert_eq!(record.probe_at(at(100)), Some(at(100)), "the first is due");
    record.learn(cattle_core::breaker::ImageFact::TimedOut(at(700)));
    assert_eq!(record.probe_at(at(700)), Some(at(700 + 3_600)));
}
