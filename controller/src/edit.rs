//! The core's transitions as edits of the ledger: the one way in which anything changes a run.

use cattle_core::{
    ledger::{Assignment, Run},
    lifecycle::{Note, Transition},
    names::{CattleName, RunId, SpecHash},
    pause::Pause,
};
use cattle_schemas::{event::NewEvent, status::PauseReason};

use crate::store::Edit;

/// An edit that applies a transition to a run and its assignment.
pub(crate) fn of_run(
    id: RunId,
    transition: impl FnOnce(&mut Run, Option<&mut Assignment>) -> Transition + Send + 'static,
) -> Edit {
    Edit::Run {
        id,
        edit: Box::new(move |run, assignment| {
            let told = transition(run, assignment.as_mut());
            told.applied
                .then(|| events(&told, run.cattle.as_str(), Some(run.id)))
        }),
    }
}

/// An edit that applies a transition to an assignment, which may not exist.
pub(crate) fn of_assignment(
    cattle: &CattleName,
    hash: &SpecHash,
    transition: impl FnOnce(&mut Option<Assignment>) -> Option<Transition> + Send + 'static,
) -> Edit {
    let name = cattle.to_string();
    Edit::Assignment {
        cattle: cattle.clone(),
        hash: hash.clone(),
        edit: Box::new(move |assignment| {
            let told = transition(assignment)?;
            told.applied.then(|| events(&told, &name, None))
        }),
    }
}

/// An edit that applies a transition to the pause of a reason and subject that holds, if one does.
pub(crate) fn of_pause(
    reason: PauseReason,
    subject: &str,
    transition: impl FnOnce(&mut Option<Pause>) -> Transition + Send + 'static,
) -> Edit {
    Edit::Pause {
        reason,
        subject: subject.to_owned(),
        edit: Box::new(move |pause| {
            let told = transition(pause);
            let event = |note: &Note| NewEvent {
                cattle: None,
                run: None,
                reason: note.reason,
                message: note.message.clone(),
            };
            told.applied
                .then(|| told.events.iter().map(event).collect())
        }),
    }
}

/// A transition's notes as events of a cattle.
pub(crate) fn events(told: &Transition, cattle: &str, run: Option<RunId>) -> Vec<NewEvent> {
    told.events
        .iter()
        .map(|note| NewEvent {
            cattle: Some(cattle.to_owned()),
            run: run.map(|run| run.to_string()),
            reason: note.reason,
            message: note.message.clone(),
        })
        .collect()
}

/// A transition that did not happen.
pub(crate) fn refused() -> Transition {
    Transition {
        applied: false,
        events: Vec::new(),
    }
}
