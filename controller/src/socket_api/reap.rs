//! `POST /v1/reap`: what is past its expiry is deleted now.

use axum::{Json, body::Body, extract::State};
use cattle_schemas::{
    api::{ReapReply, ReapRequest},
    problem::ErrorCode,
};

use super::{
    Api,
    extract::{json_or_default, read_body},
    peer::Peer,
    problem::ApiError,
    routes::MAX_JSON_BYTES,
};

/// `POST /v1/reap`.
pub(super) async fn post(
    State(api): State<Api>,
    peer: Peer,
    body: Body,
) -> Result<Json<ReapReply>, ApiError> {
    let request: ReapRequest = json_or_default(&read_body(body, MAX_JSON_BYTES).await?)?;
    reap(&api, &peer, request.dry_run).await.map(Json)
}

/// One round of the reaper.
pub(super) async fn reap(api: &Api, peer: &Peer, dry_run: bool) -> Result<ReapReply, ApiError> {
    tracing::info!(%peer, dry_run, "reaping");
    let reply = api
        .reaper
        .reap(dry_run)
        .await
        .map_err(|detail| ApiError::new(ErrorCode::Hetzner, detail))?;
    if reply.servers.iter().any(|server| server.deleted) {
        api.handle.bell().ring();
    }
    Ok(reply)
}
