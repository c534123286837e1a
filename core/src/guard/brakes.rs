//! What no slip with spec files and no broken image may do: the rules of [`crate::plan::brake`] and of
//! probes, counted anew.

use std::collections::BTreeSet;

use cattle_schemas::{Timestamp, status::PauseReason};

use super::{Inputs, Tally, Verdict, holders, require};
use crate::{
    breaker::image_of,
    candidates::choose,
    catalogue::ImageAnswer,
    desired::{Placement, Requester},
    ledger::Run,
    pause::Pause,
    plan::brake,
};

impl Tally<'_> {
    /// One server at a time of an image that does not boot, and none before its time.
    pub(super) fn takes_image(&mut self, placement: &Placement) -> Verdict {
        let Inputs {
            ledger,
            limits,
            now,
            ..
        } = self.inputs;
        let names = match limits.catalogue.images.get(&placement.image) {
            Some(ImageAnswer::Found(images)) => images.iter().map(|it| it.id.to_string()).collect(),
            _ => vec![placement.image.clone()],
        };
        let record = |name: &String| ledger.images.get(name).filter(|it| it.timeouts >= 3);
        if names.iter().any(|name| record(name).is_none()) {
            // One of them boots, as far as anybody knows.
            return Ok(());
        }
        let booting: BTreeSet<&str> = holders(self.inputs)
            .filter(|run| run.started_at.is_none())
            .map(image_of)
            .collect();
        let free = names.into_iter().find(|name| {
            !self.probed.contains(name)
                && !booting.contains(name.as_str())
                && record(name).is_some_and(|it| it.probe_at(*now).is_none_or(|at| at <= *now))
        });
        let Some(free) = free else {
            return Err("of an image that does not boot one server at a time is tried");
        };
        self.probed.insert(free);
        Ok(())
    }

    /// No more servers than `unprovenImage` of an image that no guest has reported from.
    pub(super) fn takes_unproven(&mut self, placement: &Placement) -> Verdict {
        let Inputs {
            ledger,
            limits,
            now,
            ..
        } = self.inputs;
        let Some(max) = limits.unproven_image else {
            return Ok(());
        };
        let images = |placement: &Placement| -> BTreeSet<String> {
            let choice = choose(placement, &limits.catalogue, *now);
            let images: BTreeSet<String> =
                choice.candidates.into_iter().map(|it| it.image).collect();
            if images.is_empty() {
                [placement.image.clone()].into()
            } else {
                images
            }
        };
        let may_be_of = |run: &Run, image: &str| match &run.server {
            Some(_) => image_of(run) == image,
            None => images(&run.spec.placement).contains(image),
        };
        for image in images(placement) {
            let record = ledger.images.get(&image);
            if record.is_some_and(|it| it.reported_at.is_some()) {
                continue;
            }
            let booting = holders(self.inputs)
                .filter(|run| run.started_at.is_none() && may_be_of(run, &image))
                .count();
            let planned = self.unproven.entry(image).or_default();
            *planned += 1;
            require(
                booting + *planned <= max as usize,
                "of an image that no guest has reported from there are never more servers than unprovenImage",
            )?;
        }
        Ok(())
    }

    /// Whether somebody has seen that this run would end for its spec, and said yes, lately.
    pub(super) fn is_confirmed(&self, run: &Run) -> bool {
        let Inputs { ledger, now, .. } = self.inputs;
        let lately = |at: Timestamp| *now < at + brake::WINDOW;
        ledger.pauses.iter().any(|pause| {
            let by = pause.resumed.as_ref();
            pause.reason == PauseReason::Deletes
                && by.is_some_and(|by| by.confirmed && lately(by.at))
                && pause.items.iter().any(|item| item.run == Some(run.id))
        })
    }

    /// No source of specs ends more than a few of its runs, and none while it is held back.
    pub(super) fn counts(&mut self, run: &Run, counts_for: Option<&Requester>) -> Verdict {
        let Inputs {
            desired,
            ledger,
            now,
            ..
        } = self.inputs;
        let entry_of = |run: &Run| desired.specs.get(&run.cattle).map(|entry| &entry.origin);
        let Some(source) = counts_for else {
            let put_alone = entry_of(run).is_some_and(|origin| origin.from_socket)
                && self.is_changed(run).is_ok();
            return require(
                put_alone || self.is_confirmed(run),
                "an end for a spec counts, unless somebody asked for that one",
            );
        };
        let of = |run: &Run| match entry_of(run) {
            Some(origin) => origin.requester == *source,
            None => run.requester == *source,
        };
        require(of(run), "an end for a spec counts for the spec's source")?;
        let held = |pause: &Pause| {
            pause.resumed.is_none()
                && pause.reason == PauseReason::Deletes
                && pause.subject == source.0
        };
        require(
            !ledger.pauses.iter().any(held),
            "nothing ends for the specs of a source that is held back",
        )?;
        let lately =
            |(at, of): &&(Timestamp, Requester)| of == source && *now < *at + brake::WINDOW;
        let before = ledger.recent_ends.iter().filter(lately).count();
        let live = ledger
            .runs
            .values()
            .filter(|run| run.is_live() && of(run))
            .count();
        let ends = self.ends.entry(source.clone()).or_default();
        *ends += 1;
        require(
            before + *ends <= brake::allowed(live + before),
            "no source of specs ends more than a few of its runs at once",
        )
    }
}
