//! (server type, location) pairs in the order in which they are tried, without those that were
//! refused a short while ago.
//!
//! Kept in memory only: after a restart one refused call per pair teaches it again.

use std::collections::BTreeMap;
use std::time::Duration;

use cattle_core::desired::Placement;
use cattle_schemas::Timestamp;

/// Pairs that are remembered at once; specs choose them, so their number needs a bound. The ones
/// that thaw first are forgotten first, which costs one refused call each.
const MAX_PAIRS: usize = 1_000;

/// Which pairs are left alone, and until when.
#[derive(Clone, Debug, Default)]
pub struct CoolDowns {
    until: BTreeMap<(String, String), Timestamp>,
}

impl CoolDowns {
    /// Leave a pair alone from now on for so long.
    pub fn cool(&mut self, server_type: &str, location: &str, now: Timestamp, how_long: Duration) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= MAX_PAIRS {
            let first = self
                .until
                .iter()
                .min_by_key(|(_, until)| **until)
                .map(|(pair, _)| pair.clone());
            if let Some(first) = first {
                self.until.remove(&first);
            }
        }
        self.until.insert(
            (server_type.to_owned(), location.to_owned()),
            now + how_long,
        );
    }

    /// A create succeeded: the pair has stock.
    pub fn thaw(&mut self, server_type: &str, location: &str) {
        self.until
            .remove(&(server_type.to_owned(), location.to_owned()));
    }

    /// The pairs to try now, in the spec's order.
    pub fn candidates<'a>(
        &'a self,
        placement: &'a Placement,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        placement
            .candidates()
            .filter(move |pair| self.cold_until(*pair, now).is_none())
    }

    /// When the first of a placement's pairs may be tried again; `None` when one may be now.
    #[must_use]
    pub fn all_cold_until(&self, placement: &Placement, now: Timestamp) -> Option<Timestamp> {
        let mut first = None;
        for pair in placement.candidates() {
            let until = self.cold_until(pair, now)?;
            first = Some(first.map_or(until, |first: Timestamp| first.min(until)));
        }
        first
    }

    fn cold_until(
        &self,
        (server_type, location): (&str, &str),
        now: Timestamp,
    ) -> Option<Timestamp> {
        let until = *self
            .until
            .get(&(server_type.to_owned(), location.to_owned()))?;
        (until > now).then_some(until)
    }
}
