//! The rest of the controller, in the shapes the socket API asks for.

use std::{io, path::PathBuf, sync::Arc};

use cattle_core::{
    desired::Placement,
    fleet::Fleet,
    names::{CattleName, PersonaName, RunId},
    spec::PersonaFiles,
};
use tokio::sync::watch;

use crate::{
    execute::Executor,
    hetzner::{Client, Scope},
    intake::{SocketSpecs, project},
    logs::Logs,
    reap::{self, Asking},
    socket_api::ports::{Looks, Personas, PortFuture, Reaper, RunLogs, SpecDir},
    world::Handle,
};

impl SpecDir for SocketSpecs {
    fn write(&self, name: &CattleName, bytes: &[u8]) -> io::Result<()> {
        Self::write(self, name, bytes)
    }

    fn remove(&self, name: &CattleName) -> io::Result<bool> {
        Self::remove(self, name)
    }

    fn read(&self, name: &CattleName) -> io::Result<Option<Vec<u8>>> {
        Self::read(self, name)
    }

    fn path(&self, name: &CattleName) -> PathBuf {
        Self::path(self, name)
    }
}

/// The project's personas.
pub(crate) struct ProjectPersonas(pub(crate) PathBuf);

impl Personas for ProjectPersonas {
    fn read(&self, name: &PersonaName) -> Result<PersonaFiles, String> {
        project::persona(&self.0, name)
    }
}

impl RunLogs for Logs {
    fn length(&self, run: RunId) -> io::Result<Option<u64>> {
        Self::length(self, run)
    }

    fn read(&self, run: RunId, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        Self::read(self, run, offset, max)
    }

    fn follow(&self, run: RunId) -> io::Result<Option<watch::Receiver<u64>>> {
        Self::follow(self, run).map(Some)
    }
}

impl Looks for Executor {
    fn look_again(&self, placement: Placement) -> PortFuture<'_, ()> {
        Box::pin(async move { Self::look_again(self, &placement).await })
    }
}

/// Reaps the controller's own fleet.
pub(crate) struct FleetReaper {
    /// Hetzner.
    pub(crate) client: Arc<Client>,
    /// What is known of its runs.
    pub(crate) handle: Handle,
    /// Which fleet.
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
}

impl Reaper for FleetReaper {
    fn reap(
        &self,
        dry_run: bool,
    ) -> PortFuture<'_, Result<cattle_schemas::api::ReapReply, String>> {
        Box::pin(async move {
            let fleet = self.fleet.borrow().clone();
            let scope = Scope::Fleet(fleet.name.clone());
            let ledger = self.handle.world().ledger.clone();
            reap::reap(
                &self.client,
                &scope,
                fleet.lifetimes(),
                &ledger,
                dry_run,
                Asking::ONCE,
            )
            .await
            .map_err(|error| crate::report(&error))
        })
    }
}
