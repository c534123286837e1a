//! `GET /v1/cattle/{name}/result`: what a run's task handed over.

use axum::{Json, extract::State};
use cattle_schemas::{api::ResultReply, problem::ErrorCode};

use super::{Api, extract::Named, peer::Peer, problem::ApiError, resolve};

/// The result of the run that was named, or of the latest.
pub(super) async fn get(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
) -> Result<Json<ResultReply>, ApiError> {
    let target = resolve::resolve(&api, &peer, &name).await?;
    let none = |detail: String| ApiError::new(ErrorCode::NoResult, detail);
    let Some(run) = resolve::run_of(&api, &peer, &target).await? else {
        return Err(none(format!("`{}` has no run yet", target.cattle)));
    };
    let Some(outcome) = run.outcome else {
        return Err(none(match &run.ended {
            None => format!("run {} has not handed over yet", run.id),
            Some(end) => format!(
                "run {} ended as {} and left no result, or it is past its retention",
                run.id, end.reason
            ),
        }));
    };
    Ok(Json(ResultReply {
        name: run.cattle.to_string(),
        run: run.id.to_string(),
        end_reason: run.ended.map(|end| end.reason),
        exit_code: outcome.exit_code,
        cause: outcome.cause,
        message: outcome.message,
        result: outcome.result,
    }))
}
