//! Signs of life, written together.
//!
//! A heartbeat changes one instant that is judged in minutes; a thousand guests must not mean a
//! transaction each, let alone a pass each. What was heard counts from the moment it is heard: it
//! stays here, for the loop to read, until the ledger has it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cattle_core::{lifecycle, names::RunId};
use cattle_schemas::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Desk, transition};

/// How long a sign of life may wait: short beside the three minutes after which a guest is lost.
const WRITE_EVERY: Duration = Duration::from_secs(2);

/// What was heard and is not in the ledger yet.
#[derive(Debug, Default)]
pub struct Pulse {
    heard: Mutex<HashMap<RunId, Timestamp>>,
    missed: AtomicBool,
    closed: CancellationToken,
}

impl Pulse {
    /// A run's guest lives.
    pub(super) fn beat(&self, run: RunId, now: Timestamp) {
        let mut heard = self.lock();
        let last = heard.entry(run).or_insert(now);
        *last = now.max(*last);
    }

    /// What was heard and may not be in the ledger. Read it before the ledger: what is written in
    /// between is then in both.
    pub(crate) fn heard(&self) -> HashMap<RunId, Timestamp> {
        self.lock().clone()
    }

    /// Something that a guest said could not be taken in.
    pub(super) fn missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// Whether everything was taken in since this was asked before.
    pub(crate) fn took_all(&self) -> bool {
        !self.missed.swap(false, Ordering::Relaxed)
    }

    /// Nothing more will be heard.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// The ledger has this.
    fn written(&self, written: &HashMap<RunId, Timestamp>) {
        self.lock()
            .retain(|run, at| written.get(run).is_none_or(|written| written < at));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Timestamp>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until the pulse is closed, and then once more.
pub(super) async fn write(desk: Arc<Desk>) {
    loop {
        let closed = tokio::time::timeout(WRITE_EVERY, desk.pulse.closed.cancelled())
            .await
            .is_ok();
        flush(&desk).await;
        if closed {
            return;
        }
    }
}

async fn flush(desk: &Desk) {
    let heard = desk.pulse.heard();
    if heard.is_empty() {
        return;
    }
    let edits = heard
        .iter()
        .map(|(&run, &at)| transition(run, move |run| lifecycle::heartbeat(run, at)))
        .collect();
    match desk.store.commit(edits, desk.clock.now()).await {
        Ok(_) => desk.pulse.written(&heard),
        // Heard all the same, and with the next write. Who else said something is not known.
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "signs of life were not recorded"
            );
            desk.pulse.missed();
        }
    }
}
