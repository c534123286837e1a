//! Builds the loop and what it stands on, for the daemon and for a single pass alike.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use cattle_core::{
    action::Plan, catalogue::Catalogue, desired::Desired, fleet::Fleet, grounds::LastPass,
    hearing::Hearing, identity::Project, ledger::Ledger, observed::Observed,
};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    clock_alarm::ClockAlarm,
    execute::{Executor, Follower, Needs},
    fleet_file::FleetFile,
    guest_api::Pulse,
    hetzner::Client,
    identity::Identity,
    intake::Scanner,
    lister::{Lister, Pace},
    logs::Logs,
    meter::Meter,
    persona_archive::PersonaArchives,
    reconcile::Reconciler,
    secrets::Secrets,
    sessions::Sessions,
    settings::Settings,
    store::Store,
    survey::{Doubt, Survey},
    world::{Bell, Handle, World},
};

/// The loop and everything beside it, not yet running.
pub struct Parts {
    /// Plans and acts.
    pub reconciler: Reconciler,
    /// Lists.
    pub lister: Lister,
    /// Follows deletes.
    pub follower: Follower,
    /// Carries out.
    pub executor: Executor,
    /// For those who answer questions.
    pub handle: Handle,
    /// The fleet's configuration as the last pass read it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Learns what Hetzner offers.
    pub survey: Survey,
    /// The archives of personas.
    pub archives: Arc<PersonaArchives>,
}

/// What the loop stands on.
pub struct Ground {
    /// Where everything is.
    pub settings: Arc<Settings>,
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// Logs of runs; a dry run has none, and opens no directory for them.
    pub logs: Option<Logs>,
    /// Hetzner.
    pub client: Arc<Client>,
    /// Its clock.
    pub clock: Clock,
    /// Secrets.
    pub secrets: Arc<Secrets>,
    /// The bell that everybody rings.
    pub bell: Bell,
    /// What guests were heard of.
    pub pulse: Arc<Pulse>,
    /// The spec directories.
    pub scanner: Scanner,
    /// The fleet's configuration.
    pub fleet_file: FleetFile,
    /// The URL of the guest API as guests see it.
    pub guest_url: String,
    /// Whether guests are listened to.
    pub serves_guests: bool,
    /// Session tokens until they are handed out.
    pub sessions: Sessions,
    /// Who this controller is.
    pub identity: Identity,
    /// How far lists are apart.
    pub pace: Pace,
}

impl Ground {
    /// Puts the parts together.
    #[must_use]
    pub fn build(mut self) -> Parts {
        let fleet = self.fleet_file.current();
        let (fleet_seen, fleet_receiver) = watch::channel(fleet.clone());
        let (observed_sender, observed) = watch::channel(Arc::new(Observed::default()));
        let (list_soon, soon) = watch::channel(true);
        let (catalogue_sender, catalogue) = watch::channel(Arc::new(Catalogue::default()));
        let (images, wanted) = watch::channel(BTreeSet::new());
        let (doubt, doubts) = Doubt::channel();
        let (last_pass_sender, last_pass) = watch::channel(LastPass::default());
        let own = self.identity.own();
        let again = self.settings.patience.again.survey;
        let archives = Arc::new(PersonaArchives::new(self.settings.personas()));
        let limits = fleet.limits();
        let (worlds, seen) = watch::channel(Arc::new(World {
            pass: 0,
            at: self.clock.now(),
            fleet: fleet.clone(),
            desired: Arc::new(Desired::default()),
            observed: observed.borrow().clone(),
            ledger: Arc::new(Ledger::default()),
            limits: Arc::new(limits),
            plan: Arc::new(Plan::default()),
            conditions: Vec::new(),
            calls: None,
        }));
        let (executor, follower) = Executor::new(Needs {
            store: self.store.clone(),
            client: self.client.clone(),
            clock: self.clock.clone(),
            settings: self.settings,
            archives: archives.clone(),
            secrets: self.secrets.clone(),
            fleet: fleet_receiver.clone(),
            catalogue: catalogue.clone(),
            doubt,
            bell: self.bell.clone(),
            guest_url: self.guest_url,
            sessions: self.sessions,
            last_pass,
            birth_marks: self.identity.birth_marks(),
        });
        let survey = Survey {
            client: self.client.clone(),
            clock: self.clock.clone(),
            fleet: fleet_receiver.clone(),
            wanted,
            doubts,
            catalogue: catalogue_sender,
            bell: self.bell.clone(),
            again,
        };
        let token = self.client.token();
        let lister = Lister {
            client: self.client,
            clock: self.clock.clone(),
            fleet: fleet_receiver.clone(),
            observed: observed_sender,
            soon,
            bell: self.bell.clone(),
            pace: self.pace,
            certain: None,
            identity: self.identity,
        };
        let handle = Handle::new(seen, self.bell.clone());
        let reconciler = Reconciler {
            fleet: self.fleet_file,
            fleet_seen,
            scanner: self.scanner,
            store: self.store,
            logs: self.logs,
            observed,
            list_soon,
            token,
            catalogue,
            images,
            executor: executor.clone(),
            clock: self.clock,
            own,
            last_pass: last_pass_sender,
            project_told: Project::Unknown,
            serves_guests: self.serves_guests,
            hearing: Hearing::default(),
            pulse: self.pulse,
            alarm: ClockAlarm::default(),
            bell: self.bell,
            meter: Meter::default(),
            worlds,
            secrets: self.secrets,
            recalled: AtomicBool::new(false),
        };
        Parts {
            reconciler,
            lister,
            follower,
            executor,
            handle,
            fleet: fleet_receiver,
            survey,
            archives,
        }
    }
}
