//! What is: the servers of this fleet, as Hetzner last said.

use cattle_schemas::Timestamp;

use crate::{catalogue::ImageKind, identity::Marks, labels::ServerLabels, names::ServerId};

/// The servers of this fleet as of one list. What was observed is always stale: who acts on it must
/// use deterministic names and re-check before deleting.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// When the list was asked for; `None` before the first one succeeded. Nothing is concluded
    /// from absence, and nothing is started, before then.
    pub listed_at: Option<Timestamp>,
    /// Why the last list failed; `None` when it succeeded.
    pub unreachable: Option<String>,
    /// Everything the selector matched, minus what carries another tool's mark.
    pub servers: Vec<ObservedServer>,
    /// What the list had that is no server to us, a sentence each: it has no id that can be read, or
    /// its labels are not this fleet's. These exist and may bill.
    pub odd: Vec<String>,
    /// The fleet's firewall, read with the list.
    pub firewall: FirewallView,
}

/// The fleet's firewall, as far as it says whose fleet this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirewallView {
    /// Not read yet; why not, if it was tried.
    Unread(Option<String>),
    /// There is none.
    Absent,
    /// It is there, with these marks.
    Seen(Marks),
}

impl Default for FirewallView {
    fn default() -> Self {
        Self::Unread(None)
    }
}

impl Observed {
    /// Everything that could not be read, a sentence each; empty when all is well.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        let of_servers = self.servers.iter().filter_map(ObservedServer::unread);
        self.odd.iter().cloned().chain(of_servers).collect()
    }
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedServer {
    /// Hetzner's number.
    pub id: ServerId,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: ServerState,
    /// When it was created, by Hetzner's clock.
    pub created: Timestamp,
    /// Its labels, decoded as far as they go.
    pub labels: ServerLabels,
    /// Public IPv4 address.
    pub ipv4: Option<String>,
    /// Server type.
    pub server_type: Option<String>,
    /// Location.
    pub location: Option<String>,
    /// The image that it was made of; `None` also where that was deleted since.
    pub image: Option<MadeOf>,
    /// Another action is running.
    pub locked: bool,
    /// `protection.delete`: only an operator can lift it.
    pub protected: bool,
    /// What could not be read of it, a sentence each; what stands in its place is a guess.
    pub odd: Vec<String>,
}

/// The image of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeOf {
    /// Hetzner's number, by which creates name it.
    pub id: u64,
    /// What it is.
    pub kind: ImageKind,
}

impl ObservedServer {
    /// What could not be read of it, in a sentence; `None` when nothing is odd.
    #[must_use]
    pub fn unread(&self) -> Option<String> {
        (!self.odd.is_empty()).then(|| {
            format!(
                "server {} ({}): {}",
                self.name,
                self.id,
                self.odd.join("; ")
            )
        })
    }
}

/// Hetzner's server status; what we do not know is `Unknown`, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ServerState {
    Initializing,
    Starting,
    Running,
    Stopping,
    Off,
    Deleting,
    Rebuilding,
    Migrating,
    Unknown,
}

impl ServerState {
    /// From Hetzner's word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "initializing" => Self::Initializing,
            "starting" => Self::Starting,
            "running" => Self::Running,
            "stopping" => Self::Stopping,
            "off" => Self::Off,
            "deleting" => Self::Deleting,
            "rebuilding" => Self::Rebuilding,
            "migrating" => Self::Migrating,
            _ => Self::Unknown,
        }
    }

    /// Hetzner's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Off => "off",
            Self::Deleting => "deleting",
            Self::Rebuilding => "rebuilding",
            Self::Migrating => "migrating",
            Self::Unknown => "unknown",
        }
    }
}

/// An action of Hetzner's, as last asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionState {
    /// Hetzner's number; 15 digits and more.
    pub id: u64,
    /// `create_server`, `delete_server`, …; empty where it cannot be read.
    pub command: String,
    /// How far it is.
    pub status: ActionStatus,
}

/// How far an action is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionStatus {
    /// Under way.
    Running,
    /// Done.
    Success,
    /// Failed, with Hetzner's code.
    Error {
        /// An open set: `action_failed`, `server_does_not_exist_anymore`, …
        code: String,
    },
    /// A word that is not known.
    Unknown,
}
