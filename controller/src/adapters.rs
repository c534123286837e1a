//! The rest of the controller, in the shapes the socket API asks for.

use std::{path::PathBuf, sync::Arc};

use cattle_core::{fleet::Fleet, names::PersonaName, spec::PersonaFiles};
use tokio::sync::watch;

use crate::{
    hetzner::{Client, Scope},
    intake::project,
    reap,
    socket_api::ports::{Personas, PortFuture, Reaper},
};

/// The project's personas.
pub(crate) struct ProjectPersonas(pub(crate) PathBuf);

impl Personas for ProjectPersonas {
    fn read(&self, name: &PersonaName) -> Result<PersonaFiles, String> {
        project::persona(&self.0, name)
    }
}

/// Reaps the controller's own fleet.
pub(crate) struct FleetReaper {
    /// Hetzner.
    pub(crate) client: Arc<Client>,
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
            reap::reap(&self.client, &scope, fleet.default_ttl, dry_run)
                .await
                .map_err(|error| crate::report(&error))
        })
    }
}
