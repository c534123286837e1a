//! The connection to the controller under one session: ready, and the hand-over of a run that is
//! over.

use std::fs::File;
use std::time::Duration;

use cattle_schemas::guest::{FailureCause, Outcome, Report, ReportKind, ReportReply};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::client::{CallError, Client, until};
use crate::clock::Moment;
use crate::heartbeat::{Heartbeat, TTL_GRACE};
use crate::layout::Layout;
use crate::log::{self, Progress};
use crate::run::{Ending, Pace, RunError, SHUTDOWN_GRACE, Shutdown, requested};
use crate::state::{self, Session};

/// How long the result waits for the log, when nothing presses: who waits for the end of a run reads
/// its log next. What has not arrived by then follows the result.
const LOG_GRACE: Duration = Duration::from_secs(10);
/// A message is a sentence; a result is where more belongs.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// How long the hand-over may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// Until the TTL ends.
    Unhurried,
    /// A grace period is running.
    Until(Moment),
    /// There is nobody to hand over to.
    Never,
}

/// A run that is over here.
pub(crate) struct Over {
    pub(crate) outcome: Outcome,
    pub(crate) when: When,
    /// The log's sending, if a runner was started.
    pub(crate) log: Option<JoinHandle<()>>,
}

impl Over {
    pub(crate) fn not_started(cause: FailureCause, message: String, when: When) -> Self {
        warn!(message, "the runner is not started");
        Self {
            outcome: Outcome {
                exit_code: None,
                signal: None,
                cause: Some(cause),
                message: Some(message),
                result: None,
                log_bytes: 0,
            },
            when,
            log: None,
        }
    }
}

/// The connection to the controller under one session.
pub(crate) struct Link<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) client: Client,
    pub(crate) session: Session,
}

impl<'a> Link<'a> {
    pub(crate) fn new(layout: &'a Layout, session: Session) -> Result<Self, RunError> {
        let client = Client::new(session.controller.clone()).map_err(RunError::Http)?;
        Ok(Self {
            layout,
            client,
            session,
        })
    }

    async fn report(&self, report: &Report, deadline: Moment) -> Result<ReportReply, CallError> {
        until(deadline, || self.client.report(&self.session.token, report)).await
    }

    pub(crate) async fn ready(&self) -> Result<ReportReply, CallError> {
        let report = Report {
            kind: ReportKind::Ready,
            outcome: None,
        };
        self.report(&report, self.session.time_up).await
    }

    /// Reports the outcome. A controller that is older than causes is told without one.
    async fn hand_in(
        &self,
        mut outcome: Outcome,
        deadline: Moment,
    ) -> Result<ReportReply, CallError> {
        let of = |outcome: &Outcome| Report {
            kind: ReportKind::Finished,
            outcome: Some(outcome.clone()),
        };
        let report = of(&outcome);
        let answered = until(deadline, || async {
            match self.client.report(&self.session.token, &report).await {
                Err(error) if error.not_understood() && outcome.cause.is_some() => Ok(Err(error)),
                other => other.map(Ok),
            }
        });
        match answered.await? {
            Ok(reply) => Ok(reply),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "reporting without the cause"
                );
                outcome.cause = None;
                self.report(&of(&outcome), deadline).await
            }
        }
    }

    /// Hands over the outcome and what is left of the log, and stays on where the controller wants
    /// that; whether the controller has the outcome.
    pub(crate) async fn finish(
        &self,
        over: Over,
        heartbeat: &Heartbeat,
        shutdown: &Shutdown,
    ) -> bool {
        let deadline = match over.when {
            When::Never => {
                forget_session(self.layout);
                return false;
            }
            When::Until(deadline) => deadline,
            When::Unhurried => heartbeat.time_up() + TTL_GRACE,
        };
        let mut outcome = over.outcome;
        outcome.message = outcome.message.map(shorten);
        let mut rest = over.log;
        let hand_over = async {
            if let Some(log) = &mut rest {
                // The result is worth more than the end of the log: half the time is its.
                if timeout(LOG_GRACE.min(deadline.left() / 2), log)
                    .await
                    .is_ok()
                {
                    rest = None;
                } else {
                    info!("the rest of the log follows the result");
                }
            }
            self.hand_in(outcome, deadline).await
        };
        let reply = self.conclude(hand_over, deadline, shutdown).await;
        let Some(reply) = reply else {
            if let Some(log) = rest {
                log.abort();
            }
            return false;
        };
        if let Some(log) = rest {
            send_rest(log, deadline, heartbeat, shutdown).await;
        }
        if reply.stay {
            // The session stays on disk meanwhile: a guest that is restarted hands over once more,
            // and is told to stay once more.
            info!("staying on until told otherwise or the TTL ends");
            tokio::select! {
                word = heartbeat.not_going_on() => info!(?word, "going"),
                () = requested(shutdown) => return true,
            }
        }
        forget_session(self.layout);
        true
    }

    /// Waits for `hand_over` until `deadline`, or the grace period of a shutdown.
    async fn conclude(
        &self,
        hand_over: impl Future<Output = Result<ReportReply, CallError>>,
        deadline: Moment,
        shutdown: &Shutdown,
    ) -> Option<ReportReply> {
        tokio::select! {
            reply = hand_over => match reply {
                Ok(reply) => {
                    info!("handed over");
                    return Some(reply);
                }
                Err(error) => warn!(error = &error as &dyn std::error::Error, "not handed over"),
            },
            () = deadline.reached() => warn!("not handed over in time"),
            () = cut(shutdown) => warn!("not handed over before the shutdown"),
        }
        None
    }

    /// Reports a failure of a run whose runner is not, or no more, ours. What there is of its log
    /// goes with it.
    pub(crate) async fn hand_over_failure(
        &self,
        message: &str,
        pace: Pace,
        shutdown: &Shutdown,
    ) -> Result<Ending, RunError> {
        let cause = FailureCause::GuestRestarted;
        let mut over = Over::not_started(cause, message.to_owned(), When::Unhurried);
        if let Ok(file) = File::open(self.layout.log())
            && let Ok(metadata) = file.metadata()
        {
            over.outcome.log_bytes = metadata.len();
            let (sender, progress) = watch::channel(Progress {
                written: metadata.len(),
                done: true,
            });
            drop(sender);
            over.log = Some(tokio::spawn(log::stream(
                file,
                progress,
                self.client.clone(),
                self.session.token.clone(),
            )));
        }
        let heartbeat = Heartbeat::start(
            self.client.clone(),
            self.session.token.clone(),
            pace.heartbeat,
            self.session.time_up,
        );
        Ok(Ending {
            handed_over: self.finish(over, &heartbeat, shutdown).await,
            power_off: !*shutdown.borrow(),
        })
    }
}

/// Sends the rest of the log while the controller takes it.
async fn send_rest(
    mut log: JoinHandle<()>,
    deadline: Moment,
    heartbeat: &Heartbeat,
    shutdown: &Shutdown,
) {
    tokio::select! {
        _ = &mut log => return,
        () = heartbeat.gone() => warn!("the controller takes no more of the log"),
        () = deadline.reached() => warn!("the log could not be handed over whole in time"),
        () = cut(shutdown) => warn!("the log could not be handed over before the shutdown"),
    }
    log.abort();
}

/// Resolves when a shutdown waits no longer.
async fn cut(shutdown: &Shutdown) {
    requested(shutdown).await;
    tokio::time::sleep(SHUTDOWN_GRACE).await;
}

/// The last secret on disk; failing to remove it from a machine that goes off is worth a line.
fn forget_session(layout: &Layout) {
    if let Err(error) = state::forget_session(layout) {
        warn!(%error, "the session file stays");
    }
}

/// Names out of archives and files end up in messages, and have no limit of their own.
fn shorten(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((cut, _)) => format!("{}…", &message[..cut]),
        None => message,
    }
}
