//! The connection to the controller under one session: ready, and the hand-over of a run that is
//! over.

use std::fs::File;
use std::time::Duration;

use cattle_schemas::guest::{Outcome, Report, ReportKind, ReportReply};
use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::client::{CallError, Client, instant_of, until};
use crate::heartbeat::{Heartbeat, TTL_GRACE};
use crate::layout::Layout;
use crate::log::{self, Progress};
use crate::run::{Ending, Pace, RunError, SHUTDOWN_GRACE, Shutdown, requested};
use crate::state::{self, Session};

/// How long the result waits for the log, when nothing presses.
const LOG_GRACE: Duration = Duration::from_secs(30);
/// A message is a sentence; a result is where more belongs.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// How long the hand-over may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// Until the TTL ends.
    Unhurried,
    /// A grace period is running.
    Until(Instant),
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
    pub(crate) fn not_started(message: String, when: When) -> Self {
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

    async fn report(&self, report: &Report, deadline: Instant) -> Result<ReportReply, CallError> {
        until(deadline, || self.client.report(&self.session.token, report)).await
    }

    pub(crate) async fn ready(&self) -> Result<ReportReply, CallError> {
        let report = Report {
            kind: ReportKind::Ready,
            outcome: None,
        };
        self.report(&report, instant_of(self.session.expires_at, Utc::now()))
            .await
    }

    /// Hands over the rest of the log, then the outcome, and stays on where the controller wants
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
            When::Unhurried => instant_of(heartbeat.expires_at(), Utc::now()) + TTL_GRACE,
        };
        let mut outcome = over.outcome;
        outcome.message = outcome.message.map(shorten);
        let report = Report {
            kind: ReportKind::Finished,
            outcome: Some(outcome),
        };
        let hand_over = async {
            if let Some(mut log) = over.log {
                // The result is worth more than the end of the log: half the time is its.
                let left = deadline.saturating_duration_since(Instant::now()) / 2;
                if timeout(left.min(LOG_GRACE), &mut log).await.is_err() {
                    warn!("the log could not be handed over whole");
                    log.abort();
                }
            }
            self.report(&report, deadline).await
        };
        let Some(reply) = self.conclude(hand_over, deadline, shutdown).await else {
            return false;
        };
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
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> Option<ReportReply> {
        let cut = async {
            requested(shutdown).await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        tokio::select! {
            reply = timeout_at(deadline, hand_over) => match reply {
                Ok(Ok(reply)) => {
                    info!("handed over");
                    return Some(reply);
                }
                Ok(Err(error)) => warn!(error = &error as &dyn std::error::Error, "not handed over"),
                Err(_) => warn!("not handed over in time"),
            },
            () = cut => warn!("not handed over before the shutdown"),
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
        let mut over = Over::not_started(message.to_owned(), When::Unhurried);
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
            self.session.expires_at,
        );
        Ok(Ending {
            handed_over: self.finish(over, &heartbeat, shutdown).await,
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

/// Names out of archives and files end up in messages, and have no limit of their own.
fn shorten(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((cut, _)) => format!("{}…", &message[..cut]),
        None => message,
    }
}
