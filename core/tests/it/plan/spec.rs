//! What spec files make happen, and what they do not.

use cattle_core::{
    action::Action,
    desired::{RootState, SpecState},
    lifecycle::{self, deadlines},
};
use cattle_schemas::status::{EndReason, PendingReason};

use crate::fixture::*;

#[test]
fn a_dropped_spec_is_queued_and_started_in_one_pass() {
    insta::assert_snapshot!(World::dropped().actions().join("\n"), @r"
    enqueue rex: queue it for dir:/specs
    start rex: create a server (cx23 in nbg1, image 123456) for at most 2h
    ");
}

#[test]
fn a_running_cattle_needs_nothing() {
    let plan = World::running().plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.waiting, []);
    assert!(!plan.list_soon);
    assert_eq!(plan.next_wake, Some(at(100) + deadlines::SILENCE));
}

#[test]
fn a_broken_spec_starts_nothing_and_says_where() {
    let mut world = World::dropped();
    world.set_spec(broken(), &name("rex"));
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.waiting[0].reason, PendingReason::SpecInvalid);
    assert!(
        plan.waiting[0]
            .message
            .contains("rex.yaml:5: unknown field `presona`")
    );
}

#[test]
fn a_broken_spec_ends_nothing_until_the_ttl_does() {
    let mut world = World::running();
    world.set_spec(broken(), &name("rex"));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(7200);
    assert_eq!(world.verbs(), ["stop"]);
}

#[test]
fn an_absent_spec_ends_its_run_after_fifteen_seconds_and_not_before() {
    let mut world = World::running();
    world.set_spec(SpecState::Absent { since: at(100) }, &name("rex"));
    world.later(14);
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.next_wake, Some(at(115)));
    world.later(1);
    assert_eq!(world.verbs(), ["end"]);
    assert!(world.actions()[0].contains("spec-removed"));
}

#[test]
fn a_spec_that_comes_back_in_time_ends_nothing() {
    let mut world = World::running();
    world.set_spec(SpecState::Absent { since: at(100) }, &name("rex"));
    world.later(14);
    let mut world = world.with_spec(cattle("rex"));
    world.later(60);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn nothing_ends_for_a_directory_that_cannot_be_read() {
    for state in [Some(RootState::Unreadable("gone".to_owned())), None] {
        let mut world = World::running();
        world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
        match state {
            Some(state) => world.desired.roots.insert(ROOT.to_owned(), state),
            None => world.desired.roots.remove(ROOT),
        };
        world.later(60);
        assert_eq!(world.verbs(), [""; 0]);
    }
}

#[test]
fn a_spec_this_process_never_saw_is_absent_since_its_first_scan() {
    let mut world = World::running();
    world.desired.specs.clear();
    world.desired.since = Some(at(90));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(5);
    assert_eq!(world.verbs(), ["end"]);
}

#[test]
fn nothing_is_absent_before_the_first_scan() {
    let mut world = World::running();
    world.desired.specs.clear();
    world.desired.since = None;
    world.later(3600);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn nothing_ends_for_its_spec_while_ends_are_paused() {
    let mut world = World::running();
    world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
    world.pause(false, true);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn an_edit_ends_the_run_and_queues_the_next_behind_its_server() {
    let mut world = World::running();
    world.edit(|cattle| cattle.hash = hash(2));
    let plan = world.plan();
    let verbs: Vec<_> = plan.actions.iter().map(Action::verb).collect();
    assert_eq!(verbs, ["enqueue", "end"]);
    assert_eq!(plan.waiting[0].reason, PendingReason::PreviousRun);
}

#[test]
fn after_an_edit_the_new_run_waits_until_the_old_server_is_gone() {
    let mut world = World::ended();
    world.edit(|cattle| cattle.hash = hash(2));
    assert_eq!(world.verbs(), ["enqueue", "delete"]);
    assert_eq!(
        world.waits(),
        [("rex".to_owned(), "previous-run".to_owned())]
    );
    assert!(world.plan().list_soon);
    let _ = lifecycle::mark_gone(world.rex(), at(100));
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn an_ended_task_stays_ended_although_its_spec_stands() {
    let mut world = World::ended();
    let _ = lifecycle::mark_gone(world.rex(), at(100));
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.waiting, []);
    assert_eq!(plan.next_wake, None);
}

#[test]
fn a_pending_spec_that_is_removed_is_closed_and_starts_again_when_it_returns() {
    let mut world = World::dropped();
    world.limits.max_instances = 0;
    world
        .ledger
        .assignments
        .insert((name("rex"), hash(1)), assignment(at(100)));
    world.set_spec(SpecState::Absent { since: at(80) }, &name("rex"));
    let plan = world.plan();
    let [
        Action::Close {
            reason, message, ..
        },
    ] = &plan.actions[..]
    else {
        panic!("{plan:#?}");
    };
    assert_eq!(*reason, EndReason::SpecRemoved);
    let _ = lifecycle::close(world.task(), *reason, message, at(100));
    assert_eq!(world.verbs(), [""; 0]);
    let mut world = world.with_spec(cattle("rex"));
    world.limits.max_instances = 1;
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn a_ttl_change_is_followed_in_place_and_shown_on_the_server() {
    let mut world = World::running();
    world.edit(|cattle| cattle.ttl = secs(3600));
    insta::assert_snapshot!(world.actions().join("\n"), @r"
    update 01M3250V000000000000000001: follow its spec in place: ttl 1h, so that it expires at 2026-09-21 15:15:00 UTC
    relabel 01M3250V000000000000000001: set the labels of server 7
    ");
}

#[test]
fn a_shortened_ttl_leaves_a_minute() {
    let mut world = World::running();
    world.later(600);
    world.edit(|cattle| cattle.ttl = secs(60));
    let plan = world.plan();
    let Action::Update { expires_at, .. } = &plan.actions[0] else {
        panic!("{plan:#?}");
    };
    assert_eq!(*expires_at, world.now + secs(60));
    assert_eq!(plan.next_wake, Some(*expires_at));
}

#[test]
fn other_labels_are_put_on_the_server_and_foreign_ones_left_there() {
    let mut world = World::running();
    world
        .listed()
        .labels
        .raw
        .insert("note".to_owned(), "mine".to_owned());
    world
        .listed()
        .labels
        .raw
        .insert("spec.old".to_owned(), "x".to_owned());
    world.edit(|cattle| {
        cattle.labels.insert("team".to_owned(), "docs".to_owned());
    });
    let plan = world.plan();
    let [Action::Update { .. }, Action::Relabel { labels, .. }] = &plan.actions[..] else {
        panic!("{plan:#?}");
    };
    assert_eq!(labels.get("spec.team").map(String::as_str), Some("docs"));
    assert_eq!(labels.get("note").map(String::as_str), Some("mine"));
    assert!(!labels.contains_key("spec.old"));
}

#[test]
fn another_placement_changes_nothing_now() {
    let mut world = World::running();
    world.edit(|cattle| cattle.placement.image = "999".to_owned());
    assert_eq!(world.verbs(), [""; 0]);
}
