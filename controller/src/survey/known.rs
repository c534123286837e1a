//! What was read, when, and what is to be read next. No I/O and no clock of its own.
//!
//! Invariants: an answer that stood is not lost because the next question failed, nor because
//! another one did; what nobody waits for is not asked for again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cattle_core::catalogue::{Catalogue, ImageAnswer, ServerType};
use tokio::time::Instant;

use crate::hetzner::Pricing;

/// Server types and prices change by announcement, months ahead; what is in stock only orders what
/// is tried.
const OFFER_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How long an image that was found is taken for the newest. Whoever has just made a new one waits
/// no longer than this for it to be used.
const FOUND_FOR: Duration = Duration::from_secs(600);
/// So much sooner than anything else an image is asked for again of which Hetzner did not say
/// whether it is there.
const UNREAD_SOONER: u32 = 4;
/// Somebody may be making an image that is missing, and what waits for it starts when it is seen; but
/// so far apart are the calls for all that are.
const MISSING_APART: Duration = Duration::from_secs(5);
/// So much later than anything else at most: the slowest pace of the error table (300 s), after
/// which an operator may have mended what was wrong.
const UNREAD_LATEST: u32 = 5;
/// How long starts wait for the first answers, so that what is made has a price and is not tried
/// where it cannot be. An endpoint that fails must not keep anything from starting.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Images that are remembered at once: far more than any fleet names. Beyond it an id or a name is
/// sent as it is written.
const MAX_IMAGES: usize = 200;
/// Images that are asked for at once: a burst must not take the calls that creates need.
const AT_ONCE: usize = 4;

/// What can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    ServerTypes,
    Pricing,
    Image(String),
}

/// What was read.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    ServerTypes(BTreeMap<String, ServerType>),
    Pricing(Pricing),
    Image(ImageAnswer),
}

/// Why it was not, and how soon Hetzner wants to be asked again.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) message: String,
    pub(super) retry_in: Option<Duration>,
}

/// All answers so far.
#[derive(Debug)]
pub(super) struct Known {
    began: Instant,
    /// How long after something could not be read, or was not there, it is asked for again.
    again: Duration,
    server_types: Slot<BTreeMap<String, ServerType>>,
    pricing: Slot<Pricing>,
    images: BTreeMap<String, Slot<ImageAnswer>>,
    under_way: BTreeSet<Subject>,
    wanted: BTreeSet<String>,
    fleets: String,
}

/// One answer.
#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    /// Whether anybody ever answered, or failed to.
    tried: bool,
    /// When it is asked for again.
    due: Instant,
}

impl<T> Slot<T> {
    fn new(now: Instant) -> Self {
        Self {
            value: None,
            tried: false,
            due: now,
        }
    }

    fn take(&mut self, value: T, due: Instant) {
        *self = Self {
            value: Some(value),
            tried: true,
            due,
        };
    }

    fn fail(&mut self, due: Instant) {
        self.tried = true;
        self.due = due;
    }
}

impl Known {
    pub(super) fn new(again: Duration, now: Instant) -> Self {
        Self {
            began: now,
            again,
            server_types: Slot::new(now),
            pricing: Slot::new(now),
            images: BTreeMap::new(),
            under_way: BTreeSet::new(),
            wanted: BTreeSet::new(),
            fleets: String::new(),
        }
    }

    /// What something is to start with, and what the fleet has for whoever says nothing.
    pub(super) fn want(&mut self, wanted: &BTreeSet<String>, fleets: &str, now: Instant) {
        self.wanted.clone_from(wanted);
        fleets.clone_into(&mut self.fleets);
        for text in self.wanted.iter().chain([&self.fleets]) {
            if self.images.contains_key(text) {
                continue;
            }
            if self.images.len() >= MAX_IMAGES {
                let idle = |text: &&String| !self.wanted.contains(*text) && **text != self.fleets;
                let Some(idle) = self.images.keys().find(idle).cloned() else {
                    break;
                };
                self.images.remove(&idle);
            }
            self.images.insert(text.clone(), Slot::new(now));
        }
    }

    /// A create was refused because of this image: what is known of it does not hold.
    pub(super) fn doubt(&mut self, text: &str, now: Instant) {
        if let Some(slot) = self.images.get_mut(text) {
            *slot = Slot::new(now);
        }
    }

    /// Hetzner takes the token (again): what it did not answer is asked for now.
    pub(super) fn hear_again(&mut self, now: Instant) {
        for slot in self.images.values_mut() {
            if matches!(slot.value, Some(ImageAnswer::Unread { .. })) {
                slot.due = slot.due.min(now);
            }
        }
        if self.server_types.value.is_none() {
            self.server_types.due = self.server_types.due.min(now);
        }
        if self.pricing.value.is_none() {
            self.pricing.due = self.pricing.due.min(now);
        }
    }

    /// What is to be asked for now; it counts as under way from here on.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Subject> {
        let mut due = Vec::new();
        let offers = [
            (Subject::ServerTypes, self.server_types.due),
            (Subject::Pricing, self.pricing.due),
        ];
        for (subject, at) in offers {
            if at <= now && self.under_way.insert(subject.clone()) {
                due.push(subject);
            }
        }
        let images: Vec<Subject> = self
            .images
            .iter()
            .filter(|(text, slot)| self.asked_at(text, slot).is_some_and(|at| at <= now))
            .map(|(text, _)| Subject::Image(text.clone()))
            .filter(|subject| !self.under_way.contains(subject))
            .take(self.room())
            .collect();
        self.under_way.extend(images.iter().cloned());
        due.extend(images);
        due
    }

    /// How many images may be asked for beside those that are.
    fn room(&self) -> usize {
        let is_image = |subject: &&Subject| matches!(subject, Subject::Image(_));
        AT_ONCE.saturating_sub(self.under_way.iter().filter(is_image).count())
    }

    /// When an image is asked for; `None` while nobody needs to know.
    fn asked_at(&self, text: &str, slot: &Slot<ImageAnswer>) -> Option<Instant> {
        let found = matches!(slot.value, Some(ImageAnswer::Found(_)));
        if self.wanted.contains(text) || !slot.tried {
            Some(slot.due)
        } else if text == self.fleets && !found {
            // Nothing waits for it, but the controller says that it is missing.
            Some(slot.due + FOUND_FOR)
        } else {
            None
        }
    }

    /// When something is due next, or is to be called stale.
    pub(super) fn next_due(&self, now: Instant) -> Instant {
        let mut next = now + OFFER_EVERY;
        let mut at = |at: Instant| next = next.min(at.max(now));
        if !self.under_way.contains(&Subject::ServerTypes) {
            at(self.server_types.due);
        }
        if !self.under_way.contains(&Subject::Pricing) {
            at(self.pricing.due);
        }
        if !self.is_ready(now) {
            at(self.began + FIRST_WAIT);
        }
        for (text, slot) in &self.images {
            if self.under_way.contains(&Subject::Image(text.clone())) {
                continue;
            }
            if let Some(asked_at) = self.asked_at(text, slot) {
                // Without room, the next answer makes some.
                if asked_at > now || self.room() > 0 {
                    at(asked_at);
                }
            } else if slot.due > now {
                at(slot.due);
            }
        }
        next
    }

    /// It was answered, or not.
    pub(super) fn apply(
        &mut self,
        subject: &Subject,
        result: Result<Answer, Failed>,
        now: Instant,
    ) {
        self.under_way.remove(subject);
        match (subject, result) {
            (Subject::ServerTypes, Ok(Answer::ServerTypes(types))) => {
                self.server_types.take(types, now + OFFER_EVERY);
            }
            (Subject::Pricing, Ok(Answer::Pricing(pricing))) => {
                self.pricing.take(pricing, now + OFFER_EVERY);
            }
            (Subject::Image(text), Ok(Answer::Image(answer))) => {
                let many = u32::try_from(self.images.len()).unwrap_or(u32::MAX);
                let every = match answer {
                    ImageAnswer::Found(_) => FOUND_FOR,
                    _ => MISSING_APART
                        .saturating_mul(many)
                        .clamp(self.again / UNREAD_SOONER, self.again),
                };
                if let Some(slot) = self.images.get_mut(text) {
                    slot.take(answer, now + every);
                }
            }
            (Subject::ServerTypes, result) => {
                self.server_types.fail(now + later(result, self.again))
            }
            (Subject::Pricing, result) => self.pricing.fail(now + later(result, self.again)),
            (Subject::Image(text), result) => {
                let Some(slot) = self.images.get_mut(text) else {
                    return;
                };
                let failed = result.err();
                let retry = failed.as_ref().and_then(|it| it.retry_in);
                let (least, most) = (self.again / UNREAD_SOONER, self.again * UNREAD_LATEST);
                slot.fail(now + retry.unwrap_or_default().clamp(least, most));
                // Found yesterday is better than not known.
                if !matches!(slot.value, Some(ImageAnswer::Found(_))) {
                    slot.value = Some(ImageAnswer::Unread {
                        message: failed.map(|it| it.message).unwrap_or_default(),
                    });
                }
            }
        }
    }

    /// Whether the first answers are there, or were waited for long enough.
    fn is_ready(&self, now: Instant) -> bool {
        (self.server_types.tried && self.pricing.tried) || now >= self.began + FIRST_WAIT
    }

    /// All that is known.
    pub(super) fn catalogue(&self, now: Instant) -> Catalogue {
        let mut catalogue = Catalogue::default();
        if let Some(types) = &self.server_types.value {
            catalogue.server_types.clone_from(types);
        }
        if let Some(pricing) = &self.pricing.value {
            catalogue.currency.clone_from(&pricing.currency);
            catalogue.ipv4.clone_from(&pricing.ipv4);
            for (name, prices) in &pricing.server_types {
                // A type that only the price list names is known by its prices alone.
                if self.server_types.value.is_none() || catalogue.server_types.contains_key(name) {
                    let known = catalogue.server_types.entry(name.clone()).or_default();
                    for (location, price) in prices {
                        known.prices.entry(location.clone()).or_insert(*price);
                    }
                }
            }
        }
        if !self.is_ready(now) {
            return catalogue;
        }
        for text in &self.wanted {
            if !self.images.contains_key(text) {
                let message = format!("more than {MAX_IMAGES} images are named at once");
                let unread = ImageAnswer::Unread { message };
                catalogue.images.insert(text.clone(), unread);
            }
        }
        for (text, slot) in &self.images {
            let Some(answer) = &slot.value else { continue };
            catalogue.images.insert(text.clone(), answer.clone());
            if matches!(answer, ImageAnswer::Found(_)) && slot.due <= now {
                catalogue.stale.insert(text.clone());
            }
        }
        catalogue
    }
}

/// When to ask again for what only a few are curious about.
fn later(result: Result<Answer, Failed>, again: Duration) -> Duration {
    let asked = result.err().and_then(|failed| failed.retry_in);
    asked
        .unwrap_or_default()
        .clamp(again, again * UNREAD_LATEST)
}
