//! Follows actions to what they come to, all that are asked for at a time with one call.
//!
//! Accepted deletes are followed to their end: a successful delete action proves that a server is
//! gone. Where it does not end, the server is asked for by id, an alert says so, and the plan deletes
//! again. What a create began is asked for once each time that the plan finds it unclear. Nothing is
//! asked while nothing is pending.

use std::time::Duration;

use cattle_core::{
    lifecycle,
    names::{RunId, ServerId},
    observed::{ActionState, ActionStatus},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Executor, Guard};

/// Actions of a run that somebody wants to know about.
pub(crate) struct Pending {
    run: RunId,
    what: What,
    since: Instant,
    _guard: Guard,
}

enum What {
    /// The delete of its server, to its end.
    Delete { server: ServerId, action: u64 },
    /// What its create, or a power-on, began; once.
    Create { actions: Vec<u64> },
}

impl Pending {
    pub(super) fn delete(run: RunId, server: ServerId, action: u64, guard: Guard) -> Self {
        Self::new(run, What::Delete { server, action }, guard)
    }

    pub(super) fn create(run: RunId, actions: Vec<u64>, guard: Guard) -> Self {
        Self::new(run, What::Create { actions }, guard)
    }

    fn new(run: RunId, what: What, guard: Guard) -> Self {
        Self {
            run,
            what,
            since: Instant::now(),
            _guard: guard,
        }
    }

    fn actions(&self) -> &[u64] {
        match &self.what {
            What::Delete { action, .. } => std::slice::from_ref(action),
            What::Create { actions } => actions,
        }
    }
}

/// The task that follows.
pub struct Follower {
    executor: Executor,
    arriving: mpsc::UnboundedReceiver<Pending>,
    pending: Vec<Pending>,
}

impl Follower {
    pub(super) fn new(executor: Executor, arriving: mpsc::UnboundedReceiver<Pending>) -> Self {
        Self {
            executor,
            arriving,
            pending: Vec::new(),
        }
    }

    /// Follows until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let patience = self.executor.0.needs.settings.patience.follow;
        let mut gap = patience.first;
        let mut due = Instant::now();
        loop {
            if self.pending.is_empty() {
                gap = patience.first;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                arrived = self.arriving.recv() => match arrived {
                    None => return,
                    Some(pending) => {
                        gap = patience.first;
                        if self.pending.is_empty() {
                            due = Instant::now() + gap;
                        }
                        self.pending.push(pending);
                    }
                },
                () = tokio::time::sleep_until(due), if !self.pending.is_empty() => {
                    self.look().await;
                    gap = (gap * 2).min(patience.longest);
                    due = Instant::now() + gap;
                }
            }
        }
    }

    async fn look(&mut self) {
        let client = &self.executor.0.needs.client;
        let actions: Vec<u64> = self
            .pending
            .iter()
            .flat_map(Pending::actions)
            .copied()
            .collect();
        let answers = match client.actions(&actions).await {
            Ok(answers) => Some(answers),
            Err(error) => {
                tracing::warn!(error = %crate::report(&error), "could not ask how far the actions are");
                None
            }
        };
        for pending in std::mem::take(&mut self.pending) {
            match &pending.what {
                What::Create { .. } => self.answer(pending, answers.as_deref()),
                What::Delete { server, action } => {
                    let states = answers.as_deref().unwrap_or_default();
                    let state = states.iter().find(|answer| answer.id == *action);
                    let server = *server;
                    self.deleted(pending, server, state.map(|it| &it.status));
                }
            }
        }
    }

    /// Tells a run what its create has come to. In a task of its own, like all that is told: a
    /// ledger that has to be asked again must not keep others from being followed.
    fn answer(&self, pending: Pending, answers: Option<&[ActionState]>) {
        let now = self.executor.0.needs.clock.now();
        let answers = answers.map(<[ActionState]>::to_vec);
        let executor = self.executor.clone();
        self.executor.0.tasks.spawn(async move {
            executor
                .tell(pending.run, move |run, assignment| match &answers {
                    Some(answers) => lifecycle::followed(run, assignment, answers, now),
                    None => lifecycle::not_followed(run, now),
                })
                .await;
            drop(pending);
        });
    }

    /// Tells a run what its delete has come to, or goes on following it.
    fn deleted(&mut self, pending: Pending, server: ServerId, status: Option<&ActionStatus>) {
        let run = pending.run;
        let patience = self.executor.0.needs.settings.patience.follow;
        let status = status.cloned();
        let goes_on = matches!(
            status,
            None | Some(ActionStatus::Running | ActionStatus::Unknown)
        );
        if goes_on && pending.since.elapsed() < patience.give_up {
            self.pending.push(pending);
            return;
        }
        let executor = self.executor.clone();
        self.executor.0.tasks.spawn(async move {
            match status {
                Some(ActionStatus::Success) => executor.proved_gone(run).await,
                Some(ActionStatus::Error { code }) => {
                    tracing::warn!(%run, %server, code, "the delete ended in an error");
                    let message = format!("the delete ended in `{code}`");
                    executor.delete_failed(run, message, Duration::ZERO).await;
                }
                Some(ActionStatus::Running | ActionStatus::Unknown) | None => {
                    tracing::warn!(%run, %server, "the delete does not end; asking for the server itself");
                    executor.delete_stuck(run, server).await;
                }
            }
            drop(pending);
        });
    }
}
