//! Servers whose owner is in doubt: a lost reply and lost labels, another owner's mark.

use cattle_core::{
    identity::Project,
    lifecycle::{self, phase_of},
    names::ServerId,
};
use cattle_schemas::{
    event::EventReason,
    status::{EndReason, PendingReason, Phase},
};

use crate::fixture::*;

/// The create's reply was lost and its server is found nowhere, but its guest has called.
fn lost() -> World {
    let mut world = World::intended();
    let _ = lifecycle::lost_reply(world.rex(), "timed out", None);
    let _ = lifecycle::env_handed_out(world.rex(), at(100));
    let _ = lifecycle::ready(world.rex(), at(100));
    world.later(30);
    let _ = lifecycle::lookup_missed(world.rex(), at(130), at(130));
    world
}

fn taken() -> World {
    let mut world = World::ended();
    world.observed.servers.clear();
    let told = lifecycle::taken_over(world.rex(), "fleet=other", secs(10), at(100));
    assert_eq!(told.events[0].reason, EventReason::TakenOver);
    world
}

#[test]
fn a_run_whose_guest_has_called_has_a_server() {
    let mut world = lost();
    assert!(world.rex().holds_slot());
    assert_eq!(phase_of(world.rex(), None), Phase::Running);
    assert_eq!(world.waits(), []);
    // A late answer to a further attempt changes nothing of that.
    let refused = PendingReason::OutOfStock;
    let _ = lifecycle::refuse_create(world.rex(), refused, "out of stock", None, at(130));
    assert!(world.rex().holds_slot());
    assert_eq!(phase_of(world.rex(), None), Phase::Running);
}

#[test]
fn its_time_and_its_silence_are_over_like_any_others() {
    let mut world = lost();
    assert_eq!(world.plan().next_wake, Some(at(129) + secs(180)));
    world.now = at(129 + 180);
    assert_eq!(world.verbs(), ["end"]);
    let mut world = lost();
    world.later(7200);
    assert_eq!(world.verbs(), ["end"]);
    // Of a create that was refused before, in a ledger of an earlier version.
    world.rex().create = cattle_core::ledger::CreateState::Refused;
    assert_eq!(world.verbs(), ["end"]);
}

#[test]
fn it_is_looked_for_once_a_list_and_never_made_again() {
    let mut world = lost();
    assert_eq!(world.verbs(), [""; 0]);
    assert!(!world.plan().list_soon);
    world.later(30);
    assert_eq!(world.verbs(), ["look-up"]);
    // Not even when the time to start is over.
    world.edit(|cattle| cattle.start_within = secs(10));
    assert_eq!(world.verbs(), ["look-up"]);
}

#[test]
fn it_is_gone_when_it_was_looked_for_long_enough_after_its_end() {
    let mut world = lost();
    let ending = lifecycle::Ending::new(EndReason::Destroyed, "by operator");
    let _ = lifecycle::end(world.rex(), None, &ending, at(140));
    assert_eq!(world.rex().gone_at, None, "its server is somewhere");
    world.later(30);
    assert_eq!(world.verbs(), ["handed-over", "look-up"]);
    let missed = |world: &mut World, seconds: u64| {
        let _ = lifecycle::lookup_missed(world.rex(), at(seconds), at(seconds));
        world.rex().gone_at
    };
    assert_eq!(missed(&mut world, 160), None);
    assert_eq!(missed(&mut world, 129 + 179), None);
    assert_eq!(missed(&mut world, 129 + 180), Some(at(309)));
}

#[test]
fn a_server_of_its_name_that_is_not_its_own_leaves_it_pending_with_a_reason() {
    let mut world = World::intended();
    let _ = lifecycle::lost_reply(world.rex(), "timed out", None);
    let told = lifecycle::name_taken(world.rex(), "it was there before", secs(60), at(100));
    assert!(told.applied);
    assert_eq!(phase_of(world.rex(), None), Phase::Pending);
    let plan = world.plan();
    assert_eq!(plan.waiting[0].reason, PendingReason::Config);
    assert!(plan.waiting[0].message.contains("it was there before"));
    world.later(60);
    assert_eq!(world.verbs(), ["retry"]);
}

#[test]
fn what_another_owner_has_marked_is_looked_at_now_and_then_and_never_deleted() {
    let mut world = taken();
    assert_eq!(world.verbs(), [""; 0]);
    assert!(!world.plan().list_soon, "no list will say that it is gone");
    world.later(10);
    assert_eq!(world.verbs(), ["confirm-gone"]);
    assert!(world.rex().holds_slot());
    assert_eq!(world.waits(), []);
    // Told of once; the longer it lasts, the longer the wait.
    world.later(600);
    let now = world.now;
    let again = lifecycle::taken_over(world.rex(), "fleet=other", secs(10), now);
    assert!(again.applied && again.events.is_empty());
    assert_eq!(world.plan().next_wake, Some(now + secs(60)));
    // Another word of the same is news.
    let other = lifecycle::taken_over(world.rex(), "managed-by=x", secs(10), now);
    assert_eq!(other.events.len(), 1);
}

#[test]
fn once_it_is_nobody_elses_again_it_goes() {
    let mut world = taken();
    assert!(lifecycle::regained(world.rex()).applied);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn given_up_it_frees_its_slot_and_its_name() {
    let mut world = taken();
    world.edit(|cattle| cattle.hash = hash(2));
    assert_eq!(
        world.waits(),
        [("rex".to_owned(), "previous-run".to_owned())]
    );
    let waiting = &world.plan().waiting[0];
    assert!(
        waiting.message.contains("`destroy` gives it up"),
        "{waiting:?}"
    );
    assert!(lifecycle::give_up(world.rex(), Project::Ours, "by operator", at(100)).applied);
    assert!(!world.rex().holds_slot());
    assert_eq!(world.verbs(), ["enqueue", "start"]);
    // Listed as ours again, it is of a run that is over.
    let server = world.server_of(run_id(1), ServerId(7));
    world.later(30);
    world.observed.servers.push(server);
    assert!(world.verbs().contains(&"delete"));
}

#[test]
fn a_mark_ends_no_run_and_nothing_is_done_to_its_server() {
    let mut world = World::created();
    world.listed().status = cattle_core::observed::ServerState::Off;
    world.rex().server.as_mut().unwrap().actions.clear();
    world.later(30);
    assert_eq!(world.verbs(), ["power-on"]);
    let now = world.now;
    let _ = lifecycle::taken_over(world.rex(), "fleet=other", secs(10), now);
    assert_eq!(world.verbs(), [""; 0], "the list is older than that");
    world.observed.servers.clear();
    world.later(30);
    assert_eq!(world.verbs(), ["confirm-gone"]);
    assert!(world.rex().is_live() && world.rex().holds_slot());
    assert!(!lifecycle::give_up(world.rex(), Project::Ours, "by operator", at(100)).applied);
}

#[test]
fn what_was_given_up_while_it_handed_over_is_deleted_at_once_when_it_returns() {
    let mut world = World::running();
    let _ = lifecycle::end(
        world.rex(),
        None,
        &lifecycle::Ending::new(EndReason::Destroyed, "asked for"),
        at(100),
    );
    assert!(world.rex().is_handing_over(at(110)));
    let _ = lifecycle::taken_over(world.rex(), "fleet=other", secs(10), at(101));
    let _ = lifecycle::give_up(world.rex(), Project::Ours, "asked for", at(102));
    world.now = at(110);
    world.observed.listed_at = Some(at(110));
    // Nobody hands anything over any more, and the guard knows that too.
    assert_eq!(world.verbs(), ["delete"]);
}
