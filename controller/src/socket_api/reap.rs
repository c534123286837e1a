//! What only operators may: delete what is past its expiry, and go on after a pause.

use axum::{Json, body::Body, extract::State};
use cattle_schemas::{
    api::{ReapReply, ReapRequest, ResumeReply, ResumeRequest},
    problem::ErrorCode,
    status::{Condition, ConditionType},
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

/// `POST /v1/resume`.
pub(super) async fn resume(
    State(api): State<Api>,
    body: Body,
) -> Result<Json<ResumeReply>, ApiError> {
    let request: ResumeRequest = json_or_default(&read_body(body, MAX_JSON_BYTES).await?)?;
    if let Some(digest) = request.confirm_deletes {
        let detail = format!("no ends are held back, so there is no list `{digest}` to confirm");
        return Err(ApiError::new(ErrorCode::Changed, detail));
    }
    let world = api.handle.world();
    let pause = |it: &&Condition| {
        it.status
            && matches!(
                it.kind,
                ConditionType::StartsPaused | ConditionType::EndsPaused
            )
    };
    let paused: Vec<&str> = world
        .conditions
        .iter()
        .filter(pause)
        .map(|it| it.message.as_str())
        .collect();
    let message = if paused.is_empty() {
        "nothing is paused".to_owned()
    } else {
        format!("still paused: {}", paused.join("; "))
    };
    Ok(Json(ResumeReply { message }))
}
