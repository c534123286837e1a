//! From a server that exists to one that runs.
//!
//! An accepted create promises nothing: its actions may fail and the server vanish, it may stay off,
//! it may never start. What is found out about it is told here, each thing by a function of its own;
//! when to ask, and when to give up, is the plan's.

use std::time::Duration;

use cattle_schemas::{Timestamp, event::EventReason, status::EndReason};

use super::{
    Transition, deadlines,
    end::{Ending, end},
};
use crate::{
    clock::Wait,
    ledger::{Assignment, PowerOn, Run},
    observed::{ActionState, ActionStatus},
};

/// What starts a server that exists already.
const START: &str = "start_server";

/// Hetzner runs the server. What its create began is over with that.
pub fn mark_booted(run: &mut Run, now: Timestamp) -> Transition {
    if !run.is_live() || run.booted_at.is_some() {
        return Transition::refused();
    }
    run.booted_at = Some(now);
    run.create_message = None;
    if let Some(server) = &mut run.server {
        server.actions.clear();
    }
    Transition::told(EventReason::Booting, "Hetzner runs the server")
}

/// A call about the run's server came back, other than its delete: it was made, looked for, asked
/// for or relabelled, whether that worked or not. The next one waits for a newer list.
pub fn called(run: &mut Run, now: Timestamp) -> Transition {
    run.called_at = Some(now);
    Transition::silent()
}

/// Hetzner answered how far the actions of the run's server are; `answers` holds those that it
/// knows, of any run. One that failed ends the run, for the server that it was to make is gone or
/// not as it was asked for; only a start that failed is left to a power-on. What is over, or not
/// known any more, is not asked for again.
pub fn followed(
    run: &mut Run,
    assignment: Option<&mut Assignment>,
    answers: &[ActionState],
    now: Timestamp,
) -> Transition {
    if !run.is_live() || run.env_at.is_some() {
        return Transition::refused();
    }
    let Some(server) = &mut run.server else {
        return Transition::refused();
    };
    run.followed_at = Some(now);
    let (mut create_failed, mut start_failed) = (None, None);
    server.actions.retain(|id| {
        let Some(answer) = answers.iter().find(|answer| answer.id == *id) else {
            return false;
        };
        if let ActionStatus::Error { code } = &answer.status {
            let words = format!("{} ended in `{code}`", in_words(&answer.command));
            if answer.command == START {
                start_failed = Some(words);
            } else {
                create_failed.get_or_insert(words);
            }
        }
        matches!(answer.status, ActionStatus::Running | ActionStatus::Unknown)
    });
    if let Some(words) = create_failed {
        let message = format!("Hetzner accepted the create, but its {words}");
        return end(
            run,
            assignment,
            &Ending::new(EndReason::CreateFailed, message),
            now,
        );
    }
    if let Some(words) = start_failed {
        run.create_message = Some(format!("Hetzner did not start the server: its {words}"));
    }
    Transition::silent()
}

fn in_words(command: &str) -> &str {
    if command.is_empty() {
        "action"
    } else {
        command
    }
}

/// Hetzner did not answer how far they are. Asked again after the next list.
pub fn not_followed(run: &mut Run, now: Timestamp) -> Transition {
    run.followed_at = Some(now);
    Transition::silent()
}

/// The server is about to be powered on, because it was found off before its env was handed out.
/// Recorded before the call; at most [`deadlines::MAX_POWER_ONS`] times, and not again once Hetzner
/// accepted it.
pub fn powering_on(run: &mut Run, now: Timestamp) -> Transition {
    let tries = run.power_on.map_or(0, |power_on| power_on.tries);
    let possible = run.is_live()
        && run.server.is_some()
        && run.env_at.is_none()
        && tries < deadlines::MAX_POWER_ONS
        && !run.power_on.is_some_and(|power_on| power_on.accepted);
    if !possible {
        return Transition::refused();
    }
    run.power_on = Some(PowerOn {
        tries: tries + 1,
        at: now,
        accepted: false,
    });
    run.retry_at = None;
    Transition::silent()
}

/// Hetzner accepted the power-on; `action` is what it began, where that was said.
pub fn powered_on(run: &mut Run, action: Option<u64>, now: Timestamp) -> Transition {
    let (true, Some(power_on), Some(server)) = (run.is_live(), &mut run.power_on, &mut run.server)
    else {
        return Transition::refused();
    };
    power_on.accepted = true;
    power_on.at = now;
    server.actions.extend(action);
    run.called_at = Some(now);
    run.retry_at = None;
    Transition::told(
        EventReason::PoweredOn,
        "the server was off before its task began: powered on",
    )
}

/// The power-on was refused, or its reply lost: not again before `wait` is over, and only where a
/// newer list still shows the server off.
pub fn power_on_failed(run: &mut Run, message: &str, wait: Duration, now: Timestamp) -> Transition {
    if !run.is_live() || run.env_at.is_some() {
        return Transition::refused();
    }
    run.called_at = Some(now);
    run.retry_at = Some(Wait::new(now, wait));
    run.create_message = Some(format!("the server is off: {message}"));
    Transition::told(
        EventReason::Alert,
        format!("the server was found off: {message}"),
    )
}
