//! The next step from what is to what should be.
//!
//! [`plan`] is a pure function: same arguments, same plan, which therefore prints as the dry run.
//! It carries nothing from one call to the next; everything it must remember is in the ledger.
//!
//! Invariants (re-checked by [`crate::guard`]):
//! - once a plan was carried out and nothing else happened, the next one is empty;
//! - a broken spec, an unreadable directory or a list that failed starts and ends nothing;
//! - absence from a list proves nothing: it leads to a question, never to an end.
//!
//! ```text
//! view   whose is each listed server?
//! brake  which sources' specs may end nothing at the moment?
//! live   runs: results, deadlines, specs that went away; creates that are not settled
//! bring_up  their servers: is it clear that each comes up?
//! ended  runs: their servers go
//! orphans  servers without a run
//! queue  what may start now, and why the rest waits
//! probes  does its image boot?
//! choice  is its image known, is its env there, and is a pair left to make it?
//! pairs   was that pair refused a short while ago?
//! calls  what the rate limit has room for
//! expired  what goes although nothing can be recorded
//! ```

mod account;
pub mod brake;
mod bring_up;
mod budget;
mod calls;
mod choice;
mod describe;
mod ended;
mod expired;
mod live;
mod orphans;
mod pairs;
mod probes;
mod queue;
mod view;

use std::{sync::Arc, time::Duration};

use cattle_schemas::{Timestamp, status::PauseReason};

use self::{brake::Brake, view::View};
pub use self::{
    choice::images,
    describe::{apart, cattle_of, to_api},
    expired::expired,
};
use crate::{
    action::{Action, Limits, Plan, Waiting},
    clock::{AGREES, Trust, Wait, after},
    desired::{Cattle, Desired, RootState, SpecState},
    identity::{self, Standing},
    ledger::{Ledger, Run},
    lifecycle::deadlines,
    names::CattleName,
    observed::Observed,
    pause::Pause,
};

/// What is to be done now, what waits, and when to look again. `now` is Hetzner's time.
#[must_use]
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    limits: &Limits,
    now: Timestamp,
) -> Plan {
    let mut pass = Pass {
        desired,
        observed,
        ledger,
        limits,
        now,
        view: View::new(observed, ledger, limits),
        brake: Brake::default(),
        sections: Sections::default(),
        waiting: Vec::new(),
        wake: None,
        list_soon: false,
    };
    pass.brake = brake::judge(&mut pass);
    live::runs(&mut pass);
    ended::runs(&mut pass);
    orphans::servers(&mut pass);
    queue::assignments(&mut pass);
    probes::pauses(&mut pass);
    pass.list_soon |= pass.waits_for_a_look();
    pass.finish()
}

/// One call of [`plan`].
struct Pass<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    ledger: &'a Ledger,
    limits: &'a Limits,
    now: Timestamp,
    view: View<'a>,
    brake: Brake,
    sections: Sections,
    waiting: Vec<Waiting>,
    wake: Option<Timestamp>,
    list_soon: bool,
}

/// Actions in the order in which they may be carried out.
#[derive(Default)]
struct Sections {
    ledger: Vec<Action>,
    ends: Vec<Action>,
    servers: Vec<Action>,
    deletes: Vec<Action>,
    starts: Vec<Action>,
}

/// What spec files say about a name.
enum Wish<'a> {
    /// Nothing may start or end because of it.
    Frozen,
    /// It went away at this instant, and the directory that had it can be read.
    Gone(Timestamp),
    /// It is there.
    Spec(&'a Arc<Cattle>),
}

impl<'a> Pass<'a> {
    /// Notes a deadline. True when it is over; otherwise the loop wakes for it.
    fn due(&mut self, at: Timestamp) -> bool {
        if at <= self.now {
            return true;
        }
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        false
    }

    /// Begins a pause, or brings up to date what the one of its reason and subject says.
    fn pause(&mut self, fresh: Pause) {
        let says_so = |held: &Pause| {
            (held.reason, &held.subject, held.starts, held.ends)
                == (fresh.reason, &fresh.subject, fresh.starts, fresh.ends)
                && held.message == fresh.message
                && held.items == fresh.items
        };
        if !self.ledger.holding().any(says_so) {
            self.sections.ledger.push(Action::Pause(Box::new(fresh)));
        }
    }

    /// Notes the end of a wait that is kept. True when it is over.
    fn over(&mut self, wait: Wait) -> bool {
        self.due(wait.ends(self.now))
    }

    /// Whether so much has gone by since then; otherwise the loop wakes for it.
    fn passed(&mut self, since: Timestamp, wait: Duration) -> bool {
        self.due(after(since, wait, self.now))
    }

    /// Notes when something is to be called over for good. True when it is; never while the time is
    /// not known.
    fn expired(&mut self, at: Timestamp) -> bool {
        self.limits.clocks.trust.judges() && self.due(at)
    }

    /// Whether an instant that is recorded now will mean the same once Hetzner's clock and ours agree. A
    /// time to live that counts from a wrong hour ends at a wrong one, and so does a wait.
    fn knows_the_time(&self) -> bool {
        match self.limits.clocks.trust {
            Trust::Agreed | Trust::Disputed(_) => true,
            // Where no reply has a date there is no better clock than ours.
            Trust::Unheard => self.observed.listed_at.is_some(),
            Trust::Unsettled(_) => false,
        }
    }

    /// Whether something is being done about this run's server already.
    fn in_flight(&self, run: &Run) -> bool {
        self.limits.in_flight.contains(&run.id)
    }

    /// What the spec files say about a name; `root` is the directory that a spec came from which
    /// this process never saw.
    fn wish(&self, name: &CattleName, root: Option<&str>) -> Wish<'a> {
        let desired = self.desired;
        let readable = |root: &str| matches!(desired.roots.get(root), Some(RootState::Readable));
        match desired.specs.get(name) {
            Some(entry) => match &entry.state {
                SpecState::Valid(cattle) => Wish::Spec(cattle),
                SpecState::Broken(_) => Wish::Frozen,
                SpecState::Absent { since } if readable(&entry.origin.root) => Wish::Gone(*since),
                SpecState::Absent { .. } => Wish::Frozen,
            },
            None => {
                let all_readable = || desired.roots.values().all(|r| *r == RootState::Readable);
                match desired.since {
                    Some(since) if root.map_or_else(all_readable, readable) => Wish::Gone(since),
                    _ => Wish::Frozen,
                }
            }
        }
    }

    /// Why nothing may be created by whose fleet and whose project this is.
    fn not_its_own(&self) -> Option<String> {
        let (own, limits) = (self.limits.own.as_ref()?, self.limits);
        identity::obstacle(own, self.observed, limits.project, &limits.fleet)
    }

    fn standing(&self) -> Option<Standing> {
        let own = self.limits.own.as_ref()?;
        Some(identity::standing(own, self.observed, &self.limits.fleet))
    }

    /// Whether the ledger is an older copy of the one that kept the fleet.
    fn is_behind(&self) -> bool {
        matches!(self.standing(), Some(Standing::Behind { .. }))
    }

    /// How far past its expiry a server without a run is left to whoever may know it better.
    fn grace_of_orphans(&self) -> Duration {
        let rival = self
            .limits
            .own
            .as_ref()
            .is_some_and(|own| own.rival.is_some());
        if rival || self.standing().is_some_and(|standing| standing.is_lost()) {
            deadlines::REAPER_GRACE
        } else {
            Duration::ZERO
        }
    }

    /// Whether an operator has ended a pause, and only a look at the firewall is missing.
    fn waits_for_a_look(&self) -> bool {
        let Some(own) = &self.limits.own else {
            return false;
        };
        let holds = |reason| self.ledger.holding().any(|pause| pause.reason == reason);
        own.rival.is_some() && !holds(PauseReason::SecondController)
            || self.standing().is_some_and(|standing| {
                standing == Standing::TakingOver
                    || standing.is_lost() && !holds(PauseReason::Ledger)
            })
    }

    /// Whether the list was asked for after `known`.
    fn listed_after(&self, known: Option<Timestamp>) -> bool {
        match (self.observed.listed_at, known) {
            // What is noted of the future was noted before the clock went back.
            (Some(listed), Some(known)) => listed > known || known - self.now > AGREES,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether a list is recent enough to start something on.
    fn listed_lately(&self) -> bool {
        self.observed
            .listed_at
            .is_some_and(|listed| self.now < listed + deadlines::LIST_STALE)
    }

    fn finish(self) -> Plan {
        let Sections {
            ledger,
            ends,
            servers,
            deletes,
            starts,
        } = self.sections;
        Plan {
            actions: [ledger, ends, servers, deletes, starts]
                .into_iter()
                .flatten()
                .collect(),
            waiting: self.waiting,
            next_wake: self.wake,
            list_soon: self.list_soon,
        }
    }
}
