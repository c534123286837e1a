//! Where everything is, after the command line was understood.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use cattle_core::desired::Authority;

use crate::hetzner::Endpoint;

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

/// Guests could not be served as they have to be.
#[derive(Debug, thiserror::Error)]
pub enum UnservedError {
    /// Real servers whose guests would all be turned away.
    #[error(
        "`--peer-check off` is only for the simulator: the Hetzner endpoint `{0}` is not on loopback, so every guest would be refused while its server is paid for"
    )]
    Endpoint(String),
    /// Anybody could claim to be a guest.
    #[error("`--peer-check off` is only for guests on loopback; `--guest-listen` is {0}")]
    Listen(SocketAddr),
}

impl Settings {
    /// Whether guests could be told apart and served at all; otherwise nothing is to be started.
    ///
    /// # Errors
    /// What does not go together.
    pub fn check_guests(&self, endpoint: &Endpoint) -> Result<(), UnservedError> {
        match self.peer_check {
            PeerCheck::Off if !endpoint.is_loopback() => {
                Err(UnservedError::Endpoint(endpoint.url.clone()))
            }
            PeerCheck::Off if !self.guest_listen.ip().is_loopback() => {
                Err(UnservedError::Listen(self.guest_listen))
            }
            PeerCheck::Off => Ok(()),
        }
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn without_a_peer_check_everything_is_on_loopback_or_nothing_starts() {
        let local = Endpoint {
            url: "http://127.0.0.1:8080/v1".to_owned(),
            token: SecretString::from("t"),
        };
        let real = Endpoint {
            url: crate::hetzner::DEFAULT_ENDPOINT.to_owned(),
            ..local.clone()
        };
        let mut settings = Settings {
            project: "/p".into(),
            state_dir: "/s".into(),
            spec_dirs: Vec::new(),
            secrets_dir: None,
            socket: "/s/sock".into(),
            guest_listen: "127.0.0.1:18337".parse().unwrap(),
            guest_url: None,
            retention: Duration::from_secs(1),
            peer_check: PeerCheck::Off,
        };
        settings.check_guests(&local).unwrap();
        assert!(matches!(
            settings.check_guests(&real),
            Err(UnservedError::Endpoint(_))
        ));
        settings.guest_listen = "0.0.0.0:18337".parse().unwrap();
        assert!(matches!(
            settings.check_guests(&local),
            Err(UnservedError::Listen(_))
        ));
    }
}
