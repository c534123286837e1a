//! Servers of this fleet that no run with a slot stands behind.

use std::collections::BTreeSet;

use super::{Pass, view::Extra};
use crate::{
    action::Action,
    desired::{SpecEntry, SpecState},
    lifecycle::MAX_DUPLICATES,
    names::{CattleName, RunId, SpecHash},
    observed::{ObservedServer, ServerState},
    writable::Writable,
};

pub(super) fn servers(pass: &mut Pass<'_>) {
    let mut adopted = BTreeSet::new();
    for (server, extra) in pass.view.extra.clone() {
        if server.status == ServerState::Deleting {
            continue;
        }
        match extra {
            Extra::Returned(run) => {
                // What kept it from being deleted the last time may last.
                let waits = run.retry_at.is_some_and(|wait| !pass.over(wait));
                let news = pass.listed_after(run.gone_at);
                if news && !waits && !pass.in_flight(run) {
                    pass.sections.deletes.push(Action::Delete {
                        run: run.id,
                        server: server.id,
                    });
                }
            }
            // Which of the two is its own is not settled.
            Extra::Second(run) if run.server.is_none() => {}
            Extra::Second(run) => {
                let told = run.duplicates.contains(&server.id);
                if !told && run.duplicates.len() < MAX_DUPLICATES {
                    pass.sections.ledger.push(Action::NoteDuplicate {
                        run: run.id,
                        server: server.id,
                        name: server.name.clone(),
                    });
                }
                reap(pass, server);
            }
            Extra::Unknown => match adoption(pass, server) {
                Some((action, name)) if adopted.insert(name.clone()) => {
                    pass.sections.servers.push(action);
                }
                _ => reap(pass, server),
            },
        }
    }
}

/// Left to its expiry.
fn reap(pass: &mut Pass<'_>, server: &ObservedServer) {
    if let Some(expired_at) = server.labels.expires_at
        && pass.expired(expired_at + pass.grace_of_orphans())
    {
        // Only a list says that it is gone, and a cattle of its name may be waiting for that.
        pass.list_soon = true;
        pass.sections.deletes.push(Action::ReapOrphan {
            server: server.id,
            name: server.name.clone(),
            expired_at,
        });
    }
}

/// A server whose run the ledger lost, for which a live spec of the same name and hash stands.
fn adoption<'a>(pass: &Pass<'a>, server: &'a ObservedServer) -> Option<(Action, &'a CattleName)> {
    let labels = &server.labels;
    let (name, hash, run, expires_at) = (
        labels.cattle.as_ref()?,
        labels.hash.as_ref()?,
        labels.run?,
        labels.expires_at?,
    );
    let SpecEntry {
        origin,
        state: SpecState::Valid(cattle),
    } = pass.desired.specs.get(name)?
    else {
        return None;
    };
    let spent = |hash: &SpecHash| {
        let assignment = pass.ledger.assignments.get(&(name.clone(), hash.clone()));
        assignment.is_some_and(|assignment| assignment.ended.is_some())
    };
    // Its label has the hash that the lost ledger had: of any way to write the same.
    let possible = (cattle.hash == *hash || cattle.ways().contains(hash))
        && !spent(hash)
        && !spent(&cattle.hash)
        && pass.limits.ledger == Writable::Yes
        && expires_at > pass.now
        && server.status != ServerState::Off
        && named_so(server, name, run)
        && !pass.view.live.contains_key(name)
        && !pass.view.leaving.contains_key(name);
    possible.then(|| {
        (
            Action::AdoptUnknown {
                cattle: cattle.clone(),
                origin: origin.clone(),
                run,
                server: server.id,
                created: server.created,
                expires_at,
            },
            name,
        )
    })
}

/// Name and labels agree: a server renamed or labelled by hand is not taken over.
fn named_so(server: &ObservedServer, name: &CattleName, run: RunId) -> bool {
    server.name == crate::names::server_name(name, run)
}
