//! The task itself: from the runner's start until nothing of it is left.

use std::io;
use std::time::Duration;

use cattle_schemas::guest::{FailureCause, Outcome, Stop};
use rustix::process::Signal;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::Moment;
use crate::guard;
use crate::heartbeat::{Heartbeat, TTL_GRACE, Word};
use crate::link::{Link, Over, When};
use crate::log::{self, Progress};
use crate::prepare::Prepared;
use crate::process::{self, Group};
use crate::result::Workspace;
use crate::run::{SHUTDOWN_GRACE, Shutdown, requested};
use crate::runner;
use crate::state::{self, Marker};

/// Between SIGTERM and SIGKILL to a runner, at most.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long output is waited for after the runner and its group are gone.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// Starts the runner, and returns when nothing of it is left.
pub(crate) async fn run_task(
    link: &Link<'_>,
    prepared: Prepared,
    mut marker: Marker,
    heartbeat: &Heartbeat,
    shutdown: &Shutdown,
) -> Over {
    let not_started = |cause, message: String| Over::not_started(cause, message, When::Unhurried);
    let started = (|| -> io::Result<_> {
        let workspace = Workspace::open(&link.layout.workspace())?;
        let (read, write) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(read.into())?;
        Ok((workspace, output, write, prepared.log.try_clone()?))
    })();
    let (workspace, output, write, read_back) = match started {
        Ok(started) => started,
        Err(error) => {
            let message = format!("cannot prepare the runner: {error}");
            return not_started(FailureCause::Prepare, message);
        }
    };
    let child = match runner::start(&prepared.runner, &prepared.env, link.layout, write.into()) {
        Ok(child) => child,
        Err(error) => return not_started(error.cause(), error.to_string()),
    };
    // The secrets are the runner's now.
    drop(prepared.env);
    let (group, mut ended) = match Group::adopt(child) {
        Ok(adopted) => adopted,
        Err(error) => {
            let message = format!("cannot wait for the runner: {error}");
            return not_started(FailureCause::RunnerNotStarted, message);
        }
    };
    marker.runner = group.id();
    let _guard = marker.runner.map(guard::post).and_then(|posted| {
        posted
            .inspect_err(|error| warn!(%error, "the runner is without a guard"))
            .ok()
    });
    if let Err(error) = state::set_marker(link.layout, &marker) {
        warn!(%error, "a restarted guest will not find its runner");
    }
    let (progress_sender, progress) = watch::channel(Progress::default());
    let (cut, cutoff) = oneshot::channel();
    let mut pump = tokio::spawn(log::pump(output, prepared.log, progress_sender, cutoff));
    let log = tokio::spawn(log::stream(
        read_back,
        progress.clone(),
        link.client.clone(),
        link.session.token.clone(),
    ));
    info!("the runner runs");

    let (status, stopped, when) = tokio::select! {
        // First of all: a runner that has ended was not stopped.
        biased;
        status = &mut ended => (status, None, When::Unhurried),
        word = heartbeat.not_going_on() => {
            let (stopped, grace) = match word {
                Word::Stop(stop) => (
                    (FailureCause::Stopped, format!("stopped: {}", stop.reason)),
                    Some(grace(&stop)),
                ),
                Word::TimeUp => (
                    (FailureCause::TimeUp, "stopped: ttl-expired".to_owned()),
                    Some(TTL_GRACE),
                ),
                Word::GoOn | Word::Gone => (
                    (FailureCause::Stopped, "the run is over for the controller".to_owned()),
                    None,
                ),
            };
            let when = grace.map_or(When::Never, |grace| When::Until(Moment::after(grace)));
            let patience = grace.map_or(TERM_GRACE, |grace| (grace / 2).min(TERM_GRACE));
            let status = end(&group, &mut ended, patience).await;
            (status, Some(stopped), when)
        }
        () = requested(shutdown) => {
            let deadline = Moment::after(SHUTDOWN_GRACE);
            let status = end(&group, &mut ended, TERM_GRACE).await;
            let stopped = (FailureCause::ShutDown, "the guest was told to shut down".to_owned());
            (status, Some(stopped), When::Until(deadline))
        }
    };
    let (cause, stopped) = stopped.unzip();

    if timeout(OUTPUT_GRACE, &mut pump).await.is_err() {
        // Something that escaped the killing holds the pipe.
        let _ = cut.send(());
        let _ = pump.await;
    }
    let mut outcome = Outcome {
        exit_code: None,
        signal: None,
        cause,
        message: stopped,
        result: None,
        log_bytes: progress.borrow().written,
    };
    match status {
        Ok(Ok(status)) => (outcome.exit_code, outcome.signal) = process::code_and_signal(status),
        Ok(Err(error)) => {
            outcome.message = Some(format!("cannot tell how the runner ended: {error}"))
        }
        Err(_) => outcome.message = Some("cannot tell how the runner ended".to_owned()),
    }
    match workspace.result() {
        Ok(result) => outcome.result = result,
        Err(error) => {
            outcome.cause = outcome.cause.or(Some(error.cause()));
            let message = error.to_string();
            outcome.message = Some(match outcome.message.take() {
                Some(first) => format!("{first}; {message}"),
                None => message,
            });
        }
    }
    info!(
        exit_code = outcome.exit_code,
        cause = ?outcome.cause,
        signal = outcome.signal,
        message = outcome.message,
        result = outcome.result.is_some(),
        log_bytes = outcome.log_bytes,
        "the runner is over"
    );
    Over {
        outcome,
        when,
        log: Some(log),
    }
}

fn grace(stop: &Stop) -> Duration {
    Duration::from_secs(stop.grace_seconds)
}

/// Asks the group to end, then makes it.
async fn end<T>(
    group: &Group,
    ended: &mut oneshot::Receiver<T>,
    patience: Duration,
) -> Result<T, oneshot::error::RecvError> {
    group.signal(Signal::TERM);
    if let Ok(status) = timeout(patience, &mut *ended).await {
        return status;
    }
    warn!("the runner did not end when asked to");
    group.signal(Signal::KILL);
    ended.await
}
