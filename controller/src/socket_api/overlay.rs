//! The world as it would be with other spec files, and what would follow.

use std::sync::Arc;

use cattle_core::{
    action::{Limits, Plan},
    desired::{Cattle, Desired, Origin, RootState, SpecEntry, SpecState},
    ledger::Ledger,
    names::CattleName,
    plan, substance,
};
use cattle_schemas::{Timestamp, problem::Diagnostic};
use chrono::TimeDelta;

use super::{Api, peer::Peer, problem::ApiError, spec};
use crate::{store::Wanted, world::World};

/// The window of `createsPerHour`.
const HOUR: TimeDelta = TimeDelta::hours(1);

/// What is desired, with changes that nobody made yet.
pub(super) struct Overlay {
    pub(super) desired: Desired,
}

/// What would follow.
pub(super) struct Outlook {
    pub(super) desired: Desired,
    pub(super) ledger: Ledger,
    pub(super) plan: Plan,
}

impl Overlay {
    pub(super) fn of(world: &World) -> Self {
        Self {
            desired: (*world.desired).clone(),
        }
    }

    /// As if this peer had put this spec.
    pub(super) fn put(&mut self, api: &Api, peer: &Peer, cattle: Arc<Cattle>) {
        let name = cattle.name.clone();
        self.set(api, peer, name, SpecState::Valid(cattle));
    }

    /// As if this peer had put a spec that is wrong.
    pub(super) fn put_broken(
        &mut self,
        api: &Api,
        peer: &Peer,
        name: CattleName,
        errors: Vec<Diagnostic>,
    ) {
        self.set(api, peer, name, SpecState::Broken(errors));
    }

    fn set(&mut self, api: &Api, peer: &Peer, name: CattleName, state: SpecState) {
        let path = api.specs.path(&name);
        let root = path
            .parent()
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        self.desired.roots.insert(root.clone(), RootState::Readable);
        let origin = Origin {
            root,
            path: path.to_string_lossy().into_owned(),
            requester: peer.requester(),
            authority: peer.authority,
            from_socket: true,
        };
        self.desired.specs.insert(name, SpecEntry { origin, state });
    }

    /// Plans, on the latest list and the ledger as it is now.
    pub(super) async fn outlook(
        self,
        api: &Api,
        world: &World,
        now: Timestamp,
    ) -> Result<Outlook, ApiError> {
        let wanted: Vec<Wanted> = self
            .desired
            .specs
            .values()
            .filter_map(|entry| spec::valid(entry))
            .map(|cattle| Wanted::from(&**cattle))
            .collect();
        let mut ledger = api.store.ledger(wanted, now - HOUR).await?;
        if let Some(since) = world.limits.budget.counts_since(now) {
            ledger.charges = api.store.charges(since..Timestamp::MAX_UTC).await?;
        }
        // The pass also has the runs that listed servers name.
        for (id, run) in &world.ledger.runs {
            ledger.runs.entry(*id).or_insert_with(|| run.clone());
        }
        let desired = substance::settle(&Arc::new(self.desired), &ledger);
        let mut limits = Limits::clone(&world.limits);
        let valid = desired.specs.values().filter_map(spec::valid);
        let images = valid.map(|cattle| cattle.placement.image.as_str());
        limits.catalogue = Arc::new(limits.catalogue.presuming(images));
        let plan = plan::plan(&desired, &world.observed, &ledger, &limits, now);
        Ok(Outlook {
            desired: Arc::unwrap_or_clone(desired),
            ledger,
            plan,
        })
    }
}
