//! What a guest's calls do. The guest API has checked the token; these check the run.

use cattle_schemas::{Timestamp, event::EventReason, guest::Outcome};

use super::Transition;
use crate::{clock::AGREES, ledger::Run};

/// The env is about to be handed out: from here on the spec is used up. Applies again for the same
/// guest until it reports in. Whether it is the same guest is the token's matter.
pub fn env_handed_out(run: &mut Run, now: Timestamp) -> Transition {
    let possible = run.is_live()
        && run.started_at.is_none()
        && run.outcome.is_none()
        && run.stop.is_none()
        && now < run.expires_at;
    if !possible {
        return Transition::refused();
    }
    if run.env_at.is_some() {
        return Transition::silent();
    }
    run.env_at = Some(now);
    // Its call says that it runs, before any list does.
    run.booted_at.get_or_insert(now);
    Transition::told(EventReason::EnvHandedOut, "the guest fetched its env")
}

/// The guest's first report: it may start its runner once this is acknowledged. A repeated one is
/// a sign of life.
pub fn ready(run: &mut Run, now: Timestamp) -> Transition {
    if run.started_at.is_some() {
        return heartbeat(run, now);
    }
    if !run.is_live() || run.env_at.is_none() || run.stop.is_some() {
        return Transition::refused();
    }
    run.started_at = Some(now);
    run.last_seen_at = Some(now);
    Transition::told(
        EventReason::Started,
        "the guest reported in, the task begins",
    )
}

/// A sign of life.
pub fn heartbeat(run: &mut Run, now: Timestamp) -> Transition {
    if !run.is_live() || run.started_at.is_none() {
        return Transition::refused();
    }
    run.last_seen_at = Some(last_sign(run, now));
    Transition::silent()
}

/// The later of two signs of life; one of the future was noted before the clock went back.
fn last_sign(run: &Run, now: Timestamp) -> Timestamp {
    let known = run.last_seen_at.filter(|at| *at - now <= AGREES);
    known.map_or(now, |at| at.max(now))
}

/// The result. The first one counts; a repeated one is a sign of life.
pub fn outcome(run: &mut Run, outcome: Outcome, now: Timestamp) -> Transition {
    if !run.is_live() || run.env_at.is_none() {
        return Transition::refused();
    }
    run.last_seen_at = Some(last_sign(run, now));
    if run.outcome.is_some() {
        return Transition::silent();
    }
    // A guest that could not start its runner says so without a first report.
    run.started_at.get_or_insert(now);
    let told = Transition::told(EventReason::Reported, ended_in_words(&outcome));
    run.outcome = Some(outcome);
    run.outcome_at = Some(now);
    told
}

/// How a task ended, in a sentence. The guest's own message is untrusted text and not repeated.
pub(crate) fn ended_in_words(outcome: &Outcome) -> String {
    match (outcome.exit_code, outcome.signal) {
        _ if outcome.succeeded() => "the task succeeded".to_owned(),
        (_, Some(signal)) => format!("the task was ended by signal {signal}"),
        (Some(code), None) => format!("the task failed with exit code {code}"),
        (None, None) => "the task did not run".to_owned(),
    }
}
