//! Says it when the API token is refused, and when it is taken again.

use std::sync::Arc;

use cattle_core::account::{Refusal, Token};
use cattle_schemas::event::{EventReason, NewEvent};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    store::{Edit, Store},
    world::Bell,
};

/// Watches what the answers say of the token.
pub struct Account {
    /// The token, from call to call.
    pub token: watch::Receiver<Token>,
    /// Where alerts go.
    pub store: Arc<dyn Store>,
    /// Hetzner's clock.
    pub clock: Clock,
    /// Rung at each change.
    pub bell: Bell,
}

impl Account {
    /// Watches until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut known: Option<Refusal> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.token.changed() => if changed.is_err() { return },
            }
            let token = self.token.borrow_and_update().clone();
            let refusal = token.refusal();
            if refusal == known {
                continue;
            }
            let message = match token.complaint() {
                Some(complaint) => {
                    tracing::error!("{complaint}");
                    complaint.to_owned()
                }
                None => {
                    tracing::info!("Hetzner takes the token again");
                    "Hetzner takes the token again".to_owned()
                }
            };
            known = refusal;
            self.tell(message).await;
            self.bell.ring();
        }
    }

    async fn tell(&self, message: String) {
        let alert = Edit::Event(NewEvent {
            cattle: None,
            run: None,
            reason: EventReason::Alert,
            message,
        });
        if let Err(error) = self.store.commit(vec![alert], self.clock.now()).await {
            tracing::error!(error = %crate::report(&error), "the ledger did not take an alert");
        }
    }
}
