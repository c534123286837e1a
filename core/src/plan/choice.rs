//! What a cattle waits for before a server of its kind can be asked for, and which images must be
//! looked for so that it can.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cattle_schemas::status::PendingReason;

use super::Pass;
use crate::{
    action::{Action, Plan},
    candidates::obstacle,
    desired::{Desired, Placement, SpecState},
    ledger::{Ledger, Run},
    names::CattleName,
};

/// What Hetzner offers changes by itself, and whoever reads it rings; but a retirement comes with time
/// alone.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why nothing can be made for this placement now.
pub(super) fn gate(pass: &mut Pass<'_>, placement: &Placement) -> Option<(PendingReason, String)> {
    let found = obstacle(placement, &pass.limits.catalogue, pass.now)?;
    pass.due(pass.now + LOOK_AGAIN);
    Some(found)
}

/// The images, as placements name them, of everything that is to start or would like to.
#[must_use]
pub fn images(plan: &Plan, desired: &Desired, ledger: &Ledger) -> BTreeSet<String> {
    let starting = plan.actions.iter().filter_map(|action| match action {
        Action::Start { cattle, .. } => Some(&cattle.placement),
        Action::Retry { run, .. } => ledger.runs.get(run).map(|run| &run.spec.placement),
        _ => None,
    });
    let live: BTreeMap<&CattleName, &Run> = ledger
        .runs
        .values()
        .filter(|run| run.is_live())
        .map(|run| (&run.cattle, run))
        .collect();
    let waiting = plan.waiting.iter().filter_map(|waiting| {
        if let Some(run) = live.get(&waiting.cattle) {
            return run.is_refused().then_some(&run.spec.placement);
        }
        match &desired.specs.get(&waiting.cattle)?.state {
            SpecState::Valid(cattle) => Some(&cattle.placement),
            SpecState::Broken(_) | SpecState::Absent { .. } => None,
        }
    });
    starting
        .chain(waiting)
        .map(|placement| placement.image.clone())
        .collect()
}
