//! One list of servers for everybody, as seldom as it can be.
//!
//! Every 30 s, every 8 s while something waits for what only Hetzner can say, never more than a
//! quarter of what the rate limit refills. With each goes a look at the fleet's firewall, which says
//! whose fleet this is. One list of each idle interval may use the last call that
//! Hetzner allows; those in between wait behind creates, and give way to the next such one. A failed
//! list keeps what was seen and says why.

use std::{sync::Arc, time::Duration};

use cattle_core::{
    fleet::Fleet,
    names::FleetName,
    observed::{FirewallView, Observed},
    rate::{Class, PER_PAGE, list_interval},
};
use cattle_schemas::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    hetzner::{ApiError, Client, Kind, Listed, Odd},
    identity::Identity,
    world::Bell,
};

/// How far lists are apart.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Usually.
    pub idle: Duration,
    /// While something waits for what only a list can say.
    pub busy: Duration,
    /// At least so far for each page of a list while one call a second is refilled, as at 3,600 calls
    /// an hour; further where it is less.
    pub page: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            busy: Duration::from_secs(5),
            page: PER_PAGE,
        }
    }
}

/// The longest wait after failed lists: a controller must notice within minutes that Hetzner is
/// back.
const MAX_BACKOFF: Duration = Duration::from_secs(120);

/// Failures that a refused token counts for at most: Hetzner answers, and everything waits for the list
/// that finds out that the token is taken again. 20 s at the usual pace.
const MAX_REFUSED: u32 = 3;

/// Lists until told to stop.
pub struct Lister {
    /// Hetzner.
    pub client: Arc<Client>,
    /// Its clock.
    pub clock: Clock,
    /// Whose servers, and how long those live of which only their labels say so.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What was seen.
    pub observed: watch::Sender<Arc<Observed>>,
    /// Whether a list is wanted soon.
    pub soon: watch::Receiver<bool>,
    /// Rung after each list.
    pub bell: Bell,
    /// How far lists are apart.
    pub pace: Pace,
    /// When the latest list began that could use the last call.
    pub certain: Option<Instant>,
    /// Who we are to the fleet's firewall.
    pub identity: Identity,
}

impl Lister {
    /// Lists until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let turn = self
                .certain
                .map_or(began, |certain| certain + self.spaced(self.pace.idle));
            let class = if turn <= began {
                self.certain = Some(began);
                Class::List
            } else {
                Class::Read
            };
            tokio::select! {
                () = stop.cancelled() => return,
                listed = self.list_as(class) => match listed {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        tracing::warn!(error = %crate::report(&error), "the list of servers failed");
                        let most = if error.is_credentials() {
                            MAX_REFUSED
                        } else {
                            u32::MAX
                        };
                        failures = failures.saturating_add(1).min(most);
                    }
                },
                // It found no room; the next one does.
                () = tokio::time::sleep_until(turn), if class == Class::Read => continue,
            }
            self.bell.ring();
            loop {
                let due = began + self.interval(failures);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep_until(due) => break,
                    changed = self.soon.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Lists once.
    ///
    /// # Errors
    /// Why it failed; what was seen before stays.
    pub async fn list(&mut self) -> Result<(), ApiError> {
        self.list_as(Class::List).await
    }

    async fn list_as(&mut self, class: Class) -> Result<(), ApiError> {
        let asked = self.clock.reading();
        let fleet = self.fleet.borrow().clone();
        let listed = self
            .client
            .as_class(class)
            .list_servers(&fleet.name, fleet.lifetimes())
            .await;
        match listed {
            Ok(listed) => {
                // By the clock as it is known now: this reply may be the first to tell it, and a
                // list dated an hour ahead would pass for newer than all that happens until then.
                let asked_at = self.clock.at(asked);
                let mut seen = seen(asked_at, listed);
                let read = self.firewall(class, &fleet.name, &mut seen).await;
                let seen = Arc::new(seen);
                let before = self.observed.send_replace(seen.clone());
                let (before, unread) = (before.unread(), seen.unread());
                // Said when it changes: the status says it all the time.
                for cause in unread.iter().filter(|cause| !before.contains(cause)) {
                    tracing::warn!(%cause, "not everything that is listed can be read");
                }
                read
            }
            // Not asked: that says nothing about Hetzner.
            Err(error) if matches!(error.kind, Kind::NoRoom(_)) => {
                tracing::warn!(%error, "the servers were not listed");
                Err(error)
            }
            Err(error) => {
                self.observed.send_modify(|observed| {
                    let mut stale = (**observed).clone();
                    stale.unreachable = Some(error.to_string());
                    *observed = Arc::new(stale);
                });
                Err(error)
            }
        }
    }

    /// Reads the fleet's firewall beside a list, and marks it. What could not be read is as it was
    /// before.
    ///
    /// # Errors
    /// It was never read, and could not be now: nothing starts until it was.
    async fn firewall(
        &mut self,
        class: Class,
        fleet: &FleetName,
        seen: &mut Observed,
    ) -> Result<(), ApiError> {
        let client = self.client.as_class(class);
        let firewall = match client.look_at_firewall(fleet).await {
            Ok(firewall) => firewall,
            Err(error) => {
                seen.firewall = match self.observed.borrow().firewall.clone() {
                    FirewallView::Unread(_) => FirewallView::Unread(Some(error.to_string())),
                    known => known,
                };
                return match seen.firewall {
                    FirewallView::Unread(_) => Err(error),
                    _ => {
                        tracing::warn!(%error, "the fleet's firewall could not be read");
                        Ok(())
                    }
                };
            }
        };
        seen.firewall = match &firewall {
            Some(firewall) => FirewallView::Seen(firewall.marks()),
            None => FirewallView::Absent,
        };
        let now = self.clock.now();
        self.identity
            .settle(&client, fleet, seen, firewall.as_ref(), now)
            .await;
        Ok(())
    }

    fn interval(&self, failures: u32) -> Duration {
        // Nothing is started on a failed list: whatever waits, waits for the next one.
        let wanted = if *self.soon.borrow() || failures > 0 {
            self.pace.busy
        } else {
            self.pace.idle
        };
        let wait = self.spaced(wanted);
        match failures {
            0 => wait,
            n => wait
                .saturating_mul(2_u32.saturating_pow(n.min(6) - 1))
                .min(MAX_BACKOFF)
                .max(wait),
        }
    }

    /// So far apart, or further for the rate limit's sake.
    fn spaced(&self, wanted: Duration) -> Duration {
        let servers = {
            let observed = self.observed.borrow();
            observed.servers.len() + observed.odd.len()
        };
        list_interval(wanted, self.pace.page, servers, self.client.refill())
    }
}

fn seen(asked_at: Timestamp, listed: Listed) -> Observed {
    Observed {
        listed_at: Some(asked_at),
        unreachable: None,
        odd: listed.odd.iter().map(Odd::sentence).collect(),
        firewall: FirewallView::default(),
        servers: listed.servers,
    }
}
