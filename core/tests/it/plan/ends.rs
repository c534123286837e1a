//! How runs end, and their servers after them.

use cattle_core::{
    action::Action,
    desired::SpecState,
    ledger::{AssignmentEnd, CreateState},
    lifecycle::{self, deadlines},
    observed::ServerState,
};
use cattle_schemas::{spec_file::OnFailure, status::EndReason};

use crate::fixture::*;

fn end_of(world: &World) -> (EndReason, Option<cattle_schemas::Timestamp>) {
    let plan = world.plan();
    match &plan.actions[..] {
        [
            Action::End {
                reason, hold_until, ..
            },
        ] => (*reason, *hold_until),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn a_result_ends_the_run() {
    assert_eq!(end_of(&World::handed_over(0)), (EndReason::Completed, None));
    assert_eq!(
        end_of(&World::handed_over(1)),
        (EndReason::TaskFailed, None)
    );
}

#[test]
fn before_the_first_list_no_deadline_is_over() {
    // Restarted with a clock of our own that is a day ahead: Hetzner has not said its time yet.
    let mut world = World::running();
    world.now = at(86_400);
    world.observed.listed_at = None;
    world.observed.servers.clear();
    assert_eq!(world.verbs(), Vec::<&str>::new());
}

#[test]
fn a_result_counts_before_a_removed_spec() {
    let mut world = World::handed_over(0);
    world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
    assert_eq!(end_of(&world).0, EndReason::Completed);
}

#[test]
fn a_failed_task_is_held_where_its_spec_says_so_but_not_beyond_its_ttl() {
    let mut world = World::handed_over(1);
    world.rex().spec.on_failure = OnFailure::Hold("30m".parse().unwrap());
    world.edit(|cattle| cattle.on_failure = OnFailure::Hold("30m".parse().unwrap()));
    assert_eq!(end_of(&world), (EndReason::TaskFailed, Some(at(1900))));
    world.rex().expires_at = at(700);
    assert_eq!(end_of(&world), (EndReason::TaskFailed, Some(at(700))));
}

#[test]
fn without_auto_shutdown_the_server_stays_until_its_ttl() {
    let mut world = World::handed_over(0);
    world.rex().spec.auto_shutdown = false;
    assert_eq!(end_of(&world), (EndReason::Completed, Some(at(7300))));
}

#[test]
fn a_kept_server_goes_at_its_time_or_when_its_spec_does() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(1000));
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.next_wake, Some(at(1000)));
    world.set_spec(SpecState::Absent { since: at(80) }, &name("rex"));
    assert_eq!(world.verbs(), ["release"]);
    world.pause(false, true);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(900);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_kept_server_that_was_turned_off_goes_at_once() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(1000));
    world.listed().status = ServerState::Off;
    world.observed.listed_at = world.rex().ended.as_ref().map(|end| end.at);
    assert_eq!(world.verbs(), [""; 0], "the list is not newer than its end");
    world.later(2);
    world.pause(false, true);
    assert_eq!(world.verbs(), ["release"], "it bills all the same");
}

#[test]
fn a_guest_stays_as_long_as_its_server_is_kept() {
    let hold = OnFailure::Hold("30m".parse().unwrap());
    let cases = [
        // Exit code, autoShutdown, onFailure; until when.
        (0, true, OnFailure::Destroy, None),
        (1, true, OnFailure::Destroy, None),
        (0, true, hold, None),
        (1, true, hold, Some(at(1900))),
        (0, false, OnFailure::Destroy, Some(at(7300))),
        (1, false, hold, Some(at(7300))),
    ];
    for (exit_code, auto_shutdown, on_failure, until) in cases {
        let mut world = World::handed_over(exit_code);
        world.rex().spec.auto_shutdown = auto_shutdown;
        world.rex().spec.on_failure = on_failure;
        let mut run = world.rex().clone();
        assert_eq!(run.hold_until(), until, "what its guest is told");
        let last = until.unwrap_or(world.now) - secs(1);
        assert_eq!(run.guest_stays(last), until.is_some());
        assert!(!run.guest_stays(until.unwrap_or(world.now)));

        let mut ending = lifecycle::Ending::new(EndReason::Completed, "over");
        ending.hold_until = end_of(&world).1;
        assert_eq!(ending.hold_until, until, "what the plan does");
        assert!(lifecycle::end(&mut run, None, &ending, world.now).applied);
        assert_eq!(run.guest_stays(last), until.is_some());
        assert_eq!(run.may_speak(), until.is_some());
        let _ = lifecycle::release(&mut run, "let go");
        assert!(!run.guest_stays(last) && !run.may_speak());
    }
}

#[test]
fn at_expiry_a_guest_that_has_not_started_ends_at_once() {
    let mut world = World::booting();
    world.rex().expires_at = at(100);
    let key = "expires-at".to_owned();
    world
        .listed()
        .labels
        .raw
        .insert(key, at(100).timestamp().to_string());
    assert_eq!(end_of(&world).0, EndReason::TtlExpired);
}

#[test]
fn a_server_off_after_its_env_has_lost_its_guest() {
    let mut world = World::running();
    world.listed().status = ServerState::Off;
    assert_eq!(
        world.verbs(),
        [""; 0],
        "the list is not newer than the guest's last word"
    );
    world.later(2);
    assert_eq!(end_of(&world).0, EndReason::GuestLost);
}

#[test]
fn silence_ends_a_run_only_while_guests_can_be_heard() {
    let mut world = World::running();
    world.now += deadlines::SILENCE;
    world.observed.listed_at = Some(world.now);
    assert_eq!(end_of(&world).0, EndReason::GuestLost);
    world.limits.guests_heard_since = Some(world.now);
    assert_eq!(world.verbs(), [""; 0]);
    world.limits.guests_heard_since = None;
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn an_ended_runs_server_is_deleted_and_again_after_a_failure() {
    let mut world = World::ended();
    assert_eq!(world.verbs(), ["delete"]);
    world.limits.in_flight.insert(run_id(1));
    assert_eq!(world.verbs(), [""; 0]);
    world.limits.in_flight.clear();
    let _ = lifecycle::delete_failed(world.rex(), "protected", secs(30), at(100));
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.plan().next_wake, Some(at(130)));
    world.later(30);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_delete_that_fails_again_and_again_waits_longer_but_not_long() {
    let mut world = World::ended();
    let mut wait_at = |seconds| {
        let _ = lifecycle::delete_failed(world.rex(), "down", secs(2), at(seconds));
        (world.rex().retry_at.unwrap().until - at(seconds)).num_seconds()
    };
    assert_eq!([100, 140, 86_400].map(&mut wait_at), [2, 10, 60]);
}

#[test]
fn an_ended_run_with_an_unsettled_create_is_looked_for() {
    let mut world = World::intended();
    let ending = lifecycle::Ending::new(EndReason::Destroyed, "destroyed");
    let _ = lifecycle::end(world.rex(), None, &ending, at(100));
    world.task().ended = Some(AssignmentEnd {
        reason: EndReason::Destroyed,
        at: at(100),
        message: String::new(),
        reopens: false,
    });
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.plan().next_wake, Some(at(115)));
    world.later(15);
    assert_eq!(world.verbs(), ["look-up"]);
    assert!(lifecycle::lookup_missed(world.rex(), at(115), at(115)).applied);
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.rex().create, CreateState::Refused);
    assert!(world.rex().gone_at.is_some());
}

#[test]
fn a_server_that_turns_up_after_its_run_was_gone_is_deleted() {
    let mut world = World::ended();
    let _ = lifecycle::mark_gone(world.rex(), at(101));
    world.later(5);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_delete_of_somebodys_that_does_not_end_is_asked_for_again() {
    let mut world = World::ended();
    world.listed().status = ServerState::Deleting;
    world.later(119);
    assert_eq!(world.verbs(), [""; 0], "it is under way");
    assert_eq!(world.plan().next_wake, Some(at(220)));
    world.later(1);
    assert_eq!(world.verbs(), ["delete"]);
    let _ = lifecycle::delete_failed(world.rex(), "locked", secs(10), at(220));
    assert_eq!(world.verbs(), [""; 0]);
    world.later(30);
    assert_eq!(world.verbs(), ["delete"]);
    // Ours was refused: it is asked for again after its wait, whatever the list calls it.
    let mut world = World::ended();
    let _ = lifecycle::delete_failed(world.rex(), "locked", secs(10), at(100));
    world.listed().status = ServerState::Deleting;
    world.later(9);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(1);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn the_number_of_a_server_that_is_only_listed_is_recorded_before_its_delete() {
    let mut world = World::ended();
    world.rex().server = None;
    world.rex().create = CreateState::Intended;
    assert_eq!(world.verbs(), ["adopt"]);
    let server = run_server(world.listed());
    assert!(lifecycle::adopt(world.rex(), server).applied);
    assert_eq!(world.verbs(), ["delete"]);
}
