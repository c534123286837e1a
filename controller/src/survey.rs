//! Keeps what is known of Hetzner's offer up to date.

use std::{sync::Arc, time::Duration};

use cattle_core::catalogue::Catalogue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{hetzner::Client, world::Bell};

/// Prices change by announcement, months ahead.
const PRICES_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// Reads the offer, and again now and then.
pub struct Survey {
    /// Hetzner.
    pub client: Arc<Client>,
    /// Where what was read goes.
    pub catalogue: watch::Sender<Arc<Catalogue>>,
    /// Rung after each change.
    pub bell: Bell,
    /// How long after prices could not be read they are asked for again.
    pub again: Duration,
}

impl Survey {
    /// Reads until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let wait = match self.client.prices().await {
                Ok(catalogue) => {
                    self.catalogue.send_replace(Arc::new(catalogue));
                    self.bell.ring();
                    PRICES_EVERY
                }
                Err(error) => {
                    tracing::warn!(error = %crate::report(&error), "could not read the prices");
                    self.again
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
