//! A firewall's rules, and what the API accepts as one.

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// Limits of the reference: rules per firewall, addresses per rule, and lengths.
const RULES_MAX: usize = 50;
const ADDRESSES_MAX: usize = 100;
const DESCRIPTION_MAX: usize = 255;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Rule {
    direction: String,
    protocol: String,
    port: Option<String>,
    #[serde(default)]
    source_ips: Vec<String>,
    #[serde(default)]
    destination_ips: Vec<String>,
    description: Option<String>,
}

impl Rule {
    fn check(&self) -> Result<(), ApiError> {
        let ported = matches!(self.protocol.as_str(), "tcp" | "udp");
        let problem = if !matches!(self.direction.as_str(), "in" | "out") {
            "direction must be 'in' or 'out'"
        } else if !ported && !matches!(self.protocol.as_str(), "icmp" | "esp" | "gre") {
            "unknown protocol"
        } else if ported != self.port.is_some() {
            "port is required for tcp and udp, and for nothing else"
        } else if self.port.as_deref().is_some_and(|port| !valid_ports(port)) {
            "invalid port"
        } else if self.direction == "in" && self.source_ips.is_empty() {
            "source_ips is required"
        } else if self.direction == "out" && self.destination_ips.is_empty() {
            "destination_ips is required"
        } else if self.source_ips.len().max(self.destination_ips.len()) > ADDRESSES_MAX {
            "too many addresses"
        } else if !self
            .source_ips
            .iter()
            .chain(&self.destination_ips)
            .all(|a| valid_cidr(a))
        {
            "invalid CIDR"
        } else if self
            .description
            .as_ref()
            .is_some_and(|d| d.len() > DESCRIPTION_MAX)
        {
            "description is too long"
        } else {
            return Ok(());
        };
        Err(ApiError::invalid("rules", problem))
    }
}

fn valid_ports(text: &str) -> bool {
    if text == "any" {
        return true;
    }
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-') {
        None => port(text).is_some(),
        Some((low, high)) => matches!((port(low), port(high)), (Some(l), Some(h)) if l <= h),
    }
}

fn valid_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    match (address.parse(), bits.parse::<u8>()) {
        (Ok(std::net::IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(std::net::IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}

/// # Errors
/// 422 for the first rule that the API would not take, or for too many.
pub(crate) fn check_rules(rules: &[Rule]) -> Result<(), ApiError> {
    if rules.len() > RULES_MAX {
        return Err(ApiError::invalid("rules", "at most 50 rules"));
    }
    rules.iter().try_for_each(Rule::check)
}
