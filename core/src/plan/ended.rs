//! Runs that are over: their guests hand over, then their servers go.

use super::{Pass, Wish, live};
use crate::{
    action::Action, clock::AGREES, ledger::Run, lifecycle::deadlines, observed::ServerState,
};

pub(super) fn runs(pass: &mut Pass<'_>) {
    let ledger = pass.ledger;
    let leaving = |run: &&Run| !run.is_live() && run.gone_at.is_none();
    for run in ledger.runs.values().filter(leaving) {
        let open = hands_over(pass, run);
        if !kept(pass, run) && !open {
            remove(pass, run);
        }
    }
}

/// Whether its guest still hands over what is left of log and result. That is over when all is
/// there, when the guest is not, and when its time is.
fn hands_over(pass: &mut Pass<'_>, run: &Run) -> bool {
    let Some(until) = run.handover_until() else {
        return false;
    };
    // Its guest turns the machine off when it is done.
    pass.list_soon = true;
    let stored = pass.ledger.logs.get(&run.id).copied();
    let whole = run
        .log_written()
        .is_some_and(|written| stored.unwrap_or_default() >= written);
    let ended_at = run.ended.as_ref().map_or(until, |end| end.at);
    // An end of the future was noted before the clock went back: nobody knows how long it has been.
    let time_is_up = ended_at - pass.now > AGREES || pass.due(until);
    if whole || time_is_up || found_off(pass, run) {
        pass.sections.ledger.push(Action::HandedOver {
            run: run.id,
            stored: stored.unwrap_or_default(),
        });
    } else {
        ask_for_unlisted(pass, run);
    }
    // Deleted in the same plan where its time is over, even if that cannot be recorded.
    !pass.due(until)
}

/// A server that is to stay for a while is asked for when a list does not show it.
fn ask_for_unlisted(pass: &mut Pass<'_>, run: &Run) {
    if let Some(server) = &run.server
        && !pass.view.servers.contains_key(&run.id)
        && !pass.in_flight(run)
        && pass.listed_after(run.ended.as_ref().map(|end| end.at).max(run.called_at))
    {
        let question = Action::ConfirmGone {
            run: run.id,
            server: server.id,
        };
        if !pass.sections.servers.contains(&question) {
            pass.sections.servers.push(question);
        }
    }
}

/// Whether its server was found off after its end.
fn found_off(pass: &Pass<'_>, run: &Run) -> bool {
    let server = pass.view.servers.get(&run.id);
    server.is_some_and(|server| server.status == ServerState::Off)
        && pass.listed_after(run.ended.as_ref().map(|end| end.at))
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
    } else {
        ask_for_unlisted(pass, run);
    }
    true
}

/// Nobody looks any more: the machine was turned off, or the spec is gone or asks for something
/// else.
fn let_go(pass: &mut Pass<'_>, run: &Run) -> Option<String> {
    if found_off(pass, run) {
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
    if let Some(server) = &run.server {
        pass.sections.deletes.push(Action::Delete {
            run: run.id,
            server: server.id,
        });
    } else if let Some(server) = listed {
        // Its number is recorded before its delete: after a crash in between, only a look by number
        // tells that it is gone.
        pass.sections.servers.push(Action::Adopt {
            run: run.id,
            server: server.id,
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
