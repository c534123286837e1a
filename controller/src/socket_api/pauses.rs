//! `GET /v1/pauses`, `POST /v1/pause`, `POST /v1/resume`: what operators hold back, and let go on.
//!
//! Whoever ends a pause that shows a list must name the list's digest: one that has changed since is
//! refused, and shown again.

use axum::{Json, body::Body, extract::State};
use cattle_core::{
    lifecycle,
    observed::FirewallView,
    pause::{Pause, takes_digest},
};
use cattle_schemas::{
    Timestamp,
    pause::{MAX_WHY_BYTES, PauseList, PauseRequest, PauseStatus, ResumeReply, ResumeRequest},
    problem::ErrorCode,
    status::{EndReason, PauseReason},
};

use super::{
    Api,
    extract::{json, json_or_default, read_body},
    peer::Peer,
    problem::ApiError,
    routes::MAX_JSON_BYTES,
};
use crate::{edit, identity, store::Edit};

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
        edits.extend(end(&api, &peer, pause, &request, now).await?);
        told.push(after(pause));
    }
    // Of specs that were found with a lost ledger some may be over by now, and what stays is no list.
    let whole = request.digest.is_some() && request.reason != Some(PauseReason::Ledger);
    let done = if whole {
        api.store.commit_all(edits, now).await?
    } else {
        api.store.commit(edits, now).await?;
        true
    };
    if !done {
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
async fn end(
    api: &Api,
    peer: &Peer,
    pause: &Pause,
    request: &ResumeRequest,
    now: Timestamp,
) -> Result<Vec<Edit>, ApiError> {
    if pause.reason == PauseReason::Breaker {
        // It goes on to hold until a server boots: only the next probe need not wait.
        return Ok(vec![Edit::Image {
            image: pause.subject.clone(),
            edit: Box::new(move |record| {
                record.released_at = Some(now);
                true
            }),
        }]);
    }
    let mut edits = match pause.reason {
        PauseReason::Ledger => {
            let edits = spend(pause, &request.runs, now)?;
            take_over(api).await?;
            edits
        }
        PauseReason::SecondController => {
            let world = api.handle.world();
            let own = world.limits.own.as_ref();
            if let Some(rival) = own.and_then(|own| own.rival.as_ref()) {
                identity::replaces(api.store.as_ref(), rival).await?;
            }
            Vec::new()
        }
        PauseReason::Paused | PauseReason::Breaker | PauseReason::Deletes => Vec::new(),
    };
    let by = peer.to_string();
    let confirmed = takes_digest(pause.reason);
    let message = format!("resumed by {peer}");
    let seen = pause.digest();
    edits.push(edit::of_pause(pause.reason, &pause.subject, move |held| {
        // A pass may have found more since it was read.
        if held.as_ref().is_some_and(|held| held.digest() != seen) {
            return edit::refused();
        }
        lifecycle::resume(held, &by, &message, confirmed, now)
    }));
    Ok(edits)
}

/// The specs that were found with a lost ledger count as done, but for those that were named.
fn spend(pause: &Pause, named: &[String], now: Timestamp) -> Result<Vec<Edit>, ApiError> {
    let listed = |name: &String| {
        let mut items = pause.items.iter();
        items.any(|item| item.cattle.as_str() == name)
    };
    if let Some(unknown) = named.iter().find(|name| !listed(name)) {
        let shown: String = unknown.chars().take(40).collect();
        let detail = format!("`{shown}` is not in the list");
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    let spent = pause
        .items
        .iter()
        .filter(|item| !named.iter().any(|name| name == item.cattle.as_str()));
    let edits = spent.flat_map(|item| {
        let message = "found with a lost ledger, and may have run before; `rerun` runs it";
        let of_run = item.run.map(|run| {
            edit::of_run(run, move |run, assignment| {
                let ending = lifecycle::Ending::new(EndReason::Destroyed, message);
                lifecycle::end(run, assignment, &ending, now)
            })
        });
        let of_assignment = edit::of_assignment(&item.cattle, &item.hash, move |assignment| {
            let assignment = assignment.as_mut()?;
            Some(lifecycle::close(
                assignment,
                EndReason::Destroyed,
                message,
                now,
            ))
        });
        of_run.into_iter().chain([of_assignment])
    });
    Ok(edits.collect())
}

/// From now on this ledger keeps the fleet.
async fn take_over(api: &Api) -> Result<(), ApiError> {
    let world = api.handle.world();
    let from = match &world.observed.firewall {
        FirewallView::Seen(marks) => marks.ledger.clone(),
        FirewallView::Absent | FirewallView::Unread(_) => None,
    };
    let own = world.limits.own.as_ref().and_then(|own| own.ledger.clone());
    let anew = from
        .as_ref()
        .is_some_and(|mark| Some(&mark.id) == own.as_ref());
    let taken = identity::take_over(api.store.as_ref(), from.as_ref(), anew).await;
    taken.map_err(|error| {
        tracing::error!(error = %crate::report(error.as_ref()), "the ledger did not take it");
        ApiError::new(
            ErrorCode::Unavailable,
            "the ledger did not take it; try again",
        )
    })
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
