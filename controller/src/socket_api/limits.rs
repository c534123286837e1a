//! `GET /v1/limits`: what bounds the fleet and the caller, used and left.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use cattle_core::{breaker::image_of, ledger::Ledger};
use cattle_schemas::{
    api::{Limit, Limits},
    duration::SpecDuration,
    problem::ErrorCode,
};
use chrono::TimeDelta;

use super::{Api, peer::Peer, problem::ApiError};

/// As the latest pass saw it.
pub(super) async fn get(State(api): State<Api>, peer: Peer) -> Result<Json<Limits>, ApiError> {
    let world = api.handle.world();
    let (fleet, bounds) = (&world.fleet, &world.limits);
    let requester = peer.requester();
    let runs = world.ledger.runs.values();
    let slots = runs.clone().filter(|run| run.holds_slot()).count();
    let own = runs
        .filter(|run| run.is_live() && run.requester == requester)
        .count();
    let hour_ago = (api.now)() - TimeDelta::hours(1);
    let creates = world
        .ledger
        .creates_last_hour
        .iter()
        .filter(|at| **at > hour_ago)
        .count();
    let max_unproven = bounds.unproven_image.unwrap_or(bounds.max_instances);
    let mut limits = BTreeMap::from([
        (
            "unprovenImage".to_owned(),
            limit(max_unproven, most_unproven(&world.ledger)),
        ),
        (
            "maxInstances".to_owned(),
            limit(bounds.max_instances, slots),
        ),
        (
            "liveRunsPerRequester".to_owned(),
            limit(bounds.live_runs_per_requester, own),
        ),
        (
            "createsPerHour".to_owned(),
            limit(bounds.creates_per_hour, creates),
        ),
    ]);
    if let Some(calls) = &world.calls {
        let used = calls.limit.saturating_sub(calls.remaining);
        limits.insert(
            "hetznerRequests".to_owned(),
            limit(calls.limit, usize::try_from(used).unwrap_or(usize::MAX)),
        );
    }
    let max_ttl = SpecDuration::from_secs(bounds.max_ttl.as_secs())
        .map_err(|_| ApiError::new(ErrorCode::Internal, "maxTtl is no duration"))?;
    Ok(Json(Limits {
        limits,
        max_ttl,
        images: fleet.limits.images.clone(),
        server_types: fleet.limits.server_types.clone(),
        locations: fleet.limits.locations.clone(),
    }))
}

/// Servers of the one image that no guest has reported from yet and that has most of them.
fn most_unproven(ledger: &Ledger) -> usize {
    let proven = |image: &str| {
        let record = ledger.images.get(image);
        record.is_some_and(|record| record.reported_at.is_some())
    };
    let mut booting: BTreeMap<&str, usize> = BTreeMap::new();
    let runs = ledger.runs.values();
    for run in runs.filter(|run| run.holds_slot() && run.started_at.is_none()) {
        *booting.entry(image_of(run)).or_default() += 1;
    }
    let unproven = booting.into_iter().filter(|(image, _)| !proven(image));
    unproven.map(|(_, servers)| servers).max().unwrap_or(0)
}

/// More may be used than there is: a limit that was lowered ends nothing.
fn limit(limit: u32, used: usize) -> Limit {
    let limit = f64::from(limit);
    let used = f64::from(u32::try_from(used).unwrap_or(u32::MAX));
    Limit {
        limit,
        used,
        left: (limit - used).max(0.0),
    }
}
