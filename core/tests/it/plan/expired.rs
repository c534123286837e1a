//! What is done, and not done, while the ledger cannot be written.

use cattle_core::{
    action::Action, clock::Trust, labels::FOREIGN_MARK, lifecycle::deadlines,
    observed::ServerState, plan, status::controller_status, writable::Writable,
};
use cattle_schemas::status::{ConditionType, PendingReason};

use crate::fixture::*;

fn expired(world: &World) -> Vec<Action> {
    let World {
        observed,
        ledger,
        limits,
        now,
        ..
    } = world;
    plan::expired(observed, ledger, limits, *now).actions
}

#[test]
fn what_is_past_its_expiry_goes_although_its_end_cannot_be_recorded() {
    let mut world = World::running();
    let over = world.rex().expires_at + deadlines::HANDOVER;
    world.now = over - secs(1);
    assert_eq!(expired(&world), []);
    world.now = over;
    let run = world.rex().id;
    let server = world.rex().server.as_ref().unwrap().id;
    let wanted = [Action::DeleteExpired { run, server }];
    assert_eq!(expired(&world), wanted);

    let mut unlisted = world.clone();
    unlisted.observed.servers.clear();
    assert_eq!(expired(&unlisted), wanted, "no list is needed to know it");
    let mut begun = world.clone();
    begun.limits.in_flight.insert(run);
    assert_eq!(expired(&begun), []);
    let mut leaving = world.clone();
    leaving.listed().status = ServerState::Deleting;
    assert_eq!(expired(&leaving), [], "somebody's delete is under way");
    let mut timeless = world.clone();
    timeless.limits.clocks.trust = Trust::Unheard;
    assert_eq!(expired(&timeless), [], "nobody knows the time");
    let mut foreign = world.clone();
    let raw = &mut foreign.observed.servers[0].labels.raw;
    raw.insert(FOREIGN_MARK.to_owned(), "somebody".to_owned());
    assert_eq!(expired(&foreign), []);
    // Until Hetzner has answered, the time is only ours.
    world.observed.listed_at = None;
    assert_eq!(expired(&world), []);
}

#[test]
fn nothing_starts_that_could_not_be_recorded_and_it_is_said_why() {
    for trouble in [
        Writable::NoRoom,
        Writable::Locked,
        Writable::Failing("it is read-only".to_owned()),
    ] {
        let mut world = World::dropped();
        world.limits.ledger = trouble.clone();
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.waiting[0].reason, PendingReason::StartsPaused);
        assert_eq!(Some(&plan.waiting[0].message), trouble.complaint().as_ref());
        let status = controller_status(
            "1",
            &world.limits,
            &world.observed,
            &world.desired,
            &world.ledger,
            None,
        );
        let condition = status
            .conditions
            .iter()
            .find(|it| it.kind == ConditionType::LedgerWritable)
            .unwrap();
        assert!(!condition.status);
        assert_eq!(condition.reason, trouble.reason());
        assert_eq!(Some(&condition.message), trouble.complaint().as_ref());
    }
}

#[test]
fn what_ends_ends_all_the_same() {
    let mut world = World::handed_over(0);
    world.limits.ledger = Writable::NoRoom;
    assert_eq!(world.verbs(), ["end"]);
    let mut world = World::ended();
    world.limits.ledger = Writable::Locked;
    assert_eq!(world.verbs(), ["delete"]);
}
