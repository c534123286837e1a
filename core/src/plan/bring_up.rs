//! A live run's server on its way to running.
//!
//! Usually there is nothing to do: the guest's own call says that it is up. Only what is unclear is
//! asked for, all of it with one call, and at most once for each list: a server that takes longer
//! than usual, that the list does not show, or that is off.

use cattle_schemas::{Timestamp, status::EndReason};

use super::{Pass, describe::span};
use crate::{
    action::Action,
    ledger::{PowerOn, Run},
    lifecycle::deadlines,
    observed::{ObservedServer, ServerState},
};

/// Asks how far the create is, unless Hetzner has said so since the list, or has nothing to say.
pub(super) fn follow(pass: &mut Pass<'_>, run: &Run) -> bool {
    let has_actions = |run: &Run| {
        let server = run.server.as_ref();
        server.is_some_and(|server| !server.actions.is_empty())
    };
    let asks = run.env_at.is_none() && has_actions(run) && pass.listed_after(run.followed_at);
    if asks {
        pass.sections
            .servers
            .push(Action::FollowCreate { run: run.id });
    }
    asks
}

/// Looks after a server that the list shows and that is its run's.
pub(super) fn server(pass: &mut Pass<'_>, run: &Run, server: &ObservedServer) {
    if run.env_at.is_some() {
        return;
    }
    match server.status {
        ServerState::Running => {}
        ServerState::Off => off(pass, run, server),
        _ => {
            let late = run.booted_at.is_none()
                && pass.passed(run.posted_at, deadlines::usual_start(run))
                && !pass.in_flight(run);
            if late {
                follow(pass, run);
            }
        }
    }
}

/// Off before its env was handed out: powered on, unless Hetzner is still about to do so.
fn off(pass: &mut Pass<'_>, run: &Run, server: &ObservedServer) {
    // Only a list says that it came up, or that its lock is gone.
    pass.list_soon = true;
    if pass.in_flight(run) || follow(pass, run) {
        return;
    }
    let starts = run.server.as_ref().is_some_and(|s| !s.actions.is_empty());
    let tried_at = run.power_on.map(|power_on| power_on.at);
    let possible = !starts
        && !server.locked
        && !run.power_on.is_some_and(exhausted)
        && pass.listed_after(run.called_at.max(tried_at))
        && run.retry_at.is_none_or(|wait| pass.over(wait));
    if possible {
        pass.sections.servers.push(Action::PowerOn {
            run: run.id,
            server: server.id,
        });
    }
}

/// Nothing more is tried.
fn exhausted(power_on: PowerOn) -> bool {
    power_on.accepted || power_on.tries >= deadlines::MAX_POWER_ONS
}

/// The end of a run whose server does not come up, by a list that was asked for after the deadline:
/// until then it may have come up unseen.
pub(super) fn given_up(pass: &mut Pass<'_>, run: &Run) -> Option<Action> {
    run.server.as_ref()?;
    let server = pass.view.servers.get(&run.id).copied()?;
    if run.env_at.is_some() || pass.in_flight(run) {
        return None;
    }
    let message = match server.status {
        ServerState::Off => stays_off(pass, run, server).or_else(|| stuck(pass, run, server)),
        ServerState::Initializing | ServerState::Starting => stuck(pass, run, server),
        // Of any other word it is not certain that the server does not run.
        _ => None,
    }?;
    Some(Action::End {
        run: run.id,
        reason: EndReason::CreateFailed,
        message,
        hold_until: None,
        unless_env_handed_out: true,
        counts_for: None,
    })
}

/// Whether a deadline is over and a list was asked for after it.
fn seen_after(pass: &mut Pass<'_>, deadline: Timestamp) -> bool {
    if !pass.due(deadline) {
        return false;
    }
    let seen = pass.listed_after(Some(deadline));
    pass.list_soon |= !seen;
    seen
}

fn stays_off(pass: &mut Pass<'_>, run: &Run, server: &ObservedServer) -> Option<String> {
    let power_on = run.power_on.filter(|power_on| exhausted(*power_on))?;
    if server.locked || !seen_after(pass, power_on.at + deadlines::OFF_AGAIN) {
        return None;
    }
    let cause = match &run.create_message {
        Some(cause) => format!(" ({cause})"),
        None => String::new(),
    };
    Some(if power_on.accepted {
        format!("its server was found off again after it was powered on{cause}")
    } else {
        format!(
            "its server was found off and could not be powered on, {} times{cause}",
            power_on.tries
        )
    })
}

/// Hetzner has not started it in time. One that ran already, and was turned off or is started
/// again, is the boot deadline's.
fn stuck(pass: &mut Pass<'_>, run: &Run, server: &ObservedServer) -> Option<String> {
    if run.booted_at.is_some() {
        return None;
    }
    let within = deadlines::start(run);
    let powered_on = run.power_on.map(|it| it.at + deadlines::OFF_AGAIN);
    let deadline = powered_on
        .unwrap_or(run.posted_at)
        .max(run.posted_at + within);
    seen_after(pass, deadline).then(|| {
        format!(
            "Hetzner has not started its server within {}; it is still {}",
            span(within),
            server.status.as_str()
        )
    })
}
