//! Carries out what was recorded: each effect a task of its own, side by side, none waiting for
//! another.
//!
//! Invariants: an effect begins only after its record is durable; what it learns goes into the
//! ledger before the run leaves `in_flight`; then the bell rings. One failing call never stops
//! another. As little behaviour as possible lives here: what a reply means is the core's matter.

mod create;
pub(crate) mod delete;
mod follow;
mod owner;
mod prepare;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cattle_core::{
    action::Calls,
    candidates::ColdPairs,
    catalogue::{Catalogue, ImageAnswer},
    desired::Placement,
    fleet::Fleet,
    grounds::LastPass,
    ledger::{Assignment, Ledger, Run},
    lifecycle::Transition,
    names::{RunId, ServerId},
};
use cattle_schemas::{
    Timestamp,
    status::{CallBudget, PendingReason},
};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

pub use self::follow::Follower;
use crate::{
    clock::Clock,
    edit,
    hetzner::{Client, CoolDowns},
    identity::BirthMarks,
    persona_archive::PersonaArchives,
    record::Effect,
    secrets::Secrets,
    sessions::Sessions,
    settings::Settings,
    store::{Store, StoreError},
    survey::Doubt,
    world::Bell,
};

/// A ledger that did not take something is asked again after this: about as often as a pass that
/// failed is made again, so that nothing waits long once it is back.
const LEDGER_AGAIN: Duration = Duration::from_secs(3);

/// Runs effects.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

/// What effects need.
pub struct Needs {
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// Hetzner.
    pub client: Arc<Client>,
    /// Its clock.
    pub clock: Clock,
    /// Where everything is.
    pub settings: Arc<Settings>,
    /// The archives of personas, which must be there before a server is made.
    pub archives: Arc<PersonaArchives>,
    /// Secrets that must not leak into `user_data`.
    pub secrets: Arc<Secrets>,
    /// The fleet's configuration.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What Hetzner offers.
    pub catalogue: watch::Receiver<Arc<Catalogue>>,
    /// Who is told that an image is not what it was taken for.
    pub doubt: Doubt,
    /// Rung after each effect.
    pub bell: Bell,
    /// The URL of the guest API as guests see it.
    pub guest_url: String,
    /// Session tokens until they are handed out.
    pub sessions: Sessions,
    /// What a 404 is judged by, as of the last pass.
    pub last_pass: watch::Receiver<LastPass>,
    /// What a firewall is marked with that is made.
    pub birth_marks: BirthMarks,
}

struct Inner {
    needs: Needs,
    in_flight: Mutex<InFlight>,
    tasks: TaskTracker,
    actions: mpsc::UnboundedSender<follow::Pending>,
    cool_downs: Mutex<CoolDowns>,
    /// When a server of ours was last proved gone.
    server_gone_at: Mutex<Option<Timestamp>>,
}

#[derive(Default)]
struct InFlight {
    runs: BTreeMap<RunId, u32>,
    orphans: BTreeSet<ServerId>,
    /// Creates that were begun and have not come to their `POST`.
    unposted: u32,
}

impl Executor {
    /// An executor and the task that follows Hetzner's actions for it.
    #[must_use]
    pub fn new(needs: Needs) -> (Self, Follower) {
        let (actions, pending) = mpsc::unbounded_channel();
        let executor = Self(Arc::new(Inner {
            needs,
            in_flight: Mutex::default(),
            tasks: TaskTracker::new(),
            actions,
            cool_downs: Mutex::default(),
            server_gone_at: Mutex::default(),
        }));
        let follower = Follower::new(executor.clone(), pending);
        (executor, follower)
    }

    /// The runs for which something is under way. Read it before the ledger: what ends in between
    /// is then still counted, and rings.
    #[must_use]
    pub fn in_flight(&self) -> BTreeSet<RunId> {
        self.lock().runs.keys().copied().collect()
    }

    /// Creates that the rate limit has room for now, beside those that were begun.
    #[must_use]
    pub fn creates(&self, now: Timestamp) -> Calls {
        let unposted = self.lock().unposted;
        self.0.needs.client.creates(unposted, now)
    }

    /// What the rate limit has left; `None` before the first reply.
    #[must_use]
    pub fn calls(&self) -> Option<CallBudget> {
        self.0.needs.client.calls()
    }

    /// When this process last saw a server of ours go.
    #[must_use]
    pub fn server_gone_at(&self) -> Option<Timestamp> {
        *self.gone_at()
    }

    fn gone_at(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        self.0
            .server_gone_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where creates were refused a short while ago. Read it after the ledger: what a run was refused
    /// for is then in it.
    #[must_use]
    pub fn cold(&self) -> Arc<ColdPairs> {
        Arc::new(self.cool_downs().pairs().clone())
    }

    /// After a start: what the ledger says of where creates were refused.
    pub fn recall(&self, ledger: &Ledger) {
        let mut cool_downs = self.cool_downs();
        for run in ledger.runs.values() {
            let of_pairs = run.create_reason == Some(PendingReason::OutOfStock);
            if run.is_live() && run.is_refused() && of_pairs {
                for (server_type, location) in run.spec.placement.candidates() {
                    cool_downs.recall(server_type, location);
                }
            }
        }
    }

    /// Somebody wants what this placement waits for to be looked at now: pairs that were refused, an
    /// image that is not there, the firewall and the keys.
    pub async fn look_again(&self, placement: &Placement) {
        let needs = &self.0.needs;
        let now = needs.clock.now();
        {
            let mut cool_downs = self.cool_downs();
            for (server_type, location) in placement.candidates() {
                cool_downs.try_again(server_type, location, now);
            }
        }
        let found = {
            let catalogue = needs.catalogue.borrow();
            let answer = catalogue.images.get(&placement.image);
            matches!(answer, Some(ImageAnswer::Found(_)))
        };
        if !found {
            needs.doubt.tell(&placement.image);
        }
        needs.client.forget_references().await;
    }

    /// Begins the effects of one commit.
    pub fn begin(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::ReapOrphan { server, name } => {
                    if self.lock().orphans.insert(server) {
                        let this = self.clone();
                        let again = this.0.needs.settings.patience.again.orphan;
                        self.0.tasks.spawn(async move {
                            this.reap_orphan(server, &name).await;
                            // Until a list without it has come, plans go on asking for this. Not
                            // one of our tasks: a shutdown need not wait for it.
                            tokio::spawn(async move {
                                tokio::time::sleep(again).await;
                                this.lock().orphans.remove(&server);
                                this.0.needs.bell.ring();
                            });
                        });
                    }
                }
                Effect::Create {
                    run,
                    token,
                    session,
                } => {
                    self.0.needs.sessions.hold(run, session);
                    let unposted = self.unposted();
                    self.spawn(run, |this, guard| async move {
                        this.create(run, &token, unposted).await;
                        drop(guard);
                    });
                }
                Effect::Delete {
                    run,
                    server,
                    listed,
                } => self.spawn(run, |this, guard| async move {
                    if this.may_delete(run, server, listed.as_deref()).await {
                        this.delete(run, server, guard).await;
                    }
                }),
                Effect::DeleteExpired { run, server } => {
                    self.spawn(run, |this, guard| async move {
                        this.delete_expired(run, server, guard).await;
                    })
                }
                Effect::ConfirmGone { run, server } => self.spawn(run, |this, guard| async move {
                    this.confirm_gone(run, server).await;
                    drop(guard);
                }),
                Effect::Lookup { run, name } => self.spawn(run, |this, guard| async move {
                    this.lookup(run, &name).await;
                    drop(guard);
                }),
                Effect::FollowCreate { run, actions } => {
                    let pending = follow::Pending::create(run, actions, self.guard(run));
                    if self.0.actions.send(pending).is_err() {
                        tracing::debug!(%run, "shutting down: it is asked for after the restart");
                    }
                }
                Effect::PowerOn { run, server } => self.spawn(run, |this, guard| async move {
                    this.power_on(run, server).await;
                    drop(guard);
                }),
                // A PUT replaces whatever somebody has written there since the list: it is asked for
                // again, as if no list showed it, and its labels are put right by what they are now.
                Effect::Relabel { run, server } => self.spawn(run, |this, guard| async move {
                    this.confirm_gone(run, server).await;
                    drop(guard);
                }),
            }
        }
    }

    /// Waits until nothing is under way any more, at most so long. Answers whether that is so.
    pub async fn drain(&self, at_most: Duration) -> bool {
        self.0.tasks.close();
        let drained = tokio::time::timeout(at_most, self.0.tasks.wait())
            .await
            .is_ok();
        self.0.tasks.reopen();
        drained
    }

    fn spawn<F>(&self, run: RunId, task: impl FnOnce(Self, Guard) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = self.guard(run);
        self.0.tasks.spawn(task(self.clone(), guard));
    }

    fn guard(&self, run: RunId) -> Guard {
        *self.lock().runs.entry(run).or_default() += 1;
        Guard {
            executor: self.clone(),
            run,
        }
    }

    fn unposted(&self) -> Unposted {
        self.lock().unposted += 1;
        Unposted(self.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InFlight> {
        // The data is ids and counts: a panic elsewhere cannot have left it half-changed.
        self.0
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn cool_downs(&self) -> std::sync::MutexGuard<'_, CoolDowns> {
        self.0
            .cool_downs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one transition to a run. A ledger that fails is logged: the effect's result is
    /// found again by a list, a look-up or a GET, but not at once: the run stays in flight for a
    /// moment, so that a ledger that is down does not cost a call with every pass.
    async fn tell(
        &self,
        run: RunId,
        transition: impl FnOnce(&mut Run, Option<&mut Assignment>) -> Transition + Send + 'static,
    ) -> bool {
        match self.try_to_tell(run, transition).await {
            Some(applied) => applied,
            None => {
                tokio::time::sleep(LEDGER_AGAIN).await;
                false
            }
        }
    }

    /// Applies one transition, again and again until the ledger takes it: what no call could find
    /// out again, or only by doing harm.
    async fn tell_for_sure<T>(&self, run: RunId, transition: impl Fn() -> T) -> bool
    where
        T: FnOnce(&mut Run, Option<&mut Assignment>) -> Transition + Send + 'static,
    {
        loop {
            if let Some(applied) = self.try_to_tell(run, transition()).await {
                return applied;
            }
            tokio::time::sleep(LEDGER_AGAIN).await;
        }
    }

    /// Whether it applied; `None` when the ledger failed.
    async fn try_to_tell(
        &self,
        run: RunId,
        transition: impl FnOnce(&mut Run, Option<&mut Assignment>) -> Transition + Send + 'static,
    ) -> Option<bool> {
        let needs = &self.0.needs;
        let edits = vec![edit::of_run(run, transition)];
        match needs.store.commit(edits, needs.clock.now()).await {
            Ok(applied) => Some(applied == [true]),
            Err(error @ StoreError::Corrupt { .. }) => {
                // No time mends that.
                tracing::error!(%run, error = %crate::report(&error), "the ledger cannot take what happened");
                Some(false)
            }
            Err(error) => {
                tracing::error!(%run, error = %crate::report(&error), "the ledger did not take what happened");
                None
            }
        }
    }
}

/// A create that was begun. Gone, its call is at the rate limit's gate, which counts it from there,
/// or will never be made.
pub(crate) struct Unposted(Executor);

impl Drop for Unposted {
    fn drop(&mut self) {
        self.0.lock().unposted -= 1;
    }
}

/// Keeps a run in flight; gone, the bell rings.
pub(crate) struct Guard {
    executor: Executor,
    run: RunId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        {
            let mut in_flight = self.executor.lock();
            if let Some(count) = in_flight.runs.get_mut(&self.run) {
                *count -= 1;
                if *count == 0 {
                    in_flight.runs.remove(&self.run);
                }
            }
        }
        self.executor.0.needs.bell.ring();
    }
}
