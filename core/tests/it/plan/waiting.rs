//! Runs that never had a server: they follow their spec, and wait no longer than their cause lasts.

use std::sync::Arc;

use cattle_core::{
    account::{Heard, Refusal},
    action::Action,
    candidates::Cold,
    catalogue::ImageAnswer,
    clock::Wait,
    desired::Placement,
    lifecycle,
    plan::images,
};
use cattle_schemas::{Timestamp, status::PendingReason};

use crate::fixture::*;

/// The create of `rex` was refused, and is to be tried again in ten minutes.
fn refused(reason: PendingReason) -> World {
    let mut world = World::intended();
    let wait = (reason != PendingReason::OutOfStock).then(|| at(700));
    let _ = lifecycle::refuse_create(world.rex(), reason, "refused", wait, at(100));
    world
}

fn cool(world: &mut World, server_type: &str, location: &str, until: Timestamp) {
    let cold = Cold {
        server_type: server_type.to_owned(),
        location: location.to_owned(),
        why: "error during placement (resource_unavailable)".to_owned(),
        wait: Wait::until(until, at(0)),
    };
    let pair = (server_type.to_owned(), location.to_owned());
    Arc::make_mut(&mut world.limits.cold).insert(pair, cold);
}

/// Where the plan tries the runs again.
fn retried(world: &World) -> Vec<Placement> {
    let placement = |action: &Action| match action {
        Action::Retry { placement, .. } => Some(placement.clone()),
        _ => None,
    };
    world.plan().actions.iter().filter_map(placement).collect()
}

#[test]
fn a_refused_run_takes_the_placement_that_its_spec_has_now_at_once() {
    for reason in [
        PendingReason::OutOfStock,
        PendingReason::Config,
        PendingReason::Account,
    ] {
        let mut world = refused(reason);
        cool(&mut world, "cx23", "nbg1", at(700));
        assert_eq!(retried(&world), [], "{reason}");
        world.edit(|cattle| cattle.placement.locations.push("fsn1".to_owned()));
        let placement = world.plan().actions;
        let [Action::Retry { placement, .. }] = placement.as_slice() else {
            panic!("{reason}: {placement:?}");
        };
        assert_eq!(placement.locations, ["nbg1", "fsn1"], "{reason}");
    }
}

#[test]
fn a_refused_run_whose_image_is_gone_takes_the_one_that_is_named_now() {
    let mut world = refused(PendingReason::Config);
    let gone = ImageAnswer::Missing {
        message: "there is no image 123456".to_owned(),
        hint: "name another".to_owned(),
    };
    let known = &mut Arc::make_mut(&mut world.limits.catalogue).images;
    let found = known.insert("123456".to_owned(), gone).unwrap();
    assert_eq!(world.waits(), [("rex".to_owned(), "config".to_owned())]);
    world.edit(|cattle| cattle.placement.image = "777".to_owned());
    let plan = world.plan();
    assert!(plan.waiting[0].message.contains("777"), "{plan:?}");
    let wanted = images(&plan, &world.desired, &world.ledger);
    assert_eq!(wanted, ["777".to_owned()].into());
    let known = &mut Arc::make_mut(&mut world.limits.catalogue).images;
    known.insert("777".to_owned(), found);
    assert_eq!(retried(&world)[0].image, "777");
}

#[test]
fn what_may_have_a_server_already_is_not_asked_for_elsewhere() {
    let mut world = World::intended();
    world.edit(|cattle| cattle.placement.locations = vec!["fsn1".to_owned()]);
    assert_eq!(retried(&world)[0].locations, ["nbg1"]);
}

#[test]
fn where_creates_were_refused_is_the_same_for_old_and_new() {
    let mut world = refused(PendingReason::OutOfStock).with_spec(cattle("max"));
    cool(&mut world, "cx23", "nbg1", at(700));
    let plan = world.plan();
    let waits = |nth: usize| {
        let waiting = &plan.waiting[nth];
        (
            waiting.cattle.to_string(),
            waiting.reason,
            waiting.message.clone(),
        )
    };
    let why =
        "cx23 in nbg1: error during placement (resource_unavailable), tried again at 14:25:00 UTC";
    for (nth, name) in ["max", "rex"].into_iter().enumerate() {
        let told = (name.to_owned(), PendingReason::OutOfStock, why.to_owned());
        let mut both = [waits(0), waits(1)];
        both.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(both[nth], told);
    }
    assert_eq!(plan.next_wake, Some(at(700)));
}

#[test]
fn a_pair_that_thaws_is_tried_by_who_waits_longest_and_by_nobody_else() {
    let mut world = refused(PendingReason::OutOfStock).with_spec(cattle("max"));
    cool(&mut world, "cx23", "nbg1", at(100));
    assert_eq!(world.verbs(), ["enqueue", "retry"]);
    let plan = world.plan();
    assert_eq!(plan.waiting.len(), 1);
    assert!(plan.waiting[0].message.ends_with("being tried again"));
    // While that one is under way, nobody else tries.
    let _ = lifecycle::retry(world.rex(), secs(86_400), at(100));
    world.limits.in_flight.insert(run_id(1));
    assert_eq!(world.verbs(), ["enqueue"]);
    // It was made: the pair is free for all.
    Arc::make_mut(&mut world.limits.cold).clear();
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn a_start_that_has_a_free_pair_leaves_the_refused_one_to_others() {
    let mut world = refused(PendingReason::OutOfStock);
    let mut other = cattle("max");
    other.placement.locations.push("fsn1".to_owned());
    world = world.with_spec(other);
    cool(&mut world, "cx23", "nbg1", at(100));
    assert_eq!(world.verbs(), ["enqueue", "retry", "start"]);
}

#[test]
fn a_wait_that_an_older_version_wrote_for_a_pair_is_none() {
    let mut world = refused(PendingReason::OutOfStock);
    world.rex().retry_at = Some(Wait::until(at(700), at(100)));
    assert_eq!(world.verbs(), ["retry"]);
}

#[test]
fn the_budget_sees_only_what_may_be_tried() {
    let mut world = refused(PendingReason::OutOfStock).with_budget(Some("0.0100"), None);
    world.edit(|cattle| cattle.placement.server_types.push("cpx22".to_owned()));
    cool(&mut world, "cx23", "nbg1", at(700));
    // Only the dear one could be had, and there is no room for it.
    assert_eq!(world.waits(), [("rex".to_owned(), "budget".to_owned())]);
    Arc::make_mut(&mut world.limits.cold).clear();
    assert_eq!(world.verbs(), ["retry"]);
}

#[test]
fn what_lacks_a_secret_says_so_until_it_is_there() {
    let mut world = World::dropped();
    let lacks = "there is no secret `zai_api_key`";
    let lacking = [(name("rex"), lacks.to_owned())];
    world.limits.unequipped = lacking.clone().into();
    let plan = world.plan();
    assert_eq!(plan.waiting[0].reason, PendingReason::Config);
    assert_eq!(plan.waiting[0].message, lacks);
    assert_eq!(plan.next_wake, Some(at(105)), "nobody tells");
    world.limits.unequipped.clear();
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn a_refusal_of_the_token_ends_with_it() {
    let mut world = World::intended();
    let reason = PendingReason::Account;
    let _ = lifecycle::refuse_create(world.rex(), reason, "Hetzner refuses it", None, at(100));
    world.refuse_token(Refusal::Unauthorized);
    assert_eq!(world.waits(), [("rex".to_owned(), "account".to_owned())]);
    world.limits.token = world.limits.token.after(Heard::Read, at(100));
    assert_eq!(world.verbs(), ["retry"]);
}

#[test]
fn somebody_may_ask_for_a_look_at_once_but_not_again_and_again() {
    let mut world = refused(PendingReason::Config);
    assert!(lifecycle::look_again(world.rex(), at(102)).applied);
    assert_eq!(world.rex().retry_at.unwrap().until, at(105));
    assert!(lifecycle::look_again(world.rex(), at(110)).applied);
    assert_eq!(world.verbs(), ["retry"]);
    let mut running = World::running();
    assert!(!lifecycle::look_again(running.rex(), at(110)).applied);
}
