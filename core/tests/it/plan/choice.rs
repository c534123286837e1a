//! What a start waits for at Hetzner's: its image, and a pair that can be had.

use std::sync::Arc;

use cattle_core::{
    catalogue::{Catalogue, ImageAnswer, Offer, ServerType},
    lifecycle,
    plan::images,
};
use cattle_schemas::status::PendingReason;

use crate::fixture::*;

const SELECTOR: &str = "role=cattle-image";

/// `rex` wants the image with these words, about which this is known.
fn wants(text: &str, answer: Option<ImageAnswer>) -> World {
    let mut world = World::dropped();
    world.edit(|cattle| cattle.placement.image = text.to_owned());
    let answers = answer.map(|answer| (text.to_owned(), answer));
    world.limits.catalogue = Arc::new(Catalogue {
        images: answers.into_iter().collect(),
        ..Catalogue::default()
    });
    world
}

fn missing() -> ImageAnswer {
    ImageAnswer::Missing {
        message: "no snapshot has the labels `role=cattle-image`".to_owned(),
        hint: "give one these labels".to_owned(),
    }
}

fn unread() -> ImageAnswer {
    ImageAnswer::Unread {
        message: "cannot look for images: Hetzner did not answer in time".to_owned(),
    }
}

fn waits_with(world: &World) -> (PendingReason, String) {
    let plan = world.plan();
    assert_eq!(world.verbs(), ["enqueue"]);
    (plan.waiting[0].reason, plan.waiting[0].message.clone())
}

#[test]
fn nothing_starts_before_its_image_was_looked_for() {
    let (reason, message) = waits_with(&wants("debian-13", None));
    assert_eq!(reason, PendingReason::Queued);
    assert_eq!(message, "looks for image `debian-13`");
}

#[test]
fn an_old_answer_is_asked_for_again_first() {
    let mut world = World::dropped();
    let mut known = catalogue();
    known.stale.insert("123456".to_owned());
    world.limits.catalogue = Arc::new(known);
    let (reason, message) = waits_with(&world);
    assert_eq!(reason, PendingReason::Queued);
    assert_eq!(message, "looks whether image `123456` is still the one");
}

#[test]
fn an_image_that_is_not_there_is_a_matter_of_configuration() {
    let (reason, message) = waits_with(&wants(SELECTOR, Some(missing())));
    assert_eq!(reason, PendingReason::Config);
    assert_eq!(
        message,
        "no snapshot has the labels `role=cattle-image`; give one these labels"
    );
}

#[test]
fn an_endpoint_that_fails_holds_back_nothing_but_a_selector() {
    for text in ["123456", "debian-13"] {
        let world = wants(text, Some(unread()));
        assert_eq!(world.verbs(), ["enqueue", "start"], "{text}");
    }
    let (reason, _) = waits_with(&wants(SELECTOR, Some(unread())));
    assert_eq!(reason, PendingReason::HetznerUnreachable);
}

#[test]
fn without_a_pair_that_can_be_had_all_are_named() {
    let mut world = World::dropped();
    let mut known = catalogue();
    let gone = Offer {
        available: true,
        recommended: true,
        unavailable_after: Some(at(100)),
    };
    let cx23 = ServerType {
        offers: [("nbg1".to_owned(), gone)].into(),
        ..ServerType::default()
    };
    known.server_types.insert("cx23".to_owned(), cx23);
    world.edit(|cattle| cattle.placement.locations.push("ash".to_owned()));
    world.limits.catalogue = Arc::new(known);
    let (reason, message) = waits_with(&world);
    assert_eq!(reason, PendingReason::Config);
    insta::assert_snapshot!(message, @"no server type can be used in any location: cx23 in nbg1: retired there since 2026-09-21; cx23 in ash: the type is not offered there; change `serverTypes`, `locations` or `image` in the spec's `hetzner` or in `cattle.hetzner`");
    world.now = at(99);
    world.observed.listed_at = Some(at(99));
    assert_eq!(world.verbs(), ["enqueue", "start"], "not retired yet");
}

#[test]
fn a_refused_create_waits_for_its_own_image_and_says_so() {
    let mut world = World::intended();
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::Config,
        "image not found (invalid_input)",
        Some(at(130)),
        at(100),
    );
    let mut known = catalogue();
    known.images.insert("123456".to_owned(), missing());
    world.limits.catalogue = Arc::new(known);
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert!(plan.waiting[0].message.starts_with("no snapshot has"));
    assert_eq!(
        images(&plan, &world.desired, &world.ledger),
        ["123456".to_owned()].into()
    );
}

#[test]
fn the_images_of_what_is_to_start_are_wanted_and_no_others() {
    let mut world = World::running();
    let mut other = cattle("max");
    other.placement.image = SELECTOR.to_owned();
    world = world.with_spec(other);
    let wanted = |world: &World| images(&world.plan(), &world.desired, &world.ledger);
    assert_eq!(wanted(&world), [SELECTOR.to_owned()].into());
    let mut known = catalogue();
    known.images.insert(SELECTOR.to_owned(), unread());
    world.limits.catalogue = Arc::new(known);
    assert_eq!(wanted(&world), [SELECTOR.to_owned()].into());
    assert_eq!(wanted(&World::running()), [].into());
    assert_eq!(
        wanted(&World::dropped()),
        ["123456".to_owned()].into(),
        "what starts now wants its image too"
    );
}
