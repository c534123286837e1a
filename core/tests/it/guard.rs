//! Each rule of the guard, broken by a plan that no planner made.

mod creates;
mod ends;
mod servers;

use std::sync::Arc;

use cattle_core::{
    action::{Action, Plan},
    desired::{Requester, RootState, SpecState},
    guard,
    ledger::AssignmentEnd,
    lifecycle,
    names::ServerId,
    writable::Writable,
};
use cattle_schemas::status::EndReason;

use crate::fixture::*;

/// The rules that these actions break.
fn broken_by<const N: usize>(world: &World, actions: [Action; N]) -> Vec<&'static str> {
    let plan = Plan {
        actions: actions.to_vec(),
        ..Plan::default()
    };
    let (rest, violations) = guard::guard(plan, &world.inputs());
    assert_eq!(rest.actions.len() + violations.len(), N);
    violations.iter().map(|violation| violation.rule).collect()
}

fn start(world: &World, text: &str) -> Action {
    let entry = &world.desired.specs[&name(text)];
    Action::Start {
        cattle: Arc::new(cattle(text)),
        origin: entry.origin.clone(),
        hourly_limit: None,
    }
}

fn end(reason: EndReason) -> Action {
    Action::End {
        run: run_id(1),
        reason,
        message: String::new(),
        hold_until: None,
        unless_env_handed_out: false,
        counts_for: matches!(reason, EndReason::SpecRemoved | EndReason::SpecChanged)
            .then(|| Requester::directory(ROOT)),
    }
}

fn delete(server: u64) -> Action {
    Action::Delete {
        run: run_id(1),
        server: ServerId(server),
    }
}

#[test]
fn a_sound_plan_passes_untouched() {
    let world = World::dropped();
    let plan = world.plan();
    let (guarded, violations) = guard::guard(plan.clone(), &world.inputs());
    assert_eq!((guarded, violations), (plan, vec![]));
}

#[test]
fn never_more_servers_than_allowed() {
    let mut world = World::running().with_spec(cattle("max"));
    world.limits.max_instances = 1;
    let start = start(&world, "max");
    assert_eq!(
        broken_by(&world, [start]),
        ["there are never more servers than maxInstances"]
    );
}

#[test]
fn orphans_and_leaving_servers_count() {
    let mut world = World::ended().with_spec(cattle("max"));
    world.limits.max_instances = 1;
    let start = start(&world, "max");
    assert_eq!(broken_by(&world, [start.clone()]).len(), 1);
    world.ledger = Default::default();
    assert_eq!(broken_by(&world, [start]).len(), 1);
}

#[test]
fn never_two_starts_of_a_name() {
    let world = World::dropped();
    let start = start(&world, "rex");
    let rules = broken_by(&world, [start.clone(), start]);
    assert_eq!(rules, ["a cattle starts at most once in a plan"]);
}

#[test]
fn never_a_start_beside_a_live_run() {
    let world = World::running();
    let start = start(&world, "rex");
    assert_eq!(
        broken_by(&world, [start]),
        ["a cattle has at most one live run"]
    );
}

#[test]
fn never_a_start_of_what_is_spent() {
    let mut world = World::ended();
    let _ = lifecycle::mark_gone(world.rex(), at(100));
    let start = start(&world, "rex");
    assert_eq!(
        broken_by(&world, [start.clone()]),
        ["an ended (name, hash) starts only by `rerun`"]
    );
    let reopens = AssignmentEnd {
        reopens: true,
        ..world.task().ended.clone().unwrap()
    };
    world.task().ended = Some(reopens);
    assert_eq!(broken_by(&world, [start]), [""; 0]);
}

#[test]
fn never_a_start_of_a_spec_that_is_not_there() {
    for state in [broken(), SpecState::Absent { since: at(0) }] {
        let mut world = World::dropped();
        let start = start(&world, "rex");
        world.set_spec(state, &name("rex"));
        assert_eq!(
            broken_by(&world, [start]),
            ["only a valid spec is started, as it stands"]
        );
    }
}

#[test]
fn never_the_server_of_a_live_run() {
    let world = World::running();
    let reap = Action::ReapOrphan {
        server: ServerId(7),
        name: String::new(),
        expired_at: at(0),
    };
    let rule = "the server of a live run is never deleted";
    assert_eq!(broken_by(&world, [delete(7), reap]), [rule, rule]);
}

#[test]
fn never_a_server_of_another_fleet() {
    let mut world = World::ended();
    world.rex().server = None;
    assert_eq!(broken_by(&world, [delete(7)]), [""; 0]);
    world.limits.fleet = "other".parse().unwrap();
    let reap = Action::ReapOrphan {
        server: ServerId(7),
        name: String::new(),
        expired_at: at(0),
    };
    let rule = "another owner's server is never touched";
    let reap_rule = "only a listed server of this fleet is ours";
    assert_eq!(broken_by(&world, [delete(7), reap]), [rule, reap_rule]);
}

#[test]
fn never_what_another_owner_has_taken() {
    let mut world = World::ended();
    let _ = lifecycle::taken_over(world.rex(), "fleet=other", secs(10), at(100));
    let power_on = Action::PowerOn {
        run: run_id(1),
        server: ServerId(7),
    };
    let rule = "a server that another owner has marked is never touched";
    assert_eq!(broken_by(&world, [delete(7), power_on]), [rule, rule]);
}

#[test]
fn never_what_another_tool_has_marked_even_if_it_is_bound() {
    let mut world = World::ended();
    world
        .listed()
        .labels
        .raw
        .insert("apricote.de/created-by".to_owned(), "x".to_owned());
    let power_on = Action::PowerOn {
        run: run_id(1),
        server: ServerId(7),
    };
    let rule = "another owner's server is never touched";
    assert_eq!(broken_by(&world, [delete(7), power_on]), [rule, rule]);
}

#[test]
fn never_a_server_for_a_run_that_its_label_does_not_name() {
    let mut world = World::ended();
    let mut other = world.server_of(run_id(1), ServerId(8));
    other.labels.run = Some(run_id(2));
    world.observed.servers.push(other);
    assert_eq!(
        broken_by(&world, [delete(8)]),
        ["a server is deleted for the run that its label names"]
    );
}

#[test]
fn never_a_kept_server_before_its_time() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(500));
    assert_eq!(
        broken_by(&world, [delete(7)]),
        ["a kept server is not deleted before its time"]
    );
    world.now = at(500);
    assert_eq!(broken_by(&world, [delete(7)]), [""; 0]);
}

#[test]
fn never_an_orphan_before_its_expiry() {
    let mut world = World::running();
    world.ledger = Default::default();
    let reap = Action::ReapOrphan {
        server: ServerId(7),
        name: String::new(),
        expired_at: at(0),
    };
    assert_eq!(
        broken_by(&world, [reap.clone()]),
        ["an orphan is left to its expiry"]
    );
    world.now = at(7300);
    assert_eq!(broken_by(&world, [reap]), [""; 0]);
}

#[test]
fn never_an_end_for_a_spec_that_is_broken_or_still_there() {
    let mut world = World::running();
    let ends = || [end(EndReason::SpecRemoved), end(EndReason::SpecChanged)];
    assert_eq!(broken_by(&world, ends()).len(), 2);
    world.set_spec(broken(), &name("rex"));
    assert_eq!(broken_by(&world, ends()).len(), 2);
}

#[test]
fn never_an_end_for_a_directory_that_cannot_be_read() {
    let mut world = World::running();
    world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
    assert_eq!(broken_by(&world, [end(EndReason::SpecRemoved)]), [""; 0]);
    let unreadable = RootState::Unreadable("gone".to_owned());
    world.desired.roots.insert(ROOT.to_owned(), unreadable);
    assert_eq!(
        broken_by(&world, [end(EndReason::SpecRemoved)]),
        ["nothing ends for a directory that cannot be read"]
    );
}

#[test]
fn never_an_end_for_a_spec_while_that_is_paused_or_before_its_absence() {
    let mut world = World::running();
    world.set_spec(SpecState::Absent { since: at(99) }, &name("rex"));
    let rules = broken_by(&world, [end(EndReason::SpecRemoved)]);
    assert_eq!(rules, ["a spec counts as removed only after its absence"]);
    world.later(60);
    world.pause(false, true);
    let rules = broken_by(&world, [end(EndReason::SpecRemoved)]);
    assert_eq!(rules, ["nothing ends for its spec while that is paused"]);
}

#[test]
fn never_an_end_without_its_cause() {
    let world = World::running();
    let ends = [
        end(EndReason::TtlExpired),
        end(EndReason::BootTimeout),
        end(EndReason::Completed),
        end(EndReason::TaskFailed),
    ];
    assert_eq!(broken_by(&world, ends).len(), 4);
}

#[test]
fn never_a_second_end() {
    assert_eq!(
        broken_by(&World::ended(), [end(EndReason::Completed)]),
        ["a run ends once"]
    );
}

#[test]
fn never_a_second_attempt_beside_a_server_or_an_env() {
    let retry = || {
        [Action::Retry {
            run: run_id(1),
            placement: cattle("rex").placement,
            hourly_limit: None,
        }]
    };
    assert_eq!(broken_by(&World::intended(), retry()), [""; 0]);
    assert_eq!(broken_by(&World::booting(), retry()).len(), 1);
    let mut world = World::intended();
    world.rex().env_at = Some(at(100));
    assert_eq!(broken_by(&world, retry()).len(), 1);
}

#[test]
fn never_gone_without_proof() {
    let gone = || [Action::MarkGone { run: run_id(1) }];
    for world in [World::intended(), World::ended()] {
        assert_eq!(
            broken_by(&world, gone()),
            ["only a refused create is certain to have made no server"]
        );
    }
}

#[test]
fn never_beyond_the_hourly_budget() {
    let start_for = |world: &World, text: &str, limit: Option<&str>| {
        let mut action = start(world, text);
        if let Action::Start { hourly_limit, .. } = &mut action {
            *hourly_limit = limit.map(|limit| limit.parse().unwrap());
        }
        action
    };
    let rules = |budget: &str, limit: Option<&str>| {
        let world = World::dropped()
            .with_spec(cattle("max"))
            .with_budget(Some(budget), None);
        let starts = ["max", "rex"].map(|text| start_for(&world, text, limit));
        broken_by(&world, starts)
    };
    let beyond = "servers never cost more than maxHourly at once";
    assert_eq!(rules("0.0192", Some("0.0096")), [""; 0]);
    assert_eq!(rules("0.0191", Some("0.0096")), [beyond]);
    assert_eq!(rules("0.0095", Some("0.0096")), [beyond; 2]);
    let unknown = "what costs nobody knows how much does not start under a budget";
    assert_eq!(rules("1", None), [unknown; 2]);
    // What exists counts, and so does what may.
    for world in [World::running(), World::intended(), World::ended()] {
        let world = world
            .with_spec(cattle("max"))
            .with_budget(Some("0.0191"), None);
        let starts = [start_for(&world, "max", Some("0.0096"))];
        assert_eq!(broken_by(&world, starts), [beyond]);
    }
}

#[test]
fn never_another_sum_for_a_server_that_may_exist() {
    let mut world = World::intended();
    world.rex().hourly_limit = "0.0096".parse().ok();
    let retry = |limit: &str| {
        [Action::Retry {
            run: run_id(1),
            placement: cattle("rex").placement,
            hourly_limit: limit.parse().ok(),
        }]
    };
    assert_eq!(broken_by(&world, retry("0.0096")), [""; 0]);
    assert_eq!(broken_by(&world, retry("0.0320")).len(), 1);
}

#[test]
fn never_elsewhere_while_it_may_exist() {
    let elsewhere = || {
        let mut placement = cattle("rex").placement;
        placement.locations = vec!["fsn1".to_owned()];
        [Action::Retry {
            run: run_id(1),
            placement,
            hourly_limit: None,
        }]
    };
    assert_eq!(
        broken_by(&World::intended(), elsewhere()),
        ["what may exist already is not asked for elsewhere"]
    );
}

#[test]
fn never_one_run_for_another_that_is_just_like_it() {
    let mut world = World::running();
    let text = "apiVersion: clawdlets.dev/v1\nkind: Cattle\nspec:\n  persona: rex\n  task: { message: Fix the flaky test }\n";
    let spec = read_spec("rex", text);
    let content = spec.substance.content.clone();
    world.edit(|cattle| {
        cattle.hash = hash(2);
        cattle.substance.content = content;
    });
    let changed = || [end(EndReason::SpecChanged)];
    assert_eq!(
        broken_by(&world, changed()),
        ["no run is replaced by another that is just like it"]
    );
    world.edit(|cattle| cattle.auto_shutdown = false);
    assert_eq!(broken_by(&world, changed()), [""; 0]);
}

#[test]
fn a_live_runs_server_is_deleted_unrecorded_only_past_its_expiry() {
    let mut world = World::running();
    let server = world.rex().server.as_ref().unwrap().id;
    let delete = |server| Action::DeleteExpired {
        run: run_id(1),
        server,
    };
    assert_eq!(
        broken_by(&world, [delete(server)]),
        ["a live run's server is deleted unrecorded only past its expiry"]
    );
    world.now = world.rex().expires_at;
    assert_eq!(broken_by(&world, [delete(server)]), [""; 0]);
    assert_eq!(
        broken_by(&world, [delete(ServerId(99))]),
        ["only a listed server of this fleet is ours"]
    );
}

#[test]
fn nothing_starts_while_the_ledger_cannot_be_written() {
    let mut world = World::dropped();
    let start = start(&world, "rex");
    world.limits.ledger = Writable::NoRoom;
    assert_eq!(
        broken_by(&world, [start]),
        ["nothing starts that could not be recorded"]
    );
}

#[test]
fn never_more_servers_of_an_unproven_image_than_allowed() {
    let mut world = World::booting()
        .with_spec(cattle("max"))
        .with_spec(cattle("ada"));
    world.limits.unproven_image = Some(2);
    let starts = [start(&world, "max"), start(&world, "ada")];
    let rule = "of an image that no guest has reported from there are never more servers than unprovenImage";
    assert_eq!(broken_by(&world, starts.clone()), [rule]);
    world.limits.unproven_image = Some(1);
    assert_eq!(broken_by(&world, starts.clone()), [rule, rule]);
    let now = world.now;
    let record = world.ledger.images.entry("123456".to_owned()).or_default();
    record.learn(cattle_core::breaker::ImageFact::Reported(now));
    assert_eq!(broken_by(&world, starts), [""; 0]);
}

#[test]
fn never_a_further_attempt_of_an_image_that_does_not_boot() {
    let mut world = World::intended();
    let now = world.now;
    let _ = lifecycle::refuse_create(
        world.rex(),
        cattle_schemas::status::PendingReason::Queued,
        "refused",
        None,
        now,
    );
    let retry = Action::Retry {
        run: run_id(1),
        placement: world.rex().spec.placement.clone(),
        hourly_limit: None,
    };
    assert_eq!(broken_by(&world, [retry.clone()]), [""; 0]);
    let record = world.ledger.images.entry("123456".to_owned()).or_default();
    for _ in 0..3 {
        record.learn(cattle_core::breaker::ImageFact::TimedOut(now));
    }
    assert_eq!(
        broken_by(&world, [retry]),
        ["of an image that does not boot one server at a time is tried"]
    );
}
