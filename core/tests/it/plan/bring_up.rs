//! From an accepted create to a server that runs, and what may come between.

use cattle_core::{
    catalogue::ImageKind,
    lifecycle::{self, deadlines},
    names::ServerId,
    observed::{ActionStatus, ServerState},
};
use cattle_schemas::status::EndReason;

use crate::fixture::*;

/// `rex`, whose server is off, and whose actions are over.
fn off() -> World {
    let mut world = World::created();
    world.listed().status = ServerState::Off;
    world.rex().server.as_mut().unwrap().actions.clear();
    world
}

/// The same, and a power-on was accepted.
fn powered_on() -> World {
    let mut world = off();
    let _ = lifecycle::powering_on(world.rex(), at(100));
    let _ = lifecycle::powered_on(world.rex(), None, at(100));
    world
}

fn end_of(world: &World) -> String {
    let actions = world.actions();
    assert_eq!(world.verbs(), ["end"], "{actions:?}");
    actions[0].split_once(": ").unwrap().1.to_owned()
}

#[test]
fn nothing_is_asked_while_nothing_is_unclear() {
    let mut world = World::created();
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.plan().next_wake, Some(at(160)));
    assert!(!world.plan().list_soon);
    world.later(59);
    assert_eq!(world.verbs(), [""; 0]);
    let _ = lifecycle::env_handed_out(world.rex(), at(159));
    world.later(60);
    assert_eq!(world.verbs(), [""; 0], "its guest has called");
}

#[test]
fn a_server_that_takes_longer_than_usual_is_asked_for_once_a_list() {
    for (image, usual) in [
        (Some(ImageKind::System), 60),
        (Some(ImageKind::App), 60),
        (Some(ImageKind::Snapshot), 150),
        (None, 150),
    ] {
        let mut world = World::created();
        world.rex().server.as_mut().unwrap().image = image;
        world.later(usual - 1);
        assert_eq!(world.verbs(), [""; 0], "{image:?}");
        world.later(1);
        assert_eq!(world.verbs(), ["follow"], "{image:?}");
        let running = [CREATE, START].map(|id| action(id, ActionStatus::Running));
        let _ = world.follow(&running);
        assert_eq!(world.verbs(), [""; 0], "{image:?}");
        world.later(30);
        assert_eq!(world.verbs(), ["follow"], "{image:?}");
    }
}

#[test]
fn what_is_over_is_not_asked_for_again() {
    let mut world = World::created();
    world.later(60);
    let _ = world.follow(&[action(CREATE, ActionStatus::Success)]);
    assert_eq!(world.rex().server.as_ref().unwrap().actions, [0; 0]);
    world.later(30);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn an_answer_that_did_not_come_is_asked_for_after_the_next_list() {
    let mut world = World::created();
    world.later(60);
    let _ = lifecycle::not_followed(world.rex(), at(160));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(30);
    assert_eq!(world.verbs(), ["follow"]);
}

#[test]
fn a_server_missing_from_a_list_is_followed_first_and_then_asked_for_by_id() {
    let mut world = World::created();
    world.observed.servers.clear();
    assert_eq!(world.verbs(), [""; 0], "the list is older than the create");
    world.later(5);
    assert_eq!(world.verbs(), ["follow"]);
    let _ = world.follow(&[action(CREATE, ActionStatus::Running)]);
    assert_eq!(world.verbs(), ["confirm-gone"]);
}

#[test]
fn one_that_hetzner_never_starts_is_given_up_by_what_its_image_is() {
    for (image, within) in [(Some(ImageKind::System), 360), (None, 720)] {
        let mut world = World::created();
        world.rex().server.as_mut().unwrap().image = image;
        world.rex().server.as_mut().unwrap().actions.clear();
        world.later(within);
        world.observed.listed_at = Some(world.now - secs(1));
        assert_eq!(world.verbs(), [""; 0], "it may have come up since");
        assert!(world.plan().list_soon);
        world.later(1);
        assert!(end_of(&world).starts_with("end it as create-failed: Hetzner has not"));
    }
    let mut world = World::created();
    world.later(361);
    insta::assert_snapshot!(end_of(&world), @"end it as create-failed: Hetzner has not started its server within 6m; it is still initializing");
    let _ = lifecycle::env_handed_out(world.rex(), at(461));
    assert_eq!(world.verbs(), [""; 0], "its guest has called");
}

#[test]
fn it_is_given_up_while_no_guest_can_be_heard_for_that_is_hetzners_matter() {
    let mut world = World::created();
    world.limits.guests_heard_since = None;
    world.later(361);
    assert_eq!(world.verbs(), ["end"]);
}

#[test]
fn what_hetzner_calls_by_a_word_that_is_not_known_may_well_run() {
    for status in [
        ServerState::Unknown,
        ServerState::Migrating,
        ServerState::Deleting,
    ] {
        let mut world = World::created();
        world.listed().status = status;
        world.later(599);
        assert!(!world.verbs().contains(&"end"), "{status:?}");
        world.later(1);
        assert!(end_of(&world).starts_with("end it as boot-timeout"));
    }
}

#[test]
fn one_found_off_is_powered_on_once_its_own_start_is_over() {
    let mut world = World::created();
    world.listed().status = ServerState::Off;
    assert_eq!(world.verbs(), ["follow"]);
    assert!(world.plan().list_soon);
    let _ = world.follow(&[
        action(CREATE, ActionStatus::Success),
        action(START, ActionStatus::Running),
    ]);
    assert_eq!(world.verbs(), [""; 0], "Hetzner is about to start it");
    world.later(5);
    assert_eq!(world.verbs(), ["follow"]);
    let _ = world.follow(&[failed(START)]);
    assert!(world.rex().is_live());
    assert_eq!(world.verbs(), ["power-on"]);
}

#[test]
fn one_that_is_locked_is_left_until_a_list_shows_it_free() {
    let mut world = off();
    world.listed().locked = true;
    assert_eq!(world.verbs(), [""; 0]);
    world.listed().locked = false;
    assert_eq!(world.verbs(), ["power-on"]);
}

#[test]
fn a_power_on_that_failed_is_tried_again_three_times_in_all() {
    let mut world = off();
    for n in 1..=deadlines::MAX_POWER_ONS {
        assert_eq!(world.verbs(), ["power-on"], "{n}");
        let now = world.now;
        assert!(lifecycle::powering_on(world.rex(), now).applied);
        let _ = lifecycle::power_on_failed(world.rex(), "locked", secs(10), now);
        world.later(5);
        assert_eq!(world.verbs(), [""; 0], "{n}: its wait is not over");
        world.later(5);
    }
    assert_eq!(world.verbs(), [""; 0]);
    assert!(!lifecycle::powering_on(world.rex(), at(200)).applied);
    world.later(60);
    insta::assert_snapshot!(end_of(&world), @"end it as create-failed: its server was found off and could not be powered on, 3 times (the server is off: locked)");
}

#[test]
fn a_power_on_is_not_repeated_on_the_strength_of_an_old_list() {
    let mut world = off();
    let _ = lifecycle::powering_on(world.rex(), at(100));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(5);
    assert_eq!(world.verbs(), ["power-on"], "a crash may have cut it off");
}

#[test]
fn one_that_is_off_again_a_minute_after_its_power_on_is_replaced() {
    let mut world = powered_on();
    world.later(60);
    assert_eq!(world.verbs(), [""; 0], "not more than a minute");
    world.later(1);
    insta::assert_snapshot!(end_of(&world), @"end it as create-failed: its server was found off again after it was powered on");
    world.listed().locked = true;
    assert_eq!(world.verbs(), [""; 0], "something is being done to it");
    world.listed().locked = false;
    world.listed().status = ServerState::Starting;
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_power_on_late_in_the_time_to_start_still_gets_its_minute() {
    let mut world = off();
    world.later(350);
    let now = world.now;
    let _ = lifecycle::powering_on(world.rex(), now);
    let _ = lifecycle::powered_on(world.rex(), None, now);
    world.listed().status = ServerState::Starting;
    world.later(20);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(41);
    assert!(end_of(&world).contains("it is still starting"));
}

#[test]
fn one_that_ran_and_was_turned_off_before_its_guest_called_is_powered_on_too() {
    let mut world = World::booting();
    world.listed().status = ServerState::Off;
    world.later(5);
    assert_eq!(world.verbs(), ["power-on"]);
    world.later(800);
    assert_eq!(
        world.verbs(),
        ["power-on"],
        "only the boot deadline ends it"
    );
}

#[test]
fn a_failed_create_frees_its_spec_for_another_run_and_its_server_goes() {
    let mut world = World::created();
    world.later(60);
    let _ = world.follow(&[failed(CREATE)]);
    let end = world.rex().ended.clone().unwrap();
    assert_eq!(end.reason, EndReason::CreateFailed);
    insta::assert_snapshot!(end.message, @"Hetzner accepted the create, but its create_server ended in `action_failed`");
    assert_eq!(world.verbs(), ["delete"]);
    let _ = lifecycle::mark_gone(world.rex(), at(170));
    world.observed.servers.clear();
    world.later(30);
    assert_eq!(world.verbs(), ["start"]);
    assert_eq!(world.task().failed_starts, 1);
}

#[test]
fn an_odd_server_is_its_runs_all_the_same() {
    let mut world = World::running();
    world.listed().odd.push("it has no name".to_owned());
    world.listed().name = "server-7".to_owned();
    world.later(5);
    assert_eq!(world.verbs(), [""; 0]);
    let mut orphan = world.server_of(run_id(1), ServerId(8));
    orphan.labels.run = None;
    orphan.odd.push("it has no name".to_owned());
    world.observed.servers.push(orphan);
    world.desired.specs.clear();
    world.ledger = Default::default();
    world.later(7200);
    assert_eq!(world.verbs(), ["reap", "reap"], "left to their expiry");
}
