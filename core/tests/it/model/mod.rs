//! A small Hetzner, its guests, and an executor, all on virtual time: what plans are tried against.
//!
//! The executor does with each action what the controller does with it, through the same lifecycle
//! functions, and can be told to fail in every way that matters: a call that is refused, that is
//! lost before or after it took effect, that takes its time, and a crash.

mod execute;

use std::collections::{BTreeMap, BTreeSet};

use crate::fixture::*;
use cattle_core::{
    breaker::{self, ImageFact},
    identity::Project,
    labels,
    ledger::Run,
    lifecycle,
    names::{CattleName, RunId, ServerId, SpecHash},
    observed::{ObservedServer, ServerState},
};
use cattle_schemas::status::EndReason;

/// What becomes of a call to Hetzner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It works.
    Works,
    /// It works, and the reply is lost.
    ReplyLost,
    /// It never arrives, which the caller cannot know.
    Lost,
    /// It is refused.
    Refused,
    /// It has not come back when the next pass begins.
    Slow,
    /// The controller dies right after it took effect.
    Crash,
    /// A create is accepted, then its action fails and the server is gone.
    Fails,
    /// The created server never starts.
    Sticks,
    /// The created server is off until it is powered on.
    BornOff,
    /// The created server is off, and stays so.
    StaysOff,
}

impl Fate {
    /// What becomes of a call that is no create.
    fn of_call(self) -> Self {
        match self {
            Self::Fails | Self::Sticks | Self::BornOff | Self::StaysOff => Self::Works,
            other => other,
        }
    }
}

/// What a guest has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Guest {
    Down,
    Up,
    HasEnv,
    Working,
    /// Its result is there, the end of its log is not.
    Sending,
    Done,
}

/// How long the log of each task is, and how much of it has arrived when its result does.
const LOG: u64 = 1000;
const LOG_ON_RESULT: u64 = 400;

/// A server as it really is.
#[derive(Clone, Debug)]
struct Server {
    seen: ObservedServer,
    guest: Guest,
    /// It never runs, whatever is done.
    hopeless: bool,
    /// Lists do not tell its name.
    odd: bool,
    /// Whose token its guest has.
    run: Option<RunId>,
    /// Somebody renamed it, took it over or copied it: no count of ours bounds those.
    disputed: bool,
}

impl Server {
    fn new(seen: ObservedServer, guest: Guest) -> Self {
        Self {
            seen,
            guest,
            hopeless: false,
            odd: false,
            run: None,
            disputed: false,
        }
    }

    /// As a list has it.
    fn listed(&self) -> ObservedServer {
        let mut seen = self.seen.clone();
        if self.odd {
            seen.name = format!("server-{}", seen.id);
            seen.odd.push("its name is missing".to_owned());
        }
        seen
    }
}

/// The world as the controller knows it, and as it is.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) world: World,
    servers: BTreeMap<ServerId, Server>,
    /// Creates whose reply has not come yet.
    slow: Vec<RunId>,
    next_server: u64,
    next_run: u128,
    /// Runs that got their env, by what they were started from.
    env: BTreeMap<(CattleName, SpecHash), BTreeSet<RunId>>,
    reruns: BTreeMap<(CattleName, SpecHash), usize>,
    /// Servers that are somebody else's.
    foreign: BTreeSet<ServerId>,
    /// Of those, the ones that were ours, with the labels that they had.
    taken: BTreeMap<ServerId, BTreeMap<String, String>>,
    /// Servers whose create failed after all.
    failed: BTreeSet<ServerId>,
}

impl Model {
    pub(crate) fn new(max_instances: u32) -> Self {
        let mut world = World::empty();
        world.limits.max_instances = max_instances;
        world.limits.creates_per_hour = 10_000;
        world.observed = Default::default();
        let mut model = Self {
            world,
            servers: BTreeMap::new(),
            slow: Vec::new(),
            next_server: 1000,
            next_run: 1000,
            env: BTreeMap::new(),
            reruns: BTreeMap::new(),
            foreign: BTreeSet::new(),
            taken: BTreeMap::new(),
            failed: BTreeSet::new(),
        };
        model.add_foreign();
        model
    }

    /// A server of another fleet, long expired, and one that another tool has marked as its own.
    fn add_foreign(&mut self) {
        let donor = World::running();
        for (id, key, value) in [
            (1, "fleet", "other"),
            (2, "apricote.de/created-by", "hcloud-upload-image"),
        ] {
            let mut seen = donor.server_of(run_id(1), ServerId(id));
            seen.name = format!("foreign-{id}");
            let mut raw = seen.labels.raw.clone();
            raw.insert(key.to_owned(), value.to_owned());
            raw.insert("expires-at".to_owned(), "1".to_owned());
            seen.labels = labels::decode(&raw, seen.created, lifetimes(60));
            self.foreign.insert(seen.id);
            self.servers.insert(seen.id, Server::new(seen, Guest::Down));
        }
    }

    /// A server of our fleet whose run no ledger knows.
    pub(crate) fn add_orphan(&mut self, cattle: &str, hash_of: u8, lives: u64) {
        let mut donor = World::empty();
        donor.now = self.world.now;
        let mut spec = crate::fixture::cattle(cattle);
        spec.hash = hash(hash_of);
        spec.ttl = secs(lives);
        self.next_run += 1;
        let donor = donor.with_spec(spec).with_run(cattle, self.next_run);
        let seen = donor.server_of(run_id(self.next_run), self.draw_server());
        self.servers.insert(seen.id, Server::new(seen, Guest::Done));
    }

    fn draw_server(&mut self) -> ServerId {
        self.next_server += 1;
        ServerId(self.next_server)
    }

    // === what Hetzner does ===

    /// Servers of our fleet that exist.
    pub(crate) fn count(&self) -> usize {
        self.ours().count()
    }

    fn ours(&self) -> impl Iterator<Item = &Server> {
        let ours = |(id, _): &(&ServerId, &Server)| !self.foreign.contains(id);
        self.servers.iter().filter(ours).map(|(_, server)| server)
    }

    /// Of those, the ones by which anybody could know that they are ours: they are listed, or were
    /// made by a run and never renamed or taken.
    pub(crate) fn findable(&self) -> usize {
        let fleet = &self.world.limits.fleet;
        self.ours()
            .filter(|server| {
                labels::is_ours(&server.seen.labels.raw, fleet)
                    || (server.run.is_some() && !server.disputed)
            })
            .count()
    }

    /// Refreshes what the controller has seen.
    pub(crate) fn list(&mut self) {
        let limits = &self.world.limits;
        self.world.observed.servers = self
            .servers
            .values()
            .map(Server::listed)
            .filter(|server| labels::is_ours(&server.labels.raw, &limits.fleet))
            .collect();
        self.world.observed.listed_at = Some(self.world.now);
    }

    /// Deletes the n-th of our servers behind the controller's back.
    pub(crate) fn vanish(&mut self, n: usize) {
        if let Some(id) = self.nth(n) {
            self.servers.remove(&id);
        }
    }

    /// Turns the n-th of our servers off.
    pub(crate) fn turn_off(&mut self, n: usize) {
        if let Some(id) = self.nth(n) {
            let server = self.servers.get_mut(&id).unwrap();
            server.seen.status = ServerState::Off;
            server.guest = Guest::Done;
        }
    }

    /// Takes labels from the n-th of our servers.
    pub(crate) fn lose_labels(&mut self, n: usize, all: bool) {
        if let Some(id) = self.nth(n) {
            let mut raw = self.servers[&id].seen.labels.raw.clone();
            raw.retain(|key, _| !all && key != "expires-at");
            self.label(id, &raw);
            // No run of ours made it, so nothing else says whose it is.
            let server = self.servers.get_mut(&id).unwrap();
            server.disputed |= all && server.run.is_none();
        }
    }

    fn label(&mut self, id: ServerId, raw: &BTreeMap<String, String>) {
        let seen = &mut self.servers.get_mut(&id).unwrap().seen;
        seen.labels = labels::decode(raw, seen.created, lifetimes(7200));
    }

    /// Gives the n-th of our servers another name.
    pub(crate) fn rename(&mut self, n: usize) {
        if let Some(id) = self.nth(n) {
            let server = self.servers.get_mut(&id).unwrap();
            server.seen.name = format!("renamed-{id}");
            server.disputed = true;
        }
    }

    /// Somebody else marks the n-th of our servers.
    pub(crate) fn take_over(&mut self, n: usize, how: usize) {
        if let Some(id) = self.nth(n) {
            let ours = self.servers[&id].seen.labels.raw.clone();
            let (key, value) = [
                ("fleet", "other"),
                ("apricote.de/created-by", "hcloud-upload-image"),
                ("managed-by", "terraform"),
            ][how % 3];
            let mut raw = ours.clone();
            raw.insert(key.to_owned(), value.to_owned());
            self.label(id, &raw);
            self.servers.get_mut(&id).unwrap().disputed = true;
            self.foreign.insert(id);
            self.taken.insert(id, ours);
        }
    }

    /// The n-th of the servers that somebody else has marked is ours again.
    pub(crate) fn give_back(&mut self, n: usize) {
        let taken: Vec<ServerId> = self.taken.keys().copied().collect();
        if !taken.is_empty() {
            let id = taken[n % taken.len()];
            let raw = self.taken.remove(&id).unwrap();
            self.foreign.remove(&id);
            self.label(id, &raw);
        }
    }

    /// Somebody copies the n-th of our servers, labels included.
    pub(crate) fn copy(&mut self, n: usize) {
        if let Some(id) = self.nth(n) {
            let mut seen = self.servers[&id].seen.clone();
            seen.id = self.draw_server();
            seen.name = format!("copy-{}", seen.id);
            seen.created = self.world.now;
            let raw = seen.labels.raw.clone();
            let mut server = Server::new(seen, Guest::Down);
            (server.hopeless, server.disputed) = (true, true);
            let copy = server.seen.id;
            self.servers.insert(copy, server);
            self.label(copy, &raw);
            // Of a run whose reply was lost it may be taken for the original.
            let mut runs = self.world.ledger.runs.values();
            let bound = runs.any(|run| run.server.as_ref().is_some_and(|own| own.id == id));
            self.servers.get_mut(&id).unwrap().disputed |= !bound;
        }
    }

    /// Operators give up what others have marked, of runs that are over.
    pub(crate) fn give_up(&mut self) {
        let now = self.world.now;
        for run in self.world.ledger.runs.values_mut() {
            let _ = lifecycle::give_up(run, Project::Ours, "by operator", now);
        }
    }

    /// The n-th of our servers is odd from now on, or no more.
    pub(crate) fn turn_odd(&mut self, n: usize) {
        if let Some(id) = self.nth(n) {
            let server = self.servers.get_mut(&id).unwrap();
            server.odd = !server.odd;
        }
    }

    fn nth(&self, n: usize) -> Option<ServerId> {
        let ours: Vec<_> = self
            .servers
            .keys()
            .filter(|id| !self.foreign.contains(id))
            .collect();
        (!ours.is_empty()).then(|| *ours[n % ours.len()])
    }

    fn make(&mut self, run: RunId, fate: Fate) -> ServerId {
        let id = self.draw_server();
        let mut seen = self.world.server_of(run, id);
        seen.status = match fate {
            Fate::BornOff | Fate::StaysOff => ServerState::Off,
            _ => ServerState::Initializing,
        };
        seen.created = self.world.now;
        let mut server = Server::new(seen, Guest::Down);
        server.hopeless = matches!(fate, Fate::Sticks | Fate::StaysOff);
        server.run = Some(run);
        self.servers.insert(id, server);
        id
    }

    /// Everything that can run runs, and its guest is never heard of.
    pub(crate) fn run_servers(&mut self) {
        for server in self.servers.values_mut() {
            if server.seen.status == ServerState::Initializing && !server.hopeless {
                server.seen.status = ServerState::Running;
                server.guest = Guest::Up;
            }
        }
    }

    // === what guests do ===

    /// The n-th of our servers' guests goes one step on.
    pub(crate) fn guest_step(&mut self, n: usize, exit_code: i32) {
        let Some(id) = self.nth(n) else { return };
        let now = self.world.now;
        let server = self.servers.get_mut(&id).unwrap();
        let run = server.run.or(server.seen.labels.run);
        let Some(run) = run.and_then(|run| self.world.ledger.runs.get_mut(&run)) else {
            return;
        };
        match server.guest {
            Guest::Down if server.seen.status != ServerState::Off && !server.hopeless => {
                server.seen.status = ServerState::Running;
                server.guest = Guest::Up;
            }
            Guest::Up => {
                if lifecycle::env_handed_out(run, now).applied {
                    let key = (run.cattle.clone(), run.hash.clone());
                    self.env.entry(key).or_default().insert(run.id);
                    server.guest = Guest::HasEnv;
                }
            }
            Guest::HasEnv => {
                if lifecycle::ready(run, now).applied {
                    let image = breaker::image_of(run).to_owned();
                    let record = self.world.ledger.images.entry(image).or_default();
                    record.learn(ImageFact::Reported(now));
                    server.guest = Guest::Working;
                }
            }
            Guest::Working => {
                // Some have it all sent before their result.
                let sent = if id.0 % 2 == 0 { LOG } else { LOG_ON_RESULT };
                let mut result = outcome(exit_code);
                result.log_bytes = LOG;
                if lifecycle::outcome(run, result, now).applied {
                    server.guest = Guest::Sending;
                    self.world.ledger.logs.insert(run.id, sent);
                }
            }
            Guest::Sending => {
                if run.is_live() || run.is_handing_over(now) {
                    self.world.ledger.logs.insert(run.id, LOG);
                }
                server.guest = Guest::Done;
                if !run.guest_stays(now) {
                    server.seen.status = ServerState::Off;
                }
            }
            Guest::Down | Guest::Done => {}
        }
    }

    /// Every working guest is heard.
    pub(crate) fn heartbeats(&mut self) {
        for server in self.servers.values() {
            let run = server.run.or(server.seen.labels.run);
            if server.guest == Guest::Working
                && let Some(run) = run.and_then(|run| self.world.ledger.runs.get_mut(&run))
            {
                let _ = lifecycle::heartbeat(run, self.world.now);
            }
        }
    }

    // === what the controller does ===

    pub(crate) fn rerun(&mut self, cattle: &CattleName, hash: &SpecHash) {
        let key = (cattle.clone(), hash.clone());
        let latest = self
            .world
            .ledger
            .runs
            .values_mut()
            .rev()
            .find(|run| run.cattle == *cattle);
        if let Some(assignment) = self.world.ledger.assignments.get_mut(&key)
            && lifecycle::rerun(assignment, latest, self.world.now).applied
        {
            *self.reruns.entry(key).or_default() += 1;
        }
    }

    /// The process dies: calls in flight are cut off, after they took effect.
    pub(crate) fn crash(&mut self) {
        for run in std::mem::take(&mut self.slow) {
            self.reach(run, Fate::Works);
        }
        self.world.limits.in_flight.clear();
        self.world.observed = Default::default();
        self.world.limits.guests_heard_since = Some(self.world.now);
        self.world.desired.since = Some(self.world.now);
    }

    /// The slow calls come back.
    pub(crate) fn come_back(&mut self) {
        for run in std::mem::take(&mut self.slow) {
            self.world.limits.in_flight.remove(&run);
            self.post(run, Fate::Works);
        }
    }

    /// One pass: plan, guard, execute. Each action draws its fate. Returns how many there were.
    pub(crate) fn pass(&mut self, mut fate: impl FnMut() -> Fate) -> usize {
        let plan = self.world.plan();
        for action in &plan.actions {
            let fate = fate();
            self.execute(action, fate);
            self.check();
            if fate == Fate::Crash {
                self.crash();
                break;
            }
        }
        plan.actions.len()
    }

    /// What must hold at every moment.
    pub(crate) fn check(&self) {
        let counted = self.ours().filter(|server| !server.disputed).count();
        assert!(
            counted <= self.world.limits.max_instances as usize,
            "{counted} servers, {} allowed",
            self.world.limits.max_instances
        );
        if let Some(max) = self.world.limits.budget.max_hourly {
            let all = price().hourly().times(counted as u64);
            assert!(all <= max, "{all} an hour, {max} allowed");
        }
        for (key, runs) in &self.env {
            let allowed = 1 + self.reruns.get(key).copied().unwrap_or_default();
            assert!(runs.len() <= allowed, "{key:?} ran in {runs:?}");
        }
        for id in &self.foreign {
            assert!(self.servers.contains_key(id), "foreign server {id} is gone");
        }
        for run in self.world.ledger.runs.values() {
            check_handover(run);
        }
        let mut live = BTreeSet::new();
        for run in self.world.ledger.runs.values().filter(|run| run.is_live()) {
            assert!(live.insert(&run.cattle), "two live runs of {}", run.cattle);
        }
    }

    /// What holds when nothing is left to do: no server of ours by which anybody could know that it is
    /// ours, no run that is not over and gone.
    pub(crate) fn check_rest(&self) {
        assert_eq!(self.findable(), 0, "{:#?}", self.servers);
        for run in self.world.ledger.runs.values() {
            assert!(run.gone_at.is_some(), "{run:#?}");
        }
    }
}

/// No hand-over is longer than agreed, goes into another started hour, or beyond the expiry.
fn check_handover(run: &Run) {
    let Some(end) = &run.ended else { return };
    let Some(until) = end.handover_until.filter(|until| *until > end.at) else {
        return;
    };
    let by_result = matches!(end.reason, EndReason::Completed | EndReason::TaskFailed);
    let longest = if by_result { 600 } else { 20 };
    assert!(until <= end.at + secs(longest), "{run:#?}");
    assert!(until <= run.expires_at, "{run:#?}");
    let made = run.server.as_ref().and_then(|server| server.created);
    let hour = |at: cattle_schemas::Timestamp| (at - made.unwrap_or(run.posted_at)).num_hours();
    assert_eq!(hour(until), hour(end.at), "{run:#?}");
}
