//! What the guard says of servers that a plan would make or take over.

use std::sync::Arc;

use cattle_core::{
    identity::{ControllerMark, Own},
    observed::FirewallView,
};
use cattle_schemas::status::PendingReason;

use super::*;

fn retry(world: &World) -> Action {
    Action::Retry {
        run: run_id(1),
        placement: world.ledger.runs[&run_id(1)].spec.placement.clone(),
        hourly_limit: None,
    }
}

/// The create of `rex` was refused: it has no slot.
fn refused() -> World {
    let mut world = World::intended();
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::OutOfStock,
        "refused",
        None,
        at(100),
    );
    world
}

/// The server of `rex`, of which the ledger knows nothing.
fn unknown() -> World {
    let mut world = World::running();
    world.ledger = Default::default();
    world
}

fn take_over(world: &World) -> Action {
    let entry = &world.desired.specs[&name("rex")];
    Action::AdoptUnknown {
        cattle: Arc::new(cattle("rex")),
        origin: entry.origin.clone(),
        run: run_id(1),
        server: ServerId(7),
        created: at(100),
        expires_at: at(7300),
    }
}

#[test]
fn never_a_create_while_starts_are_paused() {
    let rule = "nothing starts while that is paused";
    let mut world = World::dropped();
    let start = start(&world, "rex");
    world.pause(true, false);
    assert_eq!(broken_by(&world, [start]), [rule]);
    let mut world = World::intended();
    world.pause(true, false);
    assert_eq!(broken_by(&world, [retry(&world)]), [rule]);
    world.ledger.pauses.clear();
    world.pause(false, true);
    assert_eq!(broken_by(&world, [retry(&world)]), [""; 0]);
}

#[test]
fn never_a_second_attempt_in_the_wrong_place_or_unrecorded() {
    let mut world = World::intended();
    world.limits.ledger = Writable::NoRoom;
    assert_eq!(
        broken_by(&world, [retry(&world)]),
        ["nothing starts that could not be recorded"]
    );
    let mut world = World::intended();
    world.observed.firewall = FirewallView::Seen(Default::default());
    world.limits.own = Some(Arc::new(Own {
        rival: Some(ControllerMark::read("c9.1")),
        ..Own::default()
    }));
    assert_eq!(
        broken_by(&world, [retry(&world)]),
        ["nothing is created beside a second controller"]
    );
}

#[test]
fn never_a_second_attempt_for_a_spec_that_is_not_there() {
    let rule = "only a valid spec is started, as it stands";
    for state in [broken(), SpecState::Absent { since: at(0) }] {
        let mut world = World::intended();
        world.set_spec(state, &name("rex"));
        assert_eq!(broken_by(&world, [retry(&world)]), [rule]);
    }
    let mut world = World::intended();
    world.edit(|cattle| cattle.hash = hash(2));
    assert_eq!(broken_by(&world, [retry(&world)]), [rule]);
}

#[test]
fn never_a_second_attempt_beyond_what_is_allowed() {
    let world = refused();
    assert_eq!(broken_by(&world, [retry(&world)]), [""; 0]);
    let mut full = refused();
    full.limits.max_instances = 0;
    assert_eq!(
        broken_by(&full, [retry(&full)]),
        ["there are never more servers than maxInstances"]
    );
    let mut unproven = refused();
    unproven.limits.unproven_image = Some(0);
    assert_eq!(
        broken_by(&unproven, [retry(&unproven)]),
        [
            "of an image that no guest has reported from there are never more servers than unprovenImage"
        ]
    );
    let poor = refused().with_budget(Some("1"), None);
    assert_eq!(
        broken_by(&poor, [retry(&poor)]),
        ["what costs nobody knows how much does not start under a budget"]
    );
}

#[test]
fn never_a_takeover_of_what_is_known_spent_or_not_ours() {
    let world = unknown();
    assert_eq!(broken_by(&world, [take_over(&world)]), [""; 0]);
    let twice = [take_over(&world), take_over(&world)];
    assert_eq!(
        broken_by(&world, twice),
        ["a cattle starts at most once in a plan"]
    );
    let world = World::running();
    assert_eq!(
        broken_by(&world, [take_over(&world)]),
        ["only a run that is not in the ledger is taken over"]
    );
    let mut world = unknown();
    let action = take_over(&world);
    world.set_spec(broken(), &name("rex"));
    assert_eq!(
        broken_by(&world, [action]),
        ["only a valid spec is started, as it stands"]
    );
    let mut world = unknown();
    world.limits.fleet = "other".parse().unwrap();
    assert_eq!(
        broken_by(&world, [take_over(&world)]),
        ["only a listed server of this fleet is ours"]
    );
}
