//! Creating: one attempt, its candidates in order.

use std::time::Duration;

use cattle_core::{
    account::AccountLimit,
    candidates::{self, Candidate, Cold, choose, obstacle},
    catalogue::Catalogue,
    charge,
    ledger::{Assignment, Run, RunServer},
    lifecycle,
    names::RunId,
};
use cattle_schemas::{Timestamp, status::PendingReason};
use secrecy::SecretString;

use super::{Executor, Unposted, prepare};
use crate::{
    hetzner::{ApiError, Code, CreateOutcome, NewServer},
    record::run_server,
};

/// After a refusal that an operator must mend: the configuration may be right by then.
const MENDED_BY_THEN: Duration = Duration::from_secs(60);
/// While its image is being looked for.
const SOON_KNOWN: Duration = Duration::from_secs(5);

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
        let Some(new) = self.prepared(&recorded, token).await else {
            return;
        };
        drop(unposted);
        if self.post(&recorded, new, References::Remembered).await == Posted::Stale
            && let Some(new) = self.prepared(&recorded, token).await
        {
            // Somebody deleted the firewall or a key: now they are there again.
            self.post(&recorded, new, References::Read).await;
        }
    }

    /// The create, but for its candidate; the ledger is told where there is none.
    async fn prepared(&self, recorded: &Run, token: &SecretString) -> Option<NewServer> {
        let (reason, message, wait) =
            match prepare::new_server(&self.0.needs, recorded, token).await {
                Ok(new) => return Some(new),
                Err(prepare::Unprepared::Hetzner(error)) => {
                    let wait = error.retry_in().unwrap_or(MENDED_BY_THEN);
                    let wait = wait_after(&error, wait.min(MENDED_BY_THEN));
                    (error.pending_reason(), error.to_string(), wait)
                }
                Err(prepare::Unprepared::Refused(message)) => {
                    (PendingReason::Config, message, Some(MENDED_BY_THEN))
                }
            };
        self.refused(recorded.id, reason, message, wait).await;
        None
    }

    async fn post(&self, recorded: &Run, new: NewServer, references: References) -> Posted {
        let needs = &self.0.needs;
        let run = recorded.id;
        let placement = &recorded.spec.placement;
        let lifetimes = needs.fleet.borrow().lifetimes();
        let catalogue = needs.catalogue.borrow().clone();
        let now = needs.clock.now();
        if let Some((reason, message)) = obstacle(placement, &catalogue, now) {
            let wait = match reason {
                PendingReason::Queued => SOON_KNOWN,
                _ => MENDED_BY_THEN,
            };
            self.refused(run, reason, message, Some(wait)).await;
            return Posted::Told;
        }
        let mut tries = Tries::default();
        for candidate in choose(placement, &catalogue, now).candidates {
            let (server_type, location) = (&candidate.server_type, &candidate.location);
            if tries.dedicated.is_some() && is_dedicated(&catalogue, server_type) {
                continue;
            }
            let pair = (server_type.as_str(), location.as_str());
            if !charge::is_within(recorded.hourly_limit, &catalogue, pair) {
                tries.too_dear.push(price_of(&candidate));
                continue;
            }
            let free = self
                .cool_downs()
                .try_now(server_type, location, needs.clock.now());
            if let Err(cold) = free {
                tries.cold.push(cold);
                continue;
            }
            let new = NewServer {
                server_type: server_type.clone(),
                location: location.clone(),
                image: candidate.image.clone(),
                ..new.clone()
            };
            let error = match needs.client.create_server(&new, lifetimes).await {
                Ok(created) => {
                    self.cool_downs().thaw(server_type, location);
                    let server = RunServer {
                        price: candidate.price,
                        made_of: Some(candidate.image),
                        image: candidate.image_kind,
                        actions: created.actions,
                        server_type: Some(candidate.server_type),
                        location: Some(candidate.location),
                        ..run_server(&created.server, &catalogue)
                    };
                    tracing::info!(server = %server.id, name = %server.name, "created");
                    self.accepted(run, server).await;
                    return Posted::Told;
                }
                Err(error) => error,
            };
            tracing::warn!(server_type, location, error = %crate::report(&error), "the create was not accepted");
            if let Some(limit) = error.limit {
                let wait = error.retry_in().unwrap_or(MENDED_BY_THEN);
                let wait = wait_after(&error, wait);
                let told = (error.pending_reason(), error.to_string(), wait);
                if limit == AccountLimit::DedicatedCores {
                    // Types that share their processors are not limited by it.
                    tries.dedicated = Some(told);
                    continue;
                }
                tries.last = Some(told);
                tries.limit = Some(limit);
                break;
            }
            match error.outcome() {
                CreateOutcome::NextCandidate { cool_down } => {
                    let why = refusal(&error);
                    let now = needs.clock.now();
                    let cold = self
                        .cool_downs()
                        .cool(server_type, location, why, now, cool_down)
                        .clone();
                    tries.cold.push(cold);
                }
                CreateOutcome::MayExist => {
                    self.may_exist(run, &error).await;
                    return Posted::Told;
                }
                CreateOutcome::Uniqueness => {
                    self.lookup(run, &new.name).await;
                    return Posted::Told;
                }
                CreateOutcome::Refused { retry_in } => {
                    let wait = wait_after(&error, retry_in);
                    tries.last = Some((error.pending_reason(), error.to_string(), wait));
                    break;
                }
                CreateOutcome::Pending { .. }
                    if references == References::Remembered && is_about_references(&error) =>
                {
                    return Posted::Stale;
                }
                CreateOutcome::Pending {
                    reason,
                    message,
                    mut retry_in,
                } => {
                    if is_about_the_image(&error) {
                        needs.doubt.tell(&placement.image);
                        // What is found out about it says when there is one.
                        retry_in = retry_in.min(SOON_KNOWN);
                    } else if is_about_references(&error) {
                        retry_in = retry_in.min(MENDED_BY_THEN);
                    }
                    tries.last = Some((reason, message, wait_after(&error, retry_in)));
                    break;
                }
            }
        }
        if tries.last.is_none() && tries.dedicated.is_some() {
            tries.last = tries.dedicated.take();
            tries.limit = Some(AccountLimit::DedicatedCores);
        }
        let limit = tries.limit;
        let (reason, message, wait) = tries.told(needs.clock.now());
        self.refused_for(run, reason, message, wait, limit).await;
        Posted::Told
    }

    /// The reply is newer than any list that was asked for before it came.
    async fn accepted(&self, run: RunId, server: RunServer) {
        let now = self.0.needs.clock.now();
        self.tell_for_sure(run, || {
            let server = server.clone();
            move |run: &mut Run, _: Option<&mut Assignment>| {
                let told = lifecycle::accept_create(run, server);
                let _ = lifecycle::called(run, now);
                told
            }
        })
        .await;
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
        self.refused_for(run, reason, message, wait, None).await;
    }

    /// Likewise, for a limit of the account.
    async fn refused_for(
        &self,
        run: RunId,
        reason: PendingReason,
        message: String,
        wait: Option<Duration>,
        limit: Option<AccountLimit>,
    ) {
        let now = self.0.needs.clock.now();
        let retry_at = wait.map(|wait| now + wait);
        tracing::warn!(%run, cause = %message, "no server was made");
        self.tell(run, move |run, _| {
            let told = lifecycle::refuse_create(run, reason, &message, retry_at, now);
            if told.applied {
                run.create_limit = limit;
            }
            told
        })
        .await;
    }
}

/// What is known of the firewall and the keys that a create names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum References {
    /// They were there a while ago.
    Remembered,
    /// They are there now.
    Read,
}

/// What came of a create.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Posted {
    /// The ledger was told.
    Told,
    /// Nothing was made, for what it names is not there any more.
    Stale,
}

/// How long a run waits after a refusal. Not by itself for the token: whether that is taken is known
/// from every call, and is the same for all.
fn wait_after(error: &ApiError, wait: Duration) -> Option<Duration> {
    (!error.is_credentials()).then_some(wait)
}

/// What came of the candidates that were not taken.
#[derive(Default)]
struct Tries {
    /// Refused now or a short while ago.
    cold: Vec<Cold>,
    /// Beyond what the budget has left.
    too_dear: Vec<String>,
    /// The account has no dedicated cores left; said when nothing else was taken.
    dedicated: Option<(PendingReason, String, Option<Duration>)>,
    /// The limit of the account that ended the search.
    limit: Option<AccountLimit>,
    /// What ended the search: no other pair would have better luck.
    last: Option<(PendingReason, String, Option<Duration>)>,
}

impl Tries {
    /// What the run waits for, in words, and for how long; not by itself where only pairs were refused:
    /// when they are tried again is the same for all.
    fn told(self, now: Timestamp) -> (PendingReason, String, Option<Duration>) {
        let thaws = self.cold.iter().map(|cold| cold.wait.until).min();
        let mut told = Vec::new();
        if !self.cold.is_empty() {
            told.push(candidates::told(&self.cold));
        }
        if !self.too_dear.is_empty() {
            let dear = candidates::told(&self.too_dear);
            told.push(format!("beyond the budget: {dear}"));
        }
        if let Some((reason, message, wait)) = self.last {
            told.push(message);
            return (reason, told.join("; "), wait);
        }
        if self.too_dear.is_empty() && thaws.is_some() {
            return (PendingReason::OutOfStock, told.join("; "), None);
        }
        let wait = thaws.and_then(|at| (at - now).to_std().ok());
        let wait = wait.unwrap_or(MENDED_BY_THEN);
        (PendingReason::Budget, told.join("; "), Some(wait))
    }
}

/// Whether a type's processors are its own. By its family's name where the catalogue does not say.
fn is_dedicated(catalogue: &Catalogue, server_type: &str) -> bool {
    let known = catalogue.server_type(server_type);
    known
        .and_then(|(_, known)| known.dedicated)
        .unwrap_or_else(|| server_type.starts_with("ccx"))
}

/// What a candidate costs, in words.
fn price_of(candidate: &Candidate) -> String {
    let place = format!("{} in {}", candidate.server_type, candidate.location);
    match candidate.price {
        Some(price) => format!("{place} ({} an hour)", price.hourly()),
        None => format!("{place} (its price is not known)"),
    }
}

/// Hetzner's words about a pair, which are clean.
fn refusal(error: &ApiError) -> String {
    let code = error.code().map_or("refused", Code::as_str);
    if error.message.is_empty() {
        code.to_owned()
    } else {
        format!("{} ({code})", error.message)
    }
}

/// Whether a create was refused for its firewall or an SSH key.
fn is_about_references(error: &ApiError) -> bool {
    let message = error.message.to_ascii_lowercase();
    match error.code() {
        Some(Code::FirewallResourceNotFound) => true,
        Some(Code::NotFound) => !message.contains("image"),
        Some(Code::InvalidInput) => message.contains("firewall") || message.contains("ssh"),
        _ => false,
    }
}

/// Whether a create was refused for its image, so that what is known of it does not hold.
fn is_about_the_image(error: &ApiError) -> bool {
    matches!(error.code(), Some(Code::NotFound | Code::InvalidInput))
        && error.message.to_ascii_lowercase().contains("image")
}
