//! The end of a run, and of its server.

use std::time::Duration;

use cattle_schemas::{Timestamp, event::EventReason, status::EndReason};

use super::{
    Transition, assignment, deadlines,
    outcome::{ended_in_words, reason_of},
};
use crate::{
    clock::Wait,
    grounds::Grounds,
    identity::Project,
    ledger::{Assignment, Run, RunEnd},
};

/// How a run is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub reason: EndReason,
    /// A sentence for people.
    pub message: String,
    /// Keep the server on for a look until then.
    pub hold_until: Option<Timestamp>,
    /// Refuse when the env was handed out: a boot-timeout that came too late.
    pub unless_env_handed_out: bool,
    /// Do not wait for what its guest has left to hand over.
    pub at_once: bool,
}

impl Ending {
    /// An end that keeps nothing and has no condition.
    #[must_use]
    pub fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            hold_until: None,
            unless_env_handed_out: false,
            at_once: false,
        }
    }

    /// The end that the result of a run's task is, whoever asks for another one meanwhile.
    fn by_result(run: &Run) -> Option<Self> {
        let outcome = run.outcome.as_ref()?;
        let reason = reason_of(run, outcome);
        Some(Self::new(reason, ended_in_words(run, outcome)))
    }
}

/// Ends a run, once: whoever comes second changes nothing, and a result that came first says how.
/// Its assignment is told. Its tokens are void from here on, or from the end of its hand-over, or,
/// where its server is kept, from its release on. Its server is deleted after; without one it is
/// gone at once.
pub fn end(
    run: &mut Run,
    assignment: Option<&mut Assignment>,
    ending: &Ending,
    now: Timestamp,
) -> Transition {
    if !run.is_live() || (ending.unless_env_handed_out && run.env_at.is_some()) {
        return Transition::refused();
    }
    let ending = &match Ending::by_result(run) {
        Some(fixed) if fixed.reason != ending.reason => Ending {
            reason: fixed.reason,
            message: fixed.message,
            ..ending.clone()
        },
        _ => ending.clone(),
    };
    let handover = deadlines::handover(run, ending.reason, now);
    run.ended = Some(RunEnd {
        reason: ending.reason,
        at: now,
        message: ending.message.clone(),
        hold_until: ending.hold_until,
        handover_until: handover.map(|until| if ending.at_once { now } else { until }),
    });
    run.retry_at = None;
    let mut told = Transition::told(
        EventReason::Ended,
        format!("{}: {}", ending.reason, ending.message),
    );
    if let Some(until) = run.handover_until().filter(|until| *until > now) {
        let until = until.format("%H:%M:%S UTC");
        told = if run.outcome.is_some() {
            let message = format!("its guest may send the rest of its log until {until}");
            told.and(EventReason::HandingOver, message)
        } else {
            let message = format!("its guest stops the task and hands over until {until}");
            told.and(EventReason::Stopping, message)
        };
    }
    if let Some(until) = ending.hold_until {
        told = told.and(
            EventReason::Kept,
            format!("its server is kept until {}", until.format("%H:%M:%S UTC")),
        );
    }
    if run.is_refused() {
        run.gone_at = Some(now);
    }
    if let Some(assignment) = assignment {
        assignment::after_run(assignment, run, ending, now);
    }
    told
}

/// What its guest could hand over after a run's end is over: all is there, it is gone, or its time
/// is. `stored` is how much of the log there is. Its tokens are void from here on, unless its server
/// is kept.
pub fn handed_over(run: &mut Run, stored: u64) -> Transition {
    if run.handover_until().is_none() {
        return Transition::refused();
    }
    if let Some(end) = &mut run.ended {
        end.handover_until = None;
    }
    run.log_stored = Some(stored);
    let message = match run.log_written() {
        Some(written) if stored >= written => format!("its log is here, all {written} bytes of it"),
        Some(written) => format!("its log is cut: {stored} of {written} bytes arrived"),
        None => format!(
            "its guest did not hand over a result in time; {stored} bytes of its log arrived"
        ),
    };
    Transition::told(EventReason::HandedOver, message)
}

/// Somebody does not want to wait longer than `wait` for the hand-over of a run that is over.
pub fn hurry(run: &mut Run, wait: Duration, now: Timestamp) -> Transition {
    let latest = now + wait;
    if run.handover_until().is_none_or(|until| until <= latest) {
        return Transition::refused();
    }
    if let Some(end) = &mut run.ended {
        end.handover_until = Some(latest);
    }
    Transition::silent()
}

/// The server of an ended run is no longer kept on.
pub fn release(run: &mut Run, message: &str) -> Transition {
    match &mut run.ended {
        Some(end) if end.hold_until.is_some() && run.gone_at.is_none() => {
            end.hold_until = None;
            Transition::told(EventReason::Deleting, message)
        }
        _ => Transition::refused(),
    }
}

/// When a delete that came to nothing is tried again, at the earliest.
pub(super) fn delete_again(run: &Run, wait: Duration, now: Timestamp) -> Option<Wait> {
    let end = run.ended.as_ref()?;
    let since = run.gone_at.or(run.kept_until()).unwrap_or(end.at);
    let so_far = (now - since).to_std().unwrap_or_default();
    let longer = (so_far / 4).min(deadlines::MAX_DELETE_AGAIN);
    Some(Wait::new(now, wait.max(longer)))
}

/// A delete failed: not again before `wait` is over. The longer it goes on, the longer the wait: it
/// grows with the time since the end, or since its server was kept, which is in the record, so no
/// count of failures need be. Also of a server that returned after it was proved gone.
pub fn delete_failed(run: &mut Run, message: &str, wait: Duration, now: Timestamp) -> Transition {
    let Some(again) = delete_again(run, wait, now) else {
        return Transition::refused();
    };
    run.retry_at = Some(again);
    if run.delete_message.as_deref() == Some(message) {
        // Said once; it may go on for hours.
        return Transition::silent();
    }
    run.delete_message = Some(message.to_owned());
    Transition::told(EventReason::Alert, format!("the server stays: {message}"))
}

/// The server of an ended run is proved gone, or it is certain that there never was one. A second
/// proof counts too: there was a server again, and lists from before are old news.
pub fn mark_gone(run: &mut Run, now: Timestamp) -> Transition {
    if run.is_live() {
        return Transition::refused();
    }
    if let Some(gone) = run.gone_at {
        run.gone_at = Some(gone.max(now));
        run.retry_at = None;
        run.delete_message = None;
        return Transition::silent();
    }
    run.gone_at = Some(now);
    run.retry_at = None;
    run.delete_message = None;
    run.taken = None;
    Transition::told(
        EventReason::Gone,
        match &run.server {
            Some(server) => format!("server {} ({}) is gone", server.name, server.id),
            None => "its server was never made".to_owned(),
        },
    )
}

/// Why a live run whose server is gone without our doing is over. One that never ran was never
/// made, whatever the reply to its create said.
#[must_use]
pub fn gone_reason(run: &Run, now: Timestamp) -> EndReason {
    if now >= run.expires_at {
        EndReason::TtlExpired
    } else if run.booted_at.is_none() && run.env_at.is_none() {
        EndReason::CreateFailed
    } else {
        EndReason::DeletedExternally
    }
}

/// Hetzner answered that it knows no server of this id, to a question or to a delete. That proves it
/// gone in a project that is ours, unless its guest was heard a moment ago: then it counts once the
/// guest is silent, and at the latest when its time is up.
pub fn not_found(
    run: &mut Run,
    assignment: Option<&mut Assignment>,
    grounds: Grounds,
    now: Timestamp,
) -> Transition {
    if grounds.project != Project::Ours {
        if grounds.project == Project::Unknown {
            run.called_at = Some(now);
        }
        // Not noted of a project that is not ours: an answer from there is no news about the run, and
        // a run that was called about after the list would no longer be one that the list should show.
        if run.is_live() {
            return Transition::silent();
        }
        if grounds.project == Project::Unknown {
            // The first list after a start tells, within moments.
            run.retry_at = Some(Wait::new(now, deadlines::LOOK_AGAIN));
            return Transition::silent();
        }
        let message = format!(
            "Hetzner knows no such server, but the token opens a project in which nothing of this fleet is; if it was deleted, `clawdlets cattle destroy {}` gives it up",
            run.cattle
        );
        return delete_failed(run, &message, deadlines::NOT_OURS_AGAIN, now);
    }
    match deadlines::heard_of_until(run, grounds.heard_since) {
        Some(until) if now < until && !(grounds.judges && now >= run.expires_at) => {
            missing(run, now)
        }
        _ => found_gone(run, assignment, now),
    }
}

/// Its server is not there for Hetzner, and its guest works on.
fn missing(run: &mut Run, now: Timestamp) -> Transition {
    run.called_at = Some(now);
    if run.missing_since.is_some() {
        // Said once; it is asked after every list.
        return Transition::silent();
    }
    run.missing_since = Some(now);
    let heard = run.last_seen_at.max(run.env_at).unwrap_or(now);
    Transition::told(
        EventReason::Alert,
        format!(
            "Hetzner says that its server is not there, but its guest reported {} s ago; it goes on until the guest is silent or its time is up",
            (now - heard).num_seconds().max(0)
        ),
    )
}

/// Hetzner shows the server after all.
pub fn found_again(run: &mut Run) -> Transition {
    match run.missing_since.take() {
        Some(_) if run.is_live() => {
            Transition::told(EventReason::Alert, "Hetzner shows its server again")
        }
        _ => Transition::silent(),
    }
}

/// The server is proved gone (see [`not_found`], or a delete succeeded). A live run ends
/// with it; what its guest had handed over decides why.
pub fn found_gone(
    run: &mut Run,
    assignment: Option<&mut Assignment>,
    now: Timestamp,
) -> Transition {
    let mut told = Transition::silent();
    if run.is_live() {
        let ending = match Ending::by_result(run) {
            Some(ending) => ending,
            None => {
                let reason = gone_reason(run, now);
                let message = match reason {
                    EndReason::TtlExpired => "its time was up, and its server is gone",
                    EndReason::CreateFailed => {
                        "Hetzner accepted the create, but its server was gone before it ran"
                    }
                    _ => "its server was deleted, but not by this controller",
                };
                Ending::new(reason, message)
            }
        };
        // Nobody is left to hand anything over.
        let ending = Ending {
            at_once: true,
            ..ending
        };
        told = end(run, assignment, &ending, now);
    }
    let gone = mark_gone(run, now);
    told.applied = gone.applied;
    told.events.extend(gone.events);
    told
}
