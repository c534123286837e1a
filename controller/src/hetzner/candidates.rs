//! (server type, location) pairs that were refused a short while ago, and why.
//!
//! When a pair thaws it is tried by one create at a time until one succeeds: a hundred cattle that
//! wait for the same stock ask for it once, not a hundred times. Kept in memory only, and the one truth:
//! after a restart the ledger says which pairs something waits for, and they are tried again at once,
//! one create at a time.

use std::time::Duration;

use cattle_core::{
    candidates::{Cold, ColdPairs},
    clock::Wait,
};
use cattle_schemas::Timestamp;

/// Pairs that are remembered at once; specs choose them, so their number needs a bound. The ones
/// that thaw first are forgotten first, which costs one refused call each.
const MAX_PAIRS: usize = 1_000;
/// How long one create has to itself what was refused before: a refusal comes within seconds.
const TRIAL: Duration = Duration::from_secs(30);

/// Which pairs are left alone, and until when.
#[derive(Clone, Debug, Default)]
pub struct CoolDowns {
    pairs: ColdPairs,
}

impl CoolDowns {
    /// It was refused, for this reason: leave it alone from now on for so long.
    pub fn cool(
        &mut self,
        server_type: &str,
        location: &str,
        why: String,
        now: Timestamp,
        how_long: Duration,
    ) -> &Cold {
        let pair = (server_type.to_owned(), location.to_owned());
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&pair) {
            let first = self.pairs.iter().min_by_key(|(_, cold)| cold.wait.until);
            if let Some(first) = first.map(|(pair, _)| pair.clone()) {
                self.pairs.remove(&first);
            }
        }
        let cold = Cold {
            server_type: pair.0.clone(),
            location: pair.1.clone(),
            why,
            wait: Wait::new(now, how_long),
        };
        self.pairs.entry(pair).insert_entry(cold).into_mut()
    }

    /// All of them, as a plan sees them.
    #[must_use]
    pub fn pairs(&self) -> &ColdPairs {
        &self.pairs
    }

    /// Somebody waits for this pair since before the restart: one create may try it.
    pub fn recall(&mut self, server_type: &str, location: &str) {
        let pair = (server_type.to_owned(), location.to_owned());
        if !self.pairs.contains_key(&pair) {
            let why = "refused before the controller was restarted".to_owned();
            self.cool(
                server_type,
                location,
                why,
                Timestamp::UNIX_EPOCH,
                Duration::ZERO,
            );
        }
    }

    /// Somebody wants this pair to be tried now: by one create, as when its time is over.
    pub fn try_again(&mut self, server_type: &str, location: &str, now: Timestamp) {
        let pair = (server_type.to_owned(), location.to_owned());
        if let Some(cold) = self.pairs.get_mut(&pair)
            && cold.wait.ends(now) > now
        {
            cold.wait = Wait::new(now, Duration::ZERO);
        }
    }

    /// A create succeeded: the pair has stock.
    pub fn thaw(&mut self, server_type: &str, location: &str) {
        self.pairs
            .remove(&(server_type.to_owned(), location.to_owned()));
    }

    /// To be asked right before a create of this pair is posted, which is then on.
    ///
    /// # Errors
    /// It is to be left alone.
    pub fn try_now(
        &mut self,
        server_type: &str,
        location: &str,
        now: Timestamp,
    ) -> Result<(), Cold> {
        let pair = (server_type.to_owned(), location.to_owned());
        match self.pairs.get_mut(&pair) {
            Some(cold) if cold.wait.ends(now) > now => Err(cold.clone()),
            Some(cold) => {
                cold.wait = Wait::new(now, TRIAL);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
