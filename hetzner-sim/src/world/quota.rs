//! The account's limits: servers, Primary IPs, cores of dedicated types.

use chrono::Duration;
use serde::Deserialize;

use super::World;
use crate::{catalogue::ServerType, error::ApiError};

/// What there may be at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) servers: usize,
    /// IPv4 and IPv6 alike, as the list of Primary IPs has them; none without a limit.
    pub(crate) primary_ips: Option<usize>,
    /// Of all servers of dedicated types; none without a limit.
    pub(crate) dedicated_cores: Option<u32>,
    /// An address counts so long after its server is gone.
    pub(crate) address_frees: Duration,
}

impl Quota {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            servers,
            primary_ips: None,
            dedicated_cores: None,
            // About a minute was seen.
            address_frees: Duration::seconds(60),
        }
    }
}

/// Each optional: what is not named stays.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct QuotaChange {
    max_servers: Option<usize>,
    max_primary_ips: Option<usize>,
    max_dedicated_cores: Option<u32>,
    address_frees_after_ms: Option<u64>,
}

impl World {
    pub(crate) fn change_quota(&mut self, change: &QuotaChange) {
        let quota = &mut self.quota;
        quota.servers = change.max_servers.unwrap_or(quota.servers);
        quota.primary_ips = change.max_primary_ips.or(quota.primary_ips);
        quota.dedicated_cores = change.max_dedicated_cores.or(quota.dedicated_cores);
        if let Some(ms) = change.address_frees_after_ms {
            quota.address_frees = super::delay(std::time::Duration::from_millis(ms));
        }
    }

    /// Whether one more server fits, with so many addresses of its own.
    pub(crate) fn check_quota(&self, kind: &ServerType, addresses: usize) -> Result<(), ApiError> {
        if self.servers.len() >= self.quota.servers {
            return Err(ApiError::quota("server_limit", "server limit exceeded"));
        }
        if let Some(limit) = self.quota.dedicated_cores.filter(|_| kind.dedicated()) {
            let dedicated = self.servers.values().filter(|it| it.kind.dedicated());
            let taken: u32 = dedicated.map(|server| server.kind.cores).sum();
            if taken + kind.cores > limit {
                let message = "dedicated core limit exceeded";
                return Err(ApiError::quota("dedicated_core_limit", message));
            }
        }
        if let Some(limit) = self.quota.primary_ips
            && self.addresses_taken() + addresses > limit
        {
            let message = "Primary IP limit exceeded";
            return Err(ApiError::quota("primary_ip_limit", message));
        }
        Ok(())
    }

    fn addresses_taken(&self) -> usize {
        let lately = |deleted| deleted + self.quota.address_frees > self.now;
        let leaving = self.gone.iter();
        let leaving = leaving.filter(|server| server.deleted.is_some_and(lately));
        self.servers
            .values()
            .chain(leaving)
            .map(|server| usize::from(server.ipv4.is_some()) + usize::from(server.ipv6.is_some()))
            .sum()
    }
}
