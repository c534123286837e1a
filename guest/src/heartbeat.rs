//! Saying that we live, and hearing whether to go on.
//!
//! Beside the regular beat there is one at the very moment the task's time is up: the controller may
//! have extended it. If nobody answers then, the guest stops by itself.

use std::time::Duration;

use cattle_schemas::guest::{Report, ReportKind, Stop};
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backoff::random_unit;
use crate::client::Client;
use crate::clock::Moment;

/// After a failed beat the next one comes sooner: a stop may be waiting.
const RETRY: Duration = Duration::from_secs(2);
/// What is left for handing over once the TTL has ended.
pub(crate) const TTL_GRACE: Duration = Duration::from_secs(20);

/// What the controller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    GoOn,
    /// Stop the runner and hand over.
    Stop(Stop),
    /// Likewise: the time is up, and the controller silent.
    TimeUp,
    /// The run is over for the controller; there is nobody to hand over to.
    Gone,
}

/// The beating; ends with its value.
pub(crate) struct Heartbeat {
    word: watch::Receiver<Word>,
    time_up: watch::Receiver<Moment>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    pub(crate) fn start(
        client: Client,
        session: SecretString,
        interval: Duration,
        time_up: Moment,
    ) -> Self {
        let (word_sender, word) = watch::channel(Word::GoOn);
        let (time_sender, time_up) = watch::channel(time_up);
        let task = tokio::spawn(beat(client, session, interval, word_sender, time_sender));
        Self {
            word,
            time_up,
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

    /// Resolves once there is nobody to hand over to any more.
    pub(crate) async fn gone(&self) {
        let mut word = self.word.clone();
        if word.wait_for(|word| *word == Word::Gone).await.is_err() {
            // It beats no more, and has not heard that.
            std::future::pending::<()>().await;
        }
    }

    /// When the task's time is up, as last heard.
    pub(crate) fn time_up(&self) -> Moment {
        *self.time_up.borrow()
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
    time_up: watch::Sender<Moment>,
) {
    let report = Report {
        kind: ReportKind::Heartbeat,
        outcome: None,
    };
    // Guests that started together shall not beat together.
    let mut next = Instant::now() + interval.mul_f64(0.5 + random_unit() / 2.0);
    loop {
        let last = *time_up.borrow();
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = last.reached() => {}
        }
        let answered = client.report(&session, &report).await;
        let silent = answered.is_err();
        match answered {
            Ok(reply) => {
                next = Instant::now() + interval;
                time_up.send_replace(Moment::told(reply.seconds_left, reply.expires_at));
                if let Some(stop) = reply.stop {
                    say(&word, Word::Stop(stop));
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
        if time_up.borrow().has_passed() {
            // A controller that answers decides by its own clock; it stops us soon enough, or ours
            // is wrong.
            if !silent {
                tokio::time::sleep(interval.min(RETRY)).await;
                continue;
            }
            say(&word, Word::TimeUp);
            // What follows the TTL is bounded by the hand-over; beating is of no more use.
            return;
        }
    }
}

/// Only the first stop counts: its grace period has begun.
fn say(word: &watch::Sender<Word>, said: Word) {
    word.send_if_modified(|word| {
        let first = *word == Word::GoOn;
        if first {
            info!(word = ?said, "told to stop");
            *word = said;
        }
        first
    });
}
