//! Nothing is over before its time, and nothing by a clock that does not tell the time.

use std::time::Duration;

use cattle_schemas::Timestamp;
use chrono::TimeDelta;

use super::{Inputs, Tally, Verdict, require};
use crate::{ledger::Run, lifecycle::deadlines, names::RunId};

/// No task is asked to stop sooner before its expiry than this: its hand-over takes a third of a
/// minute, and an expiry that coincides with a full hour is kept clear of it by as much.
const ENDS_BEFORE_EXPIRY: Duration = Duration::from_secs(45);

impl Tally<'_> {
    pub(super) fn time_is_known(&self) -> Verdict {
        require(
            self.inputs.limits.clocks.trust.judges(),
            "nothing is over by a clock that does not tell the time",
        )
    }

    pub(super) fn may_redate(&self, id: RunId) -> Verdict {
        self.time_is_known()?;
        require(
            self.run(id)?.posted_at > self.inputs.now,
            "only what was asked for in the future is dated anew",
        )
    }

    pub(super) fn is_past_its_time(&self, run: &Run) -> Verdict {
        self.time_is_known()?;
        require(
            run.expires_at <= self.inputs.now + ENDS_BEFORE_EXPIRY,
            "a run is not over before its time",
        )
    }

    /// Its server was seen off, or nothing was heard of it for the whole wait while everything could
    /// be.
    pub(super) fn is_silent(&self, run: &Run) -> Verdict {
        if self.is_off(run) {
            return Ok(());
        }
        self.time_is_known()?;
        let Inputs { limits, now, .. } = self.inputs;
        let long = |since: Timestamp| *now - since >= delta(deadlines::SILENCE);
        require(
            limits.guests_heard_since.is_some_and(long),
            "no guest is lost before it could be heard for the whole wait",
        )?;
        // A sign of the future is from before the clock went back.
        let of_late = |seen: Timestamp| seen <= *now && !long(seen);
        require(
            !run.last_seen_at.is_some_and(of_late),
            "no guest is lost that was heard of late",
        )
    }
}

fn delta(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}
