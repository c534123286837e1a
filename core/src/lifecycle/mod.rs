//! What may happen to a run and its assignment.
//!
//! Each function is one transition: it takes the record as it is *now*, inside the store's
//! transaction, checks that it may happen, changes the record and says which events that makes. A
//! transition that may not happen changes nothing and says so ([`Transition::applied`]); callers
//! never look at a record first and change it later.
//!
//! Invariants: a run ends once and never lives again; an env is handed out only by a live run that
//! has not started; a run is gone only if it is over.

mod assignment;
mod change;
mod create;
pub mod deadlines;
mod end;
mod guest;
mod outcome;
mod owner;
mod pause;
mod server;

use cattle_schemas::{event::EventReason, status::Phase};

pub use self::{
    assignment::{close, enqueue, made_of, rerun, start_again},
    change::{ExtendError, extend, redate, update},
    create::{
        accept_create, adopt, adopt_unknown, begin, look_again, lookup_missed, lost_reply,
        refuse_create, refused_event, rejoin, retry,
    },
    end::{
        Ending, delete_failed, end, found_again, found_gone, gone_reason, handed_over, hurry,
        mark_gone, not_found, release,
    },
    guest::{env_handed_out, heartbeat, outcome, ready},
    owner::{
        another_s, can_be_given_up, duplicate_found, give_up, labels_withheld, name_taken,
        regained, taken_over,
    },
    pause::{pause, resume},
    server::{
        called, followed, mark_booted, not_followed, power_on_failed, powered_on, powering_on,
    },
};
pub(crate) use self::{
    create::unstarted_reason,
    outcome::{ended_in_words, reason_of},
    owner::MAX_DUPLICATES,
};
use crate::{
    ledger::Run,
    observed::{ObservedServer, ServerState},
};

/// What a transition did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the record may not have changed"]
pub struct Transition {
    /// Whether it happened. The record is untouched if not.
    pub applied: bool,
    /// What to tell; may be empty although it happened.
    pub events: Vec<Note>,
}

/// An event in the making: the store adds id, time, cattle and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The stable word.
    pub reason: EventReason,
    /// A sentence for people.
    pub message: String,
}

impl Transition {
    fn refused() -> Self {
        Self {
            applied: false,
            events: Vec::new(),
        }
    }

    fn silent() -> Self {
        Self {
            applied: true,
            events: Vec::new(),
        }
    }

    fn told(reason: EventReason, message: impl Into<String>) -> Self {
        Self::silent().and(reason, message)
    }

    fn and(mut self, reason: EventReason, message: impl Into<String>) -> Self {
        self.events.push(Note {
            reason,
            message: message.into(),
        });
        self
    }
}

/// Where a run is. `server` is its server as last listed, where it was.
#[must_use]
pub fn phase_of(run: &Run, server: Option<&ObservedServer>) -> Phase {
    if let Some(end) = &run.ended {
        return if run.holds_slot() {
            Phase::Finishing
        } else {
            end.reason.phase()
        };
    }
    let hetzner_runs_it = || server.is_some_and(|server| server.status == ServerState::Running);
    if run.outcome.is_some() {
        Phase::Finishing
    } else if run.started_at.is_some() {
        Phase::Running
    } else if run.booted_at.is_some() || run.env_at.is_some() || hetzner_runs_it() {
        Phase::Booting
    } else if run.is_refused() {
        Phase::Pending
    } else {
        Phase::Provisioning
    }
}
