//! What a change to a run entails beyond the run: the same for every store.

use cattle_core::{
    breaker::{ImageFact, image_of},
    charge::Charge,
    ledger::{CreateState, Run},
};
use cattle_schemas::{Timestamp, status::EndReason};

/// What of a run is compared with the run after an edit.
#[derive(Clone, Debug)]
pub(super) struct Before {
    attempt: u32,
    may_speak: bool,
    refused: bool,
    charge: Option<Charge>,
    heard: bool,
    ended: bool,
}

impl Before {
    pub(super) fn of(run: &Run) -> Self {
        Self {
            attempt: run.attempt,
            may_speak: run.may_speak(),
            refused: run.is_refused(),
            charge: Charge::of_run(run),
            heard: was_heard(run),
            ended: run.ended.is_some(),
        }
    }
}

/// What else is written in the same transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Consequence {
    /// A server is asked for: counts towards `createsPerHour`.
    pub(super) create: Option<Timestamp>,
    /// It is certain that no server came of what was asked for: it counts no more. A spec whose
    /// creates are refused again and again must not use up what the others may create.
    pub(super) forget_creates: bool,
    /// The run ended, or its server is no longer kept after that: its tokens are void from here on.
    pub(super) void_tokens: bool,
    /// Where that changed: what its server is billed for now, if anything.
    pub(super) charge: Option<Option<Charge>>,
    /// What the run tells of the image that its server was made of.
    pub(super) image: Option<(String, ImageFact)>,
}

/// A run that is inserted. One that was adopted was not asked for by this ledger.
pub(super) fn of_insert(run: &Run) -> Consequence {
    let asked_for = run.create == CreateState::Intended;
    Consequence {
        create: asked_for.then_some(run.posted_at),
        forget_creates: false,
        void_tokens: false,
        charge: Charge::of_run(run).map(Some),
        // One that was adopted has told nothing.
        image: None,
    }
}

/// A run that was edited.
pub(super) fn of_edit(before: Before, run: &Run) -> Consequence {
    let charge = Charge::of_run(run);
    let reported = run.last_seen_at.filter(|_| !before.heard && was_heard(run));
    let timed_out = run
        .ended
        .as_ref()
        .filter(|end| !before.ended && end.reason == EndReason::BootTimeout);
    let fact = match (reported, timed_out) {
        (Some(at), _) => Some(ImageFact::Reported(at)),
        (None, Some(end)) => Some(ImageFact::TimedOut(end.at)),
        (None, None) => None,
    };
    Consequence {
        image: fact.map(|fact| (image_of(run).to_owned(), fact)),
        charge: (charge != before.charge).then_some(charge),
        create: (run.attempt > before.attempt).then_some(run.posted_at),
        forget_creates: !before.refused && run.is_refused(),
        void_tokens: before.may_speak && !run.may_speak(),
    }
}

/// Whether its guest itself said that it is up. That a task counts as begun, as in a ledger that was
/// lost, says nothing about its image.
fn was_heard(run: &Run) -> bool {
    run.started_at.is_some() && run.last_seen_at.is_some()
}

/// Whether nothing follows any more: over, and its server proved gone.
pub(super) fn is_settled(run: &Run) -> bool {
    run.ended.is_some() && run.gone_at.is_some()
}

/// An instant as precise as the database keeps it, so that what is told as it happens is what is
/// read later.
pub(super) fn as_stored(at: Timestamp) -> Timestamp {
    Timestamp::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}
