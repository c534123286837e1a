//! Is it the controller, before the token goes out?
//!
//! The bootstrap file pins the controller's tailnet address and its node's StableID.
//! - With an address, the URL's host must be that address: no name is resolved.
//! - With a StableID, our own tailscaled is asked (LocalAPI `status`): the node with that id must
//!   hold the address. While tailscaled does not answer, or does not know the node yet, the caller
//!   waits; when the address is another node's, the token stays here.
//! - With neither (loopback, tests), there is no pin and nothing to check.
//!
//! Relied on: within a tailnet, WireGuard delivers an address's packets to its node alone, so that
//! checking before connecting is enough.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cattle_schemas::guest::Bootstrap;
use reqwest::Url;
use serde::Deserialize;

use crate::client::{CallError, json, send};

/// tailscaled answers from memory.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A kilobyte or two for each node of the tailnet.
const MAX_STATUS_BYTES: u64 = 16 * 1024 * 1024;
/// The LocalAPI refuses other hosts, so that no browser can be led to it.
const STATUS_URL: &str = "http://local-tailscaled.sock/localapi/v0/status";

/// Why the token is not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the pinned controller address `{0}` is not an IP address")]
    PinIsNoAddress(String),
    #[error("the controller's URL names `{host}`, but `{pinned}` is pinned")]
    OtherHost { host: String, pinned: IpAddr },
    #[error("a StableID is pinned, but the controller's URL names `{0}`, not an address")]
    NoAddress(String),
    #[error("`{address}` belongs to the node `{found}`, but `{pinned}` is pinned")]
    OtherNode {
        address: IpAddr,
        found: String,
        pinned: String,
    },
    #[error("the tailnet does not know the node `{0}`")]
    Unknown(String),
    #[error("tailscaled does not answer")]
    Tailscaled(#[source] CallError),
    #[error("cannot make an HTTP client")]
    Http(#[source] reqwest::Error),
}

impl PeerError {
    /// A tailnet that is still coming up.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Tailscaled(_))
    }
}

/// The fields of LocalAPI's `status` that are used. tailscaled omits what is zero, so all are
/// optional (ipn/ipnstate in its source).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Status {
    peer: Option<BTreeMap<String, Node>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    /// The StableID.
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "TailscaleIPs")]
    addresses: Option<Vec<IpAddr>>,
}

/// Whether the token may go to `url`, as far as can be told without asking anybody.
pub(crate) fn pinned(bootstrap: &Bootstrap, url: &Url) -> Result<(), PeerError> {
    let Some(pinned) = &bootstrap.controller_address else {
        return Ok(());
    };
    let pinned: IpAddr = pinned
        .parse()
        .map_err(|_| PeerError::PinIsNoAddress(pinned.clone()))?;
    if address(url) == Some(pinned) {
        return Ok(());
    }
    Err(PeerError::OtherHost {
        host: url.host_str().unwrap_or_default().to_owned(),
        pinned,
    })
}

/// Whether the token may go to `url`. `socket` is tailscaled's.
pub(crate) async fn check(
    bootstrap: &Bootstrap,
    url: &Url,
    socket: &Path,
) -> Result<(), PeerError> {
    pinned(bootstrap, url)?;
    let Some(stable_id) = &bootstrap.controller_stable_id else {
        return Ok(());
    };
    let address = address(url)
        .ok_or_else(|| PeerError::NoAddress(url.host_str().unwrap_or_default().to_owned()))?;
    holds(&status(socket).await?, stable_id, address)
}

fn address(url: &Url) -> Option<IpAddr> {
    // URLs write IPv6 in brackets.
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

fn holds(status: &Status, stable_id: &str, address: IpAddr) -> Result<(), PeerError> {
    let holder = status
        .peer
        .iter()
        .flat_map(BTreeMap::values)
        .find(|node| node.addresses.iter().flatten().any(|held| *held == address));
    match holder {
        Some(node) if node.id == stable_id => Ok(()),
        Some(node) => Err(PeerError::OtherNode {
            address,
            found: node.id.clone(),
            pinned: stable_id.to_owned(),
        }),
        None => Err(PeerError::Unknown(stable_id.to_owned())),
    }
}

async fn status(socket: &Path) -> Result<Status, PeerError> {
    const CALL: &str = "asking tailscaled for its peers";
    let client = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(socket)
        .build()
        .map_err(PeerError::Http)?;
    let request = client.get(STATUS_URL).timeout(TIMEOUT);
    let body = send(CALL, request, MAX_STATUS_BYTES)
        .await
        .map_err(PeerError::Tailscaled)?;
    json(CALL, &body).map_err(PeerError::Tailscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_of(url: &str) -> Option<IpAddr> {
        address(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn an_address_is_read_from_a_url_in_both_families_and_a_name_is_none() {
        assert_eq!(
            address_of("http://100.64.0.1:18337"),
            "100.64.0.1".parse().ok()
        );
        assert_eq!(
            address_of("http://[fd7a:115c:a1e0::1]:18337"),
            "fd7a:115c:a1e0::1".parse().ok()
        );
        assert_eq!(address_of("http://controller:18337"), None);
    }
}
