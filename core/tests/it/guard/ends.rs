//! What the guard says of ends, and of what comes after one.

use cattle_core::{clock::Trust, observed::ServerState};
use cattle_schemas::status::PendingReason;

use super::*;

const PAUSED: &str = "nothing ends for its spec while that is paused";

fn edited(mut world: World) -> World {
    world.edit(|cattle| {
        cattle.hash = hash(2);
        cattle.model = "zai/glm-5".to_owned();
    });
    world
}

/// Its server is kept on for a look.
fn kept() -> World {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(5000));
    world
}

fn release() -> Action {
    Action::Release {
        run: run_id(1),
        message: String::new(),
    }
}

#[test]
fn never_an_end_for_an_edit_while_that_is_paused_or_uncounted() {
    let mut world = edited(World::running());
    assert_eq!(broken_by(&world, [end(EndReason::SpecChanged)]), [""; 0]);
    let mut uncounted = end(EndReason::SpecChanged);
    if let Action::End { counts_for, .. } = &mut uncounted {
        *counts_for = None;
    }
    assert_eq!(
        broken_by(&world, [uncounted]),
        ["an end for a spec counts, unless somebody asked for that one"]
    );
    world.pause(false, true);
    assert_eq!(broken_by(&world, [end(EndReason::SpecChanged)]), [PAUSED]);
}

#[test]
fn never_a_failed_create_of_a_server_whose_guest_has_called() {
    assert_eq!(
        broken_by(&World::booting(), [end(EndReason::CreateFailed)]),
        [""; 0]
    );
    assert_eq!(
        broken_by(&World::running(), [end(EndReason::CreateFailed)]),
        ["a server whose guest has called was made"]
    );
}

#[test]
fn never_a_release_without_its_cause_or_while_that_is_paused() {
    let mut world = kept();
    assert_eq!(
        broken_by(&world, [release()]),
        ["only a valid spec with another hash replaces a run"]
    );
    // Nobody looks at what is off.
    world.listed().status = ServerState::Off;
    assert_eq!(broken_by(&world, [release()]), [""; 0]);
    let mut gone = kept();
    gone.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
    for mut world in [edited(kept()), gone] {
        assert_eq!(broken_by(&world, [release()]), [""; 0]);
        world.pause(false, true);
        assert_eq!(broken_by(&world, [release()]), [PAUSED]);
    }
}

#[test]
fn never_the_end_of_a_handover_while_more_is_to_come() {
    let handed = |stored| Action::HandedOver {
        run: run_id(1),
        stored,
    };
    let mut world = World::ended();
    world.rex().outcome.as_mut().unwrap().log_bytes = 1000;
    assert_eq!(
        broken_by(&world, [handed(1000)]),
        ["only a run that is over hands over"]
    );
    world.rex().ended.as_mut().unwrap().handover_until = Some(at(500));
    let rule = "a hand-over ends before its time only when all is there or nobody is";
    assert_eq!(broken_by(&world, [handed(999)]), [rule]);
    assert_eq!(broken_by(&world, [handed(1000)]), [""; 0]);
    let mut off = world.clone();
    off.listed().status = ServerState::Off;
    assert_eq!(broken_by(&off, [handed(0)]), [""; 0]);
    world.now = at(500);
    assert_eq!(broken_by(&world, [handed(0)]), [""; 0]);
}

#[test]
fn never_another_date_but_for_what_was_asked_for_in_the_future() {
    let redate = || [Action::Redate { run: run_id(1) }];
    let mut world = World::running();
    assert_eq!(
        broken_by(&world, redate()),
        ["only what was asked for in the future is dated anew"]
    );
    world.rex().posted_at = at(90_000);
    assert_eq!(broken_by(&world, redate()), [""; 0]);
    world.limits.clocks.trust = Trust::Unheard;
    assert_eq!(
        broken_by(&world, redate()),
        ["nothing is over by a clock that does not tell the time"]
    );
}

#[test]
fn never_gone_while_a_server_of_it_is_listed() {
    let gone = || [Action::MarkGone { run: run_id(1) }];
    let mut world = World::intended();
    let wait = PendingReason::OutOfStock;
    let _ = lifecycle::refuse_create(world.rex(), wait, "refused", None, at(100));
    let destroyed = lifecycle::Ending::new(EndReason::Destroyed, "");
    let _ = lifecycle::end(world.rex(), None, &destroyed, at(100));
    assert_eq!(broken_by(&world, gone()), [""; 0]);
    let listed = world.server_of(run_id(1), ServerId(7));
    world.observed.servers.push(listed);
    assert_eq!(
        broken_by(&world, gone()),
        ["a run with a listed server is not gone"]
    );
}
