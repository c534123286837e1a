//! Deleting, and everything else that is done to a server that exists; `owner` says whether it may be.

use std::{collections::BTreeMap, time::Duration};

use cattle_core::{
    expiry::Lifetimes,
    labels,
    ledger::{Assignment, Run},
    lifecycle,
    names::{RunId, ServerId},
    ownership::{self, Purpose},
    rate::Class,
};

use super::{Executor, Guard, follow::Pending};
use crate::hetzner::Deleted;

/// After a delete that failed for a reason that passes by itself (locked, rate limit, 5xx).
pub(crate) const RETRY: Duration = Duration::from_secs(10);

impl Executor {
    pub(super) fn lifetimes(&self) -> Lifetimes {
        self.0.needs.fleet.borrow().lifetimes()
    }

    /// Deletes the server of an ended run. The run stays in flight until its end is proved.
    pub(super) async fn delete(&self, run: RunId, server: ServerId, guard: Guard) {
        let needs = &self.0.needs;
        match needs.client.delete_server(server).await {
            Ok(Deleted::AlreadyGone) => self.not_found(run).await,
            Ok(Deleted::Accepted { action: None }) => {
                tracing::info!(%run, %server, "the delete was accepted; what follows it was not said");
                let message =
                    "its delete was accepted, but no action was named that could be followed";
                self.delete_failed(run, message.to_owned(), RETRY).await;
            }
            Ok(Deleted::Accepted {
                action: Some(action),
            }) => {
                tracing::info!(%run, %server, action, "the delete was accepted");
                let pending = Pending::delete(run, server, action, guard);
                if self.0.actions.send(pending).is_err() {
                    tracing::debug!(%run, "shutting down: the delete is followed after the restart");
                }
            }
            Err(error) => {
                let wait = error.retry_in().unwrap_or(RETRY);
                tracing::warn!(%run, %server, error = %crate::report(&error), "the delete failed");
                self.delete_failed(run, error.to_string(), wait).await;
            }
        }
    }

    /// An accepted delete does not end: is the server there?
    pub(super) async fn delete_stuck(&self, run: RunId, server: ServerId) {
        let needs = &self.0.needs;
        let state = match needs.client.get_server(server, self.lifetimes()).await {
            Ok(None) => return self.not_found(run).await,
            Ok(Some(found)) => format!("it is {}", found.status.as_str()),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "its delete was accepted and has not ended within {} s; {state}",
            needs.settings.patience.follow.give_up.as_secs()
        );
        self.delete_failed(run, message, RETRY).await;
    }

    /// Hetzner knows no such server. What that proves is the core's matter.
    pub(super) async fn not_found(&self, run: RunId) {
        let needs = &self.0.needs;
        let (moment, clocks) = needs.clock.look();
        let now = moment.now;
        *self.gone_at() = Some(now);
        let grounds = (*needs.last_pass.borrow()).grounds(moment, clocks.trust.judges());
        self.tell_for_sure(run, || {
            move |run: &mut Run, assignment: Option<&mut Assignment>| {
                lifecycle::not_found(run, assignment, grounds, now)
            }
        })
        .await;
    }

    pub(super) async fn proved_gone(&self, run: RunId) {
        let now = self.0.needs.clock.now();
        *self.gone_at() = Some(now);
        self.tell_for_sure(run, || {
            move |run: &mut Run, assignment: Option<&mut Assignment>| {
                lifecycle::found_gone(run, assignment, now)
            }
        })
        .await;
    }

    /// Deletes the server of a live run that is past its expiry and whose end the ledger does not
    /// take. Only one that says itself that it is this run's: labels are all that can be checked.
    pub(super) async fn delete_expired(&self, run: RunId, server: ServerId, guard: Guard) {
        let needs = &self.0.needs;
        let fleet = needs.fleet.borrow().clone();
        let client = needs.client.as_class(Class::Delete);
        match client.get_server(server, self.lifetimes()).await {
            Ok(Some(found))
                if labels::is_ours(&found.labels.raw, &fleet.name)
                    && found.labels.run == Some(run) =>
            {
                return self.delete(run, server, guard).await;
            }
            Ok(Some(_)) => {
                tracing::warn!(%run, %server, "its labels do not say that it is this run's: left alone until the ledger can be written");
            }
            Ok(None) => return self.not_found(run).await,
            Err(error) => {
                tracing::warn!(%run, %server, error = %crate::report(&error), "could not look at the server");
            }
        }
        // Not with every pass: they fail every two seconds.
        tokio::time::sleep(RETRY).await;
    }

    pub(super) async fn delete_failed(&self, run: RunId, message: String, wait: Duration) {
        let now = self.0.needs.clock.now();
        self.tell(run, move |run, _| {
            lifecycle::delete_failed(run, &message, wait, now)
        })
        .await;
    }

    /// A list did not show the server any more, or not as it should be: ask for it by id.
    pub(super) async fn confirm_gone(&self, run: RunId, server: ServerId) {
        let needs = &self.0.needs;
        match needs.client.get_server(server, self.lifetimes()).await {
            Ok(None) => self.not_found(run).await,
            Ok(Some(found)) => {
                tracing::debug!(%run, %server, status = found.status.as_str(), "it is still there");
                self.tell(run, |run, _| lifecycle::found_again(run)).await;
                self.still_there(run, &found).await;
                self.called(run).await;
            }
            Err(error) => {
                tracing::warn!(%run, %server, error = %crate::report(&error), "could not ask for the server");
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
        // Recorded first: it is tried so often and no more, whatever becomes of the replies.
        if !self
            .tell(run, move |run, _| lifecycle::powering_on(run, now))
            .await
        {
            return;
        }
        let outcome = needs.client.power_on(server).await;
        let now = needs.clock.now();
        match outcome {
            Ok(action) => {
                self.tell(run, move |run, _| lifecycle::powered_on(run, action, now))
                    .await;
            }
            Err(error) => {
                tracing::warn!(%run, %server, error = %crate::report(&error), "the power-on failed");
                let wait = error.retry_in().unwrap_or(RETRY);
                let message = error.to_string();
                self.tell(run, move |run, _| {
                    lifecycle::power_on_failed(run, &message, wait, now)
                })
                .await;
            }
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
        // It bills for nothing: the look is as urgent as the delete.
        let client = needs.client.as_class(Class::Delete);
        let found = match client.get_server(server, self.lifetimes()).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%server, name, error = %crate::report(&error), "could not look at the server");
                return;
            }
        };
        let Ok(run) = self.run_on(&found).await else {
            return;
        };
        let purpose = Purpose::Expired {
            run: run.as_ref(),
            by: needs.clock.judged(),
        };
        if let Err(spared) = ownership::may_delete(&found, Some(&fleet.name), purpose) {
            tracing::warn!(%server, name, %spared, "an orphan is left alone");
            return;
        }
        match needs.client.delete_server(server).await {
            Ok(_) => {
                tracing::info!(%server, name, "reaped");
                *self.gone_at() = Some(needs.clock.now());
            }
            Err(error) => {
                tracing::warn!(%server, name, error = %crate::report(&error), "could not be reaped");
            }
        }
    }
}
