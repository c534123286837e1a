//! What may start now, and why the rest waits.
//!
//! Order: oldest first, but in turns: a requester's next start ranks behind everybody who has fewer
//! live runs, so that two hundred specs of one do not keep out the one spec of another.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cattle_schemas::{
    Timestamp,
    status::{EndReason, PendingReason},
};

use super::{
    Pass, Wish, account, brake,
    budget::Purse,
    calls, choice,
    describe::{apart, span},
    pairs::Pairs,
    probes::Probes,
};
use crate::{
    action::{Action, Waiting},
    clock::{AGREES, Trust},
    cost::Amount,
    desired::{Cattle, Origin, Placement, Requester, SpecState},
    identity::Project,
    ledger::{Assignment, Run},
    lifecycle::deadlines,
    names::CattleName,
    observed::FirewallView,
    writable::Writable,
};

/// The window of `createsPerHour`.
const HOUR: Duration = Duration::from_secs(3600);

/// One cattle that could start if there were room.
struct Candidate<'a> {
    name: &'a CattleName,
    requester: &'a Requester,
    /// Its place in the queue; `None` for who only comes now, behind everybody who waits.
    queued_at: Option<Timestamp>,
    placement: &'a Placement,
    /// Its TTL, extensions included.
    lives: Duration,
    action: Action,
}

impl Candidate<'_> {
    /// The action, once it is known what its server may cost.
    fn affordable(self, limit: Option<Amount>) -> Action {
        let mut action = self.action;
        match &mut action {
            Action::Start { hourly_limit, .. } | Action::Retry { hourly_limit, .. } => {
                *hourly_limit = limit;
            }
            _ => {}
        }
        action
    }
}

pub(super) fn assignments(pass: &mut Pass<'_>) {
    close_the_undesired(pass);
    let desired = pass.desired;
    let mut candidates = Vec::new();
    for (name, entry) in &desired.specs {
        match &entry.state {
            SpecState::Absent { .. } => {}
            SpecState::Broken(diagnostics) => {
                // A live run goes on; one that has no server yet is pending.
                let run = pass.view.live.get(name);
                if run.is_none_or(|run| run.is_refused()) {
                    let place = diagnostics.first().map_or_else(String::new, |d| {
                        format!(" ({}:{}: {})", d.path, d.line, d.message)
                    });
                    wait(
                        pass,
                        name,
                        PendingReason::SpecInvalid,
                        format!("nothing starts until its spec file is mended{place}"),
                    );
                }
            }
            SpecState::Valid(cattle) => {
                candidates.extend(candidate(pass, &entry.origin, cattle));
            }
        }
    }
    admit(pass, candidates);
}

fn wait(pass: &mut Pass<'_>, name: &CattleName, reason: PendingReason, message: String) {
    pass.waiting.push(Waiting {
        cattle: name.clone(),
        reason,
        message,
        queue_position: None,
    });
}

/// Pending assignments that nobody asks for any more.
fn close_the_undesired(pass: &mut Pass<'_>) {
    let ledger = pass.ledger;
    let open = |(_, assignment): &(_, &Assignment)| assignment.ended.is_none();
    for ((name, hash), assignment) in ledger.assignments.iter().filter(open) {
        let its_run_lives = pass
            .view
            .live
            .get(name)
            .is_some_and(|run| run.hash == *hash);
        let source = brake::source_of_name(pass, name, &assignment.requester);
        if its_run_lives || pass.ledger.ends_paused().is_some() || pass.brake.held(source).is_some()
        {
            continue;
        }
        let (reason, message) = match pass.wish(name, None) {
            Wish::Gone(since) if pass.due(since + deadlines::ABSENCE) => (
                EndReason::SpecRemoved,
                "its spec was removed before it started",
            ),
            Wish::Spec(cattle) if cattle.hash != *hash => {
                (EndReason::SpecChanged, "its spec changed before it started")
            }
            _ => continue,
        };
        pass.sections.ledger.push(Action::Close {
            cattle: name.clone(),
            hash: hash.clone(),
            reason,
            message: message.to_owned(),
        });
    }
}

/// Whether this cattle is to start, or why not yet; `None` also when nothing is left to start.
fn candidate<'a>(
    pass: &mut Pass<'a>,
    origin: &'a Origin,
    cattle: &'a Arc<Cattle>,
) -> Option<Candidate<'a>> {
    let ledger = pass.ledger;
    let key = (cattle.name.clone(), cattle.hash.clone());
    let assignment = ledger.assignments.get(&key);
    if let Some(run) = pass.view.live.get(&cattle.name).copied() {
        if run.hash != cattle.hash && assignment.is_none_or(reopens) {
            enqueue(pass, origin, cattle);
        }
        return with_live_run(pass, run, assignment, origin, cattle);
    }
    if adopted_in_this_pass(pass, &cattle.name) {
        if assignment.is_none() {
            enqueue(pass, origin, cattle);
        }
        return None;
    }
    let mut queued_at = None;
    let mut requester = &origin.requester;
    match assignment {
        Some(assignment) if reopens(assignment) => enqueue(pass, origin, cattle),
        Some(assignment) if assignment.ended.is_some() => return None,
        Some(assignment) => {
            queued_at = Some(assignment.queued_at);
            requester = &assignment.requester;
            if pass.expired(assignment.queued_at + cattle.start_within) {
                pass.sections.ledger.push(Action::Close {
                    cattle: cattle.name.clone(),
                    hash: cattle.hash.clone(),
                    reason: EndReason::NotStarted,
                    message: format!(
                        "still pending after startWithin ({})",
                        span(cattle.start_within)
                    ),
                });
                return None;
            }
        }
        None => enqueue(pass, origin, cattle),
    }
    if let Some(message) = previous_run(pass, &cattle.name) {
        wait(pass, &cattle.name, PendingReason::PreviousRun, message);
        return None;
    }
    if let Some(assignment) = assignment
        && let Some(backoff) = assignment.not_before
        && !pass.over(backoff)
    {
        let at = backoff.ends(pass.now);
        let message = format!(
            "{} of {} runs failed before the task began; the next starts at {}",
            assignment.failed_starts,
            deadlines::MAX_FAILED_STARTS,
            at.format("%H:%M:%S UTC")
        );
        wait(pass, &cattle.name, PendingReason::Backoff, message);
        return None;
    }
    if let Some((reason, message)) = choice::gate(pass, cattle) {
        wait(pass, &cattle.name, reason, message);
        return None;
    }
    Some(Candidate {
        name: &cattle.name,
        requester,
        queued_at,
        placement: &cattle.placement,
        lives: cattle.ttl,
        action: Action::Start {
            cattle: cattle.clone(),
            origin: origin.clone(),
            hourly_limit: None,
        },
    })
}

fn reopens(assignment: &Assignment) -> bool {
    assignment.ended.as_ref().is_some_and(|end| end.reopens)
}

fn enqueue(pass: &mut Pass<'_>, origin: &Origin, cattle: &Cattle) {
    if pass.limits.ledger != Writable::Yes || !pass.knows_the_time() {
        // Its place in the queue can wait: what little can be written is for ends, and `startWithin`
        // does not count from a wrong hour.
        return;
    }
    pass.sections.ledger.push(Action::Enqueue {
        cattle: cattle.name.clone(),
        hash: cattle.hash.clone(),
        requester: origin.requester.clone(),
        substance: Box::new(cattle.substance.clone()),
    });
}

fn adopted_in_this_pass(pass: &Pass<'_>, name: &CattleName) -> bool {
    pass.sections
        .servers
        .iter()
        .any(|action| matches!(action, Action::AdoptUnknown { cattle, .. } if cattle.name == *name))
}

/// Why the server that was there before keeps this name from starting.
fn previous_run(pass: &Pass<'_>, name: &CattleName) -> Option<String> {
    if let Some(run) = pass.view.leaving.get(name) {
        return Some(match run.kept_until() {
            Some(until) if run.is_kept(pass.now) => format!(
                "server {} of its previous run is kept until {}; `destroy` or `rerun` lets it go",
                run.server_name(),
                until.format("%H:%M:%S UTC")
            ),
            _ if run.is_handing_over(pass.now) => format!(
                "waits for its previous run: its guest hands over, until {} at the latest; `destroy --now` does not wait",
                run.handover_until()
                    .unwrap_or(pass.now)
                    .format("%H:%M:%S UTC")
            ),
            _ => match &run.taken {
                Some(taken) => format!(
                    "{} of its previous run is another's by its label `{}`; `destroy` gives it up",
                    run.server_in_words(),
                    taken.label
                ),
                None => format!(
                    "waits until server {} of its previous run is gone",
                    run.server_name()
                ),
            },
        });
    }
    let server = pass.view.extra_of(name)?;
    Some(format!(
        "server {} ({}) of this name is not in the ledger; it goes when it expires, at {}, or when it is deleted by hand",
        server.name,
        server.id,
        server.labels.expires_at.map_or_else(
            || "no known time".to_owned(),
            |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
        ),
    ))
}

/// A live run occupies the name. If its create was refused, its next attempt queues like a start.
fn with_live_run<'a>(
    pass: &mut Pass<'a>,
    run: &'a Run,
    assignment: Option<&'a Assignment>,
    origin: &'a Origin,
    cattle: &'a Arc<Cattle>,
) -> Option<Candidate<'a>> {
    if run.hash != cattle.hash {
        let spent = assignment.is_some_and(|a| a.ended.is_some() && !reopens(a));
        if !spent {
            let held = match pass.ledger.ends_paused() {
                Some(pause) => Some(pause.sentence()),
                // What was put over the socket is never braked.
                None if origin.from_socket => None,
                None => pass.brake.held(&origin.requester).cloned(),
            };
            let message = match held {
                Some(why) => format!("its previous run may not be ended now: {why}"),
                None => format!(
                    "waits for the end of run {}, whose spec has changed",
                    run.id
                ),
            };
            wait(pass, &cattle.name, PendingReason::PreviousRun, message);
        }
        return None;
    }
    let pending = run.is_refused()
        && run.env_at.is_none()
        && !pass.in_flight(run)
        && !pass.view.servers.contains_key(&run.id)
        && !ended_in_this_pass(pass, run);
    if !pending {
        return None;
    }
    // It never had a server, so nothing binds it to where it was refused.
    let moved = cattle.placement != run.spec.placement;
    if let Some((reason, message)) = choice::gate(pass, cattle) {
        wait(pass, &cattle.name, reason, message);
        return None;
    }
    // Where it was refused says `Limits::cold`, also of one from before that had a wait of its own.
    let of_pairs = run.create_reason == Some(PendingReason::OutOfStock);
    // A place that our own delete freed is not left for the rest of a long wait.
    let freed = deadlines::room_again(run, pass.limits.server_gone_at);
    if let Some(retry) = run.retry_at
        && !moved
        && !of_pairs
        && !pass.over(retry)
        && !freed.is_some_and(|at| pass.due(at))
    {
        let at = retry.ends(pass.now);
        let at = freed.map_or(at, |freed| at.min(freed));
        let cause = run
            .create_message
            .as_deref()
            .unwrap_or("its create was refused");
        wait(
            pass,
            &cattle.name,
            run.create_reason.unwrap_or(PendingReason::Queued),
            format!("{cause}; next attempt at {}", at.format("%H:%M:%S UTC")),
        );
        return None;
    }
    Some(Candidate {
        name: &cattle.name,
        requester: assignment.map_or(&origin.requester, |assignment| &assignment.requester),
        queued_at: Some(assignment.map_or(run.created_at, |assignment| assignment.queued_at)),
        placement: &cattle.placement,
        lives: run.spec.ttl.saturating_add(run.extension),
        action: Action::Retry {
            run: run.id,
            placement: cattle.placement.clone(),
            hourly_limit: None,
        },
    })
}

fn ended_in_this_pass(pass: &Pass<'_>, run: &Run) -> bool {
    pass.sections
        .ends
        .iter()
        .any(|action| matches!(action, Action::End { run: ended, .. } if *ended == run.id))
}

/// Puts candidates in turn: the n-th of each requester ranks by the runs that it has already.
fn in_turns<'a>(
    mut candidates: Vec<Candidate<'a>>,
    live: &BTreeMap<&'a Requester, u32>,
) -> Vec<Candidate<'a>> {
    let place = |it: &Candidate<'a>| (it.queued_at.is_none(), it.queued_at, it.name);
    candidates.sort_by_key(place);
    let mut turns = live.clone();
    let mut ranked: Vec<(u32, Candidate<'a>)> = candidates
        .into_iter()
        .map(|candidate| {
            let turn = turns.entry(candidate.requester).or_default();
            *turn += 1;
            (*turn, candidate)
        })
        .collect();
    ranked.sort_by_key(|(turn, _)| *turn);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Starts what there is room for.
fn admit(pass: &mut Pass<'_>, candidates: Vec<Candidate<'_>>) {
    let ledger = pass.ledger;
    let mut live: BTreeMap<&Requester, u32> = BTreeMap::new();
    for run in ledger.runs.values() {
        if run.is_live() && run.holds_slot() {
            *live.entry(&run.requester).or_default() += 1;
        }
    }
    let (now, limits) = (pass.now, pass.limits);
    let mut slots = u32::try_from(pass.view.slots(ledger)).unwrap_or(u32::MAX);
    let window: Vec<Timestamp> = ledger
        .creates_last_hour
        .iter()
        .copied()
        // One of the future was noted before the clock went back.
        .filter(|at| *at + HOUR > now && *at - now <= AGREES)
        .collect();
    let retries = u32::try_from(pass.sections.starts.len()).unwrap_or(u32::MAX);
    let mut creates = u32::try_from(window.len())
        .unwrap_or(u32::MAX)
        .saturating_add(retries);
    let mut purse = Purse::new(pass);
    let mut probes = Probes::new(pass);
    let mut pairs = Pairs::new(pass);
    let mut position = 0;
    for candidate in in_turns(candidates, &live) {
        let open = match pairs.open(pass, candidate.placement) {
            Ok(open) => open,
            Err(message) => {
                wait(pass, candidate.name, PendingReason::OutOfStock, message);
                continue;
            }
        };
        let running = live.get(candidate.requester).copied().unwrap_or_default();
        let (reason, message) = if let Some(closed) = closed_gate(pass) {
            closed
        } else if slots >= limits.max_instances {
            pass.list_soon |= slot_to_come(pass);
            (
                PendingReason::MaxInstances,
                format!(
                    "{slots} of {} servers exist (cattle.hetzner.maxInstances); starts when one is gone",
                    limits.max_instances
                ),
            )
        } else if creates >= limits.creates_per_hour {
            let next = window.iter().min().map(|oldest| *oldest + HOUR);
            if let Some(next) = next {
                pass.due(next);
            }
            (
                PendingReason::CreatesPerHour,
                format!(
                    "{creates} of {} servers were created within the last hour (cattle.limits.createsPerHour); the next is possible at {}",
                    limits.creates_per_hour,
                    next.map_or_else(
                        || "no time: the limit is 0".to_owned(),
                        |at| at.format("%H:%M:%S UTC").to_string()
                    ),
                ),
            )
        } else if running >= limits.live_runs_per_requester {
            (
                PendingReason::RequesterLimit,
                format!(
                    "{} has {running} of {} live runs (cattle.limits.liveRunsPerRequester); starts when one is over",
                    candidate.requester.0, limits.live_runs_per_requester
                ),
            )
        } else if let Some(spent) = calls::spent(pass) {
            spent
        } else {
            let images = match probes.open(pass, candidate.placement) {
                Ok(images) => images,
                Err((reason, message)) => {
                    // Those of other images need not wait behind it.
                    wait(pass, candidate.name, reason, message);
                    continue;
                }
            };
            match purse.set_aside(pass, candidate.placement, &open, candidate.lives) {
                Err(message) => (PendingReason::Budget, message),
                Ok(limit) => {
                    probes.claim(&images);
                    pairs.claim(&open);
                    slots += 1;
                    creates += 1;
                    *live.entry(candidate.requester).or_default() += 1;
                    pass.sections.starts.push(candidate.affordable(limit));
                    continue;
                }
            }
        };
        position += 1;
        pass.waiting.push(Waiting {
            cattle: candidate.name.clone(),
            reason,
            message,
            queue_position: Some(position),
        });
    }
}

/// What keeps everything from starting.
fn closed_gate(pass: &mut Pass<'_>) -> Option<(PendingReason, String)> {
    let limits = pass.limits;
    if !limits.enabled {
        return Some((
            PendingReason::StartsPaused,
            "cattle are disabled: set cattle.enabled to true in the fleet configuration".to_owned(),
        ));
    }
    if let Some(pause) = pass.ledger.starts_paused() {
        return Some((PendingReason::StartsPaused, pause.sentence()));
    }
    if let Some(why) = limits.ledger.complaint() {
        return Some((PendingReason::StartsPaused, why));
    }
    if let Some(refused) = account::refused(pass) {
        return Some(refused);
    }
    if let Trust::Unsettled(dispute) = limits.clocks.trust {
        // A time to live that counts from a wrong hour ends at a wrong one.
        return Some((
            PendingReason::ClockSkew,
            format!(
                "Hetzner's clock {} this machine's: nothing starts until that is settled, which takes about five minutes, or until this machine's clock is set right",
                apart(dispute.ahead)
            ),
        ));
    }
    if pass.listed_lately() {
        let reason = match (&pass.observed.firewall, pass.limits.project) {
            (FirewallView::Unread(_), Project::Unknown | Project::Ours) => {
                PendingReason::HetznerUnreachable
            }
            _ => PendingReason::StartsPaused,
        };
        return pass.not_its_own().map(|why| (reason, why));
    }
    let cause = match &pass.observed.unreachable {
        Some(error) => format!(": {error}"),
        None => String::new(),
    };
    Some((
        PendingReason::HetznerUnreachable,
        match pass.observed.listed_at {
            None => format!("waits for the first list of servers{cause}"),
            Some(at) => format!(
                "Hetzner was last listed at {}{cause}; starts when a list succeeds",
                at.format("%H:%M:%S UTC")
            ),
        },
    ))
}

/// Whether a slot becomes free by something that a list shows: a server leaving, or one without a
/// run.
fn slot_to_come(pass: &Pass<'_>) -> bool {
    !pass.view.leaving.is_empty() || !pass.view.extra.is_empty()
}
