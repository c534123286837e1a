//! The emergency stop: deletes every server of one fleet, with nothing but the token.
//!
//! It needs no ledger, no specs and no running controller. Invariants: each server is read again
//! right before its delete, and must still be of this fleet and no other tool's; one failure never
//! stops the rest; gone is proved by Hetzner's 404, not by a list. It is over when a list shows
//! nothing more of the fleet, so that what a controller makes meanwhile goes too, as far as that
//! can be done: whoever wants it to stay so stops the controller, or pauses its starts.

use std::{collections::BTreeMap, time::Duration};

use cattle_core::{
    expiry::Lifetimes,
    names::{FleetName, ServerId},
    observed::ServerState,
    ownership::{self, Purpose, Spared},
    rate::Class,
};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use crate::hetzner::{ApiError, Client, Deleted, Disposition, Scope};

/// Servers that are looked at and deleted side by side: one that does not answer for half a minute
/// must not keep the others, and a hundred at once would only wait for the rate limit.
const SIDE_BY_SIDE: usize = 8;

/// When they expire does not matter here.
const ANY: Lifetimes = Lifetimes {
    default_ttl: Duration::from_secs(3_600),
    max_ttl: Duration::from_secs(3_600),
};

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two lists: a delete takes about ten seconds.
    pub look: Duration,
    /// A server that was not deleted, or whose delete was accepted and that shows no sign of it, is
    /// deleted again after this.
    pub again: Duration,
    /// After this what is left is named, and somebody has to look.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(3),
            again: Duration::from_secs(15),
            give_up: Duration::from_secs(600),
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// Which fleet.
    pub fleet: String,
    /// Whether nothing was deleted because it was asked so.
    pub dry_run: bool,
    /// Every server of the fleet that was found.
    pub servers: Vec<StoppedServer>,
    /// What is listed and cannot be read, a sentence each: it may be the fleet's, and bills.
    pub unreadable: Vec<String>,
    /// Servers that are still there.
    pub remaining: usize,
}

impl Stopped {
    /// Whether nothing is left, or nothing was to be done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.dry_run || self.remaining == 0 && self.unreadable.is_empty()
    }
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoppedServer {
    /// Hetzner's id.
    pub server: u64,
    /// Its name.
    pub name: String,
    /// Whether it is proved gone.
    pub gone: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a server stands.
#[derive(Debug)]
enum Standing {
    /// To be deleted, not before this.
    Due(Instant),
    /// Its delete was accepted then.
    Accepted(Instant),
    /// Proved gone.
    Gone,
    /// Not ours any more.
    Spared,
    /// Only somebody else can do it.
    Stuck,
}

struct Known {
    name: String,
    standing: Standing,
    error: Option<String>,
}

/// Deletes every server of a fleet and waits until they are gone; with `dry_run` it only names
/// them. `tell` is given a line for each step.
///
/// # Errors
/// The first list failed, or the token may not write.
pub async fn stop(
    client: &Client,
    fleet: &FleetName,
    dry_run: bool,
    patience: Patience,
    tell: impl Fn(&str),
) -> Result<Stopped, ApiError> {
    // Nothing it does may wait for what others start.
    let client = client.as_class(Class::Delete);
    let scope = Scope::Fleet(fleet.clone());
    let give_up = Instant::now() + patience.give_up;
    let mut known: BTreeMap<ServerId, Known> = BTreeMap::new();
    let mut unreadable = Vec::new();
    loop {
        let listed = match client.list_scope(&scope, ANY).await {
            Ok(listed) => Some(listed),
            Err(error) if known.is_empty() || error.is_credentials() => return Err(error),
            Err(error) => {
                tell(&format!("{error}; trying again"));
                None
            }
        };
        let now = Instant::now();
        let mut there = BTreeMap::new();
        if let Some(listed) = &listed {
            unreadable = listed
                .odd
                .iter()
                .map(crate::hetzner::Odd::sentence)
                .collect();
            for server in &listed.servers {
                there.insert(server.id, server.status);
                known.entry(server.id).or_insert_with(|| Known {
                    name: server.name.clone(),
                    standing: Standing::Due(now),
                    error: None,
                });
            }
        }
        if dry_run {
            break;
        }
        for one in known.values_mut() {
            one.look_again(&patience, now);
        }
        let due = known.iter().filter_map(|(id, one)| {
            let todo = match one.standing {
                Standing::Due(at) => (at <= now).then_some(Todo::Delete),
                // Still listed: it goes on.
                Standing::Accepted(_) => {
                    (listed.is_some() && !there.contains_key(id)).then_some(Todo::Confirm)
                }
                Standing::Gone | Standing::Spared | Standing::Stuck => None,
            };
            Some((*id, todo?))
        });
        let due: Vec<(ServerId, Todo)> = due.collect();
        let mut done = stream::iter(due)
            .map(|(id, todo)| {
                let client = &client;
                async move { (id, todo.carry_out(client, fleet, id).await) }
            })
            .buffer_unordered(SIDE_BY_SIDE);
        while let Some((id, outcome)) = done.next().await {
            if let Some(one) = known.get_mut(&id) {
                match outcome {
                    Err(error) if error.is_credentials() => return Err(error),
                    outcome => one.take(id, outcome, &patience, &tell),
                }
            }
        }
        drop(done);
        let settled = known.values().all(Known::is_settled);
        let left = there.keys().any(|id| !known[id].is_settled());
        // The last list must have been read, and nothing new may be in it.
        if (settled && !left && listed.is_some()) || Instant::now() >= give_up {
            break;
        }
        tokio::time::sleep(patience.look).await;
    }
    Ok(report(fleet, dry_run, known, unreadable))
}

#[derive(Clone, Copy)]
enum Todo {
    Delete,
    Confirm,
}

enum Outcome {
    Accepted,
    Gone,
    Spared(Spared),
    StillThere,
}

impl Todo {
    async fn carry_out(
        self,
        client: &Client,
        fleet: &FleetName,
        id: ServerId,
    ) -> Result<Outcome, ApiError> {
        let Some(server) = client.get_server(id, ANY).await? else {
            return Ok(Outcome::Gone);
        };
        if let Err(spared) = ownership::may_delete(&server, Some(fleet), Purpose::Stop) {
            return Ok(Outcome::Spared(spared));
        }
        match self {
            Self::Confirm => Ok(Outcome::StillThere),
            // Somebody's delete is under way; ours would only meet its lock.
            Self::Delete if server.status == ServerState::Deleting => Ok(Outcome::Accepted),
            Self::Delete => Ok(match client.delete_server(id).await? {
                Deleted::Accepted { .. } => Outcome::Accepted,
                Deleted::AlreadyGone => Outcome::Gone,
            }),
        }
    }
}

impl Known {
    fn is_settled(&self) -> bool {
        matches!(
            self.standing,
            Standing::Gone | Standing::Spared | Standing::Stuck
        )
    }

    /// An accepted delete that comes to nothing is asked for again.
    fn look_again(&mut self, patience: &Patience, now: Instant) {
        if let Standing::Accepted(at) = self.standing
            && now >= at + patience.again
        {
            self.standing = Standing::Due(now);
        }
    }

    fn take(
        &mut self,
        id: ServerId,
        outcome: Result<Outcome, ApiError>,
        patience: &Patience,
        tell: &impl Fn(&str),
    ) {
        let now = Instant::now();
        let name = &self.name;
        match outcome {
            Ok(Outcome::Accepted) => {
                tell(&format!("{id} {name}: its delete was accepted"));
                self.error = Some("its delete was accepted, and it is still there".to_owned());
                self.standing = Standing::Accepted(now);
            }
            Ok(Outcome::Gone) => {
                tell(&format!("{id} {name}: gone"));
                self.error = None;
                self.standing = Standing::Gone;
            }
            Ok(Outcome::Spared(spared)) => {
                tell(&format!("{id} {name}: left alone: {spared}"));
                self.error = None;
                self.standing = Standing::Spared;
            }
            Ok(Outcome::StillThere) => {}
            Err(error) => {
                let wait = match error.disposition() {
                    Disposition::Operator | Disposition::Bug => None,
                    _ => Some(
                        error
                            .retry_in()
                            .unwrap_or(patience.again)
                            .min(patience.again),
                    ),
                };
                let what = if wait.is_some() { "; trying again" } else { "" };
                tell(&format!("{id} {name}: {error}{what}"));
                self.error = Some(error.to_string());
                self.standing = wait.map_or(Standing::Stuck, |wait| Standing::Due(now + wait));
            }
        }
    }
}

fn report(
    fleet: &FleetName,
    dry_run: bool,
    known: BTreeMap<ServerId, Known>,
    unreadable: Vec<String>,
) -> Stopped {
    let servers: Vec<StoppedServer> = known
        .into_iter()
        .filter(|(_, one)| !matches!(one.standing, Standing::Spared))
        .map(|(id, one)| StoppedServer {
            server: id.0,
            name: one.name,
            gone: matches!(one.standing, Standing::Gone),
            error: one.error,
        })
        .collect();
    Stopped {
        fleet: fleet.to_string(),
        dry_run,
        remaining: servers.iter().filter(|server| !server.gone).count(),
        servers,
        unreadable,
    }
}

#[cfg(test)]
mod tests;
