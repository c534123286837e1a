//! Session tokens that were drawn and not handed out yet.
//!
//! A run's session token is drawn with its create, so that the server carries the token's digest from
//! its first second on, and not at the price of a further call. Until the guest asks for its env the
//! token itself is here and nowhere else; should the controller be restarted in between, another one is
//! drawn, and the server's label is put right.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cattle_core::names::RunId;
use secrecy::SecretString;

/// Runs whose guests never came leave theirs behind; beyond so many all are drawn anew.
const MAX_HELD: usize = 10_000;

/// Tokens by run. Clones share them.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<RunId, SecretString>>>);

impl Sessions {
    /// Holds the token of a run's latest attempt.
    pub fn hold(&self, run: RunId, token: SecretString) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MAX_HELD {
            held.clear();
        }
        held.insert(run, token);
    }

    /// Gives it away, once.
    #[must_use]
    pub fn take(&self, run: RunId) -> Option<SecretString> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&run)
    }
}
