//! Where everything is, after the command line was understood.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use cattle_core::desired::Authority;

use crate::{clock::TimeSource, patience::Patience};

/// The controller's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The project: `fleet/clawdlets.json`, `cattle/personas`, `cattle/tasks` are beneath it.
    pub project: PathBuf,
    /// State: the ledger, logs, the specs that the socket wrote. 0700, ours alone.
    pub state_dir: PathBuf,
    /// Spec directories besides the socket's own.
    pub spec_dirs: Vec<SpecDir>,
    /// Where secrets are, as files by name.
    pub secrets_dir: Option<PathBuf>,
    /// The operators' and bots' socket.
    pub socket: PathBuf,
    /// Where guests reach us: the address we listen on.
    pub guest_listen: SocketAddr,
    /// The URL of it that guests get; from `guest_listen` unless given.
    pub guest_url: Option<String>,
    /// How long logs and results of ended runs are kept.
    pub retention: Duration,
    /// Whether guests are told apart by the tailnet.
    pub peer_check: PeerCheck,
    /// How long is waited for answers and between looks.
    pub patience: Patience,
    /// The clocks of this machine; turned by hand in a test that runs a controller in its own process.
    pub time: TimeSource,
}

/// A spec directory and what specs in it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecDir {
    /// The directory.
    pub path: PathBuf,
    /// The role given with it.
    pub authority: Authority,
}

/// How the guest API knows who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerCheck {
    /// Only for trying things out: both the guest's socket and the Hetzner endpoint must be on
    /// loopback.
    Off,
}

impl Settings {
    /// The socket's own spec directory.
    #[must_use]
    pub fn socket_specs(&self) -> PathBuf {
        self.state_dir.join("specs")
    }

    /// Run logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.state_dir.join("state.sqlite")
    }

    /// Personas.
    #[must_use]
    pub fn personas(&self) -> PathBuf {
        self.project.join("cattle/personas")
    }

    /// The fleet's configuration.
    #[must_use]
    pub fn fleet_file(&self) -> PathBuf {
        self.project.join("fleet/clawdlets.json")
    }
}
