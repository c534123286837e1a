//! Deleting, and everything else that is done to a server that exists.

use std::{collections::BTreeMap, time::Duration};

use cattle_core::{
    labels, lifecycle,
    names::{RunId, ServerId},
};

use super::{Executor, Guard, follow::PendingDelete};
use crate::{hetzner::Deleted, record::run_server};

/// After a delete that failed for a reason that passes by itself (locked, rate limit, 5xx).
const RETRY: Duration = Duration::from_secs(10);

impl Executor {
    fn default_ttl(&self) -> Duration {
        self.0.needs.fleet.borrow().default_ttl
    }

    /// Deletes the server of an ended run. The run stays in flight until its end is proved.
    pub(super) async fn delete(&self, run: RunId, server: ServerId, guard: Guard) {
        let needs = &self.0.needs;
        match needs.client.delete_server(server).await {
            Ok(Deleted::AlreadyGone) => {
                let now = needs.clock.now();
                self.tell(run, move |run, assignment| {
                    lifecycle::found_gone(run, assignment, now)
                })
                .await;
            }
            Ok(Deleted::Accepted { action: None }) => {
                tracing::info!(%run, %server, "the delete was accepted; what follows it was not said");
                let now = needs.clock.now();
                let message =
                    "its delete was accepted, but no action was named that could be followed";
                self.tell(run, move |run, _| {
                    lifecycle::delete_failed(run, message, RETRY, now)
                })
                .await;
            }
            Ok(Deleted::Accepted {
                action: Some(action),
            }) => {
                tracing::info!(%run, %server, action, "the delete was accepted");
                let pending = PendingDelete::new(run, server, action, guard);
                if self.0.deletes.send(pending).is_err() {
                    tracing::debug!(%run, "shutting down: the delete is followed after the restart");
                }
            }
            Err(error) => {
                let wait = error.retry_in().unwrap_or(RETRY);
                let now = needs.clock.now();
                let message = error.to_string();
                tracing::warn!(%run, %server, error = %crate::report(&error), "the delete failed");
                self.tell(run, move |run, _| {
                    lifecycle::delete_failed(run, &message, wait, now)
                })
                .await;
            }
        }
    }

    /// A list did not show the server any more: ask for it by id.
    pub(super) async fn confirm_gone(&self, run: RunId, server: ServerId) {
        let needs = &self.0.needs;
        match needs.client.get_server(server, self.default_ttl()).await {
            Ok(None) => {
                let now = needs.clock.now();
                self.tell(run, move |run, assignment| {
                    lifecycle::found_gone(run, assignment, now)
                })
                .await;
            }
            Ok(Some(found)) => {
                tracing::debug!(%run, %server, status = found.status.as_str(), "it is still there");
                self.called(run).await;
            }
            Err(error) => {
                tracing::warn!(%run, %server, error = %crate::report(&error), "could not ask for the server");
                self.called(run).await;
            }
        }
    }

    /// A create's reply was lost: is there a server of its name?
    pub(super) async fn lookup(&self, run: RunId, name: &str) {
        let needs = &self.0.needs;
        let asked_at = needs.clock.now();
        match needs.client.find_server(name, self.default_ttl()).await {
            Ok(Some(found)) if found.labels.run == Some(run) => {
                let server = run_server(&found, &needs.catalogue.borrow());
                self.tell(run, move |run, _| lifecycle::adopt(run, server))
                    .await;
            }
            Ok(found) => {
                if let Some(other) = found {
                    tracing::warn!(%run, server = %other.id, name, "a server of this name is not this run's");
                }
                let now = needs.clock.now();
                self.tell(run, move |run, _| {
                    lifecycle::lookup_missed(run, asked_at, now)
                })
                .await;
            }
            Err(error) => {
                tracing::warn!(%run, name, error = %crate::report(&error), "could not look the server up");
                self.called(run).await;
            }
        }
    }

    /// Remembers that a call about a run's server came back, so that the pass that follows does not
    /// make it again on the strength of the same list.
    pub(super) async fn called(&self, run: RunId) {
        let now = self.0.needs.clock.now();
        self.tell(run, move |run, _| lifecycle::called(run, now))
            .await;
    }

    /// Powers on a server that was found off.
    pub(super) async fn power_on(&self, run: RunId, server: ServerId) {
        let needs = &self.0.needs;
        let now = needs.clock.now();
        // Recorded first: it is done once, whatever becomes of the reply.
        if !self
            .tell(run, move |run, _| lifecycle::powered_on(run, now))
            .await
        {
            return;
        }
        if let Err(error) = needs.client.power_on(server).await {
            tracing::warn!(%run, %server, error = %crate::report(&error), "the power-on failed");
        }
    }

    /// Replaces a server's labels.
    pub(super) async fn relabel(&self, server: ServerId, labels: BTreeMap<String, String>) {
        if let Err(error) = self.0.needs.client.relabel(server, &labels).await {
            tracing::warn!(%server, error = %crate::report(&error), "the labels were not replaced");
        }
    }

    /// Deletes a server that no run stands behind, after one more look at its labels.
    pub(super) async fn reap_orphan(&self, server: ServerId, name: &str) {
        let needs = &self.0.needs;
        let fleet = needs.fleet.borrow().clone();
        let found = match needs.client.get_server(server, self.default_ttl()).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%server, name, error = %crate::report(&error), "could not look at the server");
                return;
            }
        };
        if !labels::is_ours(&found.labels.raw, &fleet.name) {
            tracing::warn!(%server, name, "its labels say that it is not ours any more: left alone");
            return;
        }
        match needs.client.delete_server(server).await {
            Ok(_) => tracing::info!(%server, name, "reaped"),
            Err(error) => {
                tracing::warn!(%server, name, error = %crate::report(&error), "could not be reaped");
            }
        }
    }
}
