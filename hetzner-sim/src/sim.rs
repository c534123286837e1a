//! A running simulator.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use chrono::Utc;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    config::{Config, Guests as GuestsConfig},
    connection::{Listener, Shears, is_loopback},
    guest::{Guests, Settings},
    http,
    message::{Answer, Request},
    recording::Recording,
    shared::Shared,
    world::{Call, Cost, World},
};

/// Replies under way may finish within this time when the simulator stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Why a simulator does not run.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The port could not be bound, or the listener is broken.
    #[error("cannot listen on {subject}")]
    Listen {
        /// The address, or what stands for it.
        subject: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Guest processes would be startable from other machines.
    #[error("with guest processes the simulator listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// Guest processes would be startable by any local program.
    #[error("with guest processes a token is required")]
    TokenRequired,
    /// There is nothing to start in a guest.
    #[error("with guest processes a guest command is required")]
    GuestCommandRequired,
    /// The file for the replies cannot be made.
    #[error("cannot record replies in {path}")]
    Record {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The guests' directory cannot be made or resolved.
    #[error("cannot use {path} as the guests' directory")]
    GuestRoot {
        /// The directory.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A simulator that runs until [`Sim::shutdown`], or until it is dropped; only `shutdown` waits
/// for the guests to be dead.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Sim {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// See [`SimError`].
    pub async fn start(config: Config) -> Result<Self, SimError> {
        let subject = "127.0.0.1:0";
        let listener = TcpListener::bind(subject)
            .await
            .map_err(|source| SimError::Listen {
                subject: subject.to_owned(),
                source,
            })?;
        Self::start_on(listener, config)
    }

    /// Starts on a listener that is bound already. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`SimError`].
    pub fn start_on(listener: TcpListener, config: Config) -> Result<Self, SimError> {
        let addr = listener.local_addr().map_err(|source| SimError::Listen {
            subject: "the given listener".to_owned(),
            source,
        })?;
        let (exits, mut ended) = mpsc::unbounded_channel();
        let guests = guest_settings(&config, addr)?.map(|settings| Guests::new(settings, exits));
        let (stop, stopping) = watch::channel(false);
        let tokens = config.tokens.clone();
        let recording = match &config.record_replies {
            Some(path) => Some(Recording::create(path).map_err(|source| SimError::Record {
                path: path.clone(),
                source,
            })?),
            None => None,
        };
        let world = World::new(config, Utc::now());
        let shared = Arc::new(Shared::new(
            world,
            guests,
            tokens,
            recording,
            stopping.clone(),
        ));

        let app = http::router(Arc::clone(&shared)).into_make_service_with_connect_info::<Shears>();
        let mut drain = stopping.clone();
        let serving = axum::serve(Listener(listener), app).with_graceful_shutdown(async move {
            // An error means that the handle was dropped: stop as well.
            let _ = drain.wait_for(|stop| *stop).await;
        });
        let mine = Arc::clone(&shared);
        let mut stopped = stopping;
        let server = tokio::spawn(async move {
            let moving = async {
                tokio::join!(mine.keep_time(), async {
                    while let Some(exit) = ended.recv().await {
                        mine.guest_exited(&exit);
                    }
                    // Without guests nothing ever ends.
                    std::future::pending::<()>().await;
                })
            };
            tokio::select! {
                outcome = async { serving.await } => {
                    if let Err(error) = outcome {
                        tracing::error!(%error, "serving ended");
                    }
                }
                _ = moving => {}
                () = async {
                    let _ = stopped.wait_for(|stop| *stop).await;
                    tokio::time::sleep(DRAIN_LIMIT).await;
                } => {}
            }
            mine.close_guests().await;
        });
        Ok(Self {
            addr,
            shared,
            stop,
            server,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The API's base, as clients take it: `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The control API's base: `http://127.0.0.1:PORT/_sim`.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}/_sim", self.addr)
    }

    /// What everything cost until now.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.shared.with(|world| {
            world.advance(Utc::now());
            world.cost()
        })
    }

    /// The API calls until now, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.with(|world| world.calls())
    }

    /// How many API calls there were.
    #[must_use]
    pub fn calls_total(&self) -> u64 {
        self.shared.with(|world| world.calls_total())
    }

    /// As `GET /_sim/state`.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        self.shared.with(|world| {
            world.advance(Utc::now());
            world.snapshot()
        })
    }

    /// Makes a call of the control API without HTTP, as
    /// `sim.control(&Request::new("POST", "/_sim/faults").json(&rule))`.
    #[must_use]
    pub fn control(&self, request: &Request) -> Answer {
        self.shared.with(|world| world.control(Utc::now(), request))
    }

    /// Stops listening, kills all guests and waits for both.
    pub async fn shutdown(self) {
        // Fails only when the task has ended already.
        let _ = self.stop.send(true);
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the simulator's task failed");
        }
    }
}

/// Runs a simulator on `listener` until `shutdown` completes.
///
/// # Errors
/// See [`SimError`].
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SimError> {
    let sim = Sim::start_on(listener, config)?;
    shutdown.await;
    sim.shutdown().await;
    Ok(())
}

fn guest_settings(config: &Config, addr: SocketAddr) -> Result<Option<Settings>, SimError> {
    let GuestsConfig::Process {
        command,
        runners,
        root,
    } = &config.guests
    else {
        return Ok(None);
    };
    if !is_loopback(addr) {
        return Err(SimError::NotLoopback(addr));
    }
    if config.tokens.is_empty() {
        return Err(SimError::TokenRequired);
    }
    if command.is_empty() {
        return Err(SimError::GuestCommandRequired);
    }
    // Guests run with their root as working directory, so a relative path would lose its meaning.
    let root = std::fs::create_dir_all(root)
        .and_then(|()| std::fs::canonicalize(root))
        .map_err(|source| SimError::GuestRoot {
            path: root.clone(),
            source,
        })?;
    Ok(Some(Settings {
        command: command.clone(),
        runners: runners.clone(),
        root,
        keep: config.keep_guests,
    }))
}
