//! One pass, on one screen: look, plan, guard, record, act, publish.
//!
//! A pass never waits for Hetzner. Lists and effects run beside it and ring the bell; what a pass
//! reads is always a little old, and every step is made so that this does no harm.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cattle_core::{
    account::Token,
    action::{Limits, Plan},
    catalogue::Catalogue,
    desired::{Desired, SpecState},
    fleet::Fleet,
    guard::{self, guard},
    hearing::{Hearing, PASS_EVERY},
    identity::{self, Grounds, Own, Project},
    ledger::Ledger,
    lifecycle,
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
    meter::Meter,
    record::record,
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
    pub grounds: watch::Sender<Grounds>,
    /// What was last told of the project.
    pub project_told: Project,
    /// Whether guests are listened to.
    pub serves_guests: bool,
    /// Whether they could be heard from pass to pass.
    pub hearing: Hearing,
    /// Since when without a break, by Hetzner's clock, which is known from the first list on.
    pub guests_heard_since: Option<Timestamp>,
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
    /// The ledger did not answer.
    #[tracing::instrument(skip_all)]
    pub async fn pass(&mut self) -> Result<Duration, StoreError> {
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
        self.guests_heard_since = self.hearing.pass(moment, hears);
        let socket_specs = self.store.socket_specs().await?;
        let scan = tokio::task::block_in_place(|| {
            self.scanner.scan(&fleet, self.clock.now(), &socket_specs)
        });
        let desired = Arc::new(scan.desired);
        let (mut seen, mut plan) = self.decide(&fleet, &desired).await?;
        // A file that was just being written has been found as well.
        if scan.rescan_in.is_none() && self.pause(&seen).await? {
            (seen, plan) = self.decide(&fleet, &desired).await?;
        }
        for _ in 0..MAX_ROUNDS {
            if plan.actions.is_empty() || !self.act(&seen, &plan).await? {
                break;
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
        self.tell_of_the_project(seen.limits.project, seen.now)
            .await?;
        self.publish(fleet, seen, plan);
        self.tell_of_clocks().await;
        Ok(wait.map_or(PASS_EVERY, |wait| wait.min(PASS_EVERY)))
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
        let now = self.clock.now();
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
        let desired = &substance::settle(desired, &ledger);
        if !self.recalled.swap(true, Ordering::Relaxed) {
            self.executor.recall(&ledger);
        }
        let own = self.own.borrow().clone();
        let project = identity::project(&own, &observed, &ledger, &fleet.name);
        self.grounds.send_replace(Grounds {
            project,
            heard_since: self.guests_heard_since,
            judges: self.clock.clocks().trust.judges(),
        });
        let limits = Limits {
            own: Some(own),
            project,
            in_flight,
            cold: self.executor.cold(),
            unequipped: tokio::task::block_in_place(|| {
                equipment::lacking(fleet, &self.secrets, desired, &ledger)
            }),
            guests_heard_since: self.guests_heard_since,
            clocks: self.clock.clocks(),
            catalogue: self.catalogue.borrow().clone(),
            token: self.token.borrow().clone(),
            calls: self.executor.creates(now),
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
        let (guarded, violations) = guard(planned, &inputs);
        for violation in violations {
            tracing::error!(%violation, "the guard refused an action: this is a defect");
        }
        let seen = Seen {
            desired: desired.clone(),
            observed,
            ledger: Arc::new(ledger),
            limits: Arc::new(limits),
            now,
        };
        Ok((seen, guarded))
    }

    /// Records and begins a plan. Answers whether the ledger changed, so that planning again may
    /// find more to do.
    async fn act(&self, seen: &Seen, plan: &Plan) -> Result<bool, StoreError> {
        for action in &plan.actions {
            tracing::debug!(%action, "planned");
        }
        let records = record(
            &plan.actions,
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
            Vec::new()
        } else {
            self.store.commit(edits, seen.now).await?
        };
        let changed = applied.contains(&true);
        self.executor.begin(records.effects(&applied));
        Ok(changed)
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
