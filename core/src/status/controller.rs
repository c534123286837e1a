//! The controller's own conditions.

use cattle_schemas::status::{Condition, ConditionType, ControllerStatus};

use super::conditions::condition;
use crate::{
    account::{Refusal, Token},
    action::Limits,
    clock::{AGREES, Clocks, Trust},
    desired::{Desired, RootState},
    identity::{self, Project},
    ledger::Ledger,
    observed::Observed,
    pause::Pause,
    plan::apart,
};

/// Servers that are named in one sentence; of more it says how many there are.
const MAX_NAMED: usize = 5;

/// The controller's own status.
#[must_use]
pub fn controller_status(
    version: &str,
    limits: &Limits,
    observed: &Observed,
    desired: &Desired,
    ledger: &Ledger,
    config_error: Option<&str>,
) -> ControllerStatus {
    let unread: Vec<String> = desired
        .roots
        .iter()
        .filter_map(|(root, state)| match state {
            RootState::Readable => None,
            RootState::Unreadable(why) => Some(format!("{root}: {why}")),
        })
        .collect();
    let mut conditions = vec![
        paused(ConditionType::StartsPaused, limits, ledger, |it| it.starts),
        paused(ConditionType::EndsPaused, limits, ledger, |it| it.ends),
        reachable(limits, observed),
        clock_skew(limits.clocks),
    ];
    conditions.extend(project(limits));
    conditions.extend(token(&limits.token));
    conditions.extend([
        limits.ledger.condition(),
        servers_readable(observed),
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
    ]);
    ControllerStatus {
        fleet: limits.fleet.to_string(),
        version: version.to_owned(),
        conditions,
        listed_at: observed.listed_at,
        calls: None,
    }
}

/// What is paused, every reason a sentence; the condition's own reason is the first one's.
fn paused(
    kind: ConditionType,
    limits: &Limits,
    ledger: &Ledger,
    is_held: impl Fn(&Pause) -> bool,
) -> Condition {
    let held: Vec<&Pause> = ledger.holding().filter(|pause| is_held(pause)).collect();
    let disabled = kind == ConditionType::StartsPaused && !limits.enabled;
    let mut sentences: Vec<String> = held.iter().map(|pause| pause.sentence()).collect();
    if disabled {
        sentences.push("cattle.enabled is false".to_owned());
    }
    let (Some(reason), since) = (
        held.first()
            .map(|pause| pause.reason.as_str())
            .or(disabled.then_some("disabled")),
        held.iter().map(|pause| pause.since).min(),
    ) else {
        return condition(kind, false, "running", "", None);
    };
    condition(kind, true, reason, sentences.join("; "), since)
}

/// Whether the API answers. One that refuses our token does.
fn reachable(limits: &Limits, observed: &Observed) -> Condition {
    let kind = ConditionType::HetznerReachable;
    if limits.token.refusal() == Some(Refusal::Unauthorized) {
        return condition(kind, true, "answers", "", None);
    }
    match (&observed.unreachable, observed.listed_at) {
        (Some(why), at) => condition(kind, false, "list-failed", why, at),
        (None, None) => condition(
            kind,
            false,
            "not-listed",
            "waits for the first list of servers",
            None,
        ),
        (None, Some(_)) => condition(kind, true, "listed", "", None),
    }
}

/// Whether a clock is not what the others are.
#[must_use]
pub fn clock_skew(clocks: Clocks) -> Condition {
    let kind = ConditionType::ClockSkew;
    let wall = clocks.wall_ahead;
    match clocks.trust {
        Trust::Unsettled(dispute) => condition(
            kind,
            true,
            "unsettled",
            format!(
                "Hetzner's clock {} this machine's: nothing starts or expires until ten of its replies over five minutes have told the same, or this machine's clock is set right",
                apart(dispute.ahead)
            ),
            Some(dispute.since),
        ),
        Trust::Disputed(dispute) => condition(
            kind,
            true,
            "hetzner",
            format!(
                "Hetzner's latest date {} its earlier ones; it is not believed, and nothing expires by it, until ten replies over five minutes have told the same",
                apart(dispute.ahead)
            ),
            Some(dispute.since),
        ),
        Trust::Agreed if wall.abs() > AGREES => condition(
            kind,
            true,
            "own-clock",
            format!(
                "this machine's clock {} Hetzner's, which is the one that is used; set it right",
                apart(wall)
            ),
            None,
        ),
        Trust::Agreed | Trust::Unheard => condition(kind, false, "agree", "", None),
    }
}

/// Whether the token opens the fleet's project, once something has said so.
fn project(limits: &Limits) -> Option<Condition> {
    let kind = ConditionType::ProjectIsOurs;
    limits.own.as_ref()?;
    match limits.project {
        Project::Unknown => None,
        Project::Ours => Some(condition(kind, true, "found", "", None)),
        Project::Foreign => Some(condition(
            kind,
            false,
            "nothing-of-ours",
            identity::FOREIGN,
            None,
        )),
    }
}

/// Whether the token may read and write, once an answer has said so.
fn token(token: &Token) -> Option<Condition> {
    let kind = ConditionType::TokenAccepted;
    match token {
        Token::Unknown => None,
        Token::Accepted => Some(condition(kind, true, "accepted", "", None)),
        Token::Refused {
            why,
            message,
            since,
            ..
        } => Some(condition(kind, false, why.as_str(), message, Some(*since))),
    }
}

/// Whether everything was understood that the last list had. What was not exists all the same, and
/// bills.
fn servers_readable(observed: &Observed) -> Condition {
    let kind = ConditionType::ServersReadable;
    let mut unread = observed.unread();
    if unread.is_empty() {
        return condition(kind, true, "readable", "", None);
    }
    let more = unread.len().saturating_sub(MAX_NAMED);
    unread.truncate(MAX_NAMED);
    let mut message = unread.join("; ");
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    condition(kind, false, "odd", message, observed.listed_at)
}
