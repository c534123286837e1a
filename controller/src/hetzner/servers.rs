//! Servers as the controller asks for them and gets them.

use std::collections::BTreeMap;

use cattle_core::{labels, names::FleetName, observed::ObservedServer};
use hcloud::models::{CreateServerRequest, CreateServerRequestFirewalls};
use zeroize::Zeroizing;

#[cfg(doc)]
use super::Client;
use super::wire::Odd;

/// Whose servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One fleet's.
    Fleet(FleetName),
    /// Everything that clawdlets made in the project: for the reaper alone.
    AllFleets,
}

impl Scope {
    pub(super) fn selector(&self) -> String {
        match self {
            Self::Fleet(fleet) => labels::selector(fleet),
            Self::AllFleets => labels::selector_of_all_fleets(),
        }
    }

    /// The fleet, where it is one.
    #[must_use]
    pub fn fleet(&self) -> Option<&FleetName> {
        match self {
            Self::Fleet(fleet) => Some(fleet),
            Self::AllFleets => None,
        }
    }

    /// Whether a server with these labels is in it, and nobody else's.
    #[must_use]
    pub fn contains(&self, raw: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Fleet(fleet) => labels::is_ours(raw, fleet),
            Self::AllFleets => labels::is_cattle(raw),
        }
    }
}

/// All servers of a scope.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Each, decoded; what another tool has marked is left out.
    pub servers: Vec<ObservedServer>,
    /// What is no server to us: without an id, or not of this scope. These exist and may bill.
    pub odd: Vec<Odd>,
}

impl Listed {
    /// Everything that could not be read, a sentence each.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        let of_servers = self.servers.iter().filter_map(ObservedServer::unread);
        self.odd
            .iter()
            .map(Odd::sentence)
            .chain(of_servers)
            .collect()
    }
}

/// A server to create.
#[derive(Clone)]
pub struct NewServer {
    /// [`cattle_core::names::server_name`] of the run: what makes a repeated create harmless.
    pub name: String,
    /// Server type.
    pub server_type: String,
    /// Location.
    pub location: String,
    /// Image id or name.
    pub image: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// At most 32,768 bytes; holds the bootstrap token, so this type has no `Debug`.
    pub user_data: Zeroizing<String>,
    /// Names of SSH keys at Hetzner. Never empty, else Hetzner e-mails a root password.
    pub ssh_keys: Vec<String>,
    /// The fleet's firewall.
    pub firewall: u64,
}

/// An accepted create.
#[derive(Clone, Debug)]
pub struct Created {
    /// As Hetzner described it, or where it did not, as it was asked for.
    pub server: ObservedServer,
    /// `create_server`, and what follows it (`start_server`, …), to be looked up with
    /// [`Client::actions`].
    pub actions: Vec<u64>,
}

/// An accepted delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is being deleted.
    Accepted {
        /// `delete_server`, whose success proves that the server is gone.
        action: Option<u64>,
    },
    /// Hetzner knows no such server.
    AlreadyGone,
}

/// The request models have hash maps.
pub(super) fn hash_map(
    labels: &BTreeMap<String, String>,
) -> std::collections::HashMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The body of `POST /servers`.
pub(super) fn request(new: &NewServer) -> CreateServerRequest {
    // Firewall ids are at most 2^53 − 1.
    let firewall = i64::try_from(new.firewall).unwrap_or(i64::MAX);
    CreateServerRequest {
        labels: Some(hash_map(&new.labels)),
        location: Some(new.location.clone()),
        ssh_keys: (!new.ssh_keys.is_empty()).then(|| new.ssh_keys.clone()),
        firewalls: Some(vec![CreateServerRequestFirewalls::new(firewall)]),
        user_data: Some(new.user_data.to_string()),
        start_after_create: Some(true),
        ..CreateServerRequest::new(new.image.clone(), new.name.clone(), new.server_type.clone())
    }
}
