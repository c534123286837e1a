//! Whose is this server, and may it be deleted?
//!
//! The one rule that every delete of ours asks, right before the call and about the server as it was
//! just read: of the server of a run that is over, of one whose time is up, and of everything when a
//! fleet is stopped. `guard` says the same of plans, in its own words.
//!
//! Invariants: what carries another owner's label is nobody's to delete here, whatever else it carries
//! and whatever the ledger says; without any labels a server is ours only where the ledger has its
//! number, or where nobody but our own create call can have made it.

use std::{collections::BTreeMap, time::Duration};

use cattle_schemas::Timestamp;

use crate::{
    labels,
    ledger::{Ledger, Run},
    names::{FleetName, RunId},
    observed::{Observed, ObservedServer},
};

/// How much earlier than our create call Hetzner may date the server that came of it: two clocks that
/// are believed beside each other differ by no more.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// Whose a server is, by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Ours: all labels that say so, and nobody else's.
    Ours,
    /// Nobody's: labels that would say so are missing.
    Nobody,
    /// Somebody else's, by this label.
    Other(String),
}

/// Whose a server with these labels is. Without a fleet, any fleet is ours.
#[must_use]
pub fn owner(raw: &BTreeMap<String, String>, fleet: Option<&FleetName>) -> Owner {
    if let Some(label) = labels::others_claim(raw, fleet) {
        Owner::Other(label)
    } else if fleet.map_or_else(
        || labels::is_cattle(raw),
        |fleet| labels::is_ours(raw, fleet),
    ) {
        Owner::Ours
    } else {
        Owner::Nobody
    }
}

/// Whose the server of this run is. A fleet that was renamed since, while its controller was down,
/// is still the run's own.
#[must_use]
pub fn owner_of(raw: &BTreeMap<String, String>, run: &Run, fleet: &FleetName) -> Owner {
    let now = owner(raw, Some(fleet));
    match (&now, &run.fleet) {
        (Owner::Other(_), Some(then)) if then != fleet => owner(raw, Some(then)),
        _ => now,
    }
}

/// Why a server is not the one that a run's create call made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    /// Another owner has marked it.
    #[error("its label `{0}` says that it is another's")]
    Other(String),
    /// The run has a server already.
    #[error("the run has another server")]
    Second,
    /// It has another name, or its label names another run.
    #[error("its name and labels do not say so")]
    Unnamed,
    /// It was there before.
    #[error("it was created before the call")]
    Older,
}

/// Whether a server came of a run's create call, although the reply was lost: its label names the
/// run, or, where it was never written or is gone, its name does, and it was not there before.
///
/// # Errors
/// Why not; then it is shown, and never deleted.
pub fn made_by(server: &ObservedServer, run: &Run, fleet: &FleetName) -> Result<(), NotMade> {
    let owner = match owner_of(&server.labels.raw, run, fleet) {
        Owner::Other(label) => return Err(NotMade::Other(label)),
        owner => owner,
    };
    if run.server.as_ref().is_some_and(|own| own.id != server.id) {
        return Err(NotMade::Second);
    }
    match server.labels.run {
        Some(named) if named != run.id => Err(NotMade::Unnamed),
        Some(_) if owner == Owner::Ours => Ok(()),
        // The name ends in thirty random bits of the run: nobody else draws it by chance.
        _ if server.name != run.server_name() => Err(NotMade::Unnamed),
        // The first attempt was posted when the run was recorded.
        _ if server.created + CLOCKS_DIFFER < run.created_at => Err(NotMade::Older),
        _ => Ok(()),
    }
}

/// The run that the ledger knows a server by: its number, else the label.
#[must_use]
pub fn run_of<'a>(ledger: &'a Ledger, server: &ObservedServer) -> Option<&'a Run> {
    let bound = |run: &&Run| run.server.as_ref().is_some_and(|own| own.id == server.id);
    let named = || ledger.runs.get(&server.labels.run?);
    ledger.runs.values().find(bound).or_else(named)
}

/// Servers that carry the label of a run which has another one, by that run.
#[must_use]
pub fn duplicates<'a>(
    observed: &'a Observed,
    ledger: &Ledger,
) -> BTreeMap<RunId, Vec<&'a ObservedServer>> {
    let mut duplicates: BTreeMap<RunId, Vec<&ObservedServer>> = BTreeMap::new();
    for server in &observed.servers {
        let named = server.labels.run.and_then(|run| ledger.runs.get(&run));
        if let Some(run) = named
            && run.gone_at.is_none()
            && run.server.as_ref().is_some_and(|own| own.id != server.id)
        {
            duplicates.entry(run.id).or_default().push(server);
        }
    }
    duplicates
}

/// What a server is to be deleted for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// It is the server of this run, which is over.
    Over {
        /// The run.
        run: &'a Run,
        /// Now, by Hetzner's clock.
        now: Timestamp,
    },
    /// Its time is up.
    Expired {
        /// The run that the ledger knows it by, its number or its label; `None` without one, and
        /// for who has no ledger.
        run: Option<&'a Run>,
        /// By when it must be over.
        by: Timestamp,
    },
    /// Everything of a fleet goes.
    Stop,
}

/// Why a server is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spared {
    /// Another owner has marked it.
    #[error("its label `{0}` says that it is another's, so it is never deleted")]
    Other(String),
    /// Nothing says that it is ours.
    #[error("nothing says that it is this fleet's")]
    Unmarked,
    /// A run that is not over has it.
    #[error("run {0} is not over")]
    Live(RunId),
    /// It is kept on for a look.
    #[error("it is kept until {at}", at = .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    Kept(Timestamp),
    /// It has time left.
    #[error("it expires at {at}", at = .0.format("%Y-%m-%d %H:%M:%S UTC"))]
    Early(Timestamp),
}

/// Whether this server, as it was just read, may be deleted. Without a fleet, any fleet's may.
///
/// # Errors
/// Why not. It stays, and bills, and that is to be said.
pub fn may_delete(
    server: &ObservedServer,
    fleet: Option<&FleetName>,
    purpose: Purpose<'_>,
) -> Result<(), Spared> {
    let raw = &server.labels.raw;
    let owner = match (purpose, fleet) {
        (Purpose::Over { run, .. }, Some(fleet)) => owner_of(raw, run, fleet),
        _ => owner(raw, fleet),
    };
    if let Owner::Other(label) = owner {
        return Err(Spared::Other(label));
    }
    let marked = owner == Owner::Ours;
    match purpose {
        Purpose::Over { run, now } => {
            let bound = run.server.as_ref().is_some_and(|own| own.id == server.id);
            let named = marked && server.labels.run == Some(run.id);
            let made = || fleet.is_some_and(|fleet| made_by(server, run, fleet).is_ok());
            if run.is_live() {
                Err(Spared::Live(run.id))
            } else if let Some(until) = run.kept_until().filter(|until| bound && *until > now) {
                Err(Spared::Kept(until))
            } else if bound || named || made() {
                Ok(())
            } else {
                Err(Spared::Unmarked)
            }
        }
        Purpose::Expired { run, by } => {
            // A run has its own server and no other one that carries its label.
            let its = run.filter(|run| run.server.as_ref().is_none_or(|own| own.id == server.id));
            let bound = its.is_some_and(|run| run.server.is_some());
            if !marked && !bound {
                return Err(Spared::Unmarked);
            }
            // The ledger knows better than the label, which follows it.
            if let Some(run) = its {
                match run.kept_until() {
                    Some(until) if until > by => return Err(Spared::Kept(until)),
                    _ if run.is_live() && run.expires_at > by => return Err(Spared::Live(run.id)),
                    _ if run.is_live() => return Ok(()),
                    _ => {}
                }
            }
            match server.labels.expires_at {
                Some(at) if at > by => Err(Spared::Early(at)),
                Some(_) => Ok(()),
                None => Err(Spared::Unmarked),
            }
        }
        Purpose::Stop if marked => Ok(()),
        Purpose::Stop => Err(Spared::Unmarked),
    }
}
