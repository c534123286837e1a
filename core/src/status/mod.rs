//! What is said about a cattle. A status always says why something waits.

mod conditions;
mod controller;
mod run;

use std::collections::BTreeMap;

use cattle_schemas::{
    Timestamp,
    duration::SpecDuration,
    problem::Diagnostic,
    status::{CattleStatus, ConditionType, PendingReason, Phase, SpecOrigin, SpecSummary},
};

pub(crate) use self::conditions::condition;
use self::conditions::conditions;
pub use self::{
    conditions::image_resolved,
    controller::{clock_skew, controller_status},
    run::{run_cost, run_status},
};
use crate::{
    action::Waiting,
    catalogue::Catalogue,
    desired::{Cattle, SpecEntry, SpecState},
    ledger::{Assignment, Run},
    lifecycle::phase_of,
    names::CattleName,
    observed::ObservedServer,
};

/// Everything that is known about one cattle.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its name.
    pub name: &'a CattleName,
    /// Its spec, where one is or was.
    pub entry: Option<&'a SpecEntry>,
    /// Its runs, newest first.
    pub runs: &'a [&'a Run],
    /// The assignment of its present spec's hash, or of its latest run's where there is no spec.
    pub assignment: Option<&'a Assignment>,
    /// Why it does not start, from the latest plan.
    pub waiting: Option<&'a Waiting>,
    /// Its latest run's server as last listed.
    pub server: Option<&'a ObservedServer>,
    /// Servers that carry its latest run's label beside that one.
    pub duplicates: &'a [&'a ObservedServer],
    /// What Hetzner offers, with prices.
    pub catalogue: &'a Catalogue,
    /// Now.
    pub now: Timestamp,
}

/// The status of one cattle; `earlier_runs` holds all runs but the first.
#[must_use]
pub fn cattle_status(known: &Known<'_>) -> CattleStatus {
    let latest = known.runs.first().copied();
    let head = headline(known, latest);
    let cattle = known.entry.and_then(valid);
    let summary = match (cattle, latest) {
        (Some(cattle), _) => Some(summary(cattle)),
        (None, Some(run)) => Some(summary_of_run(run)),
        (None, None) => None,
    };
    let there = known
        .entry
        .filter(|entry| !matches!(entry.state, SpecState::Absent { .. }));
    let requester = latest
        .map(|run| &run.requester)
        .or(known.assignment.map(|assignment| &assignment.requester))
        .or(there.map(|entry| &entry.origin.requester));
    CattleStatus {
        name: known.name.to_string(),
        phase: head.phase,
        reason: head.reason,
        message: head.message,
        queue_position: head.waiting.and_then(|waiting| waiting.queue_position),
        conditions: conditions(known, latest),
        run: latest.map(|run| run_status(run, known.server, known.catalogue, known.now)),
        earlier_runs: known
            .runs
            .iter()
            .skip(1)
            .map(|run| run_status(run, None, known.catalogue, known.now))
            .collect(),
        spec: summary,
        origin: there.map(|entry| SpecOrigin {
            path: entry.origin.path.clone(),
            requester: entry.origin.requester.0.clone(),
        }),
        diagnostics: known.entry.map(diagnostics).unwrap_or_default().to_vec(),
        labels: match (cattle, latest) {
            (Some(cattle), _) => cattle.labels.clone(),
            (None, Some(run)) => run.spec.labels.clone(),
            (None, None) => BTreeMap::new(),
        },
        requester: requester.map(|requester| requester.0.clone()),
        queued_at: known
            .assignment
            .filter(|_| head.phase == Phase::Pending)
            .map(|assignment| assignment.queued_at),
    }
}

/// Phase, and what explains it.
struct Headline<'a> {
    phase: Phase,
    reason: Option<String>,
    message: Option<String>,
    waiting: Option<&'a Waiting>,
}

fn headline<'a>(known: &Known<'a>, latest: Option<&Run>) -> Headline<'a> {
    let live = latest.filter(|run| run.is_live());
    if let Some(run) = live {
        let phase = phase_of(run, known.server);
        if phase != Phase::Pending {
            return Headline {
                phase,
                reason: None,
                message: progress(known, run),
                waiting: None,
            };
        }
    }
    let open = known
        .assignment
        .filter(|assignment| assignment.ended.is_none());
    if let Some(waiting) = known
        .waiting
        .filter(|_| live.is_some() || open.is_some() || latest.is_none())
    {
        return Headline {
            phase: Phase::Pending,
            reason: Some(waiting.reason.to_string()),
            message: Some(waiting.message.clone()),
            waiting: Some(waiting),
        };
    }
    if let Some(run) = live {
        // Refused, and the plan has not spoken yet.
        return pending(
            run.create_reason.unwrap_or(PendingReason::Queued),
            run.create_message
                .as_deref()
                .unwrap_or("its create was refused"),
        );
    }
    let ended = known
        .assignment
        .and_then(|assignment| assignment.ended.as_ref());
    match (latest, ended) {
        (Some(run), _) if open.is_none() || known.entry.is_none_or(|e| valid(e).is_none()) => {
            let end = run.ended.as_ref();
            Headline {
                phase: phase_of(run, known.server),
                reason: end.map(|end| end.reason.to_string()),
                message: end.map(|end| match (&run.delete_message, run.handover_until()) {
                    (Some(cause), _) => {
                        format!("{}; its server is still there: {cause}", end.message)
                    }
                    (None, Some(until)) if known.now < until => format!(
                        "{}; its guest hands over what is left of {}, until {} at the latest",
                        end.message,
                        if run.outcome.is_some() {
                            "its log"
                        } else {
                            "log and result"
                        },
                        until.format("%H:%M:%S UTC")
                    ),
                    _ => end.message.clone(),
                }),
                waiting: None,
            }
        }
        (None, Some(end)) => Headline {
            phase: end.reason.phase(),
            reason: Some(end.reason.to_string()),
            message: Some(end.message.clone()),
            waiting: None,
        },
        _ => match known.entry.map(|entry| &entry.state) {
            Some(SpecState::Broken(_)) => pending(
                PendingReason::SpecInvalid,
                "nothing starts until its spec file is mended",
            ),
            Some(SpecState::Absent { .. }) => pending(
                PendingReason::Queued,
                "its spec file is not there at the moment",
            ),
            _ => pending(PendingReason::Queued, "just seen; the next pass starts it"),
        },
    }
}

fn pending<'a>(reason: PendingReason, message: &str) -> Headline<'a> {
    Headline {
        phase: Phase::Pending,
        reason: Some(reason.to_string()),
        message: Some(message.to_owned()),
        waiting: None,
    }
}

/// What a live run is waiting for, where that is not plain from its phase.
fn progress(known: &Known<'_>, run: &Run) -> Option<String> {
    if run.outcome.is_some() {
        return Some("its guest has handed over".to_owned());
    }
    if run.started_at.is_some() && run.last_seen_at.is_none() {
        return Some(match run.session {
            Some(_) => "taken over with a ledger that was lost; its guest was not heard yet".to_owned(),
            None => "taken over with a ledger that was lost, without its guest: until it is off or its time is up".to_owned(),
        });
    }
    if run.is_missing() && known.server.is_none() {
        let heard = run.last_seen_at.max(run.env_at).unwrap_or(known.now);
        return Some(format!(
            "Hetzner says that its server is not there, but its guest reported {} s ago",
            (known.now - heard).num_seconds().max(0)
        ));
    }
    if run.started_at.is_none() {
        if let Some(message) = &run.create_message {
            return Some(message.clone());
        }
        if run.env_at.is_some() {
            return Some("its guest has fetched its env and not reported in yet".to_owned());
        }
        if run.booted_at.is_some() {
            return Some("its server runs, its guest has not called yet".to_owned());
        }
        return Some(match run.server {
            Some(_) => match known.server {
                Some(server) => format!("its server is {}", server.status.as_str()),
                None => "its server starts".to_owned(),
            },
            None => "its server is being created".to_owned(),
        });
    }
    known
        .entry
        .is_some_and(|entry| matches!(entry.state, SpecState::Absent { .. }))
        .then(|| "its spec file is not there at the moment".to_owned())
}

fn valid(entry: &SpecEntry) -> Option<&Cattle> {
    match &entry.state {
        SpecState::Valid(cattle) => Some(cattle),
        SpecState::Broken(_) | SpecState::Absent { .. } => None,
    }
}

fn diagnostics(entry: &SpecEntry) -> &[Diagnostic] {
    match &entry.state {
        SpecState::Broken(diagnostics) => diagnostics,
        SpecState::Valid(_) | SpecState::Absent { .. } => &[],
    }
}

/// The status of a server that no run stands behind; it has the name of its cattle.
#[must_use]
pub fn orphan_status(server: &ObservedServer) -> CattleStatus {
    let name = server
        .labels
        .cattle
        .as_ref()
        .map_or_else(|| server.name.clone(), ToString::to_string);
    let message = format!(
        "server {} ({}) of this fleet has no run in the ledger; it is deleted when it expires, at {}",
        server.name,
        server.id,
        conditions::expiry(server)
    );
    server_status(
        name,
        server,
        (ConditionType::Orphan, "unknown-run"),
        message,
    )
}

/// The status of a server that carries the label of a run which has another one; it has the server's
/// name.
#[must_use]
pub fn duplicate_status(server: &ObservedServer, run: &Run) -> CattleStatus {
    let message = format!(
        "server {} ({}) carries the label of run {} of {}, which has {}; {}",
        server.name,
        server.id,
        run.id,
        run.cattle,
        run.server_in_words(),
        conditions::goes_with_its_run(server)
    );
    let kind = (ConditionType::Duplicate, "second-server");
    server_status(server.name.clone(), server, kind, message)
}

fn server_status(
    name: String,
    server: &ObservedServer,
    (kind, reason): (ConditionType, &str),
    mut message: String,
) -> CattleStatus {
    for problem in server.labels.problems.iter().chain(&server.odd) {
        message.push_str("; ");
        message.push_str(problem);
    }
    let what = condition(kind, true, reason, message.clone(), Some(server.created));
    CattleStatus {
        name,
        phase: Phase::Running,
        // The condition says it.
        reason: None,
        message: Some(message),
        queue_position: None,
        conditions: std::iter::once(what)
            .chain(conditions::unread(server))
            .collect(),
        run: Some(run::unknown_run(server)),
        earlier_runs: Vec::new(),
        spec: None,
        origin: None,
        diagnostics: Vec::new(),
        labels: BTreeMap::new(),
        requester: None,
        queued_at: None,
    }
}

fn summary(cattle: &Cattle) -> SpecSummary {
    SpecSummary {
        persona: cattle.persona.to_string(),
        task_id: cattle.task.task_id.clone(),
        model: cattle.model.clone(),
        ttl: written(cattle.ttl),
        spec_hash: cattle.hash.to_string(),
    }
}

fn summary_of_run(run: &Run) -> SpecSummary {
    SpecSummary {
        persona: run.spec.persona.to_string(),
        task_id: run.spec.task.task_id.clone(),
        model: run.spec.model.clone(),
        ttl: written(run.spec.ttl),
        spec_hash: run.hash.to_string(),
    }
}

fn written(duration: std::time::Duration) -> SpecDuration {
    let seconds = duration
        .as_secs()
        .clamp(1, cattle_schemas::duration::MAX_SECONDS);
    SpecDuration::from_secs(seconds).expect("clamped into its range")
}
