//! Keeps the parts running until told to stop.
//!
//! Start: lock the state directory, open the ledger, bind both listeners, then begin. Stop: accept
//! nothing more, let what is in flight end for a few seconds, delete nothing.

use std::{
    convert::Infallible, fs, future::Future, os::unix::fs::DirBuilderExt, path::Path, sync::Arc,
    time::Duration,
};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    account::Account,
    adapters::{FleetReaper, ProjectPersonas},
    clock::Clock,
    execute::Executor,
    fleet_file::FleetFile,
    guest_api::{self, GuestApi, Pulse},
    hetzner::{Client, Endpoint, Search},
    identity::Identity,
    intake::{Scanner, Settled, SocketSpecs, Watcher},
    ledger_watch::LedgerWatch,
    logs::Logs,
    parts::{Ground, Parts},
    secrets::{Secrets, keep_apart},
    sessions::Sessions,
    settings::{PeerCheck, Settings},
    socket_api::{self, SocketApi, peer::Users},
    store::{SqliteStore, StateLock, Store},
    world::{Bell, Handle},
};

/// Effects in flight get this long at a stop.
const DRAIN: Duration = Duration::from_secs(2);

/// All of a stop, the drain included: SIGTERM to exit stays under five seconds, of which the
/// runtime's own end takes the rest.
const LEAVE: Duration = Duration::from_secs(4);

/// How often what is past its retention is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// How often the room for logs is looked at, whatever fills it.
const ROOM_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked whether the ledger can be written: whoever asks is to know within seconds,
/// and a look costs two system calls and no write.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A running controller.
pub struct Daemon {
    /// What it sees.
    pub handle: Handle,
    stop: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
    executor: Executor,
    _lock: StateLock,
}

impl Daemon {
    /// Ends when a part stopped that should not have.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Runs a part. One that ends before it was told to takes the controller down, so that whoever
    /// supervises it starts it again, whole.
    fn part<E: std::error::Error + Send + 'static>(
        &self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        let part = tokio::spawn(part);
        self.tasks.spawn(async move {
            match part.await {
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => tracing::error!("{name} ended"),
                Ok(Err(error)) => tracing::error!(error = %crate::report(&error), "{name} failed"),
                Err(panic) => tracing::error!(%panic, "{name} panicked"),
            }
            failed.cancel();
        });
    }

    /// Waits until everything has stopped; effects in flight get a moment.
    pub async fn join(self) {
        let leave_by = tokio::time::Instant::now() + LEAVE;
        self.stop.cancel();
        if !self.executor.drain(DRAIN).await {
            tracing::warn!(
                "some calls to Hetzner were still under way; the next start settles them"
            );
        }
        self.tasks.close();
        if tokio::time::timeout_at(leave_by, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not stop in time");
        }
    }
}

/// Starts a controller. Everything that can be wrong with where it is to run is found here.
///
/// # Errors
/// Each names what is wrong and where.
pub async fn start(
    settings: Settings,
    endpoint: &Endpoint,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> anyhow::Result<Daemon> {
    refuse_strangers(&settings, endpoint)?;
    let settings = Arc::new(settings);
    private_dir(&settings.state_dir)?;
    private_dir(&settings.socket_specs())?;
    let lock = StateLock::acquire(&settings.state_dir)?;
    let settled = Settled::default();
    let fleet_file = FleetFile::open(settings.fleet_file())?;
    let secrets = Arc::new(secrets(&settings, endpoint)?);
    keep_apart(&settings, &secrets)?;
    let clock = Clock::start(settings.time.clone());
    let client = Client::patient(endpoint, settings.patience.answers, clock.clone())?;
    let client = Arc::new(client.searching(search_for(&secrets)));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&settings.ledger()).await?);
    let identity = Identity::open(store.clone(), true).await?;
    let sessions = Sessions::default();
    let logs = Logs::open(&settings.logs())?;
    let pulse = Arc::<Pulse>::default();
    let bell = Bell::default();
    let socket = socket_api::bind(&settings.socket)?;
    let guests = TcpListener::bind(settings.guest_listen)
        .await
        .with_context(|| format!("cannot listen for guests on {}", settings.guest_listen))?;
    tracing::info!(
        fleet = %fleet_file.good().name,
        hetzner = %endpoint.url,
        socket = %settings.socket.display(),
        guests = %guests.local_addr()?,
        state = %settings.state_dir.display(),
        "starting"
    );
    let guest_url = match &settings.guest_url {
        Some(url) => url.clone(),
        None => format!("http://{}", guests.local_addr()?),
    };
    let watcher = Watcher::start(&settings, settled.clone(), bell.clone())?;
    let parts = Ground {
        settings: settings.clone(),
        store: store.clone(),
        logs: Some(logs.clone()),
        client: client.clone(),
        clock: clock.clone(),
        secrets: secrets.clone(),
        bell: bell.clone(),
        pulse: pulse.clone(),
        scanner: Scanner::new(&settings, settled),
        fleet_file,
        guest_url,
        serves_guests: true,
        sessions: sessions.clone(),
        identity,
        pace: settings.patience.lists,
    }
    .build();

    let now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let socket_api = SocketApi {
        handle: parts.handle.clone(),
        store: store.clone(),
        specs: Arc::new(SocketSpecs::open(&settings.socket_specs())?),
        personas: Arc::new(ProjectPersonas(settings.personas())),
        logs: Arc::new(logs.clone()),
        reaper: Arc::new(FleetReaper {
            client: client.clone(),
            handle: parts.handle.clone(),
            fleet: parts.fleet.clone(),
        }),
        looks: Arc::new(parts.executor.clone()),
        identify: Users::default().into_identify(),
        now,
        metrics,
    };
    let guest_api = GuestApi {
        store: store.clone(),
        logs: logs.clone(),
        secrets,
        bell: bell.clone(),
        clock: clock.clone(),
        pulse,
        fleet: parts.fleet.clone(),
        archives: parts.archives.clone(),
        peer_check: settings.peer_check,
        hetzner_is_loopback: endpoint.is_loopback(),
        sessions,
        knows_its_runs: {
            let handle = parts.handle.clone();
            Arc::new(move || handle.world().observed.listed_at.is_some())
        },
    };
    let account = Account {
        token: client.token(),
        store: store.clone(),
        clock: clock.clone(),
        bell: bell.clone(),
    };
    // Its reserve is there before anything else is written.
    if let Err(error) = store.look().await {
        tracing::warn!(error = %crate::report(&error), "the ledger cannot be written yet");
    }
    let housekeeping = Housekeeping {
        ledger: LedgerWatch::new(store.clone(), clock.clone(), bell.clone()),
        store,
        logs,
        clock,
        retention: settings.retention,
    };
    let daemon = Daemon {
        handle: parts.handle.clone(),
        stop: stop.clone(),
        failed: CancellationToken::new(),
        tasks: TaskTracker::new(),
        executor: parts.executor.clone(),
        _lock: lock,
    };
    let Parts {
        reconciler,
        lister,
        follower,
        survey,
        ..
    } = parts;
    let ended = |stop: &CancellationToken| stop.clone().cancelled_owned();
    daemon.part(
        "the socket API",
        socket_api::serve(socket, socket_api, ended(&stop)),
    );
    daemon.part(
        "the guest API",
        guest_api::serve(guests, guest_api, ended(&stop)),
    );
    daemon.part("the lister", fine(lister.run(stop.clone())));
    daemon.part("the follower", fine(follower.run(stop.clone())));
    daemon.part("the account's alarm", fine(account.run(stop.clone())));
    daemon.part("the survey", fine(survey.run(stop.clone())));
    daemon.part("housekeeping", fine(housekeeping.run(stop.clone())));
    daemon.part(
        "the loop",
        fine(async move {
            // The watcher lives as long as what it wakes.
            let _watcher = watcher;
            reconciler.run(stop).await;
        }),
    );
    Ok(daemon)
}

async fn fine(part: impl Future<Output = ()>) -> Result<(), Infallible> {
    part.await;
    Ok(())
}

/// What is done now and then.
struct Housekeeping {
    ledger: LedgerWatch,
    store: Arc<dyn Store>,
    logs: Logs,
    clock: Clock,
    retention: Duration,
}

impl Housekeeping {
    async fn run(mut self, stop: CancellationToken) {
        let mut forget = tokio::time::interval(FORGET_EVERY);
        let mut room = tokio::time::interval(ROOM_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        for interval in [&mut forget, &mut room, &mut look] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => self.ledger.look().await,
                _ = forget.tick() => self.forget().await,
                _ = room.tick() => {
                    if let Err(error) = self.logs.keep_room(self.store.as_ref()).await {
                        tracing::error!(error = %crate::report(&error), "could not make room for the ledger");
                    }
                }
            }
        }
    }

    async fn forget(&self) {
        if !self.clock.judges() {
            // By a clock that is years ahead everything would be past its retention.
            return;
        }
        match self
            .store
            .forget_before(self.clock.now() - self.retention)
            .await
        {
            Err(error) => {
                tracing::error!(error = %crate::report(&error), "could not forget what is past its retention");
            }
            Ok(runs) => {
                for run in runs {
                    if let Err(error) = self.logs.delete(run) {
                        tracing::warn!(%run, %error, "could not delete a log");
                    }
                }
            }
        }
    }
}

/// The secrets, and the token, which may come from elsewhere: nothing that leaves may hold it.
pub(crate) fn secrets(settings: &Settings, endpoint: &Endpoint) -> anyhow::Result<Secrets> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    let secrets = Secrets::open(credentials.as_deref(), settings.secrets_dir.as_deref())?;
    if let Some(warning) = secrets.exposed() {
        tracing::warn!("{warning}");
    }
    Ok(secrets.knowing("hcloud_token", endpoint.token.clone()))
}

/// Without a peer check a guest is whoever reaches the port; and a real server could not reach it.
pub(crate) fn refuse_strangers(settings: &Settings, endpoint: &Endpoint) -> anyhow::Result<()> {
    match settings.peer_check {
        PeerCheck::Off => {
            anyhow::ensure!(
                endpoint.is_loopback(),
                "`--peer-check off` is for trying things out: the Hetzner endpoint must be on loopback, not {}",
                endpoint.url
            );
            anyhow::ensure!(
                settings.guest_listen.ip().is_loopback(),
                "`--peer-check off` is for trying things out: `--guest-listen` must be on loopback, not {}",
                settings.guest_listen
            );
            Ok(())
        }
    }
}

/// What everything that is sent to Hetzner is searched by.
pub(crate) fn search_for(secrets: &Arc<Secrets>) -> Search {
    let secrets = secrets.clone();
    Arc::new(move |bytes| secrets.refuse_in(bytes))
}

pub(crate) fn private_dir(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}
