//! One pass, on one screen: look, plan, guard, record, act, publish.
//!
//! The one exception to "intent first" is here: where the ledger does not take a pass, servers that
//! are past their expiry are deleted all the same ([`plan::expired`]).
//!
//! A pass never waits for Hetzner. Lists and effects run beside it and ring the bell; what a pass
//! reads is always a little old, and every step is made so that this does no harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cattle_core::{
    account::Token,
    action::{Action, Limits, Plan},
    catalogue::Catalogue,
    desired::{Desired, SpecState},
    fleet::Fleet,
    grounds::LastPass,
    guard::{self, guard},
    hearing::{Hearing, PASS_EVERY},
    identity::{self, Own, Project},
    ledger::Ledger,
    lifecycle,
    names::RunId,
    observed::Observed,
    plan::{self, plan},
    status, substance,
};
use cattle_schemas::{
    Timestamp,
    event::{EventReason, NewEvent},
};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    clock_alarm::ClockAlarm,
    edit, equipment,
    execute::Executor,
    fleet_file::FleetFile,
    guest_api::Pulse,
    intake::Scanner,
    logs::Logs,
    meter::Meter,
    record::{is_recorded, record},
    secrets::Secrets,
    store::{Edit, Store, StoreError, Wanted},
    world::{Bell, World},
};

/// Rounds of one pass. A commit may make further actions possible (a queued assignment starts, an
/// ended run is deleted); more than this in a row would be a plan that does not settle.
const MAX_ROUNDS: u32 = 6;

/// The window of `createsPerHour`.
const CREATES_WINDOW: Duration = Duration::from_secs(3_600);

/// After a pass that failed (the ledger did not answer).
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The loop's state.
pub struct Reconciler {
    /// The fleet's configuration.
    pub fleet: FleetFile,
    /// For those who need it between passes.
    pub fleet_seen: watch::Sender<Arc<Fleet>>,
    /// The spec directories.
    pub scanner: Scanner,
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// Logs of runs, whose lengths say whether a hand-over is complete.
    pub logs: Option<Logs>,
    /// The last list.
    pub observed: watch::Receiver<Arc<Observed>>,
    /// Whether a list is wanted soon.
    pub list_soon: watch::Sender<bool>,
    /// What Hetzner's answers say of the token.
    pub token: watch::Receiver<Token>,
    /// What Hetzner offers.
    pub catalogue: watch::Receiver<Arc<Catalogue>>,
    /// The images of what is to start, for who looks for them.
    pub images: watch::Sender<BTreeSet<String>>,
    /// What carries plans out.
    pub executor: Executor,
    /// Hetzner's clock.
    pub clock: Clock,
    /// What this controller knows of itself.
    pub own: watch::Receiver<Arc<Own>>,
    /// What a 404 is judged by, for who asks Hetzner.
    pub last_pass: watch::Sender<LastPass>,
    /// What was last told of the project.
    pub project_told: Project,
    /// Whether guests are listened to.
    pub serves_guests: bool,
    /// Whether they could be heard from pass to pass.
    pub hearing: Hearing,
    /// What they were heard of.
    pub pulse: Arc<Pulse>,
    /// Says when clocks part.
    pub(crate) alarm: ClockAlarm,
    /// Who asks for passes.
    pub bell: Bell,
    /// What passes tell the metrics.
    pub meter: Meter,
    /// Who wants to know.
    pub worlds: watch::Sender<Arc<World>>,
    /// Secrets, which what is to start must have.
    pub secrets: Arc<Secrets>,
    /// Whether the ledger has told where creates were refused before the start.
    pub recalled: AtomicBool,
}

/// What a pass would do, and what names it.
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// What should be.
    pub desired: Arc<Desired>,
    /// What was.
    pub ledger: Arc<Ledger>,
    /// What Hetzner offers.
    pub catalogue: Arc<Catalogue>,
    /// When it was looked at.
    pub now: Timestamp,
}

/// What a round looks at.
struct Seen {
    desired: Arc<Desired>,
    observed: Arc<Observed>,
    ledger: Arc<Ledger>,
    limits: Arc<Limits>,
    now: Timestamp,
}

impl Reconciler {
    /// Passes until told to stop: when the bell rings, and when the last plan said so.
    pub async fn run(mut self, stop: tokio_util::sync::CancellationToken) {
        loop {
            let wait = match self.pass().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(error = %crate::report(&error), "the pass failed");
                    self.hearing.broken();
                    let hearing = self.hearing;
                    self.last_pass.send_modify(|last| last.hearing = hearing);
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bell.rung() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One pass. Answers after how long the next is due without a ring.
    ///
    /// # Errors
    /// The ledger did not answer, or did not take what was to be recorded. What is past its expiry
    /// goes all the same.
    #[tracing::instrument(skip_all)]
    pub async fn pass(&mut self) -> Result<Duration, StoreError> {
        let done = self.look_and_act().await;
        if done.is_err() {
            self.delete_expired();
        }
        done
    }

    async fn look_and_act(&mut self) -> Result<Duration, StoreError> {
        let fleet = tokio::task::block_in_place(|| self.fleet.current());
        self.fleet_seen.send_if_modified(|seen| {
            let changed = !Arc::ptr_eq(seen, &fleet);
            *seen = fleet.clone();
            changed
        });
        let listed = self.observed.borrow().listed_at.is_some();
        // Asked each time: what was missed before the first list is over with it.
        let hears = self.pulse.took_all() && self.serves_guests && listed;
        let moment = self.clock.moment();
        self.scanner.clock_moved(self.hearing.moved(moment));
        self.hearing.pass(moment, hears);
        let socket_specs = self.store.socket_specs().await?;
        let scan = tokio::task::block_in_place(|| {
            self.scanner.scan(&fleet, self.clock.now(), &socket_specs)
        });
        let desired = Arc::new(scan.desired);
        let (mut seen, mut plan) = self.decide(&fleet, &desired).await?;
        let mut failed = None;
        // A file that was just being written has been found as well.
        if scan.rescan_in.is_none() {
            match self.pause(&seen).await {
                Ok(true) => (seen, plan) = self.decide(&fleet, &desired).await?,
                Ok(false) => {}
                Err(error) => {
                    // A pause that could not be recorded holds all the same. What has its record
                    // already waits for none: the servers of runs that are over, above all.
                    let mut begun = plan.actions.clone();
                    begun.retain(|action| !is_recorded(action));
                    self.act(&seen, &begun).await?;
                    failed = Some(error);
                }
            }
        }
        for _ in 0..MAX_ROUNDS {
            if plan.actions.is_empty() || failed.is_some() {
                break;
            }
            match self.act(&seen, &plan.actions).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // What was seen is told all the same: somebody may be waiting for it.
                    failed = Some(error);
                    break;
                }
            }
            (seen, plan) = self.decide(&fleet, &desired).await?;
        }
        self.list_soon
            .send_if_modified(|soon| std::mem::replace(soon, plan.list_soon) != plan.list_soon);
        let images = plan::images(&plan, &seen.desired, &seen.ledger);
        self.images
            .send_if_modified(|wanted| std::mem::replace(wanted, images.clone()) != images);
        let planned = plan
            .next_wake
            .map(|at| (at - seen.now).to_std().unwrap_or_default());
        let wait = [planned, scan.rescan_in].into_iter().flatten().min();
        self.meter.read(&seen.ledger, &seen.observed, &plan);
        self.meter.read_project(seen.limits.project);
        if let Err(error) = self
            .tell_of_the_project(seen.limits.project, seen.now)
            .await
        {
            failed.get_or_insert(error);
        }
        self.publish(fleet, seen, plan);
        self.tell_of_clocks().await;
        failed.map_or_else(
            || Ok(wait.map_or(PASS_EVERY, |wait| wait.min(PASS_EVERY))),
            Err,
        )
    }

    /// By the ledger as it was last read.
    fn delete_expired(&self) {
        let world = self.worlds.borrow().clone();
        if world.pass == 0 {
            return;
        }
        let observed = self.observed.borrow().clone();
        let (moment, clocks) = self.clock.look();
        let now = moment.now;
        let limits = Limits {
            in_flight: self.executor.in_flight(),
            clocks,
            ..(*world.limits).clone()
        };
        let inputs = guard::Inputs {
            desired: &world.desired,
            observed: &observed,
            ledger: &world.ledger,
            limits: &limits,
            now,
        };
        let planned = plan::expired(&observed, &world.ledger, &limits, now);
        let plan = guarded(planned, &inputs);
        for action in &plan.actions {
            tracing::warn!(%action, "the ledger does not take the end of it");
        }
        match record(&plan.actions, &observed, &world.ledger, &limits, now) {
            // None of it has a record to wait for.
            Ok(records) => self.executor.begin(records.effects(&[])),
            Err(error) => tracing::error!(%error, "no randomness"),
        }
    }

    /// Begins the pauses that whoever keeps the fleet brings about, or brings them up to date.
    async fn pause(&self, seen: &Seen) -> Result<bool, StoreError> {
        let Some(own) = &seen.limits.own else {
            return Ok(false);
        };
        let pauses = identity::pauses(
            own,
            &seen.observed,
            &seen.desired,
            &seen.ledger,
            &seen.limits.fleet,
            seen.now,
        );
        if pauses.is_empty() {
            return Ok(false);
        }
        let edits = pauses.into_iter().map(|fresh| {
            edit::of_pause(fresh.reason, "", move |held| lifecycle::pause(held, &fresh))
        });
        let applied = self.store.commit(edits.collect(), seen.now).await?;
        Ok(applied.contains(&true))
    }

    /// Says it once when the project is not ours, and once when it is again.
    async fn tell_of_the_project(
        &mut self,
        project: Project,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = std::mem::replace(&mut self.project_told, project);
        let message = match (known, project) {
            (Project::Foreign, Project::Ours) => "the fleet was found in the token's project again",
            (Project::Unknown | Project::Ours, Project::Foreign) => identity::FOREIGN,
            _ => return Ok(()),
        };
        tracing::warn!("{message}");
        let alert = Edit::Event(NewEvent {
            cattle: None,
            run: None,
            reason: EventReason::Alert,
            message: message.to_owned(),
        });
        self.store.commit(vec![alert], now).await.map(drop)
    }

    /// What a pass would do now. Changes nothing.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn preview(&mut self) -> Result<Preview, StoreError> {
        let fleet = self.fleet_seen.borrow().clone();
        let socket_specs = self.store.socket_specs().await?;
        let desired = loop {
            let now = self.clock.now();
            let scan =
                tokio::task::block_in_place(|| self.scanner.scan(&fleet, now, &socket_specs));
            match scan.rescan_in {
                // A file that is just being written; without a watcher a second look tells.
                Some(wait) => tokio::time::sleep(wait).await,
                None => break Arc::new(scan.desired),
            }
        };
        let (seen, plan) = self.decide(&fleet, &desired).await?;
        Ok(Preview {
            plan,
            desired: seen.desired,
            ledger: seen.ledger,
            catalogue: seen.limits.catalogue.clone(),
            now: seen.now,
        })
    }

    /// Looks, plans and guards; changes nothing.
    async fn decide(
        &self,
        fleet: &Fleet,
        desired: &Arc<Desired>,
    ) -> Result<(Seen, Plan), StoreError> {
        // In this order: what ends while we look is still in flight, and what is created while we
        // look is in the ledger though not in the list.
        let in_flight = self.executor.in_flight();
        let observed = self.observed.borrow().clone();
        let (moment, clocks) = self.clock.look();
        let now = moment.now;
        // The pass may have been held up since it began.
        let heard_since = self.hearing.still(moment);
        let wanted = wanted(desired);
        let heard = self.pulse.heard();
        let mut ledger = self.store.ledger(wanted, now - CREATES_WINDOW).await?;
        for (run, at) in heard {
            // It may not be written yet: a guest is not silent because our disk is full.
            if let Some(run) = ledger.runs.get_mut(&run) {
                let _ = lifecycle::heartbeat(run, at);
            }
        }
        if let Some(since) = fleet.budget.counts_since(now) {
            // After the runs: what went in between is in both, and counted once.
            ledger.charges = self.store.charges(since..Timestamp::MAX_UTC).await?;
        }
        for run in observed
            .servers
            .iter()
            .filter_map(|server| server.labels.run)
        {
            if !ledger.runs.contains_key(&run)
                && let Some(known) = self.store.run(run).await?
            {
                ledger.runs.insert(run, known);
            }
        }
        ledger.logs = self.log_lengths(&ledger);
        let desired = &substance::settle(desired, &ledger);
        if !self.recalled.swap(true, Ordering::Relaxed) {
            self.executor.recall(&ledger);
        }
        let own = self.own.borrow().clone();
        let project = identity::project(&own, &observed, &ledger, &fleet.name);
        self.last_pass.send_replace(LastPass {
            project,
            hearing: self.hearing,
        });
        let limits = Limits {
            own: Some(own),
            project,
            in_flight,
            cold: self.executor.cold(),
            unequipped: tokio::task::block_in_place(|| {
                equipment::lacking(fleet, &self.secrets, desired, &ledger)
            }),
            guests_heard_since: heard_since,
            clocks,
            catalogue: self.catalogue.borrow().clone(),
            token: self.token.borrow().clone(),
            ledger: self.store.writable().borrow().clone(),
            calls: self.executor.creates(now),
            server_gone_at: self.executor.server_gone_at(),
            ..fleet.limits()
        };
        let planned = plan(desired, &observed, &ledger, &limits, now);
        let inputs = guard::Inputs {
            desired,
            observed: &observed,
            ledger: &ledger,
            limits: &limits,
            now,
        };
        let plan = guarded(planned, &inputs);
        let seen = Seen {
            desired: desired.clone(),
            observed,
            ledger: Arc::new(ledger),
            limits: Arc::new(limits),
            now,
        };
        Ok((seen, plan))
    }

    /// How much there is of the logs that guests still send the rest of.
    fn log_lengths(&self, ledger: &Ledger) -> BTreeMap<RunId, u64> {
        let open = ledger
            .runs
            .values()
            .filter(|run| run.handover_until().is_some())
            .map(|run| run.id);
        let mut open = open.peekable();
        let (Some(logs), true) = (&self.logs, open.peek().is_some()) else {
            return BTreeMap::new();
        };
        tokio::task::block_in_place(|| {
            open.filter_map(|run| match logs.length(run) {
                Ok(length) => Some((run, length.unwrap_or(0))),
                Err(error) => {
                    tracing::error!(%run, %error, "the length of its log is not to be had");
                    None
                }
            })
            .collect()
        })
    }

    /// Records and begins a plan. Answers whether the ledger changed, so that planning again may
    /// find more to do. Where there is no room for all of it at once, one action after another.
    async fn act(&self, seen: &Seen, actions: &[Action]) -> Result<bool, StoreError> {
        for action in actions {
            tracing::debug!(%action, "planned");
        }
        match self.act_at_once(seen, actions).await {
            Err(StoreError::Full { .. }) if actions.len() > 1 => {}
            done => return done,
        }
        let (mut changed, mut failed) = (false, None);
        for action in actions.iter().filter(|action| is_recorded(action)) {
            match self.act_at_once(seen, std::slice::from_ref(action)).await {
                Ok(did) => changed |= did,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(changed), Err)
    }

    /// In one transaction. What has its record already begins whether the ledger takes the rest or
    /// not.
    async fn act_at_once(&self, seen: &Seen, actions: &[Action]) -> Result<bool, StoreError> {
        let records = record(
            actions,
            &seen.observed,
            &seen.ledger,
            &seen.limits,
            seen.now,
        );
        let mut records = match records {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "no randomness for ids and tokens; nothing is started");
                return Ok(false);
            }
        };
        let edits = std::mem::take(&mut records.edits);
        let applied = if edits.is_empty() {
            Ok(Vec::new())
        } else {
            self.store.commit(edits, seen.now).await
        };
        let known = applied.as_deref().unwrap_or_default();
        self.executor.begin(records.effects(known));
        Ok(applied?.contains(&true))
    }

    /// An event when clocks part, and when they agree again.
    async fn tell_of_clocks(&mut self) {
        let told = self.alarm.look(self.clock.clocks(), self.clock.reading());
        if let Some(message) = told {
            let event = NewEvent {
                cattle: None,
                run: None,
                reason: EventReason::Alert,
                message,
            };
            let now = self.clock.now();
            if let Err(error) = self.store.commit(vec![Edit::Event(event)], now).await {
                tracing::error!(error = %crate::report(&error), "the ledger did not take an alert");
            }
        }
    }

    fn publish(&self, fleet: Arc<Fleet>, seen: Seen, plan: Plan) {
        let image = &fleet.placement.image;
        // That nothing at all can be asked is said once, by `HetznerReachable`.
        let image = status::image_resolved(image, &seen.limits.catalogue.images)
            .filter(|_| seen.observed.unreachable.is_none());
        let status = status::controller_status(
            env!("CARGO_PKG_VERSION"),
            &seen.limits,
            &seen.observed,
            &seen.desired,
            &seen.ledger,
            self.fleet.broken(),
        );
        self.worlds.send_modify(|world| {
            *world = Arc::new(World {
                pass: world.pass + 1,
                at: seen.now,
                fleet,
                desired: seen.desired,
                observed: seen.observed,
                ledger: seen.ledger,
                limits: seen.limits,
                plan: Arc::new(plan),
                conditions: status.conditions.into_iter().chain(image).collect(),
                calls: self.executor.calls(),
            });
        });
    }
}

fn guarded(plan: Plan, inputs: &guard::Inputs<'_>) -> Plan {
    let (guarded, violations) = guard(plan, inputs);
    for violation in violations {
        tracing::error!(%violation, "the guard refused an action: this is a defect");
    }
    guarded
}

fn wanted(desired: &Desired) -> Vec<Wanted> {
    desired
        .specs
        .values()
        .filter_map(|entry| match &entry.state {
            SpecState::Valid(cattle) => Some(Wanted::from(&**cattle)),
            SpecState::Broken(_) | SpecState::Absent { .. } => None,
        })
        .collect()
}
