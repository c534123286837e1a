//! One run, and what it costs.

use cattle_schemas::{
    Timestamp,
    status::{Cost, LogStatus, Phase, RunStatus, ServerStatus},
};

use crate::{
    catalogue::Catalogue, charge::Charge, cost::billed, ledger::Run, lifecycle::phase_of,
    observed::ObservedServer,
};

/// The status of one run.
#[must_use]
pub fn run_status(
    run: &Run,
    server: Option<&ObservedServer>,
    catalogue: &Catalogue,
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
        // A refused create's time has not begun.
        expires_at: (run.gone_at.is_none() && !run.is_refused()).then_some(run.expires_at),
        hand_over_until: run.handover_until(),
        exit_code: run.outcome.as_ref().and_then(|outcome| outcome.exit_code),
        cause: run.outcome.as_ref().and_then(|outcome| outcome.cause),
        log: log_status(run),
        cost: run_cost(run, catalogue, now),
    }
}

fn log_status(run: &Run) -> Option<LogStatus> {
    let known = run.outcome.is_some() || run.log_stored.is_some();
    known.then(|| LogStatus {
        written: run.log_written(),
        stored: run.log_stored,
    })
}

/// The server of a run that the ledger does not know, from its labels alone.
pub(super) fn unknown_run(server: &ObservedServer) -> RunStatus {
    RunStatus {
        run: server
            .labels
            .run
            .map_or_else(|| "unknown".to_owned(), |run| run.to_string()),
        phase: Phase::Running,
        end_reason: None,
        message: None,
        attempt: 0,
        server: Some(ServerStatus {
            id: server.id.0,
            name: server.name.clone(),
            status: Some(server.status.as_str().to_owned()),
            server_type: server.server_type.clone(),
            location: server.location.clone(),
            ipv4: server.ipv4.clone(),
        }),
        created_at: server.created,
        booted_at: None,
        started_at: None,
        last_seen_at: None,
        ended_at: None,
        gone_at: None,
        expires_at: server.labels.expires_at,
        hand_over_until: None,
        exit_code: None,
        cause: None,
        log: None,
        cost: None,
    }
}

/// What a run costs so far; `None` while the price is not known.
#[must_use]
pub fn run_cost(run: &Run, catalogue: &Catalogue, now: Timestamp) -> Option<Cost> {
    let charge = Charge::of_run(run)?;
    let price = charge.price(catalogue)?;
    let billed = billed(&price, charge.created, charge.until.unwrap_or(now));
    Some(Cost {
        amount: billed.total().to_string(),
        server: billed.server.to_string(),
        ipv4: billed.ipv4.to_string(),
        hourly: price.hourly().to_string(),
        currency: catalogue.currency.clone(),
        started_hours: billed.hours,
    })
}
