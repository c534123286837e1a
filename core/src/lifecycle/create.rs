//! From the intent to a server that exists.

use std::{ops::Range, time::Duration};

use cattle_schemas::{
    Timestamp,
    event::EventReason,
    status::{EndReason, PendingReason},
};

use super::{Transition, deadlines, owner};
use crate::{
    clock::Wait,
    desired::{Cattle, Origin},
    expiry,
    ledger::{CreateState, Run, RunServer, RunSpec},
    names::RunId,
};

/// A new run with the intent of its first attempt. Recorded before its `POST`.
pub fn begin(
    id: RunId,
    cattle: &Cattle,
    origin: &Origin,
    max_ttl: Duration,
    now: Timestamp,
) -> (Run, Transition) {
    let run = Run {
        id,
        cattle: cattle.name.clone(),
        hash: cattle.hash.clone(),
        spec: RunSpec {
            persona: cattle.persona.clone(),
            task: cattle.task.clone(),
            model: cattle.model.clone(),
            with_github_token: cattle.with_github_token,
            auto_shutdown: cattle.auto_shutdown,
            on_failure: cattle.on_failure,
            ttl: cattle.ttl,
            labels: cattle.labels.clone(),
            placement: cattle.placement.clone(),
        },
        requester: origin.requester.clone(),
        authority: origin.authority,
        root: origin.root.clone(),
        fleet: None,
        created_at: now,
        attempt: 1,
        posted_at: now,
        retry_at: None,
        create: CreateState::Intended,
        earlier_attempt_open: false,
        create_message: None,
        create_reason: None,
        create_limit: None,
        delete_message: None,
        label_message: None,
        hourly_limit: None,
        extension: Duration::ZERO,
        expires_at: expiry::expires_at(now, cattle.ttl, Duration::ZERO, max_ttl),
        server: None,
        booted_at: None,
        power_on: None,
        env_at: None,
        started_at: None,
        last_seen_at: None,
        outcome: None,
        outcome_at: None,
        log_stored: None,
        counts_for: None,
        ended: None,
        called_at: None,
        followed_at: None,
        taken: None,
        duplicates: Vec::new(),
        missing_since: None,
        session: None,
        rejoined: false,
        gone_at: None,
    };
    let told = Transition::told(
        EventReason::Creating,
        format!("creating server {}", run.server_name()),
    );
    (run, told)
}

/// Hetzner accepted the create. Also of an ended run, whose server must be known to be deleted.
pub fn accept_create(run: &mut Run, server: RunServer) -> Transition {
    bind(run, server, EventReason::Created)
}

/// A server that this run's create made was found, by its label or its name. Also of an ended run, likewise.
pub fn adopt(run: &mut Run, server: RunServer) -> Transition {
    bind(run, server, EventReason::Adopted)
}

fn bind(run: &mut Run, server: RunServer, reason: EventReason) -> Transition {
    if let Some(known) = &run.server {
        // The same reply twice is no news; a second server is nobody's and left to its expiry.
        return if known.id == server.id {
            Transition::silent()
        } else {
            Transition::refused()
        };
    }
    if let Some(created) = server.created.map(|at| at.max(run.created_at))
        && run.attempt > 1
        && created < run.posted_at
    {
        // An earlier attempt made it: its time counts from then, but from no time before the first.
        // (Of a first attempt the difference is between two clocks, and not worth a change of
        // labels.)
        run.expires_at -= run.posted_at - created;
        run.posted_at = created;
    }
    let told = Transition::told(reason, format!("server {} ({})", server.name, server.id));
    run.server = Some(server);
    run.create = CreateState::Accepted;
    run.earlier_attempt_open = false;
    run.create_message = None;
    run.create_reason = None;
    run.create_limit = None;
    run.retry_at = None;
    run.gone_at = None;
    run.taken = None;
    told
}

/// Hetzner refused the create for certain; `reason` is what it waits for now. `retry_at` is when to
/// try again, later where many attempts were in vain; a live run without one is tried again at
/// once. While the reply to an earlier attempt is missing, the create stays intended.
pub fn refuse_create(
    run: &mut Run,
    reason: PendingReason,
    message: &str,
    retry_at: Option<Timestamp>,
    now: Timestamp,
) -> Transition {
    if run.server.is_some() || run.gone_at.is_some() {
        return Transition::refused();
    }
    run.create_message = Some(message.to_owned());
    run.create_reason = Some(reason);
    let retry_at = retry_at.map(|at| at.max(now + deadlines::lost_again(run.attempt)));
    run.retry_at = retry_at.map(|at| Wait::until(at, now));
    let told = refused_event(reason);
    if run.earlier_attempt_open || run.env_at.is_some() {
        return Transition::told(told, message);
    }
    run.create = CreateState::Refused;
    if run.ended.is_some() {
        run.gone_at = Some(now);
        return Transition::told(EventReason::Gone, "its server was never made");
    }
    Transition::told(
        told,
        match retry_at {
            Some(at) => format!("{message}; next attempt at {}", at.format("%H:%M:%S UTC")),
            None => message.to_owned(),
        },
    )
}

/// The event of a create that was refused: what is the account's, no retry mends.
#[must_use]
pub fn refused_event(reason: PendingReason) -> EventReason {
    match reason {
        PendingReason::Account => EventReason::Alert,
        _ => EventReason::CreateRetried,
    }
}

/// The create may or may not have happened: its reply was lost. It stays intended, and is settled
/// by a list, a look-up or a further attempt under the same name: the first time at once, unless
/// `retry_at` says when, later with a growing wait.
pub fn lost_reply(run: &mut Run, message: &str, retry_at: Option<Timestamp>) -> Transition {
    if run.server.is_some() || run.create != CreateState::Intended {
        return Transition::refused();
    }
    run.create_message = Some(message.to_owned());
    let again = retry_at.unwrap_or(run.posted_at + deadlines::lost_again(run.attempt));
    run.retry_at = Some(Wait::until(again, run.posted_at));
    Transition::silent()
}

/// Records a further attempt of a live run, before its `POST`. The TTL counts anew.
pub fn retry(run: &mut Run, max_ttl: Duration, now: Timestamp) -> Transition {
    let possible = run.is_live()
        && run.server.is_none()
        // A guest that has its env runs on a server that exists: find it, make no other.
        && run.env_at.is_none();
    if !possible {
        return Transition::refused();
    }
    run.attempt += 1;
    run.posted_at = now;
    run.retry_at = None;
    run.earlier_attempt_open |= run.create == CreateState::Intended;
    run.create = CreateState::Intended;
    run.create_message = None;
    run.create_reason = None;
    run.create_limit = None;
    run.expires_at = expiry::expires_at(now, run.spec.ttl, run.extension, max_ttl);
    Transition::told(
        EventReason::CreateRetried,
        format!(
            "attempt {}: creating server {}",
            run.attempt,
            run.server_name()
        ),
    )
}

/// Somebody wants a refused create to be tried again now, not when its wait is over; but not sooner
/// after the last attempt than any look is repeated.
pub fn look_again(run: &mut Run, now: Timestamp) -> Transition {
    if !run.is_live() || !run.is_refused() {
        return Transition::refused();
    }
    let earliest = run.posted_at + deadlines::LOOK_AGAIN;
    run.retry_at = (earliest > now).then(|| Wait::until(earliest, now));
    Transition::told(
        EventReason::CreateRetried,
        "asked to be tried again at once",
    )
}

/// A look-up by name, asked at `asked_at`, found nothing. Settles a create whose reply was lost; if
/// the call is too young for that, nothing is asked or attempted until it is not.
pub fn lookup_missed(run: &mut Run, asked_at: Timestamp, now: Timestamp) -> Transition {
    if run.server.is_some() || run.gone_at.is_some() {
        return Transition::refused();
    }
    if run.env_at.is_some() {
        return owner::unfound(run, asked_at, now);
    }
    if run.create != CreateState::Intended {
        return Transition::refused();
    }
    run.called_at = Some(now);
    let settles = run.posted_at + deadlines::CREATE_SETTLES;
    if asked_at < settles {
        let later = run.retry_at.filter(|wait| wait.ends(now) > settles);
        run.retry_at = later.or(Some(Wait::until(settles, now)));
        return Transition::silent();
    }
    run.earlier_attempt_open = false;
    refuse_create(
        run,
        PendingReason::Queued,
        "the reply to the create was lost, and no server of its name exists",
        None,
        now,
    )
}

/// Takes over a server whose run is not in the ledger. Its task counts as begun, and its guest is not
/// called silent before it was heard: with `session`, which its label has, it is; without, the run
/// lives until its server is off or its time is up. `lives` is from its creation to its expiry.
pub fn adopt_unknown(
    id: RunId,
    cattle: &Cattle,
    origin: &Origin,
    server: RunServer,
    session: Option<String>,
    lives: Range<Timestamp>,
    now: Timestamp,
) -> (Run, Transition) {
    let (created, expires_at) = (lives.start, lives.end);
    let (mut run, _) = begin(id, cattle, origin, Duration::MAX, created);
    let how = match session {
        Some(_) => "taken over; its guest is heard again",
        None => "taken over without its guest, until it is off or its time is up",
    };
    let told = Transition::told(
        EventReason::Adopted,
        format!(
            "server {} ({}) was not in the ledger; {how}",
            server.name, server.id
        ),
    );
    run.created_at = now;
    run.expires_at = expires_at;
    run.create = CreateState::Accepted;
    run.server = Some(server);
    run.session = session;
    run.booted_at = Some(created);
    // Assumed: a task must not run twice because the ledger was lost.
    run.env_at = Some(created);
    run.started_at = Some(created);
    (run, told)
}

/// The ledger is an older copy, and this run lived when it was made: what it did since is not known.
/// From here on it counts like one that was not in the ledger at all.
pub fn rejoin(run: &mut Run, session: Option<String>) -> Transition {
    let Some(server) = run
        .server
        .as_ref()
        .filter(|_| run.is_live() && !run.rejoined)
    else {
        return Transition::refused();
    };
    let created = server.created.unwrap_or(run.posted_at);
    run.rejoined = true;
    run.session = session.or_else(|| run.session.take());
    run.booted_at.get_or_insert(created);
    run.env_at.get_or_insert(created);
    run.started_at.get_or_insert(created);
    run.last_seen_at = None;
    Transition::told(
        EventReason::Adopted,
        "the ledger is an older copy: its task counts as begun, and its guest is not called silent before it was heard",
    )
}

/// The reason of a run that never got a server, when its time to start is over.
#[must_use]
pub(crate) fn unstarted_reason(run: &Run) -> EndReason {
    if run.is_refused() {
        EndReason::NotStarted
    } else {
        EndReason::CreateFailed
    }
}
