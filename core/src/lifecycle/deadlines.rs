//! Every wait of a run has an end; these are the ends, each with its reason.

use std::time::Duration;

use cattle_schemas::{Timestamp, guest::HEARTBEAT_SECONDS, status::EndReason};

use crate::{
    account::AccountLimit,
    catalogue::ImageKind,
    clock::{AGREES, after},
    ledger::Run,
};

/// What a server is given, by what its image is.
struct Patience {
    /// From the create call until Hetzner usually runs it. Later than this, it is asked why.
    usual: Duration,
    /// From the create call until Hetzner must run it.
    start: Duration,
    /// From the create call to the guest's first report.
    boot: Duration,
}

/// Images that are on every host: 10 to 60 s were seen until the server runs. Others give it six
/// minutes too; the guest is up a minute later, and what takes ten is broken.
const ON_EVERY_HOST: Patience = Patience {
    usual: Duration::from_secs(60),
    start: Duration::from_secs(6 * 60),
    boot: Duration::from_secs(10 * 60),
};

/// Images that are copied to the host first: 69 to 131 s were seen for one snapshot in one run,
/// several minutes for large ones.
const COPIED_FIRST: Patience = Patience {
    usual: Duration::from_secs(150),
    start: Duration::from_secs(12 * 60),
    boot: Duration::from_secs(15 * 60),
};

/// What is not known counts as the slowest.
fn patience(run: &Run) -> &'static Patience {
    match run.server.as_ref().and_then(|server| server.image) {
        Some(ImageKind::System | ImageKind::App) => &ON_EVERY_HOST,
        Some(ImageKind::Snapshot | ImageKind::Backup | ImageKind::Other) | None => &COPIED_FIRST,
    }
}

/// How long after its create call a run's server usually runs.
#[must_use]
pub fn usual_start(run: &Run) -> Duration {
    patience(run).usual
}

/// How long after its create call Hetzner must run a run's server.
#[must_use]
pub fn start(run: &Run) -> Duration {
    patience(run).start
}

/// How long after its create call a run's guest must have reported in.
#[must_use]
pub fn boot_within(run: &Run) -> Duration {
    patience(run).boot
}

/// A server that is still off this long after a power-on was accepted does not come up: that takes
/// seconds.
pub const OFF_AGAIN: Duration = Duration::from_secs(60);

/// Power-ons tried for one server: a lock or a gateway's error passes, and the boot deadline waits
/// for nobody.
pub const MAX_POWER_ONS: u32 = 3;

/// A delete that has not ended by then has stuck: eleven seconds are usual.
pub const DELETE_ENDS: Duration = Duration::from_secs(120);

/// From the env being handed out to the first report, should that be later than [`boot_within`]:
/// all that is left for the guest is one call, repeated with backoff.
pub const FIRST_REPORT: Duration = Duration::from_secs(180);

/// A running guest that says nothing for this long is lost: twelve heartbeats, so that a restart
/// of the controller or of tailscaled does not kill a task.
pub const SILENCE: Duration = Duration::from_secs(12 * HEARTBEAT_SECONDS);

/// What a guest gets to stop its runner and hand over: one heartbeat to hear of it, and a moment.
pub const HANDOVER: Duration = Duration::from_secs(HEARTBEAT_SECONDS + 5);

/// What a guest gets to send the rest of its log after a result: the longest log, 16 MiB, takes four
/// minutes at 64 KB/s; a link that is slower than half of that is not waited for.
pub const HANDOVER_OF_RESULT: Duration = Duration::from_secs(600);

/// A delete that is begun so long before an hour of its server is full ends before the next one is
/// billed: eleven seconds are usual.
const DELETE_TAKES: Duration = Duration::from_secs(15);

/// Servers are billed by the started hour.
const BILLED: Duration = Duration::from_secs(3_600);

/// By Hetzner's clock a server is made some moments after its create call, or before it where the
/// clocks differ by that.
const CREATE_IS_NEAR: Duration = Duration::from_secs(5);

/// A spec counts as removed after this: a `git checkout` deletes and recreates files.
pub const ABSENCE: Duration = Duration::from_secs(15);

/// After a create whose reply was lost, a server that exists is found by its name within this. One
/// that appears later still carries its run's label and is deleted for that.
pub const CREATE_SETTLES: Duration = Duration::from_secs(15);

/// A look-up that failed is not repeated before this.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The longest wait between attempts whose replies are lost.
const MAX_LOST_AGAIN: Duration = Duration::from_secs(60);

/// The longest that repeated failures alone keep a delete waiting: its server bills, but fifty of
/// them must not spend the rate limit while Hetzner is down.
pub const MAX_DELETE_AGAIN: Duration = Duration::from_secs(60);

/// A delete that was answered 404 in a project that is not ours is sent again after this: the token
/// changes only with a restart, and nothing bills there.
pub const NOT_OURS_AGAIN: Duration = Duration::from_secs(60);

/// The reaper leaves this much to a controller that is alive and hands over.
pub const REAPER_GRACE: Duration = Duration::from_secs(120);

/// Nothing is started on the strength of a list older than this: ten list intervals.
pub const LIST_STALE: Duration = Duration::from_secs(300);

/// Runs for one assignment that may fail before its env is handed out. Each costs a started hour.
pub const MAX_FAILED_STARTS: u32 = 3;

/// The wait after the first such failure; each further one waits four times as long.
const FIRST_BACKOFF: Duration = Duration::from_secs(30);

/// How long an assignment waits after its `failures`th failed start.
#[must_use]
pub fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF * 4_u32.saturating_pow(failures.saturating_sub(1).min(4))
}

/// How long after the `attempt`th create, whose reply was lost or which was refused for a passing
/// reason, the next one waits at least: not at all after the first, for the reply of a call that
/// took its time; then longer and longer, for an API that answers nothing.
#[must_use]
pub fn lost_again(attempt: u32) -> Duration {
    (LOOK_AGAIN * attempt.saturating_sub(1).min(12)).min(MAX_LOST_AGAIN)
}

/// When a run that has not started is given up. `heard_since` is since when guests can be heard:
/// a guest that could not reach us is not broken, so it gets [`SILENCE`] from then.
#[must_use]
pub fn boot(run: &Run, heard_since: Timestamp, now: Timestamp) -> Timestamp {
    // One that was posted in the future was posted before the clock went back, and being heard began
    // anew with that.
    let posted_at = if run.posted_at - now > AGREES {
        heard_since
    } else {
        run.posted_at
    };
    let from_post = posted_at + boot_within(run);
    let from_env = run
        .env_at
        .map_or(from_post, |at| after(at, FIRST_REPORT, now));
    let from_us = if heard_since > posted_at {
        heard_since + SILENCE
    } else {
        from_post
    };
    from_post.max(from_env).max(from_us)
}

/// When a started run's guest is given up; `None` for one that was never heard of (adopted from a
/// lost ledger).
#[must_use]
pub fn silence(run: &Run, heard_since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    run.started_at?;
    let last = run.last_seen_at?;
    // What was heard in the future was heard before the clock went back.
    let last = if last - now > AGREES {
        heard_since
    } else {
        last
    };
    Some(last.max(heard_since) + SILENCE)
}

/// When the last started hour at this moment is full, less what a delete takes: by then a server has
/// to go that shall not be billed for another one.
fn hour_is_full(run: &Run, now: Timestamp) -> Timestamp {
    let made = run.server.as_ref().and_then(|server| server.created);
    let made = made.unwrap_or(run.posted_at);
    let age = (now - made).to_std().unwrap_or_default();
    let hours = age.as_secs() / BILLED.as_secs() + 1;
    made + BILLED * u32::try_from(hours).unwrap_or(u32::MAX) - DELETE_TAKES
}

/// When the time of a run's task is up: its guest is asked to stop then, so that it has handed over
/// by the expiry, or shortly before an hour is full that the expiry coincides with. A guest that was
/// never heard hands nothing over.
#[must_use]
pub fn time_is_up(run: &Run) -> Timestamp {
    if run.last_seen_at.is_none() {
        return run.expires_at;
    }
    let lifetime = (run.expires_at - run.posted_at).to_std();
    let handover = HANDOVER.min(lifetime.unwrap_or_default() / 4);
    let full = hour_is_full(run, run.expires_at - CREATE_IS_NEAR);
    run.expires_at.min(full) - handover
}

/// Until when the guest of a run that ends now, for this reason, may hand over what is left of log
/// and result; `None` where there is nobody, or nothing, to wait for.
#[must_use]
pub fn handover(run: &Run, reason: EndReason, now: Timestamp) -> Option<Timestamp> {
    let longest = match reason {
        EndReason::Completed | EndReason::TaskFailed => HANDOVER_OF_RESULT,
        EndReason::Destroyed
        | EndReason::SpecRemoved
        | EndReason::SpecChanged
        | EndReason::TtlExpired => HANDOVER,
        // Its guest, or its server, is not there any more, or cannot be trusted.
        EndReason::BootTimeout
        | EndReason::GuestLost
        | EndReason::DeletedExternally
        | EndReason::CreateFailed
        | EndReason::NotStarted
        | EndReason::TokenContested => return None,
    };
    run.last_seen_at?;
    if run.log_written() == Some(0) {
        return None;
    }
    let until = (now + longest)
        .min(run.expires_at)
        .min(hour_is_full(run, now));
    // Also where no time is left for it: what arrived is written down all the same.
    Some(until.max(now))
}

/// Until when a live run's guest counts as there although Hetzner says that its server is not;
/// `None` where nothing was ever heard of it. While guests cannot be heard, for good.
#[must_use]
pub fn heard_of_until(run: &Run, heard_since: Option<Timestamp>) -> Option<Timestamp> {
    if !run.is_live() || run.outcome.is_some() {
        // What it had to say is said.
        return None;
    }
    // An env that was handed out is a guest, too.
    let heard = run.last_seen_at.max(run.env_at)?;
    let heard_since = heard_since.unwrap_or(Timestamp::MAX_UTC - SILENCE);
    Some(heard.max(heard_since) + SILENCE)
}

/// After a server of ours is gone, what its account's limit kept back is looked at again: its place
/// is free then, and its addresses about a minute later. Each look is one create.
const PLACE_FREES: &[Duration] = &[Duration::from_secs(5)];
const ADDRESS_FREES: &[Duration] = &[
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(65),
];

/// When a create that met a limit of the account is worth another look, because a server of ours
/// went; `None` where nothing was freed since it was last tried.
#[must_use]
pub fn room_again(run: &Run, server_gone_at: Option<Timestamp>) -> Option<Timestamp> {
    let looks = match run.create_limit? {
        AccountLimit::Servers | AccountLimit::DedicatedCores => PLACE_FREES,
        AccountLimit::PrimaryIps => ADDRESS_FREES,
    };
    let gone = server_gone_at?;
    looks
        .iter()
        .map(|after| gone + *after)
        .find(|at| *at > run.posted_at)
}
