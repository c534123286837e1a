//! A second try, and more time.

use std::sync::{Arc, OnceLock};

use axum::{Json, body::Body, extract::State};
use cattle_core::{
    desired::SpecEntry,
    lifecycle::{self, ExtendError},
};
use cattle_schemas::{
    Timestamp,
    api::{ExtendReply, ExtendRequest, RerunReply},
    problem::ErrorCode,
};

use super::{
    Api, apply,
    extract::{Named, json, read_body},
    peer::Peer,
    problem::ApiError,
    read,
    resolve::{self, is_there},
    retry,
    routes::MAX_JSON_BYTES,
    spec,
};
use crate::edit;

fn wrong_phase(detail: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::WrongPhase, detail)
}

/// `POST /v1/cattle/{name}/rerun`.
pub(super) async fn rerun(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
) -> Result<Json<RerunReply>, ApiError> {
    let target = resolve::resolve(&api, &peer, &name).await?;
    let name = &target.cattle;
    let now = (api.now)();
    let turn = api.writes.lock().await;
    let world = api.handle.world();
    let own = |entry: &&SpecEntry| is_there(entry) && peer.owns(&entry.origin.requester.0);
    let entry = world.desired.specs.get(name).filter(own);
    let Some(entry) = entry else {
        return Err(wrong_phase(format!(
            "`{name}` has no spec any more; apply it again"
        )));
    };
    let Some(cattle) = spec::valid(entry) else {
        let errors = apply::broken(entry).unwrap_or_default().to_vec();
        return Err(spec::invalid(errors));
    };
    let latest = resolve::latest(&api, name).await?;
    if latest
        .as_ref()
        .is_some_and(|run| run.is_live() && run.is_refused())
    {
        // Nothing of it ran, and nothing is there: this is the try that is asked for.
        drop(turn);
        let phase = retry::look_again(&api, &peer, &target).await?.phase;
        return Ok(Json(RerunReply {
            name: name.to_string(),
            phase,
        }));
    }
    if let Some(run) = latest.as_ref().filter(|run| run.is_live()) {
        return Err(wrong_phase(format!(
            "`{name}` has a live run, {}; destroy it first",
            run.id
        )));
    }
    let mut edits = Vec::new();
    match latest.filter(|run| run.hash == cattle.hash || run.is_kept(now)) {
        Some(run) if run.hash == cattle.hash => {
            edits.push(edit::of_run(
                run.id,
                move |run, assignment| match assignment {
                    Some(assignment) => lifecycle::rerun(assignment, Some(run), now),
                    None => lifecycle::release(run, "no longer kept: asked to run again"),
                },
            ));
        }
        earlier => {
            if let Some(run) = earlier {
                edits.push(edit::of_run(run.id, |run, _| {
                    lifecycle::release(run, "no longer kept: asked to run again")
                }));
            }
            edits.push(edit::of_assignment(name, &cattle.hash, move |assignment| {
                Some(lifecycle::rerun(assignment.as_mut()?, None, now))
            }));
        }
    }
    let applied = api.store.commit(edits, now).await?;
    drop(turn);
    if applied.last() != Some(&true) {
        let phase = read::status(&api, &peer, &target).await?.phase;
        return Err(wrong_phase(format!("`{name}` is {phase}, not ended")));
    }
    api.handle.clone().next_pass().await?;
    tracing::info!(cattle = %name, requester = %peer.requester().0, "rerun");
    let phase = read::status(&api, &peer, &target).await?.phase;
    Ok(Json(RerunReply {
        name: name.to_string(),
        phase,
    }))
}

/// `POST /v1/cattle/{name}/extend`.
pub(super) async fn extend(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
    body: Body,
) -> Result<Json<ExtendReply>, ApiError> {
    let request: ExtendRequest = json(&read_body(body, MAX_JSON_BYTES).await?)?;
    let target = resolve::resolve(&api, &peer, &name).await?;
    let name = &target.cattle;
    let Some(run) = resolve::run_of(&api, &peer, &target).await? else {
        return Err(wrong_phase(format!("`{name}` has no run yet")));
    };
    let asked_for = run.expires_at + request.by.as_std();
    let (now, max_ttl) = ((api.now)(), api.handle.world().limits.max_ttl);
    // The edit is made inside the store's transaction; this brings out what it decided.
    let decided: Arc<OnceLock<Result<Timestamp, ExtendError>>> = Arc::default();
    let tell = Arc::clone(&decided);
    let edit = edit::of_run(run.id, move |run, _| {
        match lifecycle::extend(run, request.by, max_ttl, now) {
            Ok(told) => {
                let _ = tell.set(Ok(run.expires_at));
                told
            }
            Err(error) => {
                let _ = tell.set(Err(error));
                edit::refused()
            }
        }
    });
    api.store.commit(vec![edit], now).await?;
    let expires_at = match decided.get() {
        Some(Ok(expires_at)) => *expires_at,
        Some(Err(error @ ExtendError::Over)) => {
            return Err(wrong_phase(format!("`{name}`: {error}")));
        }
        Some(Err(error @ ExtendError::AtMaximum { .. })) => {
            return Err(
                ApiError::new(ErrorCode::LimitReached, format!("`{name}`: {error}"))
                    .not_retryable(),
            );
        }
        None => return Err(ApiError::not_found("run", &run.id.to_string())),
    };
    api.handle.bell().ring();
    tracing::info!(cattle = %name, run = %run.id, %expires_at, "extended");
    let warnings = (expires_at < asked_for)
        .then(|| "cut at `cattle.limits.maxTtl`: no server lives longer".to_owned())
        .into_iter()
        .collect();
    Ok(Json(ExtendReply {
        name: name.to_string(),
        run: run.id.to_string(),
        expires_at,
        warnings,
    }))
}
