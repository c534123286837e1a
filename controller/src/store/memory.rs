//! The ledger in memory, for simulation: sqlx cannot run under a paused clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cattle_core::{
    breaker::ImageRecord,
    charge::Charge,
    ledger::{Assignment, Ledger, Run},
    names::{CattleName, RunId, SpecHash},
    pause::Pause,
    writable::Writable,
};
use cattle_schemas::{
    Timestamp,
    event::{Event, NewEvent},
    job::Job,
};
use tokio::sync::{broadcast, watch};

use super::{
    CREATES_KEPT, EVENT_BACKLOG, Edit, IdempotentReply, RunFilter, SocketSpec, Store, StoreFuture,
    TokenRecord, Wanted,
    consequence::{self, Before, Consequence},
};

/// A ledger that is gone with the process.
pub struct MemoryStore {
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
    writable: watch::Sender<Writable>,
}

/// Records are shared, so that a transaction can be dropped by keeping a cheap copy from before it.
#[derive(Clone, Default)]
struct State {
    runs: BTreeMap<RunId, Arc<Run>>,
    charges: BTreeMap<RunId, Charge>,
    forgotten: BTreeSet<RunId>,
    assignments: BTreeMap<(CattleName, SpecHash), Assignment>,
    tokens: BTreeMap<[u8; 32], TokenRecord>,
    events: Vec<Arc<Event>>,
    last_event: u64,
    creates: Vec<(RunId, Timestamp)>,
    jobs: BTreeMap<String, Job>,
    replies: BTreeMap<(String, String), (IdempotentReply, Timestamp)>,
    socket_specs: BTreeMap<CattleName, SocketSpec>,
    meta: BTreeMap<String, String>,
    /// Oldest first.
    pauses: Vec<Pause>,
    images: BTreeMap<String, ImageRecord>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            writable: watch::Sender::default(),
        }
    }
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // An edit that panicked wrote nothing: edits work on copies.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events are told while the state is locked, so in the order of their ids.
    fn publish(&self, told: Vec<Event>) {
        for event in told {
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
    }
}

impl State {
    fn apply(&mut self, edit: Edit, now: Timestamp, told: &mut Vec<Event>) -> bool {
        let events = match edit {
            Edit::InsertRun { run, events } => {
                let taken = self.runs.contains_key(&run.id)
                    || self.runs.values().any(|known| {
                        known.is_live() && known.cattle == run.cattle && run.is_live()
                    });
                if taken {
                    return false;
                }
                self.follow(run.id, consequence::of_insert(&run));
                self.runs.insert(run.id, Arc::new(*run));
                events
            }
            Edit::Run { id, edit } => {
                let Some(known) = self.runs.get(&id) else {
                    return false;
                };
                let mut run = Run::clone(known);
                let before = Before::of(&run);
                let key = (run.cattle.clone(), run.hash.clone());
                let mut assignment = self.assignments.get(&key).cloned();
                let Some(events) = edit(&mut run, &mut assignment) else {
                    return false;
                };
                self.follow(id, consequence::of_edit(before, &run));
                self.runs.insert(id, Arc::new(run));
                if let Some(assignment) = assignment {
                    self.assignments.insert(key, assignment);
                }
                events
            }
            Edit::Assignment { cattle, hash, edit } => {
                let key = (cattle, hash);
                let mut assignment = self.assignments.get(&key).cloned();
                let Some(events) = edit(&mut assignment) else {
                    return false;
                };
                if let Some(assignment) = assignment {
                    self.assignments.insert(key, assignment);
                }
                events
            }
            Edit::Pause {
                reason,
                subject,
                edit,
            } => {
                let held = self.pauses.iter().position(|pause| {
                    pause.holds() && pause.reason == reason && pause.subject == subject
                });
                let mut pause = held.map(|index| self.pauses[index].clone());
                let Some(events) = edit(&mut pause) else {
                    return false;
                };
                match (held, pause) {
                    (Some(index), Some(pause)) => self.pauses[index] = pause,
                    (None, Some(pause)) => self.pauses.push(pause),
                    (_, None) => {}
                }
                events
            }
            Edit::Image { image, edit } => {
                let mut record = self.images.get(&image).cloned().unwrap_or_default();
                if !edit(&mut record) {
                    return false;
                }
                self.images.insert(image, record);
                Vec::new()
            }
            Edit::InsertToken(token) => {
                let lives = self.runs.get(&token.run).is_some_and(|run| run.is_live());
                if !lives || self.tokens.contains_key(&token.digest) {
                    return false;
                }
                self.tokens.insert(token.digest, token);
                Vec::new()
            }
            Edit::VoidTokens { run, except } => {
                self.void_tokens(run, except);
                Vec::new()
            }
            Edit::Event(event) => vec![event],
        };
        for event in events {
            self.add_event(event, now, told);
        }
        true
    }

    fn follow(&mut self, run: RunId, consequence: Consequence) {
        self.creates.extend(consequence.create.map(|at| (run, at)));
        if consequence.forget_creates {
            self.creates.retain(|(of, _)| *of != run);
        }
        if consequence.void_tokens {
            self.void_tokens(run, None);
        }
        if let Some((image, fact)) = consequence.image {
            self.images.entry(image).or_default().learn(fact);
        }
        match consequence.charge {
            Some(Some(charge)) => drop(self.charges.insert(run, charge)),
            Some(None) => drop(self.charges.remove(&run)),
            None => {}
        }
    }

    fn void_tokens(&mut self, run: RunId, except: Option<[u8; 32]>) {
        for token in self.tokens.values_mut() {
            if token.run == run && Some(token.digest) != except {
                token.voided = true;
            }
        }
    }

    fn add_event(&mut self, event: NewEvent, now: Timestamp, told: &mut Vec<Event>) {
        self.last_event += 1;
        let event = Event {
            id: self.last_event,
            time: consequence::as_stored(now),
            cattle: event.cattle,
            run: event.run,
            reason: event.reason,
            message: event.message,
        };
        self.events.push(Arc::new(event.clone()));
        told.push(event);
    }

    fn ledger(&self, wanted: &[Wanted], creates_since: Timestamp) -> Ledger {
        let names: BTreeSet<&CattleName> = wanted.iter().map(|it| &it.cattle).collect();
        let mut latest: BTreeMap<&CattleName, RunId> = BTreeMap::new();
        for run in self.runs.values().filter(|run| names.contains(&run.cattle)) {
            latest.insert(&run.cattle, run.id);
        }
        let mut ledger = Ledger::default();
        for run in self.runs.values() {
            if !consequence::is_settled(run) || latest.get(&run.cattle) == Some(&run.id) {
                ledger.runs.insert(run.id, Run::clone(run));
            }
        }
        let may_be = |cattle: &CattleName, assignment: &Assignment| {
            wanted.iter().any(|wanted| {
                let content = assignment.substance.as_ref().map(|it| &it.content);
                wanted.cattle == *cattle
                    && wanted
                        .content
                        .as_ref()
                        .is_some_and(|wanted| content.is_none_or(|content| content == wanted))
            })
        };
        let mut keys: BTreeSet<(CattleName, SpecHash)> = wanted
            .iter()
            .map(|it| (it.cattle.clone(), it.hash.clone()))
            .collect();
        keys.extend(
            ledger
                .runs
                .values()
                .map(|run| (run.cattle.clone(), run.hash.clone())),
        );
        for (key, assignment) in &self.assignments {
            let wanted = keys.contains(key) || may_be(&key.0, assignment);
            if assignment.ended.is_none() || wanted {
                ledger.assignments.insert(key.clone(), assignment.clone());
            }
        }
        ledger.creates_last_hour = self
            .creates
            .iter()
            .map(|(_, at)| *at)
            .filter(|at| *at >= creates_since)
            .collect();
        ledger.creates_last_hour.sort_unstable();
        let recent = |pause: &&Pause| {
            let resumed = pause.resumed.as_ref();
            resumed.is_none_or(|resumed| resumed.at >= creates_since)
        };
        ledger.recent_ends = self
            .runs
            .values()
            .filter_map(|run| Some((run.ended.as_ref()?.at, run.counts_for.clone()?)))
            .filter(|(at, _)| *at > creates_since)
            .collect();
        ledger.recent_ends.sort();
        ledger.images = self.images.clone();
        ledger.pauses = self.pauses.iter().filter(recent).cloned().collect();
        ledger
    }

    fn runs(&self, filter: &RunFilter) -> Vec<Run> {
        let mut seen = BTreeSet::new();
        self.runs
            .values()
            .rev()
            .filter(|run| {
                filter
                    .cattle
                    .as_ref()
                    .is_none_or(|cattle| *cattle == run.cattle)
            })
            .filter(|run| !filter.latest_only || seen.insert(run.cattle.clone()))
            .filter(|run| match (&run.ended, filter.ended_after) {
                (Some(end), Some(after)) => end.at > after,
                _ => true,
            })
            .take(filter.limit.map_or(usize::MAX, |limit| limit as usize))
            .map(|run| Run::clone(run))
            .collect()
    }

    fn forget_before(&mut self, before: Timestamp) -> Vec<RunId> {
        let over = |run: &Run| {
            consequence::is_settled(run) && run.ended.as_ref().is_some_and(|end| end.at < before)
        };
        let fresh: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| over(run) && !self.forgotten.contains(&run.id))
            .map(|run| run.id)
            .collect();
        for id in &fresh {
            self.forgotten.insert(*id);
            if let Some(run) = self.runs.get_mut(id)
                && let Some(outcome) = &mut Arc::make_mut(run).outcome
            {
                outcome.result = None;
            }
            self.tokens.retain(|_, token| token.run != *id);
        }
        let kept: BTreeSet<String> = self
            .runs
            .values()
            .filter(|run| !over(run))
            .map(|run| run.id.to_string())
            .collect();
        self.events.retain(|event| {
            event.time >= before || event.run.as_ref().is_some_and(|run| kept.contains(run))
        });
        self.jobs
            .retain(|_, job| job.finished_at.is_none_or(|at| at >= before));
        self.replies.retain(|_, (_, at)| *at >= before);
        self.pauses.retain(|pause| {
            let resumed = pause.resumed.as_ref();
            resumed.is_none_or(|resumed| resumed.at >= before)
        });
        fresh
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Store for MemoryStore {
    fn ledger(&self, wanted: Vec<Wanted>, creates_since: Timestamp) -> StoreFuture<'_, Ledger> {
        ready(self.state().ledger(&wanted, creates_since))
    }

    fn commit(&self, edits: Vec<Edit>, now: Timestamp) -> StoreFuture<'_, Vec<bool>> {
        let mut state = self.state();
        let mut told = Vec::new();
        let applied = edits
            .into_iter()
            .map(|edit| state.apply(edit, now, &mut told))
            .collect();
        state.creates.retain(|(_, at)| *at >= now - CREATES_KEPT);
        self.publish(told);
        ready(applied)
    }

    fn commit_all(&self, edits: Vec<Edit>, now: Timestamp) -> StoreFuture<'_, bool> {
        let mut state = self.state();
        let before = state.clone();
        let mut told = Vec::new();
        let applied = edits
            .into_iter()
            .all(|edit| state.apply(edit, now, &mut told));
        if applied {
            self.publish(told);
        } else {
            *state = before;
        }
        ready(applied)
    }

    fn run(&self, id: RunId) -> StoreFuture<'_, Option<Run>> {
        ready(self.state().runs.get(&id).map(|run| Run::clone(run)))
    }

    fn runs(&self, filter: RunFilter) -> StoreFuture<'_, Vec<Run>> {
        ready(self.state().runs(&filter))
    }

    fn charges(&self, window: Range<Timestamp>) -> StoreFuture<'_, Vec<Charge>> {
        let state = self.state();
        let overlaps = |charge: &&Charge| {
            charge.until.is_none_or(|until| until > window.start) && charge.created < window.end
        };
        ready(state.charges.values().filter(overlaps).cloned().collect())
    }

    fn pauses(&self) -> StoreFuture<'_, Vec<Pause>> {
        let state = self.state();
        let held = state.pauses.iter().filter(|pause| pause.holds());
        ready(held.cloned().collect())
    }

    fn assignments(&self, cattle: CattleName) -> StoreFuture<'_, Vec<(SpecHash, Assignment)>> {
        let state = self.state();
        let found = state
            .assignments
            .iter()
            .filter(|((name, _), _)| *name == cattle);
        ready(
            found
                .map(|((_, hash), assignment)| (hash.clone(), assignment.clone()))
                .collect(),
        )
    }

    fn token(&self, digest: [u8; 32]) -> StoreFuture<'_, Option<TokenRecord>> {
        ready(self.state().tokens.get(&digest).cloned())
    }

    fn tokens(&self, run: RunId) -> StoreFuture<'_, Vec<TokenRecord>> {
        let state = self.state();
        ready(
            state
                .tokens
                .values()
                .filter(|token| token.run == run)
                .cloned()
                .collect(),
        )
    }

    fn events(
        &self,
        after: u64,
        cattle: Option<CattleName>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>> {
        let state = self.state();
        let cattle = cattle.as_ref().map(CattleName::as_str);
        let found = state
            .events
            .iter()
            .filter(|event| event.id > after)
            .filter(|event| cattle.is_none() || event.cattle.as_deref() == cattle)
            .take(limit as usize);
        ready(found.map(|event| Event::clone(event)).collect())
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn put_socket_spec(&self, cattle: CattleName, spec: Option<SocketSpec>) -> StoreFuture<'_, ()> {
        let mut state = self.state();
        match spec {
            Some(spec) => state.socket_specs.insert(cattle, spec),
            None => state.socket_specs.remove(&cattle),
        };
        ready(())
    }

    fn socket_specs(&self) -> StoreFuture<'_, Vec<SocketSpec>> {
        ready(self.state().socket_specs.values().cloned().collect())
    }

    fn put_job(&self, job: Job) -> StoreFuture<'_, ()> {
        self.state().jobs.insert(job.id.clone(), job);
        ready(())
    }

    fn job(&self, id: String) -> StoreFuture<'_, Option<Job>> {
        ready(self.state().jobs.get(&id).cloned())
    }

    fn jobs(
        &self,
        requester: Option<String>,
        before: Option<String>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Job>> {
        let state = self.state();
        let found = state
            .jobs
            .values()
            .rev()
            .filter(|job| {
                requester
                    .as_ref()
                    .is_none_or(|requester| *requester == job.requester)
            })
            .filter(|job| before.as_ref().is_none_or(|before| job.id < *before))
            .take(limit as usize);
        ready(found.cloned().collect())
    }

    fn remember(
        &self,
        reply: IdempotentReply,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<IdempotentReply>> {
        let mut state = self.state();
        let key = (reply.requester.clone(), reply.key.clone());
        let known = state.replies.get(&key).map(|(reply, _)| reply.clone());
        if known.is_none() {
            state.replies.insert(key, (reply, now));
        }
        ready(known)
    }

    fn recall(&self, requester: String, key: String) -> StoreFuture<'_, Option<IdempotentReply>> {
        ready(
            self.state()
                .replies
                .get(&(requester, key))
                .map(|(reply, _)| reply.clone()),
        )
    }

    fn count_steps(&self) -> StoreFuture<'_, u64> {
        let steps = |run: &Run| match (&run.ended, run.env_at) {
            (Some(_), _) => 3,
            (None, Some(_)) => 2,
            (None, None) => 1,
        };
        let count = self.state().runs.values().map(|run| steps(run)).sum();
        Box::pin(async move { Ok(count) })
    }

    fn meta(&self, name: String) -> StoreFuture<'_, Option<String>> {
        ready(self.state().meta.get(&name).cloned())
    }

    fn put_meta(&self, name: String, value: String) -> StoreFuture<'_, ()> {
        self.state().meta.insert(name, value);
        ready(())
    }

    fn writable(&self) -> watch::Receiver<Writable> {
        self.writable.subscribe()
    }

    fn look(&self) -> StoreFuture<'_, bool> {
        ready(true)
    }

    fn forget_before(&self, before: Timestamp) -> StoreFuture<'_, Vec<RunId>> {
        ready(self.state().forget_before(before))
    }
}
