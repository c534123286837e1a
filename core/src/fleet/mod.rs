//! `fleet/clawdlets.json`, validated: whoever holds a [`Fleet`] need not check it again.
//!
//! Keys outside `cattle` belong to other tools and are left alone; an unknown key inside is an
//! error. Secrets are named here, never held.

mod cattle;
mod secret_name;
mod shared;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cattle_schemas::{fleet::FLEET_SCHEMA_VERSION, problem::Diagnostic};

use cattle::decode_cattle;
pub(crate) use cattle::{check_candidates, check_image, check_not_retired};
pub use secret_name::{SecretName, SecretNameError};
use shared::{decode_host, decode_shared};

use crate::{
    action::{self, Budget},
    clock::Clocks,
    desired::Placement,
    expiry::Lifetimes,
    names::FleetName,
    provider_env,
    spec::{
        decode::{Fields, Unknown},
        findings::Findings,
        tree::{self, Node},
    },
};

/// The fleet, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The label `fleet`.
    pub name: FleetName,
    /// `false` starts nothing and still ends runs.
    pub enabled: bool,
    /// What a spec gets that chooses nothing.
    pub placement: Placement,
    /// Servers at once.
    pub max_instances: u32,
    /// The TTL of a spec that has none.
    pub default_ttl: Duration,
    /// Labels on every server, without `managed-by`.
    pub labels: BTreeMap<String, String>,
    /// What a spec may choose.
    pub limits: FleetLimits,
    /// What may be spent.
    pub budget: Budget,
    /// OpenSSH public keys.
    pub ssh_keys: Vec<String>,
    /// Canonical provider to the secret with its API key.
    pub model_secrets: BTreeMap<String, SecretName>,
    /// Canonical provider to further environment variables.
    pub model_env: BTreeMap<String, Vec<String>>,
    /// The host whose settings count.
    pub default_host: Option<String>,
    /// That host's `agentModelPrimary`, `provider/model`.
    pub host_model: Option<String>,
    /// That host's `adminCidr`, as written.
    pub admin_cidr: Option<String>,
    /// `cattle.defaults.autoShutdown`.
    pub auto_shutdown: bool,
}

/// `cattle.limits`, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetLimits {
    /// Images a spec may name.
    pub images: Vec<String>,
    /// Server types a spec may name.
    pub server_types: Vec<String>,
    /// Locations a spec may name.
    pub locations: Vec<String>,
    /// The longest life of a server, extensions included.
    pub max_ttl: Duration,
    /// Live runs of one requester.
    pub live_runs_per_requester: u32,
    /// Servers created within an hour.
    pub creates_per_hour: u32,
    /// Servers at once of an image that no guest has reported from yet.
    pub unproven_image: Option<u32>,
}

impl Fleet {
    /// Reads and validates the file.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn load(path: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let root = tree::read(path, bytes).map_err(|error| vec![*error])?;
        let mut findings = Findings::new(path);
        let fleet = decode(root, &mut findings);
        match fleet {
            Some(fleet) if findings.is_empty() => Ok(fleet),
            _ => Err(findings.into_sorted()),
        }
    }

    /// How long a server lives of which only its labels say so.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            default_ttl: self.default_ttl,
            max_ttl: self.limits.max_ttl,
        }
    }

    /// What bounds a plan, as far as the configuration says: nothing paused, nothing in flight, no
    /// guest heard.
    #[must_use]
    pub fn limits(&self) -> action::Limits {
        action::Limits {
            enabled: self.enabled,
            max_instances: self.max_instances,
            live_runs_per_requester: self.limits.live_runs_per_requester,
            creates_per_hour: self.limits.creates_per_hour,
            unproven_image: self.limits.unproven_image,
            max_ttl: self.limits.max_ttl,
            default_ttl: self.default_ttl,
            own: None,
            project: crate::identity::Project::Ours,
            in_flight: BTreeSet::new(),
            guests_heard_since: None,
            clocks: Clocks::default(),
            catalogue: Arc::default(),
            cold: Arc::default(),
            unequipped: BTreeMap::new(),
            budget: self.budget,
            server_gone_at: None,
            token: crate::account::Token::default(),
            ledger: crate::writable::Writable::default(),
            calls: action::Calls::default(),
            fleet_labels: self.labels.clone(),
            fleet: self.name.clone(),
        }
    }

    /// The secret that holds the API key for a model's provider, and the variables it goes into.
    #[must_use]
    pub fn model_secret(&self, model: &str) -> Option<(&SecretName, Vec<String>)> {
        let (provider, _) = model.split_once('/')?;
        let provider = provider_env::canonical(provider);
        let secret = self.model_secrets.get(provider)?;
        Some((secret, provider_env::env_names(provider, &self.model_env)?))
    }
}

fn decode(root: Node, findings: &mut Findings) -> Option<Fleet> {
    let known = ["schemaVersion", "defaultHost", "hosts", "fleet", "cattle"];
    let mut file = Fields::open(root, "", &known, Unknown::Leave, findings)?;
    if file.has("schemaVersion") {
        file.integer(
            "schemaVersion",
            FLEET_SCHEMA_VERSION..=FLEET_SCHEMA_VERSION,
            findings,
        );
    } else {
        findings.error_hint(
            file.place,
            "missing field `schemaVersion`",
            format!("this version reads {FLEET_SCHEMA_VERSION}"),
        );
    }
    let default_host = file.string("defaultHost", findings);
    let hosts = file.entries("hosts", findings);
    let host = decode_host(default_host.as_ref(), hosts, findings);
    let shared = decode_shared(&mut file, findings);
    let cattle = file.require("cattle", findings)?;
    let cattle = decode_cattle(cattle, findings)?;
    Some(Fleet {
        name: cattle.name,
        enabled: cattle.enabled,
        placement: cattle.placement,
        max_instances: cattle.max_instances,
        default_ttl: cattle.default_ttl,
        labels: cattle.labels,
        limits: cattle.limits,
        budget: cattle.budget,
        ssh_keys: shared.ssh_keys,
        model_secrets: shared.model_secrets,
        model_env: shared.model_env,
        default_host: host.name,
        host_model: host.model,
        admin_cidr: host.admin_cidr,
        auto_shutdown: cattle.auto_shutdown,
    })
}
