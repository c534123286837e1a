//! Reports: the first one starts the task, the last one ends it, and each answer may say stop.
//!
//! A run that is over is heard while it hands over: what it brings then is kept, and changes nothing
//! about the end. Where its server is kept, its guest stays on as long as its reports are answered.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, State, rejection::BytesRejection},
    http::HeaderMap,
};
use cattle_core::{
    ledger::Run,
    lifecycle::{self, deadlines},
};
use cattle_schemas::{
    Timestamp,
    guest::{MAX_RESULT_BYTES, Outcome, Report, ReportKind, ReportReply, Stop},
    problem::ErrorCode,
};
use tracing::Instrument;

use super::{
    Desk, Peer,
    auth::{self, Caller},
    problem::{Answer, Refusal},
    transition,
};
use crate::store::Edit;

/// What a guest hears is left while the time is not known: nothing is over by a clock that may be
/// hours off, and its next heartbeat hears more.
const UNKNOWN_TIME: u64 = 600;

/// A guest's sentence about a failure; its own limit is shorter.
const MAX_MESSAGE_CHARS: usize = 2_000;

pub(super) async fn post(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<ReportReply>> {
    let caller = auth::session_or_kept(&desk, &headers, peer).await?;
    let report = read(&body?)?;
    let span = tracing::info_span!("report", cattle = %caller.run.cattle, run = %caller.run.id);
    hear(&desk, &caller, report).instrument(span).await
}

async fn hear(desk: &Desk, caller: &Caller, report: Said) -> Answer<Json<ReportReply>> {
    let mut just_handed_over = false;
    let live = caller.run.is_live();
    let now = desk.clock.now();
    match report {
        Said::Ready if live => ready(desk, caller).await?,
        Said::Heartbeat if live => {
            desk.pulse.beat(caller.run.id, now);
            return Ok(reply(desk, &caller.run, now));
        }
        Said::Finished(outcome) if live || caller.run.is_handing_over(now) => {
            just_handed_over = finished(desk, caller, *outcome).await?;
        }
        _ => {}
    }
    // With the run as it is after what was said. The result may have ended it already.
    let now = desk.clock.now();
    let run = desk.store.run(caller.run.id).await?;
    let judged = desk.clock.judged();
    let heard = |run: &Run| run.is_live() || run.is_handing_over(now) || run.is_kept(judged);
    let run = run.filter(|run| heard(run) || just_handed_over);
    Ok(reply(desk, &run.ok_or_else(Refusal::gone)?, now))
}

/// A report that makes sense.
enum Said {
    Ready,
    Heartbeat,
    Finished(Box<Outcome>),
}

fn read(body: &[u8]) -> Answer<Said> {
    let wrong = |detail| Refusal::new(ErrorCode::BadRequest, detail);
    // What is wrong with it is not quoted: a result may be anything.
    let report: Report =
        serde_json::from_slice(body).map_err(|_| wrong("the body is not a report"))?;
    match (report.kind, report.outcome) {
        (ReportKind::Ready, None) => Ok(Said::Ready),
        (ReportKind::Heartbeat, None) => Ok(Said::Heartbeat),
        (ReportKind::Finished, Some(outcome)) => Ok(Said::Finished(Box::new(bounded(outcome)?))),
        (ReportKind::Finished, None) => Err(wrong("`finished` comes with an outcome")),
        (_, Some(_)) => Err(wrong("only `finished` comes with an outcome")),
    }
}

fn bounded(mut outcome: Outcome) -> Answer<Outcome> {
    let length = outcome
        .result
        .as_ref()
        .map_or(0, |result| result.to_string().len());
    if length > MAX_RESULT_BYTES {
        let detail = format!("the result has {length} bytes, at most {MAX_RESULT_BYTES} are kept");
        return Err(Refusal::new(ErrorCode::TooLarge, detail));
    }
    if let Some(message) = &mut outcome.message
        && let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS)
    {
        message.truncate(end);
    }
    Ok(outcome)
}

/// The first report closes the window in which the env can be asked for again.
async fn ready(desk: &Desk, caller: &Caller) -> Answer<()> {
    let now = desk.clock.now();
    let run = caller.run.id;
    let edits = vec![
        transition(run, move |run| lifecycle::ready(run, now)),
        Edit::VoidTokens {
            run,
            except: Some(caller.token.digest),
        },
    ];
    if desk.store.commit_all(edits, now).await? && caller.run.started_at.is_none() {
        tracing::info!("the guest reported in");
        desk.archives.forget(run);
        desk.bell.ring();
    }
    Ok(())
}

/// Whether the run, as it was at this moment, took it.
async fn finished(desk: &Desk, caller: &Caller, outcome: Outcome) -> Answer<bool> {
    let now = desk.clock.now();
    let edit = transition(caller.run.id, move |run| {
        lifecycle::outcome(run, outcome, now)
    });
    let applied = desk.store.commit(vec![edit], now).await? == [true];
    if applied && caller.run.outcome.is_none() {
        tracing::info!("the guest handed over its result");
        desk.bell.ring();
    }
    Ok(applied)
}

fn reply(desk: &Desk, run: &Run, now: Timestamp) -> Json<ReportReply> {
    Json(ReportReply {
        stop: stop(run, now),
        stay: run.guest_stays(now),
        seconds_left: Some(seconds_left(desk, run)),
        expires_at: run.expires_at,
    })
}

/// Seconds until its guest has to stop, rounded up; of a run that is over, until its server goes
/// whatever happens.
pub(super) fn seconds_left(desk: &Desk, run: &Run) -> u64 {
    let (moment, clocks) = desk.clock.look();
    let until = if run.is_live() {
        deadlines::time_is_up(run)
    } else {
        run.expires_at
    };
    let left = (until - moment.now).to_std().unwrap_or_default();
    let left = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    if clocks.trust.judges() {
        left
    } else {
        left.max(UNKNOWN_TIME)
    }
}

/// While a run that ended without a result hands over: its guest stops the task, and how long it has.
fn stop(run: &Run, now: Timestamp) -> Option<Stop> {
    let end = run.ended.as_ref().filter(|_| run.outcome.is_none())?;
    let left = (run.handover_until()? - now).to_std().unwrap_or_default();
    Some(Stop {
        reason: end.reason.to_string(),
        grace_seconds: left.as_secs(),
    })
}
