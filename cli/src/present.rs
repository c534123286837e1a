//! The words for a cattle that several commands share.

use cattle_schemas::status::{CallBudget, CattleStatus, Condition, ConditionType, Cost};

use crate::output::clean;

/// `Pending (max-instances): 4 of 4 servers exist`, `Failed (task-failed)`, `Running`.
pub(crate) fn phase_and_reason(status: &CattleStatus) -> String {
    let mut text = status.phase.to_string();
    if let Some(reason) = &status.reason {
        text.push_str(&format!(" ({})", clean(reason)));
    }
    if let Some(message) = &status.message {
        text.push_str(&format!(": {}", clean(message)));
    }
    text
}

/// The column REASON: why it waits or ended, and what else deserves a look.
pub(crate) fn reason(status: &CattleStatus) -> String {
    let mut parts: Vec<String> = status.reason.iter().cloned().collect();
    if let (Some(position), true) = (status.queue_position, !parts.is_empty()) {
        parts[0] = format!("{} #{position}", parts[0]);
    }
    if let Some(run) = status.run.as_ref().filter(|run| run.end_reason.is_some()) {
        if let Some(cause) = run.cause {
            parts.push(cause.as_str().to_owned());
        }
        if run.log.is_some_and(|log| log.is_cut()) {
            parts.push("log cut".to_owned());
        }
    }
    if let Some(first) = status.diagnostics.first() {
        parts.push(match first.line {
            0 => "spec invalid".to_owned(),
            line => format!("spec invalid, line {line}"),
        });
    }
    for condition in &status.conditions {
        match (condition.kind, condition.status) {
            (ConditionType::Drifted, true) => parts.push("drifted".to_owned()),
            (ConditionType::Kept, true) => parts.push("kept".to_owned()),
            (ConditionType::Duplicate, true) => parts.push("duplicate".to_owned()),
            (ConditionType::TakenOver, true) => parts.push("taken over".to_owned()),
            (ConditionType::Orphan, true) => parts.push("orphan".to_owned()),
            (ConditionType::ImageResolved, false) => {
                parts.push(format!("image {}", clean(&condition.reason)));
            }
            (ConditionType::SpecValid, false) if status.diagnostics.is_empty() => {
                // Nothing is wrong with what is not there.
                let absent = ["absent", "none"].contains(&condition.reason.as_str());
                parts.push(
                    if absent {
                        "spec removed"
                    } else {
                        "spec invalid"
                    }
                    .to_owned(),
                );
            }
            _ => {}
        }
    }
    parts.join(", ")
}

/// `0.0060 EUR`.
pub(crate) fn cost(cost: &Cost) -> String {
    format!("{} {}", cost.amount, cost.currency)
}

/// What Hetzner's rate limit has left, and who used it.
pub(crate) fn calls(calls: &CallBudget) -> String {
    format!(
        "Hetzner's rate limit: {} of {} calls left, {} of them kept for deletes; last hour: {} by this controller, {} by others",
        calls.remaining, calls.limit, calls.reserve, calls.used_last_hour, calls.others_last_hour
    )
}

/// The warning while only deletes may use what is left.
pub(crate) fn calls_spent(calls: &CallBudget) -> Option<String> {
    (calls.remaining <= calls.reserve).then(|| {
        format!(
            "Hetzner's rate limit has {} of {} calls left, and {} are kept for deletes: nothing starts until there are more (last hour: {} by this controller, {} by others)",
            calls.remaining,
            calls.limit,
            calls.reserve,
            calls.used_last_hour,
            calls.others_last_hour
        )
    })
}

/// Whether a condition is as it should be.
pub(crate) fn is_fine(condition: &Condition) -> bool {
    match condition.kind {
        ConditionType::SpecValid
        | ConditionType::ImageResolved
        | ConditionType::ServersReadable
        | ConditionType::HetznerReachable
        | ConditionType::TokenAccepted
        | ConditionType::ProjectIsOurs
        | ConditionType::LedgerWritable
        | ConditionType::FleetConfigValid
        | ConditionType::SpecsReadable => condition.status,
        ConditionType::Drifted
        | ConditionType::Kept
        | ConditionType::Orphan
        | ConditionType::Duplicate
        | ConditionType::TakenOver
        | ConditionType::ClockSkew
        | ConditionType::StartsPaused
        | ConditionType::EndsPaused => !condition.status,
    }
}

/// One condition that is not fine, as a sentence.
pub(crate) fn condition(condition: &Condition) -> String {
    let (kind, message) = (condition.kind, clean(&condition.message));
    if condition.status {
        format!("{kind}: {message}")
    } else {
        format!("not {kind}: {message}")
    }
}

/// Whether this is a server of the fleet that no run in the ledger stands behind.
pub(crate) fn is_orphan(status: &CattleStatus) -> bool {
    holds(status, ConditionType::Orphan)
}

/// Whether this is a server without a run of its own: nobody's, or a copy of a run's. It can be
/// looked at, and nothing else.
pub(crate) fn is_stray(status: &CattleStatus) -> bool {
    // The run that has the copy is told of it too, and has a spec.
    is_orphan(status) || (status.spec.is_none() && holds(status, ConditionType::Duplicate))
}

fn holds(status: &CattleStatus, kind: ConditionType) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|it| it.kind == kind && it.status)
}
