//! Runs that are not over: their results, their deadlines, their specs, their servers.

use cattle_schemas::{Timestamp, guest::Outcome, status::EndReason};

use super::{Pass, Wish, brake, bring_up, calls, describe::span};
use crate::{
    action::Action,
    clock::AGREES,
    expiry,
    identity::Project,
    labels,
    ledger::Run,
    lifecycle::{deadlines, ended_in_words, reason_of, unstarted_reason},
    observed::{ObservedServer, ServerState},
    writable::Writable,
};

pub(super) fn runs<'a>(pass: &mut Pass<'a>) {
    let ledger = pass.ledger;
    if pass.limits.clocks.trust.judges() {
        let ahead = |run: &&Run| run.posted_at - pass.now > AGREES && run.gone_at.is_none();
        let redated = ledger.runs.values().filter(ahead);
        let redated = redated.map(|run| Action::Redate { run: run.id });
        pass.sections.ledger.extend(redated);
    }
    for run in ledger.runs.values().filter(|run| run.is_live()) {
        if let Some(server) = run.server.as_ref().filter(|_| !run.rejoined)
            && pass.is_behind()
        {
            // Before it ends for anything: a task that may have begun is not for another server.
            pass.sections.ledger.push(Action::Rejoin {
                run: run.id,
                server: server.id,
            });
            continue;
        }
        match end(pass, run) {
            Some(action) => pass.sections.ends.push(action),
            None => keep(pass, run),
        }
    }
}

/// An end without conditions.
fn ending(run: &Run, reason: EndReason, message: impl Into<String>) -> Option<Action> {
    Some(Action::End {
        run: run.id,
        reason,
        message: message.into(),
        hold_until: None,
        unless_env_handed_out: false,
        counts_for: None,
    })
}

/// Why the run is over now, the strongest reason first: what the guest handed over, then what
/// happened to it, then what is wanted, then the clock.
fn end<'a>(pass: &mut Pass<'a>, run: &'a Run) -> Option<Action> {
    if let Some(outcome) = &run.outcome {
        return by_outcome(run, outcome);
    }
    if off_after_env(pass, run) {
        let unheard = run.started_at.is_some() && run.last_seen_at.is_none();
        return ending(
            run,
            EndReason::GuestLost,
            if unheard {
                "the server was found off; it was taken over with a ledger that was lost, and what its task came to was not heard"
            } else {
                "the server was found off, and its guest had handed over no result"
            },
        );
    }
    by_spec(pass, run).or_else(|| by_clock(pass, run))
}

fn by_outcome(run: &Run, outcome: &Outcome) -> Option<Action> {
    Some(Action::End {
        run: run.id,
        reason: reason_of(run, outcome),
        message: ended_in_words(run, outcome),
        hold_until: run.hold_until(),
        unless_env_handed_out: false,
        counts_for: None,
    })
}

/// Whether the server was seen off after everything that we know of its guest.
fn off_after_env(pass: &Pass<'_>, run: &Run) -> bool {
    let last_known = run.env_at.max(run.started_at).max(run.last_seen_at);
    run.env_at.is_some()
        && pass.listed_after(last_known)
        && pass
            .view
            .servers
            .get(&run.id)
            .is_some_and(|server| server.status == ServerState::Off)
}

/// The spec went away, or asks for something else.
fn by_spec<'a>(pass: &mut Pass<'a>, run: &'a Run) -> Option<Action> {
    let wanted = brake::wanted(pass, run)?;
    let braked = wanted.counts_for.as_ref();
    if pass.ledger.ends_paused().is_some()
        || braked.is_some_and(|source| pass.brake.held(source).is_some())
    {
        return None;
    }
    Some(Action::End {
        run: run.id,
        reason: wanted.reason,
        message: wanted.message,
        hold_until: None,
        unless_env_handed_out: false,
        counts_for: wanted.counts_for,
    })
}

/// A deadline is over. Not before the first list, and not while the clocks do not tell the time:
/// deadlines are Hetzner's, and until then `now` is only ours, which may be hours ahead.
fn by_clock(pass: &mut Pass<'_>, run: &Run) -> Option<Action> {
    pass.observed.listed_at?;
    if !pass.limits.clocks.trust.judges() {
        return None;
    }
    // Whatever became of the reply: a run whose guest has called has a server.
    if run.server.is_none() && run.env_at.is_none() && !pass.in_flight(run) {
        if let Some(at) = start_by(pass, run)
            && pass.due(at)
        {
            return ending(
                run,
                unstarted_reason(run),
                "no server could be made in time",
            );
        }
        if run.is_refused() && !pass.view.servers.contains_key(&run.id) {
            // It is pending: no server lives, so no time to live runs.
            return None;
        }
    }
    if pass.due(deadlines::time_is_up(run)) {
        let message = format!("its ttl of {} is over", span(lifetime(run)));
        return ending(run, EndReason::TtlExpired, message);
    }
    if let Some(action) = bring_up::given_up(pass, run) {
        return Some(action);
    }
    let heard_since = pass.limits.guests_heard_since?;
    if run.started_at.is_none() {
        return pass
            .due(deadlines::boot(run, heard_since, pass.now))
            .then(|| Action::End {
                run: run.id,
                reason: EndReason::BootTimeout,
                message: format!(
                    "its guest did not report in within {} of the create call",
                    span(deadlines::boot_within(run))
                ),
                hold_until: None,
                unless_env_handed_out: run.env_at.is_none(),
                counts_for: None,
            });
    }
    let silent_at = deadlines::silence(run, heard_since, pass.now)?;
    if pass.due(silent_at) {
        if run.missing_since.is_some() && !pass.view.servers.contains_key(&run.id) {
            // Now a 404 counts: the question after the next list says what became of the server.
            pass.list_soon = true;
            return None;
        }
        return ending(
            run,
            EndReason::GuestLost,
            format!(
                "its guest has not been heard for {}",
                span(deadlines::SILENCE)
            ),
        );
    }
    None
}

fn lifetime(run: &Run) -> std::time::Duration {
    (run.expires_at - run.posted_at)
        .to_std()
        .unwrap_or_default()
}

/// By when a run without a server must have one.
fn start_by(pass: &Pass<'_>, run: &Run) -> Option<Timestamp> {
    let Wish::Spec(cattle) = pass.wish(&run.cattle, Some(&run.root)) else {
        return None;
    };
    let key = (run.cattle.clone(), run.hash.clone());
    let queued_at = pass
        .ledger
        .assignments
        .get(&key)
        .map_or(run.created_at, |assignment| assignment.queued_at);
    Some(queued_at + cattle.start_within)
}

/// Brings a run that goes on, and its server, up to date.
fn keep(pass: &mut Pass<'_>, run: &Run) {
    let updated = update(pass, run);
    let Some(server) = pass.view.servers.get(&run.id).copied() else {
        return unseen(pass, run);
    };
    if run.server.is_none() {
        if !pass.in_flight(run) && server.status != ServerState::Deleting {
            pass.sections.servers.push(Action::Adopt {
                run: run.id,
                server: server.id,
            });
        }
    } else if run.taken.is_none() {
        bring_up::server(pass, run, server);
    }
    if server.status == ServerState::Running && run.booted_at.is_none() {
        pass.sections
            .ledger
            .push(Action::MarkBooted { run: run.id });
    }
    relabel(pass, updated.as_ref().unwrap_or(run), server);
}

/// Follows the spec file where that needs no new run.
fn update(pass: &mut Pass<'_>, run: &Run) -> Option<Run> {
    let Wish::Spec(cattle) = pass.wish(&run.cattle, Some(&run.root)) else {
        return None;
    };
    let same = cattle.ttl == run.spec.ttl
        && cattle.on_failure == run.spec.on_failure
        && cattle.labels == run.spec.labels;
    let ttl_waits = cattle.ttl != run.spec.ttl && !pass.knows_the_time();
    if same || cattle.hash != run.hash || ttl_waits {
        return None;
    }
    let mut next = run.clone();
    if cattle.ttl != run.spec.ttl {
        let changed = expiry::expires_at(
            run.posted_at,
            cattle.ttl,
            run.extension,
            pass.limits.max_ttl,
        );
        next.expires_at = expiry::after_change(changed, run.expires_at, pass.now);
        pass.due(next.expires_at);
    }
    next.spec.ttl = cattle.ttl;
    next.spec.on_failure = cattle.on_failure;
    next.spec.labels.clone_from(&cattle.labels);
    pass.sections.ledger.push(Action::Update {
        run: run.id,
        ttl: next.spec.ttl,
        expires_at: next.expires_at,
        on_failure: next.spec.on_failure,
        labels: next.spec.labels.clone(),
    });
    Some(next)
}

/// Puts a server's labels right. Also of a kept server, whose expiry may have moved.
pub(super) fn relabel(pass: &mut Pass<'_>, run: &Run, server: &ObservedServer) {
    let stale = !pass.listed_after(run.called_at);
    // Two controllers would correct each other for ever.
    let contested = pass
        .limits
        .own
        .as_ref()
        .is_some_and(|own| own.rival.is_some());
    // A later expiry is written all the same: whoever reaps by the label must spare what was extended, and
    // where both only raise it they soon agree.
    let said = server.labels.expires_at;
    let later = said.is_some_and(|said| said.timestamp() < run.expires_at.timestamp());
    if stale || contested && !later || pass.in_flight(run) || server.status == ServerState::Deleting
    {
        return;
    }
    if run.taken.is_some() {
        // Only what carries our labels and nobody else's is listed as ours.
        pass.sections.ledger.push(Action::Regain { run: run.id });
        return;
    }
    let limits = pass.limits;
    let repaired = labels::repair(run, &server.labels.raw, &limits.fleet, &limits.fleet_labels);
    if let Some(labels) = repaired {
        pass.sections.servers.push(Action::Relabel {
            run: run.id,
            server: server.id,
            labels,
        });
    }
}

/// A live run whose server the list does not show.
fn unseen(pass: &mut Pass<'_>, run: &Run) {
    if pass.in_flight(run) || pass.limits.project == Project::Foreign {
        // Nothing that is answered there says anything about it.
        return;
    }
    if let Some(server) = &run.server {
        let last_known = server
            .created
            .max(Some(run.posted_at))
            .max(run.booted_at)
            .max(run.last_seen_at)
            .max(run.env_at)
            .max(run.called_at);
        if pass.listed_after(last_known) && !bring_up::follow(pass, run) {
            pass.sections.servers.push(Action::ConfirmGone {
                run: run.id,
                server: server.id,
            });
        }
        return;
    }
    if run.is_refused() {
        // Its next attempt waits in the queue like a start.
        return;
    }
    if run.env_at.is_some() {
        // It is somewhere, and its guest at work: once for each list is enough.
        if pass.listed_after(run.called_at) {
            look_up(pass, run);
        }
        return;
    }
    pass.list_soon = true;
    if let Some(wait) = run.retry_at
        && !pass.over(wait)
    {
        return;
    }
    if may_retry(pass, run) {
        if calls::spent(pass).is_some() {
            return;
        }
        // What was set aside for it is: it may have its server already.
        pass.sections.starts.push(Action::Retry {
            run: run.id,
            placement: run.spec.placement.clone(),
            hourly_limit: run.hourly_limit,
        });
    } else {
        look_up(pass, run);
    }
}

/// Asks for a server by name, once the create is old enough for the answer to settle it.
pub(super) fn look_up(pass: &mut Pass<'_>, run: &Run) {
    if pass.limits.project == Project::Foreign {
        return;
    }
    let settled = pass.passed(run.posted_at, deadlines::CREATE_SETTLES);
    let again = |at| pass.passed(at, deadlines::LOOK_AGAIN);
    if settled && run.called_at.is_none_or(again) {
        pass.sections.servers.push(Action::Lookup {
            run: run.id,
            name: run.server_name(),
        });
    }
}

/// Whether a create whose fate is unknown may simply be repeated: under the same name it meets
/// `uniqueness_error` instead of making a second server.
fn may_retry(pass: &Pass<'_>, run: &Run) -> bool {
    let wanted = matches!(
        pass.wish(&run.cattle, Some(&run.root)),
        Wish::Spec(cattle) if cattle.hash == run.hash
    );
    wanted
        && run.env_at.is_none()
        && pass.listed_lately()
        && pass.knows_the_time()
        && pass.limits.enabled
        && pass.not_its_own().is_none()
        && pass.ledger.starts_paused().is_none()
        && pass.limits.ledger == Writable::Yes
}
