//! `GET /v1/pauses`, `POST /v1/pause`, `POST /v1/resume`: what operators hold back, and let go on.
//!
//! Whoever ends a pause that shows a list must name the list's digest: one that has changed since is
//! refused, and shown again.

use axum::{Json, body::Body, extract::State};
use cattle_core::{
    lifecycle,
    pause::{Pause, takes_digest},
};
use cattle_schemas::{
    Timestamp,
    pause::{MAX_WHY_BYTES, PauseList, PauseRequest, PauseStatus, ResumeReply, ResumeRequest},
    problem::ErrorCode,
    status::PauseReason,
};

use super::{
    Api,
    extract::{json, json_or_default, read_body},
    peer::Peer,
    problem::ApiError,
    routes::MAX_JSON_BYTES,
};
use crate::{edit, store::Edit};

/// `GET /v1/pauses`.
pub(super) async fn list(State(api): State<Api>) -> Result<Json<PauseList>, ApiError> {
    let items = statuses(&api.store.pauses().await?);
    Ok(Json(PauseList { items }))
}

/// `POST /v1/pause`.
pub(super) async fn pause(
    State(api): State<Api>,
    peer: Peer,
    body: Body,
) -> Result<Json<PauseStatus>, ApiError> {
    let request: PauseRequest = json(&read_body(body, MAX_JSON_BYTES).await?)?;
    let why = request.why.trim();
    let bad = |detail: String| Err(ApiError::new(ErrorCode::BadRequest, detail));
    if !(request.starts || request.ends) {
        return bad("one of `starts` and `ends` must be true".to_owned());
    }
    if why.is_empty() || why.len() > MAX_WHY_BYTES {
        return bad(format!(
            "`why` has 1 to {MAX_WHY_BYTES} bytes: everybody who waits is shown it"
        ));
    }
    let now = (api.now)();
    begin(&api, &peer, request.starts, request.ends, why, now).await?;
    api.handle.clone().next_pass().await?;
    let held = api.store.pauses().await?;
    let paused = held
        .iter()
        .find(|pause| pause.reason == PauseReason::Paused);
    paused.map(|pause| Json(pause.status())).ok_or_else(|| {
        let detail = "somebody resumed at the same moment";
        ApiError::new(ErrorCode::Changed, detail)
    })
}

/// An operator's pause of everything.
pub(super) async fn begin(
    api: &Api,
    peer: &Peer,
    starts: bool,
    ends: bool,
    why: &str,
    now: Timestamp,
) -> Result<(), ApiError> {
    let fresh = Pause {
        by: peer.to_string(),
        starts,
        ends,
        ..Pause::by_controller(PauseReason::Paused, why, now)
    };
    let edit = edit::of_pause(PauseReason::Paused, "", move |held| {
        lifecycle::pause(held, &fresh)
    });
    api.store.commit(vec![edit], now).await?;
    tracing::info!(%peer, starts, ends, "paused");
    Ok(())
}

/// `POST /v1/resume`.
pub(super) async fn resume(
    State(api): State<Api>,
    peer: Peer,
    body: Body,
) -> Result<Json<ResumeReply>, ApiError> {
    let request: ResumeRequest = json_or_default(&read_body(body, MAX_JSON_BYTES).await?)?;
    if !request.runs.is_empty() && request.reason != Some(PauseReason::Ledger) {
        let detail = "`runs` goes with the reason `ledger`: which of its list start all the same";
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    let turn = api.writes.lock().await;
    let held = api.store.pauses().await?;
    let Some(chosen) = choose(&held, &request)? else {
        let message = match request.reason {
            Some(reason) => format!("nothing is paused for the reason `{reason}`"),
            None => "nothing is paused".to_owned(),
        };
        return Ok(Json(ResumeReply {
            message,
            pauses: statuses(&held),
        }));
    };
    let now = (api.now)();
    let mut edits = Vec::new();
    let mut told = Vec::new();
    for pause in chosen {
        edits.extend(end(&peer, pause, now));
        told.push(after(pause));
    }
    if !api.store.commit_all(edits, now).await? {
        let detail = "the list has just changed; look at it again: `clawdlets cattle resume`";
        return Err(ApiError::new(ErrorCode::Changed, detail));
    }
    drop(turn);
    api.handle.clone().next_pass().await?;
    tracing::info!(%peer, reason = ?request.reason, "resumed");
    Ok(Json(ResumeReply {
        message: told.join("; "),
        pauses: statuses(&api.store.pauses().await?),
    }))
}

fn statuses(pauses: &[Pause]) -> Vec<PauseStatus> {
    pauses.iter().map(Pause::status).collect()
}

/// The pauses that a request ends; `None` when none of its kind holds.
fn choose<'a>(
    held: &'a [Pause],
    request: &ResumeRequest,
) -> Result<Option<Vec<&'a Pause>>, ApiError> {
    let wanted = |pause: &&Pause| request.reason.is_none_or(|reason| pause.reason == reason);
    let named: Vec<&Pause> = held.iter().filter(wanted).collect();
    let commands = || {
        let commands: Vec<String> = named
            .iter()
            .map(|pause| format!("`{}`", pause.command()))
            .collect();
        commands.join(", ")
    };
    if let Some(digest) = &request.digest {
        let confirmed: Vec<&Pause> = named
            .iter()
            .copied()
            .filter(|pause| pause.digest().as_ref() == Some(digest))
            .collect();
        if confirmed.is_empty() {
            let shown: String = digest.chars().take(40).collect();
            let detail = if named.is_empty() {
                format!("nothing is held back, so there is no list `{shown}` to confirm")
            } else {
                format!(
                    "the list `{shown}` has changed; look at it again and confirm it: {}",
                    commands()
                )
            };
            return Err(ApiError::new(ErrorCode::Changed, detail));
        }
        return Ok(Some(confirmed));
    }
    if named.is_empty() {
        return Ok(None);
    }
    if request.reason.is_none() && named.len() > 1 {
        let detail = format!("{} pauses hold; say which: {}", named.len(), commands());
        return Err(ApiError::new(ErrorCode::ConfirmNeeded, detail));
    }
    if named.iter().any(|pause| takes_digest(pause.reason)) {
        let detail = format!("look at the list and confirm it: {}", commands());
        return Err(ApiError::new(ErrorCode::ConfirmNeeded, detail));
    }
    Ok(Some(named))
}

/// What the end of a pause by an operator writes.
fn end(peer: &Peer, pause: &Pause, now: Timestamp) -> Vec<Edit> {
    if pause.reason == PauseReason::Breaker {
        // It goes on to hold until a server boots: only the next probe need not wait.
        return vec![Edit::Image {
            image: pause.subject.clone(),
            edit: Box::new(move |record| {
                record.released_at = Some(now);
                true
            }),
        }];
    }
    let by = peer.to_string();
    let confirmed = takes_digest(pause.reason);
    let message = format!("resumed by {peer}");
    let seen = pause.digest();
    vec![edit::of_pause(pause.reason, &pause.subject, move |held| {
        // A pass may have found more since it was read.
        if held.as_ref().is_some_and(|held| held.digest() != seen) {
            return edit::refused();
        }
        lifecycle::resume(held, &by, &message, confirmed, now)
    })]
}

/// What follows, for people.
fn after(pause: &Pause) -> String {
    if pause.reason == PauseReason::Breaker {
        return format!(
            "one server of image {} is tried now; the rest follow when it boots",
            pause.subject
        );
    }
    let what = match (pause.starts, pause.ends) {
        (true, false) => "starts",
        (false, true) => "ends",
        _ => "starts and ends",
    };
    format!("{what} go on ({})", pause.reason)
}
