//! A plan in words: the dry run, and one line for each action in the log.

use std::{fmt, time::Duration};

use cattle_schemas::{
    Timestamp,
    api::{PlanReply, PlannedAction, PlannedWait, SpawnCost},
    duration::SpecDuration,
};
use chrono::TimeDelta;

use crate::{
    action::{Action, Plan},
    candidates::choose,
    catalogue::Catalogue,
    charge,
    cost::Amount,
    desired::{Desired, SpecState},
    ledger::Ledger,
    names::{CattleName, RunId, ServerId},
};

/// A duration as people write it.
pub(crate) fn span(duration: Duration) -> String {
    SpecDuration::from_secs(duration.as_secs())
        .map_or_else(|_| format!("{}s", duration.as_secs()), |d| d.to_string())
}

/// How far one clock is from another, as in `is 3h ahead of`.
#[must_use]
pub fn apart(ahead: TimeDelta) -> String {
    let mut seconds = ahead.num_seconds().unsigned_abs();
    if seconds >= 120 {
        // Dates are of whole seconds, and nobody reads more.
        seconds = (seconds + 30) / 60 * 60;
    }
    let far = span(Duration::from_secs(seconds));
    if ahead < TimeDelta::zero() {
        format!("is {far} behind")
    } else {
        format!("is {far} ahead of")
    }
}

fn time(at: Timestamp) -> impl fmt::Display {
    at.format("%Y-%m-%d %H:%M:%S UTC")
}

impl Action {
    /// A stable word for what it does.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Enqueue { .. } => "enqueue",
            Self::Close { .. } => "close",
            Self::Start { .. } => "start",
            Self::Retry { .. } => "retry",
            Self::Adopt { .. } | Self::AdoptUnknown { .. } => "adopt",
            Self::NoteDuplicate { .. } => "note-duplicate",
            Self::Regain { .. } => "regain",
            Self::Redate { .. } => "redate",
            Self::Rejoin { .. } => "rejoin",
            Self::MarkBooted { .. } => "mark-booted",
            Self::Update { .. } => "update",
            Self::Relabel { .. } => "relabel",
            Self::HandedOver { .. } => "handed-over",
            Self::End { .. } => "end",
            Self::Release { .. } => "release",
            Self::Delete { .. } | Self::DeleteExpired { .. } => "delete",
            Self::ConfirmGone { .. } => "confirm-gone",
            Self::MarkGone { .. } => "mark-gone",
            Self::Lookup { .. } => "look-up",
            Self::FollowCreate { .. } => "follow",
            Self::PowerOn { .. } => "power-on",
            Self::Pause(_) => "pause",
            Self::Resume { .. } => "resume",
            Self::ReapOrphan { .. } => "reap",
        }
    }

    /// Its cattle, where the action itself says.
    #[must_use]
    pub fn cattle(&self) -> Option<&CattleName> {
        match self {
            Self::Enqueue { cattle, .. } | Self::Close { cattle, .. } => Some(cattle),
            Self::Start { cattle, .. } | Self::AdoptUnknown { cattle, .. } => Some(&cattle.name),
            _ => None,
        }
    }

    /// Its run, where there is one already.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Enqueue { .. }
            | Self::Close { .. }
            | Self::Start { .. }
            | Self::Pause(_)
            | Self::Resume { .. }
            | Self::ReapOrphan { .. } => None,
            Self::Retry { run, .. }
            | Self::Adopt { run, .. }
            | Self::AdoptUnknown { run, .. }
            | Self::NoteDuplicate { run, .. }
            | Self::Regain { run }
            | Self::Redate { run }
            | Self::Rejoin { run, .. }
            | Self::MarkBooted { run }
            | Self::Update { run, .. }
            | Self::HandedOver { run, .. }
            | Self::Relabel { run, .. }
            | Self::End { run, .. }
            | Self::Release { run, .. }
            | Self::Delete { run, .. }
            | Self::DeleteExpired { run, .. }
            | Self::ConfirmGone { run, .. }
            | Self::MarkGone { run }
            | Self::Lookup { run, .. }
            | Self::FollowCreate { run }
            | Self::PowerOn { run, .. } => Some(*run),
        }
    }

    /// Its server, where there is one already.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        match self {
            Self::Adopt { server, .. }
            | Self::Rejoin { server, .. }
            | Self::AdoptUnknown { server, .. }
            | Self::NoteDuplicate { server, .. }
            | Self::Relabel { server, .. }
            | Self::Delete { server, .. }
            | Self::DeleteExpired { server, .. }
            | Self::ConfirmGone { server, .. }
            | Self::PowerOn { server, .. }
            | Self::ReapOrphan { server, .. } => Some(*server),
            _ => None,
        }
    }

    /// A sentence for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Enqueue { requester, .. } => format!("queue it for {}", requester.0),
            Self::Close {
                reason, message, ..
            } => format!("end it without a server, as {reason}: {message}"),
            Self::Start { cattle, .. } => format!(
                "create a server ({} in {}, image {}) for at most {}",
                cattle.placement.server_types.join(" or "),
                cattle.placement.locations.join(" or "),
                cattle.placement.image,
                span(cattle.ttl)
            ),
            Self::Retry { .. } => "create its server, a further attempt".to_owned(),
            Self::Adopt { server, .. } => format!("take server {server} for its own"),
            Self::AdoptUnknown { server, .. } => {
                format!("take over server {server}, whose run is not in the ledger")
            }
            Self::NoteDuplicate { server, name, .. } => {
                format!("note that server {name} ({server}) carries its label too")
            }
            Self::Regain { .. } => {
                "note that no other owner has marked its server any more".to_owned()
            }
            Self::Redate { .. } => "count its time from now: the clock went back".to_owned(),
            Self::Rejoin { server, .. } => {
                format!("take server {server} as it is: the ledger is an older copy")
            }
            Self::MarkBooted { .. } => "note that Hetzner runs its server".to_owned(),
            Self::Update {
                ttl, expires_at, ..
            } => format!(
                "follow its spec in place: ttl {}, so that it expires at {}",
                span(*ttl),
                time(*expires_at)
            ),
            Self::Relabel { server, .. } => format!("set the labels of server {server}"),
            Self::HandedOver { stored, .. } => {
                format!("take no more from its guest: {stored} bytes of its log are here")
            }
            Self::End {
                reason,
                message,
                hold_until,
                ..
            } => match hold_until {
                None => format!("end it as {reason}: {message}"),
                Some(until) => format!(
                    "end it as {reason} and keep its server until {}: {message}",
                    time(*until)
                ),
            },
            Self::Release { message, .. } => format!("let its kept server go: {message}"),
            Self::Delete { server, .. } => format!("delete server {server}"),
            Self::DeleteExpired { server, .. } => format!(
                "delete server {server}, which is past its expiry, although its end cannot be recorded"
            ),
            Self::ConfirmGone { server, .. } => format!("ask whether server {server} is gone"),
            Self::MarkGone { .. } => "note that it has no server".to_owned(),
            Self::Lookup { name, .. } => format!("look for server {name}"),
            Self::FollowCreate { .. } => "ask how far its create is".to_owned(),
            Self::PowerOn { server, .. } => format!("power server {server} on"),
            Self::Pause(pause) => format!("pause ({}): {}", pause.reason, pause.message),
            Self::Resume {
                reason, message, ..
            } => format!("go on ({reason}): {message}"),
            Self::ReapOrphan {
                server,
                name,
                expired_at,
            } => format!(
                "delete server {name} ({server}), which no run stands behind and which expired at {}",
                time(*expired_at)
            ),
        }
    }
}

impl fmt::Display for Action {
    /// One line: verb, subject, sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb())?;
        if let Some(cattle) = self.cattle() {
            write!(f, " {cattle}")?;
        } else if let Some(run) = self.run() {
            write!(f, " {run}")?;
        }
        write!(f, ": {}", self.describe())
    }
}

/// The cattle that an action is about, where it is about one.
#[must_use]
pub fn cattle_of<'a>(action: &'a Action, ledger: &'a Ledger) -> Option<&'a CattleName> {
    action
        .cattle()
        .or_else(|| Some(&ledger.runs.get(&action.run()?)?.cattle))
}

/// What the servers cost that a plan creates, each at the first of its candidates that will be
/// tried. `None` while that is not known of each, or without any.
fn spawn_cost(plan: &Plan, catalogue: &Catalogue, now: Timestamp) -> Option<SpawnCost> {
    let mut servers = 0;
    let mut hourly = Amount::default();
    for action in &plan.actions {
        let (placement, limit) = match action {
            Action::Start {
                cattle,
                hourly_limit,
                ..
            } => (&cattle.placement, *hourly_limit),
            Action::Retry {
                placement,
                hourly_limit,
                ..
            } => (placement, *hourly_limit),
            _ => continue,
        };
        let first = choose(placement, catalogue, now)
            .candidates
            .into_iter()
            .find(|it| charge::is_within(limit, catalogue, (&it.server_type, &it.location)))?;
        servers += 1;
        hourly = hourly + first.price?.hourly();
    }
    (servers > 0).then(|| SpawnCost {
        servers,
        hourly: hourly.to_string(),
        currency: catalogue.currency.clone(),
    })
}

/// The plan as the socket answers it. The ledger gives the names of runs, the catalogue prices.
#[must_use]
pub fn to_api(
    plan: &Plan,
    desired: &Desired,
    ledger: &Ledger,
    catalogue: &Catalogue,
    now: Timestamp,
) -> PlanReply {
    let mut diagnostics = desired.strays.clone();
    for entry in desired.specs.values() {
        if let SpecState::Broken(errors) = &entry.state {
            diagnostics.extend(errors.iter().cloned());
        }
    }
    PlanReply {
        actions: plan
            .actions
            .iter()
            .map(|action| PlannedAction {
                verb: action.verb().to_owned(),
                cattle: cattle_of(action, ledger).map(ToString::to_string),
                run: action.run().map(|run| run.to_string()),
                server: action.server().map(|server| server.0),
                message: action.describe(),
            })
            .collect(),
        waiting: plan
            .waiting
            .iter()
            .map(|waiting| PlannedWait {
                cattle: waiting.cattle.to_string(),
                reason: waiting.reason.to_string(),
                message: waiting.message.clone(),
                queue_position: waiting.queue_position,
            })
            .collect(),
        next_wake: plan.next_wake,
        diagnostics,
        spawn: spawn_cost(plan, catalogue, now),
    }
}
