//! One run, from the bootstrap file to the acknowledged result.

use std::io;
use std::time::Duration;

use cattle_schemas::guest::{Bootstrap, EnvReply};
use chrono::Utc;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::client::{CallError, Client, instant_of, until};
use crate::heartbeat::Heartbeat;
use crate::input::{self, InputError};
use crate::layout::Layout;
use crate::link::{Link, Over, When};
use crate::peer::{self, PeerError};
use crate::prepare::{Prepared, Unprepared, prepare};
use crate::process;
use crate::state::{self, Marker, Session};
use crate::task::run_task;

/// How long a guest that is told to go by its init system tries to hand over; systemd's default
/// patience is 90 s.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

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
    #[error("the controller's URL is not usable: {0}")]
    Url(String),
    #[error("no env for the run")]
    Env(#[source] CallError),
    #[error("the controller answered for run `{0}`, not ours")]
    OtherRun(String),
    #[error("the controller did not take the first report")]
    Ready(#[source] CallError),
    #[error("cannot keep the guest's own state")]
    State(#[source] io::Error),
    #[error("the run {0} started before, and its session is gone")]
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

/// Resolves once the guest is told to end.
pub(crate) async fn requested(shutdown: &Shutdown) {
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
        (Some(marker), None) => ran_before(layout, &marker, pace, shutdown).await,
        // A marker of another run is an image's that was made of a used disk.
        (Some(marker), Some(bootstrap)) if marker.forbids(&bootstrap.run) => {
            ran_before(layout, &marker, pace, shutdown).await
        }
        (_, Some(bootstrap)) => first_time(layout, &bootstrap, pace, shutdown).await,
    }
}

/// The guest restarted after the runner may have started: whatever happened, it does not happen
/// again.
async fn ran_before(
    layout: &Layout,
    marker: &Marker,
    pace: Pace,
    shutdown: &Shutdown,
) -> Result<Ending, RunError> {
    if let Some(runner) = marker.runner {
        runner.kill_with_descendants();
    }
    state::forget_bootstrap(layout).map_err(RunError::State)?;
    let session = state::session(layout)
        .map_err(RunError::State)?
        .ok_or_else(|| RunError::RanBefore(marker.run_name().to_owned()))?;
    warn!(run = session.run, "the guest restarted while the task ran");
    let link = Link::new(layout, session)?;
    link.hand_over_failure("guest restarted while the task ran", pace, shutdown)
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
    let (session, reply) = tokio::select! {
        () = requested(shutdown) => return Ok(interrupted),
        fetched = fetch_env(layout, bootstrap) => match fetched {
            // An earlier life of ours spent the token and fell before the runner started.
            Err(RunError::Env(error)) if error.refused() => {
                let Some(session) = state::session(layout)
                    .map_err(RunError::State)?
                    .filter(|session| session.run == bootstrap.run)
                else {
                    return Err(RunError::Env(error));
                };
                mark(layout, &Marker::of(bootstrap)).map_err(RunError::State)?;
                return Link::new(layout, session)?
                    .hand_over_failure("guest restarted before the runner started", pace, shutdown)
                    .await;
            }
            fetched => fetched?,
        },
    };
    let ready = async {
        let (link, prepared) = prepare_anew(layout, bootstrap, session, reply).await?;
        let acknowledged = link.ready().await.map_err(RunError::Ready)?;
        Ok::<_, RunError>((link, prepared, acknowledged))
    };
    let (link, prepared, acknowledged) = tokio::select! {
        () = requested(shutdown) => return Ok(interrupted),
        ready = ready => ready?,
    };

    let marker = Marker::of(bootstrap);
    let marked = mark(layout, &marker);
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
        (_, Err(unprepared), _) => Some(unprepared.message.clone()),
        (Ok(()), Ok(_), None) => None,
    };
    let over = match (not_started, prepared) {
        (None, Ok(prepared)) => run_task(&link, prepared, marker, &heartbeat, shutdown).await,
        (message, _) => Over::not_started(
            message.unwrap_or_default(),
            acknowledged.stop.map_or(When::Unhurried, |stop| {
                When::Until(Instant::now() + Duration::from_secs(stop.grace_seconds))
            }),
        ),
    };
    let handed_over = link.finish(over, &heartbeat, shutdown).await;
    Ok(Ending {
        handed_over,
        // Told to go by the init system: the machine is its business.
        power_off: !*shutdown.borrow(),
    })
}

/// Prepares; where the persona is not the announced one, once more with what the env says by now.
/// That may be asked for again, as after a lost reply, until the first report.
async fn prepare_anew<'a>(
    layout: &'a Layout,
    bootstrap: &Bootstrap,
    session: Session,
    reply: EnvReply,
) -> Result<(Link<'a>, Result<Prepared, Unprepared>), RunError> {
    let link = Link::new(layout, session)?;
    let prepared = prepare(&link, reply).await;
    match &prepared {
        Err(unprepared) if unprepared.other_persona => warn!(unprepared.message, "asking again"),
        _ => return Ok((link, prepared)),
    }
    match fetch_env(layout, bootstrap).await {
        Ok((session, reply)) => {
            let link = Link::new(layout, session)?;
            let prepared = prepare(&link, reply).await;
            Ok((link, prepared))
        }
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "no newer env for the run"
            );
            Ok((link, prepared))
        }
    }
}

/// Draws the line between "may be tried again" and "never again". Only then the secrets of the
/// first call go, and only then a runner may come.
fn mark(layout: &Layout, marker: &Marker) -> io::Result<()> {
    state::set_marker(layout, marker)?;
    state::forget_bootstrap(layout)
}

async fn fetch_env(
    layout: &Layout,
    bootstrap: &Bootstrap,
) -> Result<(Session, EnvReply), RunError> {
    let controller = input::controller_url(bootstrap).map_err(RunError::Url)?;
    let deadline = instant_of(bootstrap.expires_at, Utc::now());
    find_controller(layout, bootstrap, &controller, deadline).await?;
    let client = Client::new(controller.clone()).map_err(RunError::Http)?;
    let key = state::idempotency_key(layout).map_err(RunError::State)?;
    let token: SecretString = bootstrap.token.as_str().into();
    let reply = until(deadline, || client.env(&token, &key))
        .await
        .map_err(RunError::Env)?;
    if reply.run != bootstrap.run {
        return Err(RunError::OtherRun(reply.run));
    }
    let session = Session {
        run: reply.run.clone(),
        controller,
        token: reply.session_token.as_str().into(),
        expires_at: bootstrap.expires_at,
    };
    state::set_session(layout, &session).map_err(RunError::State)?;
    info!(names = ?reply.env.keys().collect::<Vec<_>>(), model = reply.model, "got the env");
    Ok((session, reply))
}

/// Waits until the tailnet knows the controller, and it is the pinned one.
async fn find_controller(
    layout: &Layout,
    bootstrap: &Bootstrap,
    controller: &reqwest::Url,
    deadline: Instant,
) -> Result<(), PeerError> {
    let mut backoff = Backoff::new();
    loop {
        let error = match peer::check(bootstrap, controller, &layout.tailscale_socket()).await {
            Err(error) if error.may_pass() => error,
            checked => return checked,
        };
        let wait = backoff.next(None);
        if Instant::now() + wait >= deadline {
            return Err(error);
        }
        warn!(
            error = &error as &dyn std::error::Error,
            "the controller is not known yet"
        );
        tokio::time::sleep(wait).await;
    }
}
