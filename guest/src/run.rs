//! One run, from the bootstrap file to the acknowledged result.

use std::fs::File;
use std::io;
use std::time::Duration;

use cattle_schemas::guest::{Bootstrap, EnvReply, Outcome, Report, ReportKind, ReportReply, Stop};
use cattle_schemas::runners::Runner;
use chrono::Utc;
use rustix::process::Signal;
use secrecy::SecretString;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::client::{CallError, Client, instant_of, until};
use crate::heartbeat::{Heartbeat, TTL_GRACE, Word};
use crate::input::{self, InputError};
use crate::layout::Layout;
use crate::log::{self, Progress};
use crate::peer::{self, PeerError};
use crate::persona;
use crate::process::{self, Group};
use crate::result::Workspace;
use crate::runner::{self, RunnerEnv};
use crate::state::{self, Marker, Session};

/// Between SIGTERM and SIGKILL to a runner, at most.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long output is waited for after the runner and its group are gone.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
/// How long the result waits for the log, when nothing presses.
const LOG_GRACE: Duration = Duration::from_secs(30);
/// How long a guest that is told to go by its init system tries to hand over; systemd's default
/// patience is 90 s.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// How fast things happen; tests hurry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) heartbeat: Duration,
}

/// How `clf-cattle run` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The controller has the outcome.
    pub(crate) handed_over: bool,
    /// The machine has nothing more to do.
    pub(crate) power_off: bool,
}

/// Why there was no run, or none that anybody could be told of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("nothing to run")]
    NothingToDo(#[source] InputError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the bootstrap token stays here")]
    Peer(#[from] PeerError),
    #[error("no env for the run")]
    Env(#[source] CallError),
    #[error("the controller answered for run `{0}`, not ours")]
    OtherRun(String),
    #[error("the controller did not take the first report")]
    Ready(#[source] CallError),
    #[error("cannot keep the guest's own state")]
    State(#[source] io::Error),
    #[error("the run `{0}` started before, and its session is gone")]
    RanBefore(String),
    #[error("cannot make an HTTP client")]
    Http(#[source] reqwest::Error),
}

impl RunError {
    /// A guest that cannot do its one task turns its machine off, so that the controller sees it
    /// at once. Without a bootstrap file it may be somebody's workstation.
    pub(crate) fn power_off(&self) -> bool {
        !matches!(self, Self::NothingToDo(_))
    }
}

/// Told by a signal to end.
pub(crate) type Shutdown = watch::Receiver<bool>;

async fn requested(shutdown: &Shutdown) {
    let mut shutdown = shutdown.clone();
    if shutdown.wait_for(|requested| *requested).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
}

/// The whole of `clf-cattle run`.
pub(crate) async fn run(
    layout: &Layout,
    pace: Pace,
    shutdown: &Shutdown,
) -> Result<Ending, RunError> {
    process::become_subreaper();
    let marker = state::marker(layout).map_err(RunError::State)?;
    let bootstrap = input::bootstrap(layout)?;
    match (marker, bootstrap) {
        (None, None) => Err(RunError::NothingToDo(InputError::Missing {
            what: "bootstrap file",
            path: layout.bootstrap(),
        })),
        (Some(marker), None) => ran_before(layout, &marker, shutdown).await,
        // A marker of another run is an image's that was made of a used disk.
        (Some(marker), Some(bootstrap)) if marker.run == bootstrap.run => {
            ran_before(layout, &marker, shutdown).await
        }
        (_, Some(bootstrap)) => first_time(layout, &bootstrap, pace, shutdown).await,
    }
}

/// The guest restarted after the runner may have started: whatever happened, it does not happen
/// again.
async fn ran_before(
    layout: &Layout,
    marker: &Marker,
    shutdown: &Shutdown,
) -> Result<Ending, RunError> {
    if let Some(runner) = marker.runner {
        runner.kill_group();
    }
    state::forget_bootstrap(layout).map_err(RunError::State)?;
    let session = state::session(layout)
        .map_err(RunError::State)?
        .ok_or_else(|| RunError::RanBefore(marker.run.clone()))?;
    warn!(run = session.run, "the guest restarted while the task ran");
    let link = Link::new(layout, session)?;
    link.hand_over_failure("guest restarted while the task ran", shutdown)
        .await
}

async fn first_time(
    layout: &Layout,
    bootstrap: &Bootstrap,
    pace: Pace,
    shutdown: &Shutdown,
) -> Result<Ending, RunError> {
    info!(
        cattle = bootstrap.cattle,
        run = bootstrap.run,
        controller = bootstrap.controller_url,
        expires_at = %bootstrap.expires_at,
        "starting"
    );
    let interrupted = Ending {
        handed_over: false,
        power_off: false,
    };
    let reply = tokio::select! {
        () = requested(shutdown) => return Ok(interrupted),
        reply = fetch_env(layout, bootstrap) => match reply {
            // An earlier life of ours spent the token and fell before the runner started.
            Err(RunError::Env(error)) if error.refused() => {
                let Some(session) = state::session(layout)
                    .map_err(RunError::State)?
                    .filter(|session| session.run == bootstrap.run)
                else {
                    return Err(RunError::Env(error));
                };
                return Link::new(layout, session)?
                    .hand_over_failure("guest restarted before the runner started", shutdown)
                    .await;
            }
            reply => reply?,
        },
    };
    let link = Link::new(
        layout,
        Session {
            run: reply.run,
            controller_url: bootstrap.controller_url.clone(),
            token: reply.session_token.into(),
            expires_at: bootstrap.expires_at,
        },
    )?;
    let ready = async {
        let prepared = prepare(&link, reply.env, reply.model, reply.persona_digest).await;
        (prepared, link.ready().await)
    };
    let (prepared, acknowledged) = tokio::select! {
        () = requested(shutdown) => return Ok(interrupted),
        ready = ready => ready,
    };
    let acknowledged = acknowledged.map_err(RunError::Ready)?;

    // The line between "may be tried again" and "never again". Only then the secrets of the first
    // call go, and only then the runner comes.
    let marker = Marker {
        run: bootstrap.run.clone(),
        runner: None,
    };
    let marked = state::set_marker(layout, &marker).and_then(|()| state::forget_bootstrap(layout));
    let heartbeat = Heartbeat::start(
        link.client.clone(),
        link.session.token.clone(),
        pace.heartbeat,
        acknowledged.expires_at,
    );
    let not_started = match (&marked, &prepared, &acknowledged.stop) {
        (Err(error), _, _) => Some(format!("cannot mark the run as started: {error}")),
        (_, _, Some(stop)) => Some(format!(
            "stopped before the runner started: {}",
            stop.reason
        )),
        (_, Err(message), _) => Some(message.clone()),
        (Ok(()), Ok(_), None) => None,
    };
    let run = match (not_started, prepared) {
        (None, Ok(prepared)) => run_task(&link, prepared, marker, &heartbeat, shutdown).await,
        (message, _) => Run::not_started(
            message.unwrap_or_default(),
            acknowledged.stop.map_or(When::Unhurried, |stop| {
                When::Until(Instant::now() + Duration::from_secs(stop.grace_seconds))
            }),
        ),
    };
    let handed_over = link.finish(run, &heartbeat, shutdown).await;
    if handed_over && !bootstrap.auto_shutdown && !*shutdown.borrow() {
        info!("the task is over; staying on until told to stop or the TTL ends");
        tokio::select! {
            word = heartbeat.not_going_on() => info!(?word, "going"),
            () = requested(shutdown) => {}
        }
    }
    Ok(Ending {
        handed_over,
        // Told to go by the init system: the machine is its business.
        power_off: !*shutdown.borrow(),
    })
}

async fn fetch_env(layout: &Layout, bootstrap: &Bootstrap) -> Result<EnvReply, RunError> {
    let url = base_url(&bootstrap.controller_url);
    peer::check(bootstrap, &url)?;
    let client = Client::new(url).map_err(RunError::Http)?;
    let key = state::idempotency_key(layout).map_err(RunError::State)?;
    let token: SecretString = bootstrap.token.clone().into();
    let deadline = instant_of(bootstrap.expires_at, Utc::now());
    let reply = until(deadline, || client.env(&token, &key))
        .await
        .map_err(RunError::Env)?;
    if reply.run != bootstrap.run {
        return Err(RunError::OtherRun(reply.run));
    }
    let session = Session {
        run: reply.run.clone(),
        controller_url: bootstrap.controller_url.clone(),
        token: reply.session_token.clone().into(),
        expires_at: bootstrap.expires_at,
    };
    state::set_session(layout, &session).map_err(RunError::State)?;
    info!(names = ?reply.env.keys().collect::<Vec<_>>(), model = reply.model, "got the env");
    Ok(reply)
}

fn base_url(checked: &str) -> reqwest::Url {
    input::base_url(checked).expect("checked when the file was read")
}

/// All that the runner needs, checked before the controller is told that we are ready.
struct Prepared {
    runner: Runner,
    env: RunnerEnv,
    log: File,
}

/// The error is the outcome's message.
async fn prepare(
    link: &Link<'_>,
    env: std::collections::BTreeMap<String, String>,
    model: String,
    persona_digest: Option<String>,
) -> Result<Prepared, String> {
    let layout = link.layout;
    if let Some(digest) = persona_digest {
        let deadline = instant_of(link.session.expires_at, Utc::now());
        let archive = until(deadline, || async {
            match link.client.persona(&link.session.token).await {
                // An archive that is too long now is too long the next time.
                Err(error @ CallError::TooLong { .. }) => Ok(Err(error)),
                other => other.map(Ok),
            }
        })
        .await
        .and_then(std::convert::identity)
        .map_err(|error| chain(&error))?;
        persona::install(&archive, &digest, &layout.persona_dir())
            .map_err(|error| chain(&error))?;
    }
    let task = input::task(layout).map_err(|error| chain(&error))?;
    let runners = input::runners(layout).map_err(|error| chain(&error))?;
    let runner = runner::choose(&runners, &task.kind).map_err(|error| error.to_string())?;
    let env = RunnerEnv::new(env, model).map_err(|error| error.to_string())?;
    let log = runner::prepare(layout).map_err(|error| error.to_string())?;
    info!(
        task = task.task_id,
        kind = task.kind,
        program = runner.command.first(),
        "prepared"
    );
    Ok(Prepared {
        runner: runner.clone(),
        env,
        log,
    })
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// How long the hand-over may take.
#[derive(Clone, Copy, Debug)]
enum When {
    /// Until the TTL ends.
    Unhurried,
    /// A grace period is running.
    Until(Instant),
    /// There is nobody to hand over to.
    Never,
}

/// A run that is over here.
struct Run {
    outcome: Outcome,
    when: When,
    /// The log's sending, if a runner was started.
    log: Option<JoinHandle<()>>,
}

impl Run {
    fn not_started(message: String, when: When) -> Self {
        warn!(message, "the runner is not started");
        Self {
            outcome: Outcome {
                exit_code: None,
                signal: None,
                message: Some(message),
                result: None,
                log_bytes: 0,
            },
            when,
            log: None,
        }
    }
}

/// Starts the runner, and returns when nothing of it is left.
async fn run_task(
    link: &Link<'_>,
    prepared: Prepared,
    mut marker: Marker,
    heartbeat: &Heartbeat,
    shutdown: &Shutdown,
) -> Run {
    let not_started = |message: String| Run::not_started(message, When::Unhurried);
    let started = (|| -> io::Result<_> {
        let workspace = Workspace::open(&link.layout.workspace())?;
        let (read, write) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(read.into())?;
        Ok((workspace, output, write, prepared.log.try_clone()?))
    })();
    let (workspace, output, write, read_back) = match started {
        Ok(started) => started,
        Err(error) => return not_started(format!("cannot prepare the runner: {error}")),
    };
    let child = match runner::start(&prepared.runner, &prepared.env, link.layout, write.into()) {
        Ok(child) => child,
        Err(error) => return not_started(error.to_string()),
    };
    // The secrets are the runner's now.
    drop(prepared.env);
    let (group, mut ended) = match Group::adopt(child) {
        Ok(adopted) => adopted,
        Err(error) => return not_started(format!("cannot wait for the runner: {error}")),
    };
    marker.runner = group.id();
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
            let (why, stop) = match word {
                Word::Stop(stop) => (format!("stopped: {}", stop.reason), Some(stop)),
                Word::GoOn | Word::Gone => ("the run is over for the controller".to_owned(), None),
            };
            let deadline = stop.as_ref().map(|stop| Instant::now() + grace(stop));
            let patience = stop.as_ref().map_or(TERM_GRACE, |stop| (grace(stop) / 2).min(TERM_GRACE));
            let status = end(&group, &mut ended, patience).await;
            (status, Some(why), deadline.map_or(When::Never, When::Until))
        }
        () = requested(shutdown) => {
            let deadline = Instant::now() + SHUTDOWN_GRACE;
            let status = end(&group, &mut ended, TERM_GRACE).await;
            (status, Some("the guest was told to shut down".to_owned()), When::Until(deadline))
        }
    };

    if timeout(OUTPUT_GRACE, &mut pump).await.is_err() {
        // Something that escaped the killing holds the pipe.
        let _ = cut.send(());
        let _ = pump.await;
    }
    let mut outcome = Outcome {
        exit_code: None,
        signal: None,
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
            let message = error.to_string();
            outcome.message = Some(match outcome.message.take() {
                Some(first) => format!("{first}; {message}"),
                None => message,
            });
        }
    }
    info!(
        exit_code = outcome.exit_code,
        signal = outcome.signal,
        message = outcome.message,
        result = outcome.result.is_some(),
        log_bytes = outcome.log_bytes,
        "the runner is over"
    );
    Run {
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

/// The connection to the controller under one session.
struct Link<'a> {
    layout: &'a Layout,
    client: Client,
    session: Session,
}

impl<'a> Link<'a> {
    fn new(layout: &'a Layout, session: Session) -> Result<Self, RunError> {
        let client = Client::new(base_url(&session.controller_url)).map_err(RunError::Http)?;
        Ok(Self {
            layout,
            client,
            session,
        })
    }

    async fn report(&self, report: &Report, deadline: Instant) -> Result<ReportReply, CallError> {
        until(deadline, || self.client.report(&self.session.token, report)).await
    }

    async fn ready(&self) -> Result<ReportReply, CallError> {
        let report = Report {
            kind: ReportKind::Ready,
            outcome: None,
        };
        self.report(&report, instant_of(self.session.expires_at, Utc::now()))
            .await
    }

    /// Hands over the rest of the log, then the outcome; whether the controller has the latter.
    async fn finish(&self, run: Run, heartbeat: &Heartbeat, shutdown: &Shutdown) -> bool {
        let deadline = match run.when {
            When::Never => {
                forget_session(self.layout);
                return false;
            }
            When::Until(deadline) => deadline,
            When::Unhurried => instant_of(heartbeat.expires_at(), Utc::now()) + TTL_GRACE,
        };
        let report = Report {
            kind: ReportKind::Finished,
            outcome: Some(run.outcome),
        };
        let hand_over = async {
            if let Some(mut log) = run.log {
                // The result is worth more than the end of the log: half the time is its.
                let left = deadline.saturating_duration_since(Instant::now()) / 2;
                if timeout(left.min(LOG_GRACE), &mut log).await.is_err() {
                    warn!("the log could not be handed over whole");
                    log.abort();
                }
            }
            self.report(&report, deadline).await
        };
        self.conclude(hand_over, deadline, shutdown).await
    }

    /// Waits for `hand_over` until `deadline`, or the grace period of a shutdown.
    async fn conclude(
        &self,
        hand_over: impl Future<Output = Result<ReportReply, CallError>>,
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> bool {
        let cut = async {
            requested(shutdown).await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        tokio::select! {
            reply = timeout_at(deadline, hand_over) => match reply {
                Ok(Ok(_)) => {
                    info!("handed over");
                    forget_session(self.layout);
                    return true;
                }
                Ok(Err(error)) => warn!(error = &error as &dyn std::error::Error, "not handed over"),
                Err(_) => warn!("not handed over in time"),
            },
            () = cut => warn!("not handed over before the shutdown"),
        }
        false
    }

    /// Reports a failure of a run whose runner is not, or no more, ours. What there is of its log
    /// goes with it.
    async fn hand_over_failure(
        &self,
        message: &str,
        shutdown: &Shutdown,
    ) -> Result<Ending, RunError> {
        let mut run = Run::not_started(message.to_owned(), When::Unhurried);
        if let Ok(file) = File::open(self.layout.log())
            && let Ok(metadata) = file.metadata()
        {
            run.outcome.log_bytes = metadata.len();
            let (sender, progress) = watch::channel(Progress {
                written: metadata.len(),
                done: true,
            });
            drop(sender);
            run.log = Some(tokio::spawn(log::stream(
                file,
                progress,
                self.client.clone(),
                self.session.token.clone(),
            )));
        }
        let heartbeat = Heartbeat::start(
            self.client.clone(),
            self.session.token.clone(),
            Duration::from_secs(cattle_schemas::guest::HEARTBEAT_SECONDS),
            self.session.expires_at,
        );
        Ok(Ending {
            handed_over: self.finish(run, &heartbeat, shutdown).await,
            power_off: !*shutdown.borrow(),
        })
    }
}

/// The last secret on disk; failing to remove it from a machine that goes off is worth a line.
fn forget_session(layout: &Layout) {
    if let Err(error) = state::forget_session(layout) {
        warn!(%error, "the session file stays");
    }
}
