//! Nothing is over before its time, and nothing by a clock that does not tell the time.

use cattle_schemas::{Timestamp, status::EndReason};
use chrono::TimeDelta;

use super::{Inputs, Tally, Verdict, require};
use crate::{ledger::Run, lifecycle::deadlines, names::RunId, observed::ServerState};

impl Tally<'_> {
    pub(super) fn may_stop(&self, id: RunId, reason: EndReason) -> Verdict {
        match reason {
            EndReason::TtlExpired => self.is_past_its_time(self.run(id)?),
            _ => Ok(()),
        }
    }

    pub(super) fn time_is_known(&self) -> Verdict {
        require(
            self.inputs.limits.clocks.trust.judges(),
            "nothing is over by a clock that does not tell the time",
        )
    }

    pub(super) fn is_past_its_time(&self, run: &Run) -> Verdict {
        self.time_is_known()?;
        require(
            run.expires_at <= self.inputs.now,
            "a run is not over before its time",
        )
    }

    /// Its server was seen off, or nothing was heard of it for the whole wait while everything could
    /// be.
    pub(super) fn is_silent(&self, run: &Run) -> Verdict {
        let bound = run.server.as_ref().map(|server| server.id);
        let off = self.listed.values().any(|server| {
            let its = bound.map_or(server.labels.run == Some(run.id), |bound| {
                bound == server.id
            });
            its && server.status == ServerState::Off
        });
        if off {
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

fn delta(span: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}
