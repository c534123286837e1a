//! What becomes of a (name, hash): it is done at most once.

use cattle_schemas::{Timestamp, event::EventReason, status::EndReason};

use super::{
    Transition,
    deadlines::{MAX_FAILED_STARTS, backoff},
    end::{Ending, release},
};
use crate::{
    clock::Wait,
    desired::Requester,
    ledger::{Assignment, AssignmentEnd, Run},
    substance::Substance,
};

/// The first sight of a (name, hash), or its return after it went before anything was done for it.
/// Returns the record to keep when there is something to change.
pub fn enqueue(
    known: Option<&Assignment>,
    requester: &Requester,
    now: Timestamp,
) -> (Option<Assignment>, Transition) {
    let reopens =
        |assignment: &Assignment| assignment.ended.as_ref().is_some_and(|end| end.reopens);
    if known.is_some_and(|assignment| !reopens(assignment)) {
        return (None, Transition::refused());
    }
    let assignment = Assignment {
        queued_at: now,
        requester: requester.clone(),
        ended: None,
        failed_starts: 0,
        not_before: None,
        substance: None,
    };
    (
        Some(assignment),
        Transition::told(EventReason::Queued, format!("asked for by {}", requester.0)),
    )
}

/// A run is made of this from now on, or will be.
pub fn made_of(assignment: &mut Assignment, substance: &Substance) -> Transition {
    if assignment.substance.as_ref() == Some(substance) {
        return Transition::refused();
    }
    assignment.substance = Some(substance.clone());
    Transition::silent()
}

/// A pending assignment is over without a server. `spec-removed` and `spec-changed` leave it open
/// to return: nothing was done for it.
pub fn close(
    assignment: &mut Assignment,
    reason: EndReason,
    message: &str,
    now: Timestamp,
) -> Transition {
    if assignment.ended.is_some() {
        return Transition::refused();
    }
    assignment.ended = Some(AssignmentEnd {
        reason,
        at: now,
        message: message.to_owned(),
        reopens: matches!(reason, EndReason::SpecRemoved | EndReason::SpecChanged),
    });
    Transition::told(EventReason::Ended, format!("{reason}: {message}"))
}

/// A further try of an ended assignment, asked for by somebody. Refused while a run lives; a kept
/// server of the latest run is let go. A pending one is only freed from its backoff.
pub fn rerun(assignment: &mut Assignment, latest: Option<&mut Run>, now: Timestamp) -> Transition {
    let mut told = Transition::told(EventReason::Rerun, "asked to run again");
    if let Some(run) = latest {
        if run.is_live() {
            return Transition::refused();
        }
        told.events
            .extend(release(run, "no longer kept: asked to run again").events);
    }
    if assignment.ended.is_none() && assignment.not_before.is_none() {
        return Transition::refused();
    }
    if assignment.ended.take().is_some() {
        assignment.queued_at = now;
    }
    assignment.failed_starts = 0;
    assignment.not_before = None;
    told
}

/// Somebody wants a pending one to start now, not when its backoff is over. What failed still counts.
pub fn start_again(assignment: &mut Assignment) -> Transition {
    if assignment.ended.is_some() || assignment.not_before.take().is_none() {
        return Transition::refused();
    }
    Transition::told(
        EventReason::CreateRetried,
        "asked to be tried again at once",
    )
}

/// What the end of a run does to its assignment.
pub(super) fn after_run(assignment: &mut Assignment, run: &Run, ending: &Ending, now: Timestamp) {
    if assignment.ended.is_some() {
        return;
    }
    let spent = |reopens| {
        Some(AssignmentEnd {
            reason: ending.reason,
            at: now,
            message: ending.message.clone(),
            reopens,
        })
    };
    if run.env_at.is_some() {
        assignment.ended = spent(false);
        return;
    }
    match ending.reason {
        // Somebody's will, or a sign that something is wrong which another VM would not mend.
        EndReason::Destroyed
        | EndReason::SpecRemoved
        | EndReason::DeletedExternally
        | EndReason::TokenContested
        | EndReason::NotStarted
        // These two cannot happen without an env; if they do, nothing runs twice.
        | EndReason::Completed
        | EndReason::TaskFailed => assignment.ended = spent(false),
        // The task never began, and writing the old spec again is an edit.
        EndReason::SpecChanged => assignment.ended = spent(true),
        EndReason::BootTimeout
        | EndReason::CreateFailed
        | EndReason::GuestLost
        | EndReason::TtlExpired => {
            assignment.failed_starts += 1;
            if assignment.failed_starts >= MAX_FAILED_STARTS {
                assignment.ended = spent(false);
            } else {
                assignment.not_before = Some(Wait::new(now, backoff(assignment.failed_starts)));
            }
        }
    }
}
