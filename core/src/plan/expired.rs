//! What goes although nothing can be recorded: servers of live runs that are past their expiry.
//!
//! The one exception to "intent first". A full disk or a locked ledger must not keep a server alive:
//! it costs money, and to delete it twice does no harm. Its end is recorded once the ledger can be
//! written, as `ttl-expired`. Servers of runs that ended need no exception (their ends are recorded),
//! and neither do those without a run.

use std::collections::BTreeSet;

use cattle_schemas::Timestamp;

use super::view::View;
use crate::{
    action::{Action, Limits, Plan},
    labels,
    ledger::{Ledger, Run},
    lifecycle::deadlines,
    names::ServerId,
    observed::{Observed, ServerState},
};

/// The deletes that a pass carries out whose commit failed. Not before the first list, and not while
/// the clocks do not tell the time, as with every end by the clock.
#[must_use]
pub fn expired(observed: &Observed, ledger: &Ledger, limits: &Limits, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if observed.listed_at.is_none() || !limits.clocks.trust.judges() {
        return plan;
    }
    let view = View::new(observed, ledger, limits);
    let over =
        |run: &&Run| run.is_live() && !limits.in_flight.contains(&run.id) && not_before(run) <= now;
    let foreign: BTreeSet<ServerId> = observed
        .servers
        .iter()
        .filter(|server| labels::others_claim(&server.labels.raw, Some(&limits.fleet)).is_some())
        .map(|server| server.id)
        .collect();
    for run in ledger.runs.values().filter(over) {
        let listed = view.servers.get(&run.id);
        if listed.is_some_and(|server| server.status == ServerState::Deleting) {
            continue;
        }
        let bound = run.server.as_ref().map(|server| server.id);
        let server = bound.or(listed.map(|server| server.id));
        if let Some(server) = server.filter(|server| !foreign.contains(server)) {
            plan.actions.push(Action::DeleteExpired {
                run: run.id,
                server,
            });
        }
    }
    plan
}

/// As late as if it had been told to stop: a ledger that is locked for a moment costs no hand-over.
fn not_before(run: &Run) -> Timestamp {
    if run.started_at.is_some() {
        run.expires_at + deadlines::HANDOVER
    } else {
        run.expires_at
    }
}
