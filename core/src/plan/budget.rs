//! What may still be spent: `cattle.budget`, checked before each create.
//!
//! Every server counts, from the moment at which its create is decided: with its own price, and
//! until that is known with what was set aside for it ([`Run::hourly_limit`](crate::ledger::Run)),
//! which no candidate that is tried may exceed. So a lost reply, a crash or a dear second choice
//! cannot lead beyond the budget.
//!
//! - `maxHourly` bounds the sum of the hourly prices of all servers at once.
//! - `maxDaily` bounds, for each UTC day, what has been spent on it and what the servers that are
//!   there will spend if each lives until its expiry. A start must fit into every day that it would
//!   reach into, so that the morning's bill is not decided by the evening's starts.
//!
//! What nobody knows the price of cannot be bounded: then nothing starts under a budget, and the
//! message says why. Servers of other fleets are not counted, and `extend` is not held back; what it
//! adds counts from then on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cattle_schemas::Timestamp;
use chrono::{DurationRound, NaiveDate, TimeDelta};

use super::{Pass, view::Extra};
use crate::{
    action::Budget,
    candidates::Candidate,
    catalogue::Catalogue,
    charge::{Charge, price_of_run, price_of_server, set_aside},
    cost::{Amount, ServerPrice, billed_within, day},
    desired::Placement,
    expiry,
    ledger::Run,
    lifecycle::deadlines,
    observed::ObservedServer,
};

/// What is left to spend, less with each start of this plan.
pub(super) struct Purse<'a> {
    budget: Budget,
    catalogue: &'a Catalogue,
    now: Timestamp,
    max_ttl: Duration,
    bills: Vec<Bill>,
    /// Of all servers at once.
    hourly: Amount,
    /// What was asked about so far: spent and to be spent on a day.
    days: BTreeMap<NaiveDate, Amount>,
    /// Of a server whose price nobody knows: the sentence that says what follows.
    unpriced: Option<String>,
}

/// One server, as far as it costs something.
struct Bill {
    price: ServerPrice,
    from: Timestamp,
    until: Timestamp,
}

impl Bill {
    fn on(&self, date: NaiveDate) -> Amount {
        billed_within(&self.price, self.from, self.until, day(date)).total()
    }
}

impl<'a> Purse<'a> {
    pub(super) fn new(pass: &Pass<'a>) -> Self {
        let mut purse = Self {
            budget: pass.limits.budget,
            catalogue: &pass.limits.catalogue,
            now: pass.now,
            max_ttl: pass.limits.max_ttl,
            bills: Vec::new(),
            hourly: Amount::default(),
            days: BTreeMap::new(),
            unpriced: None,
        };
        if purse.budget != Budget::default() {
            purse.count(pass);
        }
        purse
    }

    /// Takes what a start may come to out of the purse: the most that an hour of its server may
    /// cost, which is what the dearest of its open candidates costs that there is room for. `None`
    /// without a budget.
    ///
    /// # Errors
    /// Why it has to wait, for people.
    pub(super) fn set_aside(
        &mut self,
        pass: &mut Pass<'_>,
        placement: &Placement,
        open: &[Candidate],
        lives: Duration,
    ) -> Result<Option<Amount>, String> {
        if self.budget == Budget::default() {
            return Ok(None);
        }
        if self.catalogue.server_types.is_empty() {
            return Err(
                "prices are not known yet, and nothing starts under cattle.budget until they are"
                    .to_owned(),
            );
        }
        if let Some(sentence) = &self.unpriced {
            return Err(sentence.clone());
        }
        let expires = expiry::expires_at(self.now, lives, Duration::ZERO, self.max_ttl);
        let until = leaves_by(expires);
        let mut dearest: Option<Amount> = None;
        let mut cheapest: Option<(&Candidate, Amount)> = None;
        for candidate in open {
            let Some(price) = candidate.price else {
                continue;
            };
            let hourly = price.hourly();
            if cheapest.as_ref().is_none_or(|(_, least)| hourly < *least) {
                cheapest = Some((candidate, hourly));
            }
            if dearest.is_none_or(|dearest| dearest < hourly)
                && self.refusal(hourly, until).is_none()
            {
                dearest = Some(hourly);
            }
        }
        if let Some(hourly) = dearest {
            self.hourly = self.hourly + hourly;
            let bill = self.bill(hourly, until);
            for (date, sum) in &mut self.days {
                *sum = *sum + bill.on(*date);
            }
            self.bills.push(bill);
            return Ok(Some(hourly));
        }
        let Some((cheapest, hourly)) = cheapest else {
            return Err(format!(
                "no price is known of {} in {}, so it cannot start under cattle.budget",
                placement.server_types.join(" or "),
                placement.locations.join(" or ")
            ));
        };
        let pair = format!("{} in {}", cheapest.server_type, cheapest.location);
        let refusal = self.refusal(hourly, until);
        Err(self.explain(pass, &pair, hourly, refusal))
    }

    /// Everything that costs something today or later.
    fn count(&mut self, pass: &Pass<'_>) {
        let ledger = pass.ledger;
        let mut counted = BTreeSet::new();
        for (server, extra) in &pass.view.extra {
            counted.insert(server.id);
            let price = match extra {
                Extra::Returned(run) if is_its(run, server) => price_of_run(run, self.catalogue),
                _ => price_of_server(server, self.catalogue),
            };
            let expires = server.labels.expires_at.unwrap_or(self.now + self.max_ttl);
            let until = leaves_by(expires.max(self.now));
            self.add(price, server.created, until, Some(&server.name));
        }
        let gone = ledger
            .charges
            .iter()
            .filter(|charge| !ledger.runs.contains_key(&charge.run))
            .cloned();
        let of_runs = ledger.runs.values().filter_map(Charge::of_run);
        for charge in gone.chain(of_runs) {
            if let Some(until) = charge.until
                && !counted.contains(&charge.server)
            {
                self.add(charge.price(self.catalogue), charge.created, until, None);
            }
        }
        for run in ledger.runs.values() {
            let exists = run.holds_slot() || pass.view.servers.contains_key(&run.id);
            if run.gone_at.is_some() || !exists {
                continue;
            }
            let created = run.server.as_ref().and_then(|server| server.created);
            self.add(
                price_of_run(run, self.catalogue),
                created.unwrap_or(run.posted_at),
                leaves_by(self.ends(run)),
                Some(&run.server_name()),
            );
        }
    }

    /// When a run's server is to be deleted, unless it is sooner.
    fn ends(&self, run: &Run) -> Timestamp {
        let planned = match &run.ended {
            None => run.expires_at,
            Some(_) => run.kept_until().unwrap_or(self.now),
        };
        planned.max(self.now)
    }

    /// One server: `name` is that of one that is there, or may be.
    fn add(
        &mut self,
        price: Option<ServerPrice>,
        from: Timestamp,
        until: Timestamp,
        name: Option<&str>,
    ) {
        let bill = Bill {
            price: price.unwrap_or_default(),
            from,
            until,
        };
        let today = day(self.now.date_naive());
        let is_of_today = || billed_within(&bill.price, from, until, today).hours > 0;
        if name.is_none() && (self.budget.max_daily.is_none() || !is_of_today()) {
            return;
        }
        let Some(price) = price else {
            let sentence = match name {
                Some(name) => format!(
                    "the price of server {name} is not known, and nothing starts under cattle.budget until it is gone"
                ),
                None => "the price of a server that is gone is not known, and nothing starts under cattle.budget.maxDaily until midnight UTC"
                    .to_owned(),
            };
            self.unpriced.get_or_insert(sentence);
            return;
        };
        if name.is_some() {
            self.hourly = self.hourly + price.hourly();
        }
        self.bills.push(bill);
    }

    fn bill(&self, hourly: Amount, until: Timestamp) -> Bill {
        Bill {
            price: set_aside(hourly),
            from: self.now,
            until,
        }
    }

    /// What is spent, and what is to be spent, on a day.
    fn on(&mut self, date: NaiveDate) -> Amount {
        let bills = &self.bills;
        *self
            .days
            .entry(date)
            .or_insert_with(|| bills.iter().map(|bill| bill.on(date)).sum())
    }

    /// Why there is no room for one more server at this price; `None` when there is.
    fn refusal(&mut self, hourly: Amount, until: Timestamp) -> Option<Refusal> {
        if let Some(max) = self.budget.max_hourly
            && self.hourly + hourly > max
        {
            return Some(Refusal::Hourly { max });
        }
        let max = self.budget.max_daily?;
        let bill = self.bill(hourly, until);
        let mut date = self.now.date_naive();
        while day(date).start < until {
            let adds = bill.on(date);
            let so_far = self.on(date);
            if so_far + adds > max {
                return Some(Refusal::Daily {
                    max,
                    date,
                    so_far,
                    adds,
                });
            }
            date = date.succ_opt()?;
        }
        None
    }

    fn explain(
        &self,
        pass: &mut Pass<'_>,
        pair: &str,
        hourly: Amount,
        refusal: Option<Refusal>,
    ) -> String {
        let currency = &self.catalogue.currency;
        let never = "it starts when that is raised, or its spec names something cheaper";
        match refusal {
            Some(Refusal::Hourly { max }) if hourly > max => format!(
                "{pair} costs {hourly} {currency}/h, and cattle.budget.maxHourly is {max}; {never}"
            ),
            Some(Refusal::Hourly { max }) => format!(
                "{} of {max} {currency}/h are used (cattle.budget.maxHourly); {pair} would add {hourly}",
                self.hourly
            ),
            Some(Refusal::Daily { max, .. }) if hourly > max => format!(
                "one hour of {pair} costs {hourly} {currency}, and cattle.budget.maxDaily is {max}; {never}"
            ),
            Some(Refusal::Daily {
                max,
                date,
                so_far,
                adds,
            }) => {
                // With each hour there is less of the day to pay for, and at midnight there is a
                // new one.
                let hour = self.now.duration_trunc(TimeDelta::hours(1));
                pass.due(hour.unwrap_or(self.now) + TimeDelta::hours(1));
                format!(
                    "{so_far} of {max} {currency} are spent or bound for {date} UTC (cattle.budget.maxDaily); {pair} would add {adds}"
                )
            }
            // There was room for none of them a moment ago.
            None => format!("there is no room for {pair} in cattle.budget"),
        }
    }
}

/// What a start does not fit into.
enum Refusal {
    Hourly {
        max: Amount,
    },
    Daily {
        max: Amount,
        date: NaiveDate,
        so_far: Amount,
        adds: Amount,
    },
}

/// Whether a listed server is the one that a run is known by, as far as it is known.
fn is_its(run: &Run, server: &ObservedServer) -> bool {
    run.server.as_ref().is_none_or(|own| own.id == server.id)
}

/// A server that is to go at this time is certainly not billed beyond that.
fn leaves_by(at: Timestamp) -> Timestamp {
    at + deadlines::REAPER_GRACE
}
