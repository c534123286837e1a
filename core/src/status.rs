//! What is said about a cattle. A status always says why something waits.

use std::collections::BTreeMap;

use cattle_schemas::{
    Timestamp,
    duration::SpecDuration,
    problem::Diagnostic,
    status::{
        CattleStatus, Condition, ConditionType, ControllerStatus, Cost, PendingReason, Phase,
        RunStatus, ServerStatus, SpecOrigin, SpecSummary,
    },
};

use crate::{
    action::{Limits, Waiting},
    cost,
    desired::{Cattle, Desired, RootState, SpecEntry, SpecState},
    ledger::{Assignment, Run},
    lifecycle::phase_of,
    names::CattleName,
    observed::{Observed, ObservedServer},
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
    /// The account's currency.
    pub currency: &'a str,
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
        run: latest.map(|run| run_status(run, known.server, known.currency, known.now)),
        earlier_runs: known
            .runs
            .iter()
            .skip(1)
            .map(|run| run_status(run, None, known.currency, known.now))
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
                reason: run.stop.as_ref().map(|stop| stop.reason.to_string()),
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
                message: end.map(|end| end.message.clone()),
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
    if let Some(stop) = &run.stop {
        return Some(format!("asked to stop: {}", stop.message));
    }
    if run.outcome.is_some() {
        return Some("its guest has handed over".to_owned());
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
        return Some("its server is being created".to_owned());
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

fn condition(
    kind: ConditionType,
    status: bool,
    reason: &str,
    message: impl Into<String>,
    since: Option<Timestamp>,
) -> Condition {
    Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message: message.into(),
        since,
    }
}

fn conditions(known: &Known<'_>, latest: Option<&Run>) -> Vec<Condition> {
    let spec_valid = match known.entry.map(|entry| &entry.state) {
        Some(SpecState::Valid(_)) => condition(ConditionType::SpecValid, true, "valid", "", None),
        Some(SpecState::Broken(diagnostics)) => condition(
            ConditionType::SpecValid,
            false,
            "invalid",
            invalid(diagnostics),
            None,
        ),
        Some(SpecState::Absent { since }) => condition(
            ConditionType::SpecValid,
            false,
            "absent",
            "its spec file is not there",
            Some(*since),
        ),
        None => condition(
            ConditionType::SpecValid,
            false,
            "none",
            "there is no spec file",
            None,
        ),
    };
    let mut conditions = vec![spec_valid];
    if let Some(run) = latest {
        conditions.extend(known.entry.and_then(valid).and_then(|c| drifted(run, c)));
        conditions.extend(kept(run, known.now));
    }
    if let Some(server) = known.server {
        conditions.extend(labels_unread(server));
    }
    conditions
}

/// `invalid, line 5`: what `list` shows beside the phase; the rest is in the diagnostics.
fn invalid(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.first() {
        None => "invalid".to_owned(),
        Some(first) if first.line == 0 => format!("invalid: {}", first.message),
        Some(first) => {
            let more = match diagnostics.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            format!("invalid, line {}: {}{more}", first.line, first.message)
        }
    }
}

fn drifted(run: &Run, cattle: &Cattle) -> Option<Condition> {
    if !run.is_live() || run.hash != cattle.hash {
        return None;
    }
    let (was, is) = (&run.spec.placement, &cattle.placement);
    let mut differences = Vec::new();
    if was.image != is.image {
        differences.push(format!("image {} instead of {}", was.image, is.image));
    }
    if was.server_types != is.server_types {
        differences.push(format!(
            "server types {} instead of {}",
            was.server_types.join(", "),
            is.server_types.join(", ")
        ));
    }
    if was.locations != is.locations {
        differences.push(format!(
            "locations {} instead of {}",
            was.locations.join(", "),
            is.locations.join(", ")
        ));
    }
    if run.spec.model != cattle.model {
        differences.push(format!(
            "model {} instead of {}",
            run.spec.model, cattle.model
        ));
    }
    (!differences.is_empty()).then(|| {
        condition(
            ConditionType::Drifted,
            true,
            "next-run",
            format!(
                "the run has {}; the next run follows its spec",
                differences.join("; ")
            ),
            None,
        )
    })
}

fn kept(run: &Run, now: Timestamp) -> Option<Condition> {
    let (end, until) = (run.ended.as_ref()?, run.kept_until()?);
    run.is_kept(now).then(|| {
        let reason = if run.spec.auto_shutdown {
            "on-failure-hold"
        } else {
            "auto-shutdown-off"
        };
        condition(
            ConditionType::Kept,
            true,
            reason,
            format!(
                "its server is kept, and billed, until {}",
                until.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            Some(end.at),
        )
    })
}

fn labels_unread(server: &ObservedServer) -> Option<Condition> {
    let problems = &server.labels.problems;
    (!problems.is_empty()).then(|| {
        condition(
            ConditionType::Drifted,
            true,
            "labels",
            problems.join("; "),
            None,
        )
    })
}

/// The status of a server that no run stands behind; it has the server's name.
#[must_use]
pub fn orphan_status(server: &ObservedServer) -> CattleStatus {
    let expiry = server.labels.expires_at.map_or_else(
        || "no known time".to_owned(),
        |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    );
    let mut message = format!(
        "server {} ({}) of this fleet has no run in the ledger; it is deleted when it expires, at {expiry}",
        server.name, server.id
    );
    for problem in &server.labels.problems {
        message.push_str("; ");
        message.push_str(problem);
    }
    CattleStatus {
        name: server
            .labels
            .cattle
            .as_ref()
            .map_or_else(|| server.name.clone(), ToString::to_string),
        phase: Phase::Running,
        reason: Some("orphan".to_owned()),
        message: Some(message.clone()),
        queue_position: None,
        conditions: vec![condition(
            ConditionType::Orphan,
            true,
            "unknown-run",
            message,
            Some(server.created),
        )],
        run: None,
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

/// The status of one run.
#[must_use]
pub fn run_status(
    run: &Run,
    server: Option<&ObservedServer>,
    currency: &str,
    now: Timestamp,
) -> RunStatus {
    RunStatus {
        run: run.id.to_string(),
        phase: phase_of(run, server),
        end_reason: run.ended.as_ref().map(|end| end.reason),
        message: run.ended.as_ref().map(|end| end.message.clone()),
        attempt: run.attempt,
        server: run.server.as_ref().map(|known| ServerStatus {
            id: known.id.0,
            name: known.name.clone(),
            status: server
                .filter(|_| run.gone_at.is_none())
                .map(|server| server.status.as_str().to_owned()),
            server_type: known.server_type.clone(),
            location: known.location.clone(),
            ipv4: known.ipv4.clone(),
        }),
        created_at: run.created_at,
        booted_at: run.booted_at,
        started_at: run.started_at,
        last_seen_at: run.last_seen_at,
        ended_at: run.ended.as_ref().map(|end| end.at),
        gone_at: run.gone_at,
        expires_at: run.gone_at.is_none().then_some(run.expires_at),
        exit_code: run.outcome.as_ref().and_then(|outcome| outcome.exit_code),
        cost: run_cost(run, currency, now),
    }
}

/// What a run costs so far; `None` while the price is not known.
#[must_use]
pub fn run_cost(run: &Run, currency: &str, now: Timestamp) -> Option<Cost> {
    let server = run.server.as_ref()?;
    let hourly = server.hourly_price.as_deref()?.parse().ok()?;
    let created = server.created.unwrap_or(run.posted_at);
    let started_hours = cost::started_hours(created, run.gone_at.unwrap_or(now));
    Some(Cost {
        amount: cost::cost(hourly, started_hours, None).to_string(),
        currency: currency.to_owned(),
        started_hours,
    })
}

/// The controller's own status.
#[must_use]
pub fn controller_status(
    version: &str,
    limits: &Limits,
    observed: &Observed,
    desired: &Desired,
    config_error: Option<&str>,
) -> ControllerStatus {
    let paused = |kind, why: Option<&str>| match why {
        Some(why) => condition(kind, true, "paused", why, None),
        None => condition(kind, false, "running", "", None),
    };
    let disabled = (!limits.enabled).then_some("cattle.enabled is false");
    let unread: Vec<String> = desired
        .roots
        .iter()
        .filter_map(|(root, state)| match state {
            RootState::Readable => None,
            RootState::Unreadable(why) => Some(format!("{root}: {why}")),
        })
        .collect();
    ControllerStatus {
        fleet: limits.fleet.to_string(),
        version: version.to_owned(),
        conditions: vec![
            paused(
                ConditionType::StartsPaused,
                limits.starts_paused.as_deref().or(disabled),
            ),
            paused(ConditionType::EndsPaused, limits.ends_paused.as_deref()),
            match (&observed.unreachable, observed.listed_at) {
                (Some(why), at) => condition(
                    ConditionType::HetznerReachable,
                    false,
                    "list-failed",
                    why,
                    at,
                ),
                (None, None) => condition(
                    ConditionType::HetznerReachable,
                    false,
                    "not-listed",
                    "waits for the first list of servers",
                    None,
                ),
                (None, Some(_)) => {
                    condition(ConditionType::HetznerReachable, true, "listed", "", None)
                }
            },
            match config_error {
                Some(why) => condition(
                    ConditionType::FleetConfigValid,
                    false,
                    "invalid",
                    format!("the last good configuration stays in use: {why}"),
                    None,
                ),
                None => condition(ConditionType::FleetConfigValid, true, "valid", "", None),
            },
            if unread.is_empty() {
                condition(ConditionType::SpecsReadable, true, "readable", "", None)
            } else {
                condition(
                    ConditionType::SpecsReadable,
                    false,
                    "unreadable",
                    format!(
                        "nothing of it is ended for its absence: {}",
                        unread.join("; ")
                    ),
                    None,
                )
            },
        ],
        listed_at: observed.listed_at,
    }
}
