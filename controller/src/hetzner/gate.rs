//! Where every call waits until Hetzner's rate limit has room for it.
//!
//! The most important first, the oldest first among equals. Since a call leaves the more in the
//! bucket the less important it is, the first in line is also the first that may go: nobody behind
//! it could. Whoever waits sleeps until the call it needs is refilled; nothing is polled.
//!
//! Invariants: a delete never waits behind anything but deletes; a read that waited for [`AGED`] is
//! in line with creates, so that a stream of them cannot starve it; both the line and the wait in it
//! are bounded; a call that is given up gives its place back.
//!
//! Absent on purpose: retries, and any judgement of what is due. That is
//! [`cattle_core::rate::Budget`]'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cattle_core::{
    action::Calls,
    rate::{Budget, Class, Sent, Told},
};
use cattle_schemas::{Timestamp, status::CallBudget};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::table::Operation;

/// The longest wait in line: as long as a create's own timeout. Whoever asks comes again with its
/// next pass; a connection and a task are not kept for longer.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The longest line. Far more than a pass begins at once; each waiter is a task and a few hundred
/// bytes.
const MAX_WAITING: usize = 2_000;

/// A read that waited for so long is as good as a create: deletes are proved by reads, and slots
/// freed.
const AGED: Duration = Duration::from_secs(10);

/// After a 429 deletes wait only so long: what Hetzner refills in that time is for them.
pub(super) const DELETES_HOLD: Duration = Duration::from_secs(1);

/// What a call is for, unless whoever makes it knows better.
pub(super) fn class_of(operation: Operation) -> Class {
    match operation {
        Operation::DeleteServer => Class::Delete,
        Operation::CreateServer
        | Operation::PowerOn
        | Operation::Relabel
        | Operation::FindFirewall
        | Operation::CreateFirewall
        | Operation::RepairFirewall
        | Operation::RelabelFirewall
        | Operation::ListSshKeys
        | Operation::CreateSshKey
        // Starts wait for what these say.
        | Operation::ListImages
        | Operation::GetImage => Class::Create,
        Operation::ListServers
        | Operation::GetServer
        | Operation::FindServer
        | Operation::Actions
        | Operation::ListServerTypes
        | Operation::Prices => Class::Read,
    }
}

/// There was no room in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) class: Class,
    /// When it would be due.
    pub(super) retry_in: Duration,
}

/// The gate. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    shared: Arc<Mutex<State>>,
    /// Times in the budget count from here.
    opened: Instant,
}

#[derive(Debug, Default)]
struct State {
    budget: Budget,
    /// Who waits, in the order in which they go.
    line: BTreeMap<Place, Arc<Notify>>,
    next: u64,
}

/// A place in line.
type Place = (Class, u64);

impl Gate {
    pub(super) fn open() -> Self {
        let gate = Self {
            shared: Arc::default(),
            opened: Instant::now(),
        };
        gate.lock().show(Duration::ZERO);
        // There from the start: an alert on a counter that is absent never fires.
        metrics::counter!("hetzner_rate_limited_total").increment(0);
        metrics::counter!("hetzner_calls_others_total").increment(0);
        gate
    }

    /// Waits until a call of this class may go.
    pub(super) async fn enter(&self, class: Class) -> Result<Permit, NoRoom> {
        let waiting = {
            let (mut state, now) = (self.lock(), self.now());
            if state.line.len() >= MAX_WAITING {
                let retry_in = state.budget.due(class, now);
                return Err(NoRoom { class, retry_in });
            }
            let place = (class, state.next);
            state.next += 1;
            let called = Arc::new(Notify::new());
            state.line.insert(place, called.clone());
            let behind = state.line.range(place..).nth(1);
            if let Some((_, called)) = behind {
                // It is not the first any more.
                called.notify_one();
            }
            Waiting {
                gate: self.clone(),
                place,
                called,
            }
        };
        waiting.wait(class).await
    }

    /// Creates that may be begun now, `begun` of them not being in line yet; `wall` is now on the
    /// clock that people read.
    pub(super) fn creates(&self, begun: u32, wall: Timestamp) -> Calls {
        let state = self.lock();
        let waiting = state.waiting(Class::Create);
        let begun = begun.saturating_add(waiting);
        state.budget.creates(begun, self.now(), wall)
    }

    /// For the status; `None` before the first reply.
    pub(super) fn status(&self) -> Option<CallBudget> {
        self.lock().budget.status(self.now())
    }

    /// Calls refilled a second.
    pub(super) fn refill(&self) -> f64 {
        self.lock().budget.refill()
    }

    fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change is complete before anything that could panic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&self, class: Class) -> u32 {
        let waiting = self.line.range((class, 0)..=(class, u64::MAX)).count();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// Whatever changed, only the first in line can have become due by it.
    fn call_the_first(&self) {
        if let Some(called) = self.line.values().next() {
            called.notify_one();
        }
    }

    fn show(&self, now: Duration) {
        metrics::gauge!("hetzner_ratelimit_limit").set(f64::from(self.budget.limit()));
        metrics::gauge!("hetzner_ratelimit_remaining").set(f64::from(self.budget.left(now)));
        metrics::gauge!("hetzner_ratelimit_reserve").set(f64::from(self.budget.reserve()));
        for class in Class::ALL {
            let waiting = f64::from(self.waiting(class));
            metrics::gauge!("hetzner_calls_waiting", "class" => class.as_str()).set(waiting);
        }
    }
}

/// Somebody in line. Dropped, it leaves.
struct Waiting {
    gate: Gate,
    place: Place,
    called: Arc<Notify>,
}

impl Waiting {
    async fn wait(mut self, class: Class) -> Result<Permit, NoRoom> {
        let since = Instant::now();
        let give_up = since + MAX_WAIT;
        loop {
            let (first, due) = {
                let (mut state, now) = (self.gate.lock(), self.gate.now());
                let first = state.line.keys().next() == Some(&self.place);
                let due = state.budget.due(self.place.0, now);
                if first && due.is_zero() {
                    let sent = state.budget.take(now);
                    // Leaving the line calls the next.
                    drop(state);
                    let gate = self.gate.clone();
                    return Ok(Permit {
                        gate,
                        sent: Some(sent),
                    });
                }
                (first, due)
            };
            let now = Instant::now();
            if now >= give_up {
                return Err(NoRoom {
                    class,
                    retry_in: due,
                });
            }
            let mut wake = give_up;
            if self.place.0 == Class::Read {
                if now >= since + AGED {
                    self.move_to(Class::Create);
                    continue;
                }
                wake = wake.min(since + AGED);
            }
            if first {
                wake = wake.min(now + due);
            }
            tokio::select! {
                () = self.called.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn move_to(&mut self, class: Class) {
        let mut state = self.gate.lock();
        state.line.remove(&self.place);
        self.place.0 = class;
        state.line.insert(self.place, self.called.clone());
        state.call_the_first();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.line.remove(&self.place);
        state.call_the_first();
        state.show(self.gate.now());
    }
}

/// A call that may go. Dropped without a word, it counts as made.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Gate,
    sent: Option<Sent>,
}

impl Permit {
    /// A reply came, other than a 429.
    pub(super) fn answered(mut self, told: Option<Told>) {
        self.close(|budget, sent, now| budget.counted(sent, told, now));
    }

    /// It was never sent.
    pub(super) fn unsent(mut self) {
        self.close(|budget, sent, now| {
            budget.unsent(sent, now);
            0
        });
    }

    /// The reply was a 429: nothing but deletes goes for as long as `hold` says of the refill, which
    /// is also answered.
    pub(super) fn refused(
        mut self,
        told: Option<Told>,
        hold: impl FnOnce(f64) -> Duration,
    ) -> Duration {
        metrics::counter!("hetzner_rate_limited_total").increment(1);
        let mut held = DELETES_HOLD;
        self.close(|budget, sent, now| {
            let others = budget.refused(sent, told, now);
            held = hold(budget.refill());
            budget.hold(held, DELETES_HOLD, now);
            others
        });
        held
    }

    fn close(&mut self, how: impl FnOnce(&mut Budget, Sent, Duration) -> u32) {
        let Some(sent) = self.sent.take() else { return };
        let (mut state, now) = (self.gate.lock(), self.gate.now());
        let others = how(&mut state.budget, sent, now);
        metrics::counter!("hetzner_calls_others_total").increment(u64::from(others));
        state.call_the_first();
        state.show(now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.close(|budget, sent, now| budget.counted(sent, None, now));
    }
}

#[cfg(test)]
#[path = "tests/gate.rs"]
mod tests;
