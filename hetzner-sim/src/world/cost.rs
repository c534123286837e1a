//! The cost meter.

use serde::Serialize;

use super::{World, server::Server};
use crate::{
    catalogue::{IPV4_HOURLY, IPV4_MONTHLY},
    money::{Money, metered},
};

/// What the account owes so far, net, in euros; amounts are decimal strings.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// `EUR`
    pub currency: &'static str,
    /// Servers and addresses together.
    pub total: Money,
    /// Servers alone.
    pub servers_total: Money,
    /// Primary IPv4 addresses alone.
    pub ipv4_total: Money,
    /// Started hours of all servers.
    pub started_hours: u64,
    /// Servers that were ever created.
    pub servers_created: u64,
    /// One entry for each server that is remembered, oldest first.
    pub servers: Vec<ServerCost>,
}

/// What one server owes so far.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerCost {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its type's name.
    pub server_type: &'static str,
    /// From the end of its creation until now or its deletion; powered off counts.
    pub started_hours: u64,
    /// The server.
    pub server: Money,
    /// Its Primary IPv4.
    pub ipv4: Money,
    /// Both.
    pub total: Money,
    /// Whether it is gone.
    pub deleted: bool,
}

/// The cost of servers that are no longer remembered one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forgotten {
    servers: Money,
    ipv4: Money,
    hours: u64,
}

impl World {
    /// What everything cost until now. A server whose creation never ended costs nothing.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let mut servers: Vec<ServerCost> = self
            .gone
            .iter()
            .chain(self.servers.values())
            .map(|server| self.cost_of(server))
            .collect();
        servers.sort_by_key(|cost| cost.id);
        let sum = |of: fn(&ServerCost) -> Money| servers.iter().map(of).sum::<Money>();
        let servers_total = sum(|c| c.server) + self.forgotten.servers;
        let ipv4_total = sum(|c| c.ipv4) + self.forgotten.ipv4;
        Cost {
            currency: "EUR",
            total: servers_total + ipv4_total,
            servers_total,
            ipv4_total,
            started_hours: servers.iter().map(|c| c.started_hours).sum::<u64>()
                + self.forgotten.hours,
            servers_created: self.servers_created,
            servers,
        }
    }

    fn cost_of(&self, server: &Server) -> ServerCost {
        let until = server.deleted.unwrap_or(self.now);
        let (amount, hours) = server.billed_from.map_or_else(Default::default, |from| {
            metered(from, until, server.kind.hourly, server.kind.monthly)
        });
        // The address is there from the POST on, but nothing says that it is billed before the
        // server is.
        let ipv4 = match (server.ipv4, server.billed_from) {
            (Some(_), Some(from)) => metered(from, until, IPV4_HOURLY, IPV4_MONTHLY).0,
            _ => Money::default(),
        };
        ServerCost {
            id: server.id,
            name: server.name.clone(),
            server_type: server.kind.name,
            started_hours: hours,
            server: amount,
            ipv4,
            total: amount + ipv4,
            deleted: server.deleted.is_some(),
        }
    }

    pub(crate) fn forget_cost(&mut self, server: &Server) {
        let cost = self.cost_of(server);
        self.forgotten.servers += cost.server;
        self.forgotten.ipv4 += cost.ipv4;
        self.forgotten.hours += cost.started_hours;
    }
}
