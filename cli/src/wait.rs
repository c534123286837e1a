//! Waiting for cattle: long polls for the answer, events for what is said meanwhile.
//!
//! A controller that is away for a moment (a restart, an upgrade) does not end a wait, since the
//! cattle goes on without it; one that stays away does.

mod progress;

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use cattle_schemas::{
    api::WaitFor,
    duration::SpecDuration,
    status::{CattleStatus, EndReason, Phase, RunStatus},
};
use futures_util::{StreamExt as _, stream};

use self::progress::Progress;
use crate::{
    context::Context,
    exit::{Exit, Failure},
};

/// One long poll. Below the controller's own limit, so that a dead connection is noticed.
const LONG_POLL: Duration = Duration::from_secs(30);
/// An answer sooner than this that does not hold came from a controller that does not long-poll;
/// asking again at once would only burn both processors.
const EARLY_ANSWER: Duration = Duration::from_millis(100);
/// Between two tries to reach a controller that is away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long a controller may be away: a restart takes seconds.
const MAX_AWAY: Duration = Duration::from_secs(60);
/// Long polls at once; the rest waits its turn, since all must end anyway.
const MAX_POLLS: usize = 32;

/// `--wait` and its limit.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct WaitArgs {
    /// Wait until the run has ended; exit 4 when it ended without success
    #[arg(long)]
    pub(crate) wait: bool,

    /// Wait no longer than this, as in `30m`; exit 5, and the cattle goes on
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub(crate) timeout: Option<SpecDuration>,
}

/// How the wait for one cattle ended: its status when it held.
pub(crate) type Waited = Result<CattleStatus, Failure>;

/// Waits until it holds for each of them. In the order in which they were named.
pub(crate) async fn wait_all(
    ctx: &Context,
    names: &[String],
    wait_for: WaitFor,
    timeout: Option<SpecDuration>,
) -> Result<Vec<Waited>, Failure> {
    ctx.client()?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout.as_std());
    let progress = Progress::new(&ctx.out, names);
    let mut polls = stream::iter(names.iter().enumerate().map(|(index, name)| {
        let progress = &progress;
        async move {
            let status = wait_one(ctx, name, wait_for, deadline, progress).await;
            progress.done(name, status.as_ref().ok(), ctx.now());
            (index, status)
        }
    }))
    .buffer_unordered(MAX_POLLS);
    let all = async {
        let mut all = Vec::with_capacity(names.len());
        while let Some(one) = polls.next().await {
            all.push(one);
        }
        all
    };
    let mut all = tokio::select! {
        all = all => all,
        never = tell_events(ctx, names, &progress) => match never {},
    };
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, waited)| waited).collect())
}

async fn wait_one(
    ctx: &Context,
    name: &str,
    wait_for: WaitFor,
    deadline: Option<Instant>,
    progress: &Progress,
) -> Result<CattleStatus, Failure> {
    let client = ctx.client()?;
    let mut away_since: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let left = deadline.map_or(LONG_POLL, |at| at.saturating_duration_since(asked));
        let answer = client.wait(name, wait_for, left.min(LONG_POLL)).await;
        match answer.map(|status| about(name, status)) {
            Ok(status) if holds(&status, wait_for) => return Ok(status),
            Ok(status) => {
                away_since = None;
                progress.status(name, &status);
                if asked.elapsed() < EARLY_ANSWER {
                    tokio::time::sleep(EARLY_ANSWER).await;
                }
            }
            Err(failure)
                if failure.is_away() && away_since.unwrap_or(asked).elapsed() < MAX_AWAY =>
            {
                if away_since.replace(away_since.unwrap_or(asked)).is_none() {
                    progress.say(name, "the controller is away; waiting for it");
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::TimedOut {
                message: format!(
                    "`{name}` is not {} yet; it goes on",
                    match wait_for {
                        WaitFor::Running => "running",
                        WaitFor::Ended => "over",
                        WaitFor::Gone => "gone",
                    }
                ),
            });
        }
    }
}

/// Tells what happens until the wait is over. Events are company, not the answer: without them the
/// wait works just as well.
async fn tell_events(ctx: &Context, names: &[String], progress: &Progress) -> Infallible {
    // One stream for one cattle, the fleet's for many: never a connection for each of hundreds.
    let only = match names {
        [one] => Some(one.as_str()),
        _ => None,
    };
    // One cattle's history is short, so that what happened between our own request and this is told
    // too; the fleet's is not.
    let mut last = only.map(|_| 0);
    loop {
        if let Ok(client) = ctx.client()
            && let Ok(mut events) = client.event_stream(only, last).await
        {
            // It has answered now, and its events have its dates.
            let since = ctx.began();
            while let Ok(Some(event)) = events.next().await {
                last = Some(event.id);
                if event.time >= since {
                    progress.event(only, &event);
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// The status of what was named: after a rerun, an earlier run that was named by itself is not the
/// cattle's latest.
fn about(target: &str, mut status: CattleStatus) -> CattleStatus {
    if target == status.name {
        return status;
    }
    let prefix = target.to_ascii_uppercase();
    let is_meant = |run: &RunStatus| {
        let server = run.server.as_ref();
        run.run.starts_with(&prefix)
            || server.is_some_and(|server| server.name == target || server.id.to_string() == target)
    };
    if status.run.as_ref().is_none_or(|run| !is_meant(run))
        && let Some(run) = status.earlier_runs.iter().find(|run| is_meant(run))
    {
        let run = run.clone();
        status.phase = run.phase;
        status.reason = run.end_reason.map(|reason| reason.to_string());
        status.message.clone_from(&run.message);
        status.queue_position = None;
        status.run = Some(run);
    }
    status
}

/// Whether what is waited for has come to pass.
fn holds(status: &CattleStatus, wait_for: WaitFor) -> bool {
    match wait_for {
        WaitFor::Running => status.phase == Phase::Running || is_over(status),
        WaitFor::Ended => is_over(status),
        WaitFor::Gone => is_over(status) && is_gone(status),
    }
}

/// Whether its latest run is over and no other follows by itself.
pub(crate) fn is_over(status: &CattleStatus) -> bool {
    match status.phase {
        Phase::Finishing | Phase::Succeeded | Phase::Canceled | Phase::Failed => true,
        Phase::Pending | Phase::Provisioning | Phase::Booting | Phase::Running => false,
    }
}

fn is_gone(status: &CattleStatus) -> bool {
    status
        .run
        .as_ref()
        .is_none_or(|run| run.gone_at.is_some() || run.server.is_none())
}

fn succeeded(status: &CattleStatus) -> bool {
    let reason = status.run.as_ref().and_then(|run| run.end_reason);
    match status.phase {
        Phase::Succeeded => true,
        Phase::Finishing => reason == Some(EndReason::Completed),
        _ => false,
    }
}

/// The exit code of a wait that came to its end.
pub(crate) fn exit_of(status: &CattleStatus, wait_for: WaitFor) -> Exit {
    let ran = || {
        let run = status.run.as_ref();
        run.is_some_and(|run| run.started_at.is_some())
    };
    let fine = match wait_for {
        WaitFor::Running => !is_over(status) || ran(),
        WaitFor::Ended => succeeded(status),
        // Who waits for that wants the server to be gone, whatever became of the task.
        WaitFor::Gone => true,
    };
    if fine { Exit::Done } else { Exit::RunFailed }
}

/// Says what went wrong with each that failed, and answers the worst exit of all.
pub(crate) fn report(ctx: &Context, waited: &[Waited], wait_for: WaitFor) -> Exit {
    waited.iter().fold(Exit::Done, |worst, one| {
        worst.worse(match one {
            Ok(status) => exit_of(status, wait_for),
            Err(failure) => {
                crate::report::failure(&ctx.out, failure);
                failure.exit()
            }
        })
    })
}
