//! Runs that are over: their servers go.

use super::{Pass, Wish, live};
use crate::{action::Action, ledger::Run, lifecycle::deadlines, observed::ServerState};

pub(super) fn runs(pass: &mut Pass<'_>) {
    let ledger = pass.ledger;
    let leaving = |run: &&Run| !run.is_live() && run.gone_at.is_none();
    for run in ledger.runs.values().filter(leaving) {
        if !kept(pass, run) {
            remove(pass, run);
        }
    }
}

/// Whether the server stays on for a look.
fn kept(pass: &mut Pass<'_>, run: &Run) -> bool {
    let Some(until) = run.kept_until() else {
        return false;
    };
    if pass.expired(until) {
        return false;
    }
    if let Some(message) = let_go(pass, run) {
        pass.sections.ends.push(Action::Release {
            run: run.id,
            message,
        });
    } else if let Some(server) = pass.view.servers.get(&run.id).copied() {
        live::relabel(pass, run, server);
    } else if let Some(server) = &run.server
        && !pass.in_flight(run)
        && pass.listed_after(run.ended.as_ref().map(|end| end.at).max(run.called_at))
    {
        pass.sections.servers.push(Action::ConfirmGone {
            run: run.id,
            server: server.id,
        });
    }
    true
}

/// Nobody looks any more: the machine was turned off, or the spec is gone or asks for something
/// else.
fn let_go(pass: &mut Pass<'_>, run: &Run) -> Option<String> {
    let off = pass
        .view
        .servers
        .get(&run.id)
        .is_some_and(|server| server.status == ServerState::Off);
    if off && pass.listed_after(run.ended.as_ref().map(|end| end.at)) {
        // It bills all the same.
        return Some("no longer kept: its server was found off".to_owned());
    }
    if pass.ledger.ends_paused().is_some() {
        return None;
    }
    match pass.wish(&run.cattle, Some(&run.root)) {
        Wish::Gone(since) if pass.due(since + deadlines::ABSENCE) => {
            Some("no longer kept: its spec was removed".to_owned())
        }
        Wish::Spec(cattle) if cattle.hash != run.hash => {
            Some("no longer kept: its spec changed".to_owned())
        }
        _ => None,
    }
}

fn remove(pass: &mut Pass<'_>, run: &Run) {
    // Of what another owner has, no list will say that it is gone.
    pass.list_soon |= run.taken.is_none();
    if pass.in_flight(run) {
        return;
    }
    if let Some(wait) = run.retry_at
        && !pass.over(wait)
    {
        return;
    }
    if let (Some(_), Some(server)) = (&run.taken, &run.server) {
        pass.sections.servers.push(Action::ConfirmGone {
            run: run.id,
            server: server.id,
        });
        return;
    }
    let listed = pass.view.servers.get(&run.id).copied();
    if listed.is_some_and(|server| server.status == ServerState::Deleting) && !stuck(pass, run) {
        // Somebody's delete is under way. When the list shows it no more, ours proves it gone.
        return;
    }
    let bound = run.server.as_ref().map(|server| server.id);
    if let Some(server) = bound.or(listed.map(|server| server.id)) {
        pass.sections.deletes.push(Action::Delete {
            run: run.id,
            server,
        });
    } else if run.is_refused() {
        pass.sections.ledger.push(Action::MarkGone { run: run.id });
    } else {
        live::look_up(pass, run);
    }
}

/// Whether a delete that is under way has taken too long, so that it is asked for again: the answer
/// says why the server stays, and the slot is not held in silence.
fn stuck(pass: &mut Pass<'_>, run: &Run) -> bool {
    let began = run.kept_until().or(run.ended.as_ref().map(|end| end.at));
    run.delete_message.is_some() || began.is_none_or(|at| pass.passed(at, deadlines::DELETE_ENDS))
}
