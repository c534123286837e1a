//! What a list does not show.

use cattle_core::lifecycle;

use crate::fixture::*;

#[test]
fn a_server_missing_from_a_newer_list_is_asked_for_and_not_ended() {
    let mut world = World::running();
    world.observed.servers.clear();
    assert_eq!(
        world.verbs(),
        [""; 0],
        "the list is older than what is known"
    );
    world.later(5);
    assert_eq!(world.verbs(), ["confirm-gone"]);
}

#[test]
fn nothing_is_concluded_before_the_first_list() {
    let mut world = World::running();
    world.observed = Default::default();
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_server_that_lost_its_labels_is_still_its_runs() {
    let mut world = World::running();
    world.listed().labels = Default::default();
    world.later(5);
    assert_eq!(world.verbs(), ["relabel"]);
}

#[test]
fn an_answer_is_not_asked_for_again_before_the_next_list() {
    let mut world = World::running();
    world.observed.servers.clear();
    world.later(5);
    let _ = lifecycle::called(world.rex(), at(105));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(5);
    assert_eq!(world.verbs(), ["confirm-gone"]);
}

#[test]
fn labels_are_not_set_again_before_a_list_shows_that_they_are_still_wrong() {
    let mut world = World::running();
    world.listed().labels = Default::default();
    let _ = lifecycle::called(world.rex(), at(100));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(5);
    assert_eq!(world.verbs(), ["relabel"]);
}

#[test]
fn a_look_up_that_failed_is_repeated_after_a_moment() {
    let mut world = World::intended();
    world.limits.enabled = false;
    world.later(15);
    let _ = lifecycle::called(world.rex(), at(115));
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.next_wake, Some(at(120)));
    world.later(5);
    assert_eq!(world.verbs(), ["look-up"]);
}
