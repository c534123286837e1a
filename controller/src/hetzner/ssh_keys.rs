//! The operators' SSH keys at Hetzner. A server without any gets a root password by e-mail, so every
//! server gets all of them.
//!
//! Hetzner refuses the same key twice whatever its name, so keys are told apart by themselves. A key
//! that somebody uploaded under another name is used as it is. Keys are never deleted here: another
//! fleet may use them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cattle_core::names::FleetName;
use hcloud::models::CreateSshKeyRequest;
use reqwest::Method;
use sha2::{Digest, Sha256};

use super::{
    client::Client,
    error::ApiError,
    servers::hash_map,
    table::{Code, Operation},
    transport::Call,
    wire::string,
};

/// As for the firewall.
const FRESH: Duration = Duration::from_secs(600);

/// The last answer: when, for which keys, their names.
pub(super) type Remembered = Option<(Instant, Vec<String>, Vec<String>)>;

impl Client {
    /// The names under which Hetzner has these OpenSSH public keys, uploaded where need be.
    ///
    /// # Errors
    /// A call failed.
    pub async fn ensure_ssh_keys(
        &self,
        fleet: &FleetName,
        keys: &[String],
    ) -> Result<Vec<String>, ApiError> {
        let mut remembered = self.memory().ssh_keys.lock().await;
        if let Some((seen_at, for_keys, names)) = remembered.as_ref()
            && seen_at.elapsed() < FRESH
            && for_keys == keys
        {
            return Ok(names.clone());
        }
        let mut known = if keys.is_empty() {
            BTreeMap::new()
        } else {
            self.known_keys().await?
        };
        let mut names = Vec::new();
        for key in keys {
            let identity = identity(key);
            if !known.contains_key(&identity) {
                match self.upload(fleet, key).await {
                    Ok(name) => drop(known.insert(identity.clone(), name)),
                    Err(error) if error.code() == Some(Code::UniquenessError) => {
                        known = self.known_keys().await?;
                        if !known.contains_key(&identity) {
                            return Err(error);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            let name = &known[&identity];
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        *remembered = Some((Instant::now(), keys.to_vec(), names.clone()));
        Ok(names)
    }

    async fn known_keys(&self) -> Result<BTreeMap<String, String>, ApiError> {
        let call = || {
            Call::get(Operation::ListSshKeys, "the SSH keys", "/ssh_keys").query("sort", "id:asc")
        };
        let entries = self.pages(call, "ssh_keys").await?;
        Ok(entries
            .iter()
            .filter_map(|entry| {
                Some((
                    identity(&string(entry, &["public_key"])?),
                    string(entry, &["name"])?,
                ))
            })
            .collect())
    }

    async fn upload(&self, fleet: &FleetName, key: &str) -> Result<String, ApiError> {
        let name = name(fleet, key);
        let labels = [("managed-by", "clawdlets"), ("fleet", fleet.as_str())];
        let labels = labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let body = CreateSshKeyRequest {
            labels: Some(hash_map(&labels)),
            ..CreateSshKeyRequest::new(name.clone(), key.trim().to_owned())
        };
        let call = Call::new(
            Operation::CreateSshKey,
            format!("SSH key `{name}`"),
            Method::POST,
            "/ssh_keys",
        )
        .json(&body);
        self.transport().send(call).await?;
        Ok(name)
    }
}

/// Algorithm and key, without the comment: what makes two lines the same key.
fn identity(key: &str) -> String {
    key.split_ascii_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

fn name(fleet: &FleetName, key: &str) -> String {
    let digest = Sha256::digest(identity(key).as_bytes());
    let hash: String = digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("clawdlets-{fleet}-{hash}")
}
