//! What the guard says of servers that are there: labelled, taken for ours, deleted.

use cattle_core::clock::Trust;

use super::*;

const FOREIGN: &str = "another owner's server is never touched";
const OURS: &str = "only a listed server of this fleet is ours";

fn relabel() -> Action {
    Action::Relabel {
        run: run_id(1),
        server: ServerId(7),
        labels: Default::default(),
    }
}

fn delete_expired(server: u64) -> Action {
    Action::DeleteExpired {
        run: run_id(1),
        server: ServerId(server),
    }
}

/// A second server that carries the labels of `rex`.
fn with_second(mut world: World) -> World {
    let second = world.server_of(run_id(1), ServerId(8));
    world.observed.servers.push(second);
    world
}

#[test]
fn never_a_label_on_what_is_another_owners() {
    let mut world = World::running();
    assert_eq!(broken_by(&world, [relabel()]), [""; 0]);
    let _ = lifecycle::taken_over(world.rex(), "fleet=other", secs(10), at(100));
    assert_eq!(
        broken_by(&world, [relabel()]),
        ["a server that another owner has marked is never touched"]
    );
    let mut world = World::running();
    world.limits.fleet = "other".parse().unwrap();
    assert_eq!(broken_by(&world, [relabel()]), [FOREIGN]);
}

#[test]
fn never_a_server_for_ours_that_is_not() {
    let takes = || {
        let (run, server) = (run_id(1), ServerId(7));
        [
            Action::Adopt { run, server },
            Action::Rejoin { run, server },
        ]
    };
    let mut world = World::running();
    assert_eq!(broken_by(&world, takes()), [""; 0]);
    world.limits.fleet = "other".parse().unwrap();
    assert_eq!(broken_by(&world, takes()), [OURS, FOREIGN]);
    let mut world = World::running();
    world.observed.servers.clear();
    assert_eq!(broken_by(&world, takes()), [OURS], "it may be gone");
    world.rex().server.as_mut().unwrap().id = ServerId(8);
    assert_eq!(
        broken_by(&world, takes()),
        [OURS, "a run is taken as it is with its own server"]
    );
}

#[test]
fn never_a_second_server_of_a_live_run_for_it() {
    assert_eq!(
        broken_by(&with_second(World::running()), [delete(8)]),
        ["the server of a live run is never deleted"]
    );
    assert_eq!(
        broken_by(&with_second(World::ended()), [delete(8)]),
        [""; 0]
    );
}

#[test]
fn never_a_live_runs_server_for_another_run_that_is_over() {
    let mut world = World::ended().with_spec(cattle("max")).with_run("max", 2);
    world.bind(run_id(2), ServerId(9));
    let lying = world.observed.servers.last_mut().unwrap();
    lying.labels.run = Some(run_id(1));
    assert_eq!(
        broken_by(&world, [delete(9)]),
        ["the server of a live run is never deleted"]
    );
}

#[test]
fn never_a_server_whose_guest_hands_over() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().handover_until = Some(at(500));
    assert_eq!(
        broken_by(&world, [delete(7)]),
        ["a server is not deleted while its guest hands over"]
    );
    world.now = at(500);
    assert_eq!(broken_by(&world, [delete(7)]), [""; 0]);
}

#[test]
fn never_what_only_a_label_of_ours_points_to() {
    let mut world = World::ended();
    world.rex().server = None;
    assert_eq!(broken_by(&world, [delete(7)]), [""; 0]);
    world.listed().labels.raw.remove("managed-by");
    assert_eq!(broken_by(&world, [delete(7)]), [OURS]);
    let mut world = World::running();
    world.now = world.rex().expires_at;
    world.rex().server = None;
    assert_eq!(broken_by(&world, [delete_expired(7)]), [""; 0]);
    world.listed().labels.raw.remove("managed-by");
    assert_eq!(broken_by(&world, [delete_expired(7)]), [OURS]);
}

#[test]
fn never_an_unrecorded_delete_by_a_clock_that_does_not_tell_the_time_or_of_anothers() {
    let mut late = World::running();
    late.now = late.rex().expires_at;
    let mut world = late.clone();
    world.limits.clocks.trust = Trust::Unheard;
    assert_eq!(
        broken_by(&world, [delete_expired(7)]),
        ["nothing is over by a clock that does not tell the time"]
    );
    let mut world = late.clone();
    let raw = &mut world.listed().labels.raw;
    raw.insert("apricote.de/created-by".to_owned(), "x".to_owned());
    assert_eq!(broken_by(&world, [delete_expired(7)]), [FOREIGN]);
    let mut world = with_second(late);
    world.observed.servers[1].labels.run = Some(run_id(2));
    assert_eq!(
        broken_by(&world, [delete_expired(8)]),
        ["a server is deleted for the run that its label names"]
    );
}
