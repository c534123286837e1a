//! What a run's server was or is billed for, and the sums of it.
//!
//! A charge is what is left of a run when only money is asked about. Invariants: every run that ever
//! had a server has one charge; what is not priced is counted and named, never taken for free.
//! Absent on purpose: servers that no run of the ledger has. They are Hetzner's to bill and an
//! operator's to look at (`ServersReadable`, `Orphan`), and no persona's cost.

use std::collections::BTreeMap;

use cattle_schemas::{
    Timestamp,
    api::{CostBy, CostItem, CostQuery, CostReply},
};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Catalogue,
    cost::{Amount, Billed, Price, ServerPrice, billed_within, day},
    desired::Requester,
    ledger::Run,
    names::{CattleName, FleetName, PersonaName, RunId, ServerId},
    observed::ObservedServer,
};

/// What one run's server is billed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// The run.
    pub run: RunId,
    /// Whose it is.
    pub cattle: CattleName,
    /// Who it is.
    pub persona: PersonaName,
    /// Who asked.
    pub requester: Requester,
    /// The server.
    pub server: ServerId,
    /// What its hours count from.
    pub created: Timestamp,
    /// When it was proved gone; `None` while it bills.
    pub until: Option<Timestamp>,
    /// Server type.
    pub server_type: Option<String>,
    /// Location.
    pub location: Option<String>,
    /// What it costs, as it was known when the server was made or found.
    pub price: Option<ServerPrice>,
}

impl Charge {
    /// `None` while the run has no server that is known.
    #[must_use]
    pub fn of_run(run: &Run) -> Option<Self> {
        let server = run.server.as_ref()?;
        Some(Self {
            run: run.id,
            cattle: run.cattle.clone(),
            persona: run.spec.persona.clone(),
            requester: run.requester.clone(),
            server: server.id,
            created: server.created.unwrap_or(run.posted_at),
            until: run.gone_at,
            server_type: server.server_type.clone(),
            location: server.location.clone(),
            price: server.price,
        })
    }

    /// Its price: what was recorded with the server, else what its type costs there now.
    #[must_use]
    pub fn price(&self, catalogue: &Catalogue) -> Option<ServerPrice> {
        self.price
            .or_else(|| catalogue.price(self.server_type.as_deref()?, self.location.as_deref()?))
    }
}

/// What the server of a run costs: its own price; before that is known, at most what was set aside
/// for it, or what the dearest of its candidates costs. `None` when nobody can say.
#[must_use]
pub fn price_of_run(run: &Run, catalogue: &Catalogue) -> Option<ServerPrice> {
    let own = || Charge::of_run(run)?.price(catalogue);
    own()
        .or_else(|| run.hourly_limit.map(set_aside))
        .or_else(|| {
            let mut dearest: Option<ServerPrice> = None;
            for (server_type, location) in run.spec.placement.candidates() {
                let price = catalogue.price(server_type, location)?;
                if dearest.is_none_or(|dearest| dearest.hourly() < price.hourly()) {
                    dearest = Some(price);
                }
            }
            dearest.filter(|_| run.server.is_none())
        })
}

/// What a server costs that no run has: what its type costs there now.
#[must_use]
pub fn price_of_server(server: &ObservedServer, catalogue: &Catalogue) -> Option<ServerPrice> {
    catalogue.price(server.server_type.as_deref()?, server.location.as_deref()?)
}

/// An amount for each hour, as the price of a server that is still to be made.
#[must_use]
pub fn set_aside(hourly: Amount) -> ServerPrice {
    ServerPrice {
        server: Price {
            hourly,
            monthly: None,
        },
        ipv4: Price::default(),
    }
}

/// Whether a pair may be tried for a run whose server may cost so much an hour: what costs nobody
/// knows how much may not.
#[must_use]
pub fn is_within(
    hourly_limit: Option<Amount>,
    catalogue: &Catalogue,
    (server_type, location): (&str, &str),
) -> bool {
    hourly_limit.is_none_or(|limit| {
        let price = catalogue.price(server_type, location);
        price.is_some_and(|price| price.hourly() <= limit)
    })
}

/// Charges of one group.
#[derive(Default)]
struct Group {
    runs: u64,
    billed: Billed,
}

impl Group {
    fn add(&mut self, billed: Billed) {
        self.runs += 1;
        self.billed += billed;
    }

    fn item(&self, key: String) -> CostItem {
        CostItem {
            key,
            runs: self.runs,
            started_hours: self.billed.hours,
            server: self.billed.server.to_string(),
            ipv4: self.billed.ipv4.to_string(),
            total: self.billed.total().to_string(),
        }
    }
}

/// What the hours cost that began within the query's time, put together as it says. What still
/// bills is counted up to `now`.
#[must_use]
pub fn report(
    charges: &[Charge],
    query: &CostQuery,
    fleet: &FleetName,
    catalogue: &Catalogue,
    now: Timestamp,
) -> CostReply {
    let window =
        query.since.unwrap_or(Timestamp::MIN_UTC)..query.until.unwrap_or(Timestamp::MAX_UTC);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut total = Group::default();
    let mut unpriced_runs = 0;
    for charge in charges {
        let until = charge.until.unwrap_or(now);
        let price = charge.price(catalogue);
        let within =
            |window| billed_within(&price.unwrap_or_default(), charge.created, until, window);
        let billed = within(window.clone());
        if billed.hours == 0 {
            continue;
        }
        if price.is_none() {
            unpriced_runs += 1;
            continue;
        }
        total.add(billed);
        let mut put = |key: String, billed| groups.entry(key).or_default().add(billed);
        match query.by {
            CostBy::Fleet => put(fleet.to_string(), billed),
            CostBy::Persona => put(charge.persona.to_string(), billed),
            CostBy::Day => {
                let mut date = charge.created.max(window.start).date_naive();
                let mut left = billed.hours;
                while left > 0 {
                    let day = day(date);
                    let part = within(day.start.max(window.start)..day.end.min(window.end));
                    if part.hours > 0 {
                        put(date.to_string(), part);
                    }
                    left = left.saturating_sub(part.hours);
                    let Some(next) = date.succ_opt() else { break };
                    date = next;
                }
            }
        }
    }
    CostReply {
        by: query.by,
        currency: catalogue.currency.clone(),
        items: groups
            .into_iter()
            .map(|(key, group)| group.item(key))
            .collect(),
        total: total.item("total".to_owned()),
        unpriced_runs,
    }
}
