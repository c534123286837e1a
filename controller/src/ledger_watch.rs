//! Says it when the ledger cannot be written, and when it can again.

use std::{sync::Arc, time::Instant};

use cattle_core::writable::Writable;
use cattle_schemas::event::{EventReason, NewEvent};

use crate::{
    clock::Clock,
    store::{Edit, Store},
    world::Bell,
};

/// Looks, and tells the log, the metrics, the passes and, afterwards, the events.
pub(crate) struct LedgerWatch {
    store: Arc<dyn Store>,
    clock: Clock,
    bell: Bell,
    /// Since when it cannot be written, and why.
    trouble: Option<(Instant, Writable)>,
}

impl LedgerWatch {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Clock, bell: Bell) -> Self {
        metrics::gauge!("cattle_ledger_writable").set(1.0);
        Self {
            store,
            clock,
            bell,
            trouble: None,
        }
    }

    /// One look.
    pub(crate) async fn look(&mut self) {
        let looked = self.store.look().await;
        let known = self.store.writable().borrow().clone();
        if let Some(complaint) = known.complaint()
            && self.trouble.as_ref().is_none_or(|(_, why)| *why != known)
        {
            tracing::error!("{complaint}");
            let since = self.trouble.as_ref().map_or_else(Instant::now, |it| it.0);
            self.trouble = Some((since, known));
            metrics::gauge!("cattle_ledger_writable").set(0.0);
            self.bell.ring();
        }
        if let (Ok(true), Some((since, why))) = (looked, &self.trouble) {
            let event = NewEvent {
                cattle: None,
                run: None,
                reason: EventReason::Alert,
                message: format!(
                    "the ledger can be written again; for {} s it could not ({})",
                    since.elapsed().as_secs().max(1),
                    why.reason()
                ),
            };
            // That it is taken is the proof.
            let told = self
                .store
                .commit(vec![Edit::Event(event)], self.clock.now())
                .await;
            if told.is_ok() && *self.store.writable().borrow() == Writable::Yes {
                tracing::info!("the ledger can be written again");
                self.trouble = None;
                metrics::gauge!("cattle_ledger_writable").set(1.0);
                self.bell.ring();
            }
        }
    }
}
