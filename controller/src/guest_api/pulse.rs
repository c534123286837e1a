//! Signs of life, written together.
//!
//! A heartbeat changes one instant that is judged in minutes; a thousand guests must not mean a
//! transaction each, let alone a pass each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cattle_core::{lifecycle, names::RunId};
use cattle_schemas::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Desk, transition};

/// How long a sign of life may wait: short beside the three minutes after which a guest is lost.
const WRITE_EVERY: Duration = Duration::from_secs(2);

/// What was heard since the last write.
#[derive(Default)]
pub(super) struct Pulse {
    heard: Mutex<HashMap<RunId, Timestamp>>,
    closed: CancellationToken,
}

impl Pulse {
    /// A run's guest lives.
    pub(super) fn beat(&self, run: RunId, now: Timestamp) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last = heard.entry(run).or_insert(now);
        *last = now.max(*last);
    }

    /// Nothing more will be heard.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    fn take(&self) -> HashMap<RunId, Timestamp> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
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
    let heard = desk.pulse.take();
    if heard.is_empty() {
        return;
    }
    let edits = heard
        .iter()
        .map(|(&run, &at)| transition(run, move |run| lifecycle::heartbeat(run, at)))
        .collect();
    if let Err(error) = desk.store.commit(edits, desk.clock.now()).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "signs of life were not recorded"
        );
        // Heard all the same: with the next write.
        for (run, at) in heard {
            desk.pulse.beat(run, at);
        }
    }
}
