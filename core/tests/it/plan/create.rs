//! From an intent to a guest that calls.

use cattle_core::{action::Action, catalogue::ImageKind, lifecycle, names::ServerId};
use cattle_schemas::status::{EndReason, PendingReason};

use crate::fixture::*;

#[test]
fn what_is_in_flight_is_left_alone() {
    let mut world = World::intended();
    world.limits.in_flight.insert(run_id(1));
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_create_that_a_crash_cut_off_is_repeated_under_the_same_run() {
    let plan = World::intended().plan();
    let retry = Action::Retry {
        run: run_id(1),
        placement: cattle("rex").placement,
        hourly_limit: None,
    };
    assert_eq!(plan.actions, [retry]);
    assert!(plan.list_soon);
}

#[test]
fn its_server_is_adopted_where_the_list_shows_it() {
    let mut world = World::intended();
    let server = world.server_of(run_id(1), ServerId(7));
    world.observed.servers.push(server);
    assert_eq!(world.verbs(), ["mark-booted", "adopt"]);
}

#[test]
fn a_lost_create_of_a_paused_fleet_is_looked_for_and_not_repeated() {
    let mut world = World::intended();
    world.pause(true, false);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(15);
    assert_eq!(world.verbs(), ["look-up"]);
}

#[test]
fn a_refused_create_waits_with_its_reason_and_takes_no_slot() {
    let mut world = World::intended().with_spec(cattle("max"));
    world.limits.max_instances = 1;
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::Backoff,
        "Hetzner is busy",
        Some(at(160)),
        at(100),
    );
    let plan = world.plan();
    assert_eq!(plan.actions.last().map(Action::verb), Some("start"));
    assert_eq!(plan.waiting[0].reason, PendingReason::Backoff);
    assert!(
        plan.waiting[0]
            .message
            .starts_with("Hetzner is busy; next attempt at")
    );
    assert_eq!(plan.next_wake, Some(at(160)));
}

#[test]
fn its_next_attempt_queues_for_a_slot() {
    let mut world = World::intended();
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::Backoff,
        "none",
        Some(at(160)),
        at(100),
    );
    world.later(60);
    assert_eq!(world.verbs(), ["retry"]);
    world.limits.max_instances = 0;
    assert_eq!(
        world.waits(),
        [("rex".to_owned(), "max-instances".to_owned())]
    );
}

#[test]
fn a_run_refused_for_too_long_ends_as_not_started() {
    let mut world = World::intended();
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::Config,
        "no such image",
        Some(at(90_000)),
        at(100),
    );
    world.later(86_400);
    assert!(
        world.actions()[0].contains("end it as not-started"),
        "{:?}",
        world.actions()
    );
}

#[test]
fn a_guest_that_never_calls_times_out_unless_it_has_its_env_by_then() {
    for (image, within) in [(Some(ImageKind::System), 600), (None, 900)] {
        let mut world = World::booting();
        world.rex().server.as_mut().unwrap().image = image;
        world.later(within - 1);
        assert_eq!(world.verbs(), [""; 0]);
        world.later(1);
        let plan = world.plan();
        let [
            Action::End {
                reason: EndReason::BootTimeout,
                unless_env_handed_out: true,
                ..
            },
        ] = plan.actions[..]
        else {
            panic!("{plan:#?}");
        };
    }
}

#[test]
fn no_guest_times_out_while_none_can_be_heard() {
    let mut world = World::booting();
    world.later(3600);
    world.limits.guests_heard_since = None;
    assert_eq!(world.verbs(), [""; 0]);
    world.limits.guests_heard_since = Some(world.now);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(180);
    assert_eq!(world.verbs(), ["end"]);
}
