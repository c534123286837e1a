//! When what is asked, on instants of the test's own.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cattle_core::catalogue::{Catalogue, Image, ImageAnswer, ImageKind, ServerType};
use tokio::time::Instant;

use super::known::{Answer, Failed, Known, Subject};
use crate::hetzner::Pricing;

const FLEETS: &str = "role=cattle-image";

/// What is known, and a clock that is moved by hand.
struct World {
    known: Known,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            known: Known::new(Duration::from_secs(60), now),
            now,
        }
    }

    /// Everything was read once.
    fn read() -> Self {
        let mut world = Self::new();
        world.want(&[]);
        for subject in world.due() {
            world.answer(&subject);
        }
        world
    }

    fn want(&mut self, wanted: &[&str]) {
        let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
        self.known.want(&wanted, FLEETS, self.now);
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn due(&mut self) -> Vec<Subject> {
        self.known.take_due(self.now)
    }

    fn answer(&mut self, subject: &Subject) {
        let answer = match subject {
            Subject::ServerTypes => {
                Answer::ServerTypes(BTreeMap::from([("cx23".to_owned(), ServerType::default())]))
            }
            Subject::Pricing => Answer::Pricing(pricing()),
            Subject::Image(_) => Answer::Image(found()),
        };
        self.known.apply(subject, Ok(answer), self.now);
    }

    fn fail(&mut self, subject: &Subject) {
        let failed = Failed {
            message: "no answer".to_owned(),
            retry_in: None,
        };
        self.known.apply(subject, Err(failed), self.now);
    }

    fn catalogue(&self) -> Catalogue {
        self.known.catalogue(self.now)
    }

    /// Seconds until something is to be done.
    fn sleeps(&self) -> u64 {
        (self.known.next_due(self.now) - self.now).as_secs()
    }
}

fn pricing() -> Pricing {
    let price = cattle_core::cost::Price {
        hourly: "0.0088".parse().unwrap(),
        monthly: None,
    };
    let prices = BTreeMap::from([("nbg1".to_owned(), price)]);
    Pricing {
        currency: "EUR".to_owned(),
        ipv4: prices.clone(),
        server_types: BTreeMap::from([
            ("cx23".to_owned(), prices.clone()),
            ("cx99".to_owned(), prices),
        ]),
    }
}

fn found() -> ImageAnswer {
    ImageAnswer::Found(vec![Image {
        id: 1,
        title: String::new(),
        kind: ImageKind::Snapshot,
        architecture: None,
        disk_gb: None,
        created: None,
        unavailable_after: None,
    }])
}

fn missing() -> ImageAnswer {
    ImageAnswer::Missing {
        message: String::new(),
        hint: String::new(),
    }
}

fn image(text: &str) -> Subject {
    Subject::Image(text.to_owned())
}

#[test]
fn everything_is_asked_for_once_and_then_left_alone() {
    let mut world = World::new();
    world.want(&["debian-13"]);
    assert_eq!(
        world.due(),
        [
            Subject::ServerTypes,
            Subject::Pricing,
            image("debian-13"),
            image(FLEETS)
        ]
    );
    assert_eq!(world.due(), [], "they are under way");
    for subject in [
        Subject::ServerTypes,
        Subject::Pricing,
        image("debian-13"),
        image(FLEETS),
    ] {
        world.answer(&subject);
    }
    world.want(&[]);
    world.later(6 * 3_600 - 1);
    assert_eq!(world.due(), []);
    world.later(1);
    assert_eq!(world.due(), [Subject::ServerTypes, Subject::Pricing]);
}

#[test]
fn one_answer_does_not_wait_for_another_or_lose_it() {
    let mut world = World::new();
    world.due();
    world.answer(&Subject::Pricing);
    world.fail(&Subject::ServerTypes);
    let catalogue = world.catalogue();
    assert_eq!(catalogue.currency, "EUR");
    assert_eq!(catalogue.server_types.len(), 2, "known by their prices");
    assert!(catalogue.price("cx99", "nbg1").is_some());
    world.later(59);
    assert_eq!(world.due(), []);
    world.later(1);
    assert_eq!(world.due(), [Subject::ServerTypes]);
    world.answer(&Subject::ServerTypes);
    assert_eq!(world.catalogue().server_types.len(), 1);
    world.later(6 * 3_600);
    for subject in world.due() {
        world.fail(&subject);
    }
    let after = world.catalogue();
    assert_eq!(after.server_types.len(), 1, "the last answer stands");
    assert!(after.price("cx23", "nbg1").is_some());
}

#[test]
fn starts_wait_for_the_first_answers_and_not_for_an_endpoint_that_hangs() {
    let mut world = World::new();
    world.want(&["debian-13"]);
    world.due();
    world.answer(&image("debian-13"));
    world.answer(&Subject::Pricing);
    assert!(world.catalogue().images.is_empty());
    assert_eq!(world.sleeps(), 5);
    world.later(5);
    assert!(world.catalogue().images.contains_key("debian-13"));
}

#[test]
fn a_failing_endpoint_is_waited_for_no_longer_than_it_takes_to_fail() {
    let mut world = World::new();
    world.want(&["debian-13"]);
    world.due();
    world.fail(&Subject::ServerTypes);
    world.fail(&Subject::Pricing);
    world.fail(&image("debian-13"));
    let images = world.catalogue().images;
    assert!(matches!(images["debian-13"], ImageAnswer::Unread { .. }));
}

#[test]
fn what_was_found_is_asked_for_again_only_when_something_is_to_start() {
    let mut world = World::read();
    world.later(599);
    world.want(&[FLEETS]);
    assert_eq!(world.due(), []);
    world.want(&[]);
    world.later(1);
    assert_eq!(world.due(), []);
    assert!(world.catalogue().stale.contains(FLEETS));
    world.later(3_600);
    assert_eq!(world.due(), []);
    world.want(&[FLEETS]);
    assert_eq!(world.sleeps(), 0);
    assert_eq!(world.due(), [image(FLEETS)]);
    assert!(world.catalogue().stale.contains(FLEETS), "until the answer");
    world.answer(&image(FLEETS));
    assert!(world.catalogue().stale.is_empty());
}

#[test]
fn an_old_answer_is_used_when_no_new_one_can_be_had() {
    let mut world = World::read();
    world.later(600);
    world.want(&[FLEETS]);
    world.due();
    world.fail(&image(FLEETS));
    let catalogue = world.catalogue();
    assert_eq!(catalogue.images[FLEETS], found());
    assert!(catalogue.stale.is_empty());
    assert_eq!(world.sleeps(), 15);
}

#[test]
fn what_is_missing_is_looked_for_again_and_again_while_something_waits_for_it() {
    let mut world = World::read();
    world.want(&["debian-31"]);
    let asked = image("debian-31");
    assert_eq!(world.due(), std::slice::from_ref(&asked));
    world
        .known
        .apply(&asked, Ok(Answer::Image(missing())), world.now);
    assert_eq!(world.sleeps(), 15);
    world.later(15);
    assert_eq!(world.due(), std::slice::from_ref(&asked));
    world
        .known
        .apply(&asked, Ok(Answer::Image(missing())), world.now);
    world.want(&[]);
    world.later(3_600);
    assert_eq!(world.due(), [], "nobody waits for it");
}

#[test]
fn the_fleets_image_is_looked_for_now_and_then_while_it_is_missing() {
    let mut world = World::new();
    world.want(&[]);
    let due = world.due();
    let asked = image(FLEETS);
    assert!(due.contains(&asked));
    world.answer(&Subject::ServerTypes);
    world.answer(&Subject::Pricing);
    world
        .known
        .apply(&asked, Ok(Answer::Image(missing())), world.now);
    assert_eq!(world.sleeps(), 15 + 600);
}

#[test]
fn many_that_are_missing_are_looked_for_every_minute() {
    let mut world = World::read();
    let names: Vec<String> = (0..20).map(|n| format!("debian-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.want(&names);
    for name in names {
        let answer = Ok(Answer::Image(missing()));
        world.known.apply(&image(name), answer, world.now);
    }
    assert_eq!(world.sleeps(), 60);
}

#[test]
fn what_was_not_answered_is_asked_for_when_the_token_is_taken_again() {
    let mut world = World::read();
    world.want(&["debian-31"]);
    let asked = image("debian-31");
    assert_eq!(world.due(), std::slice::from_ref(&asked));
    let failed = Failed {
        message: "Hetzner refuses the token".to_owned(),
        retry_in: Some(Duration::from_secs(300)),
    };
    world.known.apply(&asked, Err(failed), world.now);
    assert_eq!(world.due(), []);
    world.known.hear_again(world.now);
    assert_eq!(world.due(), [asked]);
}

#[test]
fn a_doubted_image_is_looked_for_anew() {
    let mut world = World::read();
    world.want(&[FLEETS]);
    world.known.doubt(FLEETS, world.now);
    assert!(!world.catalogue().images.contains_key(FLEETS));
    assert_eq!(world.due(), [image(FLEETS)]);
    world.known.doubt("never heard of", world.now);
}

#[test]
fn hetzners_own_wait_is_kept() {
    let mut world = World::read();
    world.want(&["debian-13"]);
    let asked = image("debian-13");
    world.due();
    let failed = Failed {
        message: "slow down".to_owned(),
        retry_in: Some(Duration::from_secs(300)),
    };
    world.known.apply(&asked, Err(failed), world.now);
    assert_eq!(world.sleeps(), 300);
}

#[test]
fn images_are_asked_for_a_few_at_a_time_and_their_number_is_bounded() {
    let mut world = World::read();
    let texts: Vec<String> = (0..300).map(|n| format!("image-{n:03}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.want(&texts);
    let mut asked = 0;
    // As many rounds as there are images end it, or nothing does.
    for _ in &texts {
        let due = world.due();
        if due.is_empty() {
            break;
        }
        assert!(due.len() <= 4, "{due:?}");
        assert!(world.sleeps() > 0, "it does not spin");
        for subject in due {
            world.answer(&subject);
            asked += 1;
        }
    }
    assert!((196..=200).contains(&asked), "{asked}");
    let images = world.catalogue().images;
    assert_eq!(images.len(), 301, "the rest is sent as it is written");
    let unread = images
        .values()
        .filter(|it| matches!(it, ImageAnswer::Unread { .. }));
    assert_eq!(unread.count(), 300 - asked);
    // Others have their turn when these are not wanted any more.
    world.want(&texts[250..]);
    assert!(!world.due().is_empty());
}
