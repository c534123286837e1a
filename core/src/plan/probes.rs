//! How many servers of an image may be made: one probe at a time of one that does not boot, and
//! `limits.unprovenImage` of one that no guest has reported from yet.

use std::collections::{BTreeMap, BTreeSet};

use cattle_schemas::status::{PauseReason, PendingReason};

use super::{Pass, describe::span};
use crate::{
    action::Action,
    breaker::{ImageRecord, PROBE_EVERY, image_of},
    candidates::choose,
    desired::{Placement, SpecState},
    ledger::Run,
    pause::Pause,
};

/// Servers of each image that may still boot.
#[derive(Default)]
pub(super) struct Probes {
    /// Whether there is anything to look after.
    needed: bool,
    /// Runs with a slot whose guest has not reported, by image.
    unproven: BTreeMap<String, u32>,
}

/// Why a candidate waits.
pub(super) type Wait = (PendingReason, String);

impl Probes {
    pub(super) fn new(pass: &Pass<'_>) -> Self {
        let needed = pass.limits.unproven_image.is_some()
            || pass.ledger.images.values().any(ImageRecord::is_open);
        let mut probes = Self {
            needed,
            unproven: BTreeMap::new(),
        };
        if needed {
            let open = |run: &&Run| run.holds_slot() && run.started_at.is_none();
            for run in pass.ledger.runs.values().filter(open) {
                probes.claim(&images_of_run(pass, run));
            }
        }
        probes
    }

    /// The images that a candidate's server may be made of, or why it has to wait.
    pub(super) fn open(
        &self,
        pass: &mut Pass<'_>,
        placement: &Placement,
    ) -> Result<BTreeSet<String>, Wait> {
        if !self.needed {
            return Ok(BTreeSet::new());
        }
        let images = images(pass, placement);
        for image in &images {
            let record = pass.ledger.images.get(image);
            let under_way = self.unproven.get(image).copied().unwrap_or_default();
            if let Some(record) = record.filter(|record| record.is_open())
                && let Some(message) = probe(pass, image, record, under_way)
            {
                return Err((PendingReason::StartsPaused, message));
            }
            let unproven = record.is_none_or(|record| record.reported_at.is_none());
            if let Some(max) = pass.limits.unproven_image
                && unproven
                && under_way >= max
            {
                let message = format!(
                    "no guest of image {image} has reported yet, and {under_way} of {max} servers of it exist (cattle.limits.unprovenImage); starts when one has, or is gone"
                );
                return Err((PendingReason::UnprovenImage, message));
            }
        }
        Ok(images)
    }

    /// One more server of these is to be made.
    pub(super) fn claim(&mut self, images: &BTreeSet<String>) {
        for image in images {
            *self.unproven.entry(image.clone()).or_default() += 1;
        }
    }
}

/// Why no probe may be made now.
fn probe(pass: &mut Pass<'_>, image: &str, record: &ImageRecord, under_way: u32) -> Option<String> {
    let failed = format!(
        "{} servers of image {image} in a row did not boot in time",
        record.timeouts
    );
    if under_way > 0 {
        return Some(format!(
            "{failed}; waits for the one that is tried ({under_way} under way)"
        ));
    }
    let at = record.probe_at(pass.now)?;
    (!pass.due(at)).then(|| {
        format!(
            "{failed}; one more is tried at {}, or now by `clawdlets cattle resume --reason breaker`",
            at.format("%H:%M:%S UTC")
        )
    })
}

/// The images that a placement's servers may be made of, as creates name them.
fn images(pass: &Pass<'_>, placement: &Placement) -> BTreeSet<String> {
    let choice = choose(placement, &pass.limits.catalogue, pass.now);
    let images: BTreeSet<String> = choice.candidates.into_iter().map(|it| it.image).collect();
    if images.is_empty() {
        [placement.image.clone()].into()
    } else {
        images
    }
}

fn images_of_run(pass: &Pass<'_>, run: &Run) -> BTreeSet<String> {
    match &run.server {
        Some(_) => [image_of(run).to_owned()].into(),
        None => images(pass, &run.spec.placement),
    }
}

/// Says that an image does not boot, for as long as something wants servers of it.
pub(super) fn pauses(pass: &mut Pass<'_>) {
    let ledger = pass.ledger;
    let open = |image: &str| ledger.images.get(image).filter(|record| record.is_open());
    let wanted = if ledger.images.values().any(ImageRecord::is_open) {
        wanted(pass)
    } else {
        BTreeSet::new()
    };
    for image in &wanted {
        if let Some(record) = open(image) {
            let message = format!(
                "{} servers of image {image} in a row did not boot in time; one at a time is tried until one does, {} after the last that did not",
                record.timeouts,
                span(PROBE_EVERY)
            );
            let fresh = Pause {
                subject: image.clone(),
                starts: true,
                ..Pause::by_controller(PauseReason::Breaker, message, pass.now)
            };
            pass.pause(fresh);
        }
    }
    let over = ledger.holding().filter(|pause| {
        pause.reason == PauseReason::Breaker
            && !(open(&pause.subject).is_some() && wanted.contains(&pause.subject))
    });
    for pause in over {
        let message = match open(&pause.subject) {
            Some(_) => "nothing asks for it any more",
            None => "a server of it booted",
        };
        pass.sections.ledger.push(Action::Resume {
            reason: pause.reason,
            subject: pause.subject.clone(),
            message: message.to_owned(),
        });
    }
}

/// The images of everything that is to start, or is starting.
fn wanted(pass: &Pass<'_>) -> BTreeSet<String> {
    let is_open = |name, hash| {
        let assignment = pass.ledger.assignments.get(&(name, hash));
        assignment.is_none_or(|it| it.ended.as_ref().is_none_or(|end| end.reopens))
    };
    let specs = pass.desired.specs.values().filter_map(|entry| {
        let SpecState::Valid(cattle) = &entry.state else {
            return None;
        };
        is_open(cattle.name.clone(), cattle.hash.clone()).then_some(&cattle.placement)
    });
    let mut wanted: BTreeSet<String> = specs.flat_map(|it| images(pass, it)).collect();
    let starting = |run: &&Run| run.is_live() && run.started_at.is_none();
    for run in pass.ledger.runs.values().filter(starting) {
        wanted.extend(images_of_run(pass, run));
    }
    wanted
}
