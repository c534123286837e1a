//! Follows accepted deletes to their end, all of them with one call.
//!
//! A successful delete action proves that a server is gone; so does a GET by id that answers 404,
//! which the plan asks for where this gives up. Nothing is asked while nothing is pending.

use std::time::Duration;

use cattle_core::{
    lifecycle,
    names::{RunId, ServerId},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Executor, Guard};
use crate::hetzner::ActionStatus;

/// An accepted delete.
pub(crate) struct PendingDelete {
    run: RunId,
    server: ServerId,
    action: u64,
    since: Instant,
    _guard: Guard,
}

impl PendingDelete {
    pub(super) fn new(run: RunId, server: ServerId, action: u64, guard: Guard) -> Self {
        Self {
            run,
            server,
            action,
            since: Instant::now(),
            _guard: guard,
        }
    }
}

/// The task that follows deletes.
pub struct DeleteFollower {
    executor: Executor,
    arriving: mpsc::UnboundedReceiver<PendingDelete>,
    pending: Vec<PendingDelete>,
}

impl DeleteFollower {
    pub(super) fn new(
        executor: Executor,
        arriving: mpsc::UnboundedReceiver<PendingDelete>,
    ) -> Self {
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
        let needs = &self.executor.0.needs;
        let actions: Vec<u64> = self.pending.iter().map(|pending| pending.action).collect();
        let states = match needs.client.actions(&actions).await {
            Ok(states) => states,
            Err(error) => {
                tracing::warn!(error = %crate::report(&error), "could not follow the deletes");
                Vec::new()
            }
        };
        let now = needs.clock.now();
        let mut still = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let state = states.iter().find(|state| state.id == pending.action);
            match state.map(|state| &state.status) {
                Some(ActionStatus::Success) => {
                    self.executor
                        .tell(pending.run, move |run, assignment| {
                            lifecycle::found_gone(run, assignment, now)
                        })
                        .await;
                }
                Some(ActionStatus::Error { code }) => {
                    tracing::warn!(run = %pending.run, server = %pending.server, code, "the delete ended in an error");
                    let message = format!("the delete ended in `{code}`");
                    self.executor
                        .tell(pending.run, move |run, _| {
                            lifecycle::delete_failed(run, &message, Duration::ZERO, now)
                        })
                        .await;
                }
                Some(ActionStatus::Running | ActionStatus::Unknown) | None
                    if pending.since.elapsed() < needs.settings.patience.follow.give_up =>
                {
                    still.push(pending);
                }
                Some(ActionStatus::Running | ActionStatus::Unknown) | None => {
                    tracing::warn!(run = %pending.run, server = %pending.server, "the delete does not end; asking for the server itself");
                }
            }
        }
        self.pending = still;
    }
}
