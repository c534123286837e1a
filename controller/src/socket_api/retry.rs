//! `POST /v1/cattle/{name}/retry`: what waits is looked at now, not when its wait is over.
//!
//! It starts nothing that a pass would not start: limits, budget and pauses hold as ever, and whoever
//! waits longer comes first. Each look costs calls of the rate limit that all share, so they are some
//! time apart.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, extract::State};
use cattle_core::{
    clock::Wait,
    ledger::Run,
    lifecycle::{self, deadlines::LOOK_AGAIN},
    names::CattleName,
};
use cattle_schemas::{
    Timestamp,
    api::RetryReply,
    problem::ErrorCode,
    status::{CattleStatus, Phase},
};

use super::{
    Api,
    extract::Named,
    peer::Peer,
    problem::ApiError,
    read,
    resolve::{self, Target, is_there},
    spec,
};
use crate::edit;

/// Between two looks for one bot, whatever it names: each costs a handful of calls, and what a bot has
/// waiting is without bound. Thirty seconds are what a list costs too.
const BOT_LOOKS_AGAIN: Duration = Duration::from_secs(30);

/// Looks that were taken lately, by what they count for.
#[derive(Debug, Default)]
pub(super) struct Looked(Mutex<HashMap<String, Wait>>);

impl Looked {
    /// Takes a look for a cattle, or answers how long it must wait.
    fn take(&self, peer: &Peer, name: &CattleName, now: Timestamp) -> Result<(), Duration> {
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looked.retain(|_, wait| wait.ends(now) > now);
        let mut counts = vec![(format!("cattle {name}"), LOOK_AGAIN)];
        if !peer.is_operator() {
            counts.push((format!("uid {}", peer.uid), BOT_LOOKS_AGAIN));
        }
        let waits = counts.iter().filter_map(|(of, _)| looked.get(of));
        if let Some(wait) = waits.max_by_key(|wait| wait.ends(now)) {
            return Err((wait.ends(now) - now).to_std().unwrap_or_default());
        }
        for (of, lasts) in counts {
            looked.insert(of, Wait::new(now, lasts));
        }
        Ok(())
    }
}

/// The handler.
pub(super) async fn retry(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
) -> Result<Json<RetryReply>, ApiError> {
    let target = resolve::resolve(&api, &peer, &name).await?;
    let before = read::status(&api, &peer, &target).await?;
    if before.phase != Phase::Pending {
        return Err(refusal(&target.cattle, &before));
    }
    let after = look_again(&api, &peer, &target).await?;
    Ok(Json(RetryReply {
        name: target.cattle.to_string(),
        phase: after.phase,
        reason: after.reason,
        message: after.message,
    }))
}

/// Frees a pending cattle from its waits, and answers with its status after the next pass.
pub(super) async fn look_again(
    api: &Api,
    peer: &Peer,
    target: &Target,
) -> Result<CattleStatus, ApiError> {
    let name = &target.cattle;
    let now = (api.now)();
    if let Err(wait) = api.looked.take(peer, name, now) {
        let seconds = wait.as_secs() + 1;
        let detail = format!(
            "`{name}` was looked at a moment ago; the next look is possible in {seconds} s"
        );
        return Err(ApiError::new(ErrorCode::TooManyRequests, detail).retry_after(seconds));
    }
    let turn = api.writes.lock().await;
    let latest = resolve::latest(api, name).await?;
    let refused = latest.filter(|run| run.is_live() && peer.owns(&run.requester.0));
    let world = api.handle.world();
    let entry = world
        .desired
        .specs
        .get(name)
        .filter(|entry| is_there(entry) && peer.owns(&entry.origin.requester.0));
    let cattle = entry.and_then(spec::valid);
    let mut edits = Vec::new();
    if let Some(run) = refused.as_ref().filter(|run| run.is_refused()) {
        edits.push(edit::of_run(run.id, move |run, _| {
            lifecycle::look_again(run, now)
        }));
    } else if let Some(cattle) = cattle {
        edits.push(edit::of_assignment(name, &cattle.hash, |assignment| {
            Some(lifecycle::start_again(assignment.as_mut()?))
        }));
    }
    api.store.commit(edits, now).await?;
    drop(turn);
    let placement = cattle.map(|cattle| cattle.placement.clone());
    let placement = placement.or(refused.map(|run: Run| run.spec.placement));
    if let Some(placement) = placement {
        api.looks.look_again(placement).await;
    }
    api.handle.clone().next_pass().await?;
    tracing::info!(cattle = %name, requester = %peer.requester().0, "looked at again");
    read::status(api, peer, target).await
}

fn refusal(name: &CattleName, status: &CattleStatus) -> ApiError {
    let phase = status.phase;
    let next = match phase {
        Phase::Succeeded | Phase::Failed | Phase::Canceled => "`rerun` runs it once more",
        _ => "it waits for nothing that could be tried again",
    };
    ApiError::new(
        ErrorCode::WrongPhase,
        format!("`{name}` is {phase}: {next}"),
    )
}
