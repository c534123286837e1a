//! Whether the controller lives, is ready, and how it does.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use cattle_core::identity::{self, Project};
use cattle_schemas::{problem::ErrorCode, status::ControllerStatus};

use super::{Api, problem::ApiError};
use crate::world::World;

/// Seconds after which asking again makes sense while the controller starts.
const STARTING_FOR: u64 = 1;
/// And while its token is refused, or opens another project.
const REFUSED_FOR: u64 = 60;

/// And while its ledger cannot be written: it looks every two seconds.
const UNWRITABLE_FOR: u64 = 5;

/// The controller itself. The ledger as it is now: a pass that cannot use it may not come to an end.
pub(super) fn controller(api: &Api, world: &World) -> ControllerStatus {
    let ledger = api.store.writable().borrow().condition();
    let mut conditions = world.conditions.clone();
    match conditions.iter_mut().find(|it| it.kind == ledger.kind) {
        Some(known) => *known = ledger,
        None if !ledger.status => conditions.push(ledger),
        None => {}
    }
    ControllerStatus {
        fleet: world.fleet.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        conditions,
        listed_at: world.observed.listed_at,
        calls: world.calls.clone(),
    }
}

/// `GET /healthz`.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: from the first pass and the first list on, unless the API token is refused or opens
/// a project that is not the fleet's, or the ledger cannot be written. What
/// else goes wrong later is a condition: a controller that Hetzner does not answer still answers its
/// own callers, and gets better by itself.
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<ControllerStatus>, ApiError> {
    let world = api.handle.world();
    // A new token takes a restart: nobody needs to ask again every second.
    let missing = if let Some(complaint) = world.limits.token.complaint() {
        (complaint.to_owned(), REFUSED_FOR)
    } else if world.limits.project == Project::Foreign {
        (identity::FOREIGN.to_owned(), REFUSED_FOR)
    } else if let Some(complaint) = api.store.writable().borrow().complaint() {
        (complaint, UNWRITABLE_FOR)
    } else if world.pass == 0 {
        ("the first pass is not done".to_owned(), STARTING_FOR)
    } else if world.observed.listed_at.is_none() {
        let never = match &world.observed.unreachable {
            Some(why) => format!("servers were never listed: {why}"),
            None => "servers were not listed yet".to_owned(),
        };
        (never, STARTING_FOR)
    } else {
        return Ok(Json(controller(&api, &world)));
    };
    let (message, seconds) = missing;
    Err(ApiError::new(ErrorCode::Unavailable, message).retry_after(seconds))
}

/// `GET /metrics`.
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let Some(recorder) = &api.metrics else {
        return Err(ApiError::new(
            ErrorCode::Unavailable,
            "this controller records no metrics",
        ));
    };
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], recorder.render()).into_response())
}
