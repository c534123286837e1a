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
    desired::{Cattle, Desired, SpecState},
    ledger::{Ledger, Run},
    names::CattleName,
};

/// What Hetzner offers changes by itself, and whoever reads it rings; but a retirement comes with time
/// alone.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Whoever mends it (puts a secret into its place) does not tell, so it is looked at again soon: a
/// file is read.
const EQUIPPED_AGAIN: Duration = Duration::from_secs(5);

/// Why nothing can be made for this cattle now.
pub(super) fn gate(pass: &mut Pass<'_>, cattle: &Cattle) -> Option<(PendingReason, String)> {
    if let Some(lacks) = pass.limits.unequipped.get(&cattle.name) {
        pass.due(pass.now + EQUIPPED_AGAIN);
        return Some((PendingReason::Config, lacks.clone()));
    }
    let found = obstacle(&cattle.placement, &pass.limits.catalogue, pass.now)?;
    pass.due(pass.now + LOOK_AGAIN);
    Some(found)
}

/// The images, as placements name them, of everything that is to start or would like to.
#[must_use]
pub fn images(plan: &Plan, desired: &Desired, ledger: &Ledger) -> BTreeSet<String> {
    let starting = plan.actions.iter().filter_map(|action| match action {
        Action::Start { cattle, .. } => Some(&cattle.placement),
        Action::Retry { placement, .. } => Some(placement),
        _ => None,
    });
    let live: BTreeMap<&CattleName, &Run> = ledger
        .runs
        .values()
        .filter(|run| run.is_live())
        .map(|run| (&run.cattle, run))
        .collect();
    let waiting = plan.waiting.iter().filter_map(|waiting| {
        // A run without a server follows its spec; one that has one wants nothing.
        if live
            .get(&waiting.cattle)
            .is_some_and(|run| !run.is_refused())
        {
            return None;
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
