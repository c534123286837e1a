//! `GET /v1/cost`: what was billed, from the ledger.

use axum::{Json, extract::State};
use cattle_core::charge;
use cattle_schemas::{
    Timestamp,
    api::{CostQuery, CostReply},
    problem::ErrorCode,
};

use super::{Api, extract::Strict, peer::Peer, problem::ApiError};

/// A bot is told of what it asked for itself.
pub(super) async fn get(
    State(api): State<Api>,
    peer: Peer,
    Strict(query): Strict<CostQuery>,
) -> Result<Json<CostReply>, ApiError> {
    let window =
        query.since.unwrap_or(Timestamp::MIN_UTC)..query.until.unwrap_or(Timestamp::MAX_UTC);
    if window.is_empty() {
        let detail = "`since` must be before `until`";
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    let mut charges = api.store.charges(window).await?;
    charges.retain(|charge| peer.owns(&charge.requester.0));
    let world = api.handle.world();
    let catalogue = &world.limits.catalogue;
    let now = (api.now)();
    let report = charge::report(&charges, &query, &world.fleet.name, catalogue, now);
    Ok(Json(report))
}
