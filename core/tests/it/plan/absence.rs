//! What a list does not show.

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
