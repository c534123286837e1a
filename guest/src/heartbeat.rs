//! Saying that we live, and hearing whether to go on.
//!
//! Beside the regular beat there is one at the very moment the TTL ends: the controller may have
//! extended it. If nobody answers then, the guest stops by itself.

use std::time::Duration;

use cattle_schemas::Timestamp;
use cattle_schemas::guest::{Report, ReportKind, Stop};
use chrono::Utc;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backoff::random_unit;
use crate::client::{Client, instant_of};

/// After a failed beat the next one comes sooner: a stop may be waiting.
const RETRY: Duration = Duration::from_secs(2);
/// What is left for handing over once the TTL has ended.
pub(crate) const TTL_GRACE: Duration = Duration::from_secs(20);
/// The end reason when the TTL ended and the controller was silent.
const TTL_EXPIRED: &str = "ttl-expired";

/// What the controller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    GoOn,
    /// Stop the runner and hand over.
    Stop(Stop),
    /// The run is over for the controller; there is nobody to hand over to.
    Gone,
}

/// The beating; ends with its value.
pub(crate) struct Heartbeat {
    word: watch::Receiver<Word>,
    expires_at: watch::Receiver<Timestamp>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    pub(crate) fn start(
        client: Client,
        session: SecretString,
        interval: Duration,
        expires_at: Timestamp,
    ) -> Self {
        let (word_sender, word) = watch::channel(Word::GoOn);
        let (expires_sender, expires_at) = watch::channel(expires_at);
        let task = tokio::spawn(beat(client, session, interval, word_sender, expires_sender));
        Self {
            word,
            expires_at,
            task,
        }
    }

    /// Resolves once the controller wants something else than going on.
    pub(crate) async fn not_going_on(&self) -> Word {
        let mut word = self.word.clone();
        let heard = word.wait_for(|word| *word != Word::GoOn).await;
        // The task ends only after it said something else.
        heard.map_or(Word::Gone, |word| word.clone())
    }

    /// When the server is deleted, as last heard.
    pub(crate) fn expires_at(&self) -> Timestamp {
        *self.expires_at.borrow()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn beat(
    client: Client,
    session: SecretString,
    interval: Duration,
    word: watch::Sender<Word>,
    expires_at: watch::Sender<Timestamp>,
) {
    let report = Report {
        kind: ReportKind::Heartbeat,
        outcome: None,
    };
    // Guests that started together shall not beat together.
    let mut next = Instant::now() + interval.mul_f64(0.5 + random_unit() / 2.0);
    loop {
        let expiry = instant_of(*expires_at.borrow(), Utc::now());
        tokio::time::sleep_until(next.min(expiry)).await;
        let answered = client.report(&session, &report).await;
        let silent = answered.is_err();
        match answered {
            Ok(reply) => {
                next = Instant::now() + interval;
                expires_at.send_replace(reply.expires_at);
                if let Some(stop) = reply.stop {
                    say(&word, stop);
                }
            }
            Err(error) if error.gone() => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the run is over for the controller"
                );
                word.send_replace(Word::Gone);
                return;
            }
            Err(error) => {
                // Also when it refuses the session: a controller that lost its ledger does not
                // know us, and lets what runs run until its TTL.
                next = Instant::now() + interval.min(RETRY);
                warn!(
                    error = &error as &dyn std::error::Error,
                    "heartbeat not heard"
                );
            }
        }
        if *expires_at.borrow() <= Utc::now() {
            // A controller that answers decides by its own clock; it stops us soon enough, or ours
            // is wrong.
            if !silent {
                tokio::time::sleep(interval.min(RETRY)).await;
                continue;
            }
            say(
                &word,
                Stop {
                    reason: TTL_EXPIRED.to_owned(),
                    grace_seconds: TTL_GRACE.as_secs(),
                },
            );
            // What follows the TTL is bounded by the hand-over; beating is of no more use.
            return;
        }
    }
}

/// Only the first stop counts: its grace period has begun.
fn say(word: &watch::Sender<Word>, stop: Stop) {
    word.send_if_modified(|word| {
        let first = *word == Word::GoOn;
        if first {
            info!(
                reason = stop.reason,
                grace_seconds = stop.grace_seconds,
                "told to stop"
            );
            *word = Word::Stop(stop);
        }
        first
    });
}
