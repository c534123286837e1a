//! What the last pass saw and decided, for everybody who answers questions; and the bell that asks
//! for the next one.
//!
//! Invariant: a trigger carries no data. It only rings; the pass reads everything again.

use std::sync::Arc;

use cattle_core::{
    action::{Limits, Plan},
    desired::Desired,
    fleet::Fleet,
    ledger::Ledger,
    observed::Observed,
};
use cattle_schemas::{
    Timestamp,
    status::{CallBudget, Condition},
};
use tokio::sync::{Notify, watch};

/// One pass, complete.
#[derive(Clone, Debug)]
pub struct World {
    /// Counts passes from 1; 0 before the first.
    pub pass: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The fleet's configuration; the last good one.
    pub fleet: Arc<Fleet>,
    /// What should be.
    pub desired: Arc<Desired>,
    /// What is.
    pub observed: Arc<Observed>,
    /// What was.
    pub ledger: Arc<Ledger>,
    /// What bounds it.
    pub limits: Arc<Limits>,
    /// What follows.
    pub plan: Arc<Plan>,
    /// The controller's own conditions.
    pub conditions: Vec<Condition>,
    /// What Hetzner's rate limit had left; `None` before its first answer.
    pub calls: Option<CallBudget>,
}

/// Rings for a pass.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Ask for a pass. Rings while one is under way ask for one more.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Wait for a ring.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// For those who answer questions: the latest world, and a way to ask for a newer one.
#[derive(Clone, Debug)]
pub struct Handle {
    worlds: watch::Receiver<Arc<World>>,
    bell: Bell,
}

/// The loop is gone: the controller is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the controller is shutting down")]
pub struct Stopped;

impl Handle {
    /// Whoever runs the loop makes the handles.
    #[must_use]
    pub fn new(worlds: watch::Receiver<Arc<World>>, bell: Bell) -> Self {
        Self { worlds, bell }
    }

    /// What the last pass saw.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.worlds.borrow().clone()
    }

    /// The bell.
    #[must_use]
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Ring, and wait for a pass that began afterwards, so that it has seen what the caller wrote.
    ///
    /// # Errors
    /// The loop has stopped.
    pub async fn next_pass(&mut self) -> Result<Arc<World>, Stopped> {
        // A pass may be under way that read its inputs before the caller wrote: the one after it is
        // the first that certainly began later.
        let seen = self.worlds.borrow().pass;
        self.bell.ring();
        let first = self.wait_beyond(seen).await?;
        if first.pass > seen + 1 {
            return Ok(first);
        }
        self.bell.ring();
        self.wait_beyond(seen + 1).await
    }

    /// Wait for the next pass without asking for one.
    ///
    /// # Errors
    /// The loop has stopped.
    pub async fn changed(&mut self) -> Result<Arc<World>, Stopped> {
        self.worlds.changed().await.map_err(|_| Stopped)?;
        Ok(self.worlds.borrow_and_update().clone())
    }

    async fn wait_beyond(&mut self, pass: u64) -> Result<Arc<World>, Stopped> {
        let world = self
            .worlds
            .wait_for(|world| world.pass > pass)
            .await
            .map_err(|_| Stopped)?;
        Ok(world.clone())
    }
}
