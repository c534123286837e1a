//! Creating: one attempt, its candidates in order.

use std::time::Duration;

use cattle_core::{
    charge,
    desired::Placement,
    ledger::{Run, RunServer},
    lifecycle,
    names::RunId,
};
use cattle_schemas::status::PendingReason;
use secrecy::SecretString;

use super::{Executor, Unposted, prepare};
use crate::{
    hetzner::{ApiError, Code, CreateOutcome, NewServer},
    record::run_server,
};

/// After a refusal that an operator must mend: the configuration may be right by then.
const MENDED_BY_THEN: Duration = Duration::from_secs(60);

impl Executor {
    /// Makes the server of a run's latest attempt, and tells the ledger what became of it.
    #[tracing::instrument(skip_all, fields(%run))]
    pub(super) async fn create(&self, run: RunId, token: &SecretString, unposted: Unposted) {
        let recorded = match self.0.needs.store.run(run).await {
            Ok(Some(recorded)) => recorded,
            Ok(None) => return,
            Err(error) => {
                // Nothing was posted; the intent stands, and a look-up will settle it.
                tracing::error!(error = %crate::report(&error), "the ledger does not answer");
                return;
            }
        };
        if !recorded.is_live() {
            let message = "it was over before its server was made".to_owned();
            self.refused(run, PendingReason::Queued, message, None)
                .await;
            return;
        }
        let new = match prepare::new_server(&self.0.needs, &recorded, token).await {
            Ok(new) => new,
            Err(prepare::Unprepared::Hetzner(error)) => {
                let wait = error.retry_in().unwrap_or(MENDED_BY_THEN);
                self.refused(run, error.pending_reason(), error.to_string(), Some(wait))
                    .await;
                return;
            }
            Err(prepare::Unprepared::Refused(message)) => {
                self.refused(run, PendingReason::Config, message, Some(MENDED_BY_THEN))
                    .await;
                return;
            }
        };
        drop(unposted);
        self.post(&recorded, new).await;
    }

    async fn post(&self, recorded: &Run, new: NewServer) {
        let needs = &self.0.needs;
        let run = recorded.id;
        let placement = &recorded.spec.placement;
        let default_ttl = needs.fleet.borrow().default_ttl;
        let candidates = self.candidates(placement);
        let mut refusals = Vec::new();
        let mut wait = None;
        let mut reason = PendingReason::OutOfStock;
        for (server_type, location) in candidates {
            let pair = (server_type.as_str(), location.as_str());
            if !charge::is_within(recorded.hourly_limit, &needs.catalogue.borrow(), pair) {
                refusals.push(format!("{server_type} in {location} (beyond the budget)"));
                continue;
            }
            let new = NewServer {
                server_type: server_type.clone(),
                location: location.clone(),
                ..new.clone()
            };
            let error = match needs.client.create_server(&new, default_ttl).await {
                Ok(created) => {
                    let server = RunServer {
                        price: needs.catalogue.borrow().price(&server_type, &location),
                        actions: created.actions,
                        server_type: Some(server_type),
                        location: Some(location),
                        ..run_server(&created.server, &needs.catalogue.borrow())
                    };
                    tracing::info!(server = %server.id, name = %server.name, "created");
                    self.accepted(run, server).await;
                    return;
                }
                Err(error) => error,
            };
            tracing::warn!(server_type, location, error = %crate::report(&error), "the create was not accepted");
            match error.outcome() {
                CreateOutcome::NextCandidate { cool_down } => {
                    let now = needs.clock.now();
                    self.cool_downs()
                        .cool(&server_type, &location, now, cool_down);
                    let code = error.code().map_or("refused", Code::as_str);
                    refusals.push(format!("{server_type} in {location} ({code})"));
                }
                CreateOutcome::MayExist => return self.may_exist(run, &error).await,
                CreateOutcome::Uniqueness => return self.lookup(run, &new.name).await,
                CreateOutcome::Refused { retry_in } => {
                    reason = error.pending_reason();
                    refusals.push(error.to_string());
                    wait = Some(retry_in);
                    break;
                }
                CreateOutcome::Pending {
                    reason: why,
                    message,
                    retry_in,
                } => {
                    reason = why;
                    refusals.push(message);
                    wait = Some(retry_in);
                    break;
                }
            }
        }
        let wait = wait
            .or_else(|| self.until_a_candidate_thaws(placement))
            .unwrap_or(MENDED_BY_THEN);
        let message = if refusals.is_empty() {
            "every candidate was refused lately".to_owned()
        } else {
            refusals.join(", ")
        };
        self.refused(run, reason, message, Some(wait)).await;
    }

    /// The reply is newer than any list that was asked for before it came.
    async fn accepted(&self, run: RunId, server: RunServer) {
        let now = self.0.needs.clock.now();
        self.tell(run, move |run, _| {
            let told = lifecycle::accept_create(run, server);
            let _ = lifecycle::called(run, now);
            told
        })
        .await;
    }

    /// The pairs to try now, in the spec's order; refused ones are left alone for a while.
    fn candidates(&self, placement: &Placement) -> Vec<(String, String)> {
        let now = self.0.needs.clock.now();
        self.cool_downs()
            .candidates(placement, now)
            .map(|(server_type, location)| (server_type.to_owned(), location.to_owned()))
            .collect()
    }

    fn until_a_candidate_thaws(&self, placement: &Placement) -> Option<Duration> {
        let now = self.0.needs.clock.now();
        let thaws = self.cool_downs().all_cold_until(placement, now)?;
        (thaws - now).to_std().ok()
    }

    async fn may_exist(&self, run: RunId, error: &ApiError) {
        let message = error.to_string();
        self.tell(run, move |run, _| {
            lifecycle::lost_reply(run, &message, None)
        })
        .await;
    }

    async fn refused(
        &self,
        run: RunId,
        reason: PendingReason,
        message: String,
        wait: Option<Duration>,
    ) {
        let now = self.0.needs.clock.now();
        let retry_at = wait.map(|wait| now + wait);
        tracing::warn!(%run, cause = %message, "no server was made");
        self.tell(run, move |run, _| {
            lifecycle::refuse_create(run, reason, &message, retry_at, now)
        })
        .await;
    }
}
