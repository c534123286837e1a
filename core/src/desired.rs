//! What should be: the spec files as last read, each valid, broken or absent.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cattle_schemas::{Timestamp, problem::Diagnostic, spec_file::OnFailure, task::Task};
use serde::{Deserialize, Serialize};

use crate::{
    names::{CattleName, PersonaName, SpecHash},
    substance::Substance,
};

/// Everything that is desired, as one scan of all spec directories saw it.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// By name.
    pub specs: BTreeMap<CattleName, SpecEntry>,
    /// The spec directories and whether they could be read.
    pub roots: BTreeMap<String, RootState>,
    /// Since when each directory that cannot be read cannot, as far as that is known.
    pub unreadable_since: BTreeMap<String, Timestamp>,
    /// When the first complete scan of this process was made: a run whose spec this process never
    /// saw counts as absent since then.
    pub since: Option<Timestamp>,
    /// What is wrong with files that belong to no cattle (a name that is not allowed, a second file
    /// of one stem).
    pub strays: Vec<Diagnostic>,
}

/// Whether a spec directory could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootState {
    /// Read completely.
    Readable,
    /// Missing or unreadable: nothing from it is ended for its absence.
    Unreadable(String),
}

/// One name.
#[derive(Clone, Debug)]
pub struct SpecEntry {
    /// Where it comes from.
    pub origin: Origin,
    /// What was read.
    pub state: SpecState,
}

/// Where a spec comes from, and so what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The spec directory, a key of [`Desired::roots`].
    pub root: String,
    /// The file, as messages name it.
    pub path: String,
    /// Who asked.
    pub requester: Requester,
    /// What it may do.
    pub authority: Authority,
    /// Whether the socket wrote it (then `destroy` removes it).
    pub from_socket: bool,
}

/// Who asked, as a key for limits, turns and ownership: `operator`, `uid:1001` or `dir:/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requester(pub String);

impl Requester {
    /// An operator on the socket.
    #[must_use]
    pub fn operator() -> Self {
        Self("operator".to_owned())
    }

    /// A bot on the socket.
    #[must_use]
    pub fn uid(uid: u32) -> Self {
        Self(format!("uid:{uid}"))
    }

    /// A spec directory.
    #[must_use]
    pub fn directory(path: &str) -> Self {
        Self(format!("dir:{path}"))
    }
}

/// What a source of specs may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// Only what `cattle.limits` allows, never the GitHub token.
    Bot,
    /// Everything.
    Operator,
}

/// What was read of a spec.
#[derive(Clone, Debug)]
pub enum SpecState {
    /// Parsed, validated and complete.
    Valid(Arc<Cattle>),
    /// Freezes its cattle: nothing starts and nothing ends because of it.
    Broken(Vec<Diagnostic>),
    /// Not there since then.
    Absent {
        /// First scan that missed it.
        since: Timestamp,
    },
}

/// A validated spec with every default applied: starting it can fail, but not for what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Cattle {
    /// Its name.
    pub name: CattleName,
    /// On the server as `spec.<key>`.
    pub labels: BTreeMap<String, String>,
    /// Who it is.
    pub persona: PersonaName,
    /// What it does; `callbackUrl` is empty.
    pub task: Task,
    /// How long its server may live.
    pub ttl: Duration,
    /// How long it may wait.
    pub start_within: Duration,
    /// `provider/model`, resolved: spec, else persona, else host.
    pub model: String,
    /// Whether the guest gets the GitHub token.
    pub with_github_token: bool,
    /// `false` keeps the VM until its TTL after the task.
    pub auto_shutdown: bool,
    /// What happens to the VM of a failed task.
    pub on_failure: OnFailure,
    /// Where and on what to run, in order of preference.
    pub placement: Placement,
    /// What the ledger and the server's label call it: the hash under which the ledger knows what it
    /// asks for ([`substance::settle`](crate::substance::settle)), else that of the spec as it is written.
    pub hash: SpecHash,
    /// What makes it another task than another spec.
    pub substance: Substance,
}

/// Image and candidates, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Image id, name, or selector of labels.
    pub image: String,
    /// Never empty.
    pub server_types: Vec<String>,
    /// Never empty.
    pub locations: Vec<String>,
}

impl Placement {
    /// All (server type, location) pairs in the order in which they are tried: every location of
    /// the first type before the second type.
    pub fn candidates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.server_types.iter().flat_map(|server_type| {
            self.locations
                .iter()
                .map(move |location| (server_type.as_str(), location.as_str()))
        })
    }
}
