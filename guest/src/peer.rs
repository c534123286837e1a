//! Is it the controller, before the token goes out?
//!
//! The bootstrap file pins the controller's tailnet address. Where it does, the URL's host must be
//! that address: no name is resolved, and no other node can be meant. Without a tailnet (loopback,
//! tests) there is no pin, and nothing to check.

use std::net::IpAddr;

use cattle_schemas::guest::Bootstrap;

/// Why the token is not sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the pinned controller address `{0}` is not an IP address")]
    PinIsNoAddress(String),
    #[error("the controller's URL names `{host}`, but `{pinned}` is pinned")]
    OtherHost { host: String, pinned: IpAddr },
}

/// Whether the token may go to `url`.
pub(crate) fn check(bootstrap: &Bootstrap, url: &reqwest::Url) -> Result<(), PeerError> {
    let Some(pinned) = &bootstrap.controller_address else {
        return Ok(());
    };
    let pinned: IpAddr = pinned
        .parse()
        .map_err(|_| PeerError::PinIsNoAddress(pinned.clone()))?;
    let host = url.host_str().unwrap_or_default();
    // URLs write IPv6 in brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse() == Ok(pinned) {
        return Ok(());
    }
    Err(PeerError::OtherHost {
        host: host.to_owned(),
        pinned,
    })
}
