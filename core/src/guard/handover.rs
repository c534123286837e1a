//! What a guest still hands over is waited for, and nothing else.

use cattle_schemas::guest::MAX_LOG_BYTES;

use super::{Tally, Verdict, require};
use crate::{ledger::Run, names::RunId, observed::ServerState};

impl Tally<'_> {
    /// Its server is listed as off.
    pub(super) fn is_off(&self, run: &Run) -> bool {
        let bound = run.server.as_ref().map(|server| server.id);
        self.listed.values().any(|server| {
            let its = bound.map_or(server.labels.run == Some(run.id), |bound| {
                bound == server.id
            });
            its && server.status == ServerState::Off
        })
    }

    pub(super) fn may_close_handover(&self, id: RunId, stored: u64) -> Verdict {
        let run = self.run(id)?;
        let open = run.ended.as_ref().zip(run.handover_until());
        let (end, until) = open.ok_or("only a run that is over hands over")?;
        let now = self.inputs.now;
        // An end of the future is from before the clock went back.
        let is_over = until <= now || end.at > now;
        let told = run.outcome.as_ref().map(|outcome| outcome.log_bytes);
        let whole = told.is_some_and(|bytes| stored >= bytes.min(MAX_LOG_BYTES));
        require(
            is_over || whole || self.is_off(run),
            "a hand-over ends before its time only when all is there or nobody is",
        )
    }
}
