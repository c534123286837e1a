//! What a guest may still hand over when its run is over.

use cattle_core::{
    action::Action,
    desired::SpecState,
    lifecycle::{self, Ending, deadlines},
    observed::ServerState,
};
use cattle_schemas::{event::EventReason, guest::Outcome, spec_file::OnFailure, status::EndReason};

use crate::fixture::*;

const LOG: u64 = 1000;

fn with_log(exit_code: i32) -> Outcome {
    Outcome {
        log_bytes: LOG,
        ..outcome(exit_code)
    }
}

/// Carries out what a plan does to the ledger.
fn carry_out(world: &mut World) -> Vec<&'static str> {
    let plan = world.plan();
    let now = world.now;
    for action in &plan.actions {
        match action {
            Action::End {
                run,
                reason,
                message,
                hold_until,
                ..
            } => {
                let ending = Ending {
                    hold_until: *hold_until,
                    ..Ending::new(*reason, message.clone())
                };
                let run = world.ledger.runs.get_mut(run).unwrap();
                let key = (run.cattle.clone(), run.hash.clone());
                let assignment = world.ledger.assignments.get_mut(&key);
                assert!(lifecycle::end(run, assignment, &ending, now).applied);
            }
            Action::HandedOver { run, stored } => {
                let run = world.ledger.runs.get_mut(run).unwrap();
                assert!(lifecycle::handed_over(run, *stored).applied);
            }
            _ => {}
        }
    }
    plan.actions.iter().map(Action::verb).collect()
}

/// Its result is there, its log is not.
fn result_first() -> World {
    let mut world = World::running();
    assert!(lifecycle::outcome(world.rex(), with_log(0), at(100)).applied);
    world.ledger.logs.insert(run_id(1), 300);
    assert_eq!(carry_out(&mut world), ["end"]);
    world
}

#[test]
fn after_a_result_the_server_waits_until_the_log_is_whole() {
    let mut world = result_first();
    assert!(world.rex().is_handing_over(at(100)) && world.rex().may_speak());
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(world.plan().next_wake, Some(at(700)));
    world.ledger.logs.insert(run_id(1), LOG);
    assert_eq!(carry_out(&mut world), ["handed-over"]);
    assert!(!world.rex().may_speak());
    assert_eq!(world.rex().log_stored, Some(LOG));
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_log_that_does_not_come_is_waited_for_ten_minutes_and_called_cut() {
    let mut world = result_first();
    world.later(599);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(1);
    assert_eq!(world.verbs(), ["handed-over", "delete"]);
    let told = lifecycle::handed_over(world.rex(), 300);
    assert_eq!(told.events[0].reason, EventReason::HandedOver);
    assert_eq!(
        told.events[0].message,
        "its log is cut: 300 of 1000 bytes arrived"
    );
}

#[test]
fn a_guest_that_turns_its_machine_off_hands_nothing_more_over() {
    let mut world = result_first();
    world.listed().status = ServerState::Off;
    assert_eq!(world.verbs(), [""; 0], "the list is not newer than its end");
    world.later(5);
    assert_eq!(carry_out(&mut world), ["handed-over"]);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_result_without_a_log_waits_for_nothing() {
    let mut world = World::handed_over(0);
    assert_eq!(carry_out(&mut world), ["end"]);
    assert_eq!(world.rex().handover_until(), None);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_removal_an_edit_and_the_ttl_give_a_guest_twenty_seconds() {
    type Happens = fn(&mut World);
    let removed: Happens = |world| {
        world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
    };
    let edited: Happens = |world| world.edit(|cattle| cattle.hash = hash(2));
    let expired: Happens = |world| world.rex().expires_at = world.now + secs(20);
    let cases = [
        (removed, EndReason::SpecRemoved),
        (edited, EndReason::SpecChanged),
        (expired, EndReason::TtlExpired),
    ];
    for (happens, reason) in cases {
        let mut world = World::running();
        world.later(600);
        happens(&mut world);
        let now = world.now;
        assert!(carry_out(&mut world).contains(&"end"), "{reason}");
        assert_eq!(world.rex().ended.as_ref().unwrap().reason, reason);
        assert_eq!(world.rex().handover_until(), Some(now + secs(20)));
        // What it hands over now is kept, and changes nothing about the end.
        let kept = lifecycle::outcome(world.rex(), with_log(0), now + secs(5));
        assert!(kept.applied, "{reason}");
        assert_eq!(world.rex().ended.as_ref().unwrap().reason, reason);
        world.ledger.logs.insert(run_id(1), 10);
        world.later(19);
        assert!(!world.verbs().contains(&"delete"), "{reason}");
        world.later(1);
        assert!(world.verbs().contains(&"delete"), "{reason}");
    }
}

#[test]
fn a_result_that_came_first_says_how_it_ended_whoever_ends_it() {
    let mut world = World::running();
    let _ = lifecycle::outcome(world.rex(), with_log(0), at(100));
    let ending = Ending::new(EndReason::Destroyed, "by operator");
    assert!(lifecycle::end(world.rex(), None, &ending, at(100)).applied);
    let end = world.rex().ended.clone().unwrap();
    assert_eq!(end.reason, EndReason::Completed);
    assert_eq!(end.message, "the task succeeded");
    assert_eq!(end.handover_until, Some(at(700)));
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    let mut world = World::running();
    let mut ending = Ending::new(EndReason::Destroyed, "by operator");
    ending.at_once = true;
    assert!(lifecycle::end(world.rex(), None, &ending, at(100)).applied);
    assert!(!world.rex().is_handing_over(at(100)));
    assert_eq!(world.verbs(), ["handed-over", "delete"]);

    let mut world = result_first();
    assert!(lifecycle::hurry(world.rex(), secs(20), at(100)).applied);
    assert_eq!(world.rex().handover_until(), Some(at(120)));
    assert!(!lifecycle::hurry(world.rex(), secs(30), at(100)).applied);
    assert!(lifecycle::hurry(world.rex(), secs(0), at(100)).applied);
    assert_eq!(world.verbs(), ["handed-over", "delete"]);
}

#[test]
fn a_guest_that_never_reported_in_has_nothing_to_hand_over() {
    let mut world = World::booting();
    let _ = lifecycle::env_handed_out(world.rex(), at(100));
    let ending = Ending::new(EndReason::Destroyed, "by operator");
    assert!(lifecycle::end(world.rex(), None, &ending, at(100)).applied);
    assert!(!world.rex().may_speak());
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_guest_that_is_lost_has_no_hand_over() {
    let mut world = World::running();
    world.now += deadlines::SILENCE;
    world.observed.listed_at = Some(world.now);
    assert_eq!(carry_out(&mut world), ["end"]);
    assert_eq!(world.rex().handover_until(), None);
}

#[test]
fn no_hand_over_goes_into_another_started_hour_or_beyond_the_ttl() {
    let until = |seconds: u64, expires: u64| {
        let mut world = World::running();
        world.rex().expires_at = at(expires);
        let ending = Ending::new(EndReason::Destroyed, "by operator");
        let _ = lifecycle::outcome(world.rex(), with_log(1), at(seconds));
        assert!(lifecycle::end(world.rex(), None, &ending, at(seconds)).applied);
        world.rex().handover_until()
    };
    // Its server was made at 100: an hour is full at 3700, and a delete takes a while.
    assert_eq!(until(3000, 9000), Some(at(3600)));
    assert_eq!(until(3600, 9000), Some(at(3685)));
    assert_eq!(until(3690, 9000), Some(at(3690)), "too late for it");
    assert_eq!(until(3700, 9000), Some(at(4300)));
    assert_eq!(until(4000, 4100), Some(at(4100)));
}

#[test]
fn the_time_of_a_task_is_up_so_early_that_it_hands_over_by_the_expiry() {
    let mut world = World::running();
    let up = |world: &mut World, lives: u64| {
        world.rex().expires_at = at(100 + lives);
        (deadlines::time_is_up(world.rex()) - at(100)).num_seconds()
    };
    assert_eq!(up(&mut world, 1800), 1780);
    assert_eq!(up(&mut world, 40), 30, "a short life is not half hand-over");
    // An hour more would be billed for the hand-over and the delete.
    assert_eq!(up(&mut world, 3600), 3565);
    assert_eq!(up(&mut world, 7203), 7165);
    // Nobody was ever heard who could hand over.
    world.rex().last_seen_at = None;
    assert_eq!(up(&mut world, 3600), 3600);
}

#[test]
fn at_that_time_it_ends_as_expired() {
    let mut world = World::running();
    world.later(7164);
    assert_eq!(world.verbs(), [""; 0]);
    world.later(1);
    let plan = world.plan();
    assert!(
        matches!(
            &plan.actions[..],
            [Action::End {
                reason: EndReason::TtlExpired,
                ..
            }]
        ),
        "{plan:#?}"
    );
}

#[test]
fn a_kept_server_takes_the_rest_of_a_log_too() {
    let mut world = World::running();
    let hold = OnFailure::Hold("30m".parse().unwrap());
    world.rex().spec.on_failure = hold;
    world.edit(|cattle| cattle.on_failure = hold);
    let _ = lifecycle::outcome(world.rex(), with_log(1), at(100));
    world.ledger.logs.insert(run_id(1), 300);
    assert_eq!(carry_out(&mut world), ["end"]);
    assert!(world.rex().is_handing_over(at(101)) && world.rex().is_kept(at(101)));
    world.ledger.logs.insert(run_id(1), LOG);
    assert_eq!(carry_out(&mut world), ["handed-over"]);
    assert!(world.rex().is_kept(at(101)) && world.rex().may_speak());
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_server_that_vanishes_meanwhile_is_asked_for_and_ends_it() {
    let mut world = result_first();
    world.observed.servers.clear();
    world.later(5);
    assert_eq!(world.verbs(), ["confirm-gone"]);
    let now = world.now;
    assert!(lifecycle::found_gone(world.rex(), None, now).applied);
    assert!(!world.rex().may_speak());
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn a_new_run_of_the_name_waits_and_says_why() {
    let mut world = World::running();
    world.edit(|cattle| cattle.hash = hash(2));
    carry_out(&mut world);
    let plan = world.plan();
    assert_eq!(plan.waiting[0].reason.as_str(), "previous-run");
    assert!(
        plan.waiting[0].message.contains("its guest hands over"),
        "{}",
        plan.waiting[0].message
    );
}
