//! Whose is this server? Asked of Hetzner right before one is deleted, when a list does not show it,
//! and when a create's reply was lost. [`cattle_core::ownership`] decides.

use std::time::Duration;

use cattle_core::{
    identity::Project,
    labels,
    ledger::Run,
    lifecycle,
    names::{RunId, ServerId},
    observed::ObservedServer,
    ownership::{self, NotMade, Owner, Purpose, Spared},
    rate::Class,
};

use super::{Executor, delete::RETRY, prepare};
use crate::{
    hetzner::{ApiError, Kind},
    record::run_server,
    store::StoreError,
};

/// After a look-up that found a server which is not the run's: somebody has to do something about it.
const MENDED_BY_THEN: Duration = Duration::from_secs(60);

impl Executor {
    /// The run as it is now; `None` when it cannot be read, which is logged.
    async fn recorded(&self, run: RunId) -> Option<Run> {
        match self.0.needs.store.run(run).await {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::error!(%run, error = %crate::report(&error), "the ledger does not answer");
                None
            }
        }
    }

    /// The run that a server's label names, if the ledger knows it.
    pub(super) async fn run_on(&self, found: &ObservedServer) -> Result<Option<Run>, StoreError> {
        let Some(run) = found.labels.run else {
            return Ok(None);
        };
        self.0.needs.store.run(run).await.inspect_err(|error| {
            tracing::error!(%run, error = %crate::report(error), "the ledger does not answer");
        })
    }

    /// Reads the server of a run that is over once more, and asks whether it may be deleted. What
    /// keeps it is told to the ledger.
    pub(super) async fn may_delete(
        &self,
        run: RunId,
        server: ServerId,
        listed: Option<&ObservedServer>,
    ) -> bool {
        let needs = &self.0.needs;
        let Some(recorded) = self.recorded(run).await else {
            return false;
        };
        // The look is as urgent as the delete.
        let client = needs.client.as_class(Class::Delete);
        let looked = client.get_server(server, self.lifetimes()).await;
        let found = match (&looked, listed) {
            (Ok(Some(found)), _) => found,
            (Ok(None), _) => {
                self.not_found(run).await;
                return false;
            }
            (Err(error), Some(listed)) if is_about_the_look(error) => {
                tracing::warn!(%run, %server, error = %crate::report(error), "could not look at the server; going by the last list");
                listed
            }
            (Err(error), _) => {
                tracing::warn!(%run, %server, error = %crate::report(error), "could not look at the server");
                let wait = error.retry_in().unwrap_or(RETRY);
                self.delete_failed(run, error.to_string(), wait).await;
                return false;
            }
        };
        let fleet = needs.fleet.borrow().name.clone();
        let purpose = Purpose::Over {
            run: &recorded,
            now: needs.clock.now(),
        };
        match ownership::may_delete(found, Some(&fleet), purpose) {
            Ok(()) => true,
            Err(Spared::Other(label)) => {
                self.taken_over(run, label).await;
                false
            }
            Err(spared) => {
                tracing::warn!(%run, %server, %spared, "the server is not deleted");
                self.delete_failed(run, spared.to_string(), RETRY).await;
                false
            }
        }
    }

    async fn taken_over(&self, run: RunId, label: String) {
        let now = self.0.needs.clock.now();
        self.tell(run, move |run, _| {
            lifecycle::taken_over(run, &label, RETRY, now)
        })
        .await;
    }

    /// A server was found by its id. Its labels are put right, so that lists and the reaper find it too;
    /// unless they say that it is somebody else's by now.
    pub(super) async fn still_there(&self, run: RunId, found: &ObservedServer) {
        let Some(recorded) = self.recorded(run).await else {
            return;
        };
        let bound = recorded.server.as_ref().is_some_and(|it| it.id == found.id);
        if !bound || recorded.gone_at.is_some() {
            return;
        }
        let fleet = self.0.needs.fleet.borrow().name.clone();
        if let Owner::Other(label) = ownership::owner_of(&found.labels.raw, &recorded, &fleet) {
            self.taken_over(run, label).await;
            return;
        }
        if recorded.taken.is_some() {
            self.tell(run, |run, _| lifecycle::regained(run)).await;
        }
        self.restore_labels(&recorded, found).await;
    }

    async fn restore_labels(&self, recorded: &Run, found: &ObservedServer) {
        if found.labels.raw.is_empty() && !found.odd.is_empty() {
            // Perhaps they could only not be read.
            return;
        }
        let fleet = self.0.needs.fleet.borrow().clone();
        let labels = labels::repair(recorded, &found.labels.raw, &fleet.name, &fleet.labels);
        let mut labels = labels.unwrap_or_else(|| found.labels.raw.clone());
        let withheld = tokio::task::block_in_place(|| {
            // What others have put there is not ours to judge.
            (labels != found.labels.raw)
                .then(|| prepare::withhold(&self.0.needs, &mut labels))
                .transpose()
        });
        let withheld = match withheld {
            Ok(withheld) => withheld.flatten(),
            Err(error) => {
                tracing::warn!(run = %recorded.id, error, "its labels are not put right");
                return;
            }
        };
        if withheld != recorded.label_message {
            self.tell(recorded.id, move |run, _| {
                lifecycle::labels_withheld(run, withheld.as_deref())
            })
            .await;
        }
        if labels != found.labels.raw {
            tracing::warn!(run = %recorded.id, server = %found.id, "its labels are put right");
            self.relabel(found.id, labels).await;
        }
    }

    /// A create's reply was lost: is there a server of its name?
    pub(super) async fn lookup(&self, run: RunId, name: &str) {
        let needs = &self.0.needs;
        let asked_at = needs.clock.now();
        let found = match needs.client.find_server(name, self.lifetimes()).await {
            Ok(Some(found)) => found,
            // Nothing is concluded from what a project that is not ours does not have.
            Ok(None) if needs.last_pass.borrow().project != Project::Ours => {
                return self.called(run).await;
            }
            Ok(None) => {
                let now = needs.clock.now();
                self.tell(run, move |run, _| {
                    lifecycle::lookup_missed(run, asked_at, now)
                })
                .await;
                return;
            }
            Err(error) => {
                tracing::warn!(%run, name, error = %crate::report(&error), "could not look the server up");
                return self.called(run).await;
            }
        };
        let Some(recorded) = self.recorded(run).await else {
            return;
        };
        let fleet = needs.fleet.borrow().name.clone();
        let now = needs.clock.now();
        let why = match ownership::made_by(&found, &recorded, &fleet) {
            Ok(()) => None,
            // Its guest has called from somewhere, and this has its name.
            Err(NotMade::Other(label)) if recorded.env_at.is_some() => {
                return self.taken_over(run, label).await;
            }
            Err(why) => Some(why),
        };
        if let Some(why) = why {
            tracing::warn!(%run, server = %found.id, name, %why, "a server of this name is not this run's");
            let message = format!(
                "server {name} ({}) has its name and is not its own: {why}; it is left alone: rename it or delete it",
                found.id
            );
            self.tell(run, move |run, _| {
                lifecycle::name_taken(run, &message, MENDED_BY_THEN, now)
            })
            .await;
            return;
        }
        let server = run_server(&found, &needs.catalogue.borrow());
        let adopted = self
            .tell(run, move |run, _| lifecycle::adopt(run, server))
            .await;
        if adopted && let Some(recorded) = self.recorded(run).await {
            self.restore_labels(&recorded, &found).await;
        }
    }
}

/// Whether a look failed in a way that says nothing about the delete that it is for.
fn is_about_the_look(error: &ApiError) -> bool {
    let spent = error.status == Some(429) || matches!(error.kind, Kind::NoRoom(_));
    !spent && !error.is_credentials()
}
