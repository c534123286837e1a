//! When a server is deleted whatever happens.
//!
//! All instants here are Hetzner's: a controller whose clock is wrong must not cut a task short or
//! pay for one too long.

use std::time::Duration;

use cattle_schemas::Timestamp;
use chrono::TimeDelta;

/// A shortened TTL leaves a run at least this much from now, so that an edit can be taken back and
/// the guest can hand over.
pub const MINIMUM_AFTER_CHANGE: Duration = Duration::from_secs(60);

/// From the create call on: TTL and extensions, at most `max_ttl` in all.
#[must_use]
pub fn expires_at(
    posted_at: Timestamp,
    ttl: Duration,
    extension: Duration,
    max_ttl: Duration,
) -> Timestamp {
    posted_at + ttl.saturating_add(extension).min(max_ttl)
}

/// The expiry after a TTL was changed from the spec file: it applies from creation, but leaves
/// [`MINIMUM_AFTER_CHANGE`], and never more than there was because of that rule alone.
#[must_use]
pub fn after_change(changed: Timestamp, current: Timestamp, now: Timestamp) -> Timestamp {
    changed.max(current.min(now + MINIMUM_AFTER_CHANGE))
}

/// How long a server lives of which only its labels say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Where the label `expires-at` is missing or malformed.
    pub default_ttl: Duration,
    /// Whatever that label says.
    pub max_ttl: Duration,
}

impl Lifetimes {
    /// The same without a bound: for a server of which nobody knows when it was created.
    #[must_use]
    pub fn unbounded(self) -> Self {
        Self {
            max_ttl: Duration::MAX,
            ..self
        }
    }
}

/// The expiry of a server by its label: believed, but never beyond creation + `max_ttl`. A label is
/// what anybody can write who may write to the project, and what we wrote by a clock that was wrong;
/// a server must not bill for a year because of it.
#[must_use]
pub fn believed(label: Option<Timestamp>, created: Timestamp, lifetimes: Lifetimes) -> Timestamp {
    let latest = later(created, lifetimes.max_ttl);
    let said = label.unwrap_or_else(|| later(created, lifetimes.default_ttl));
    said.min(latest)
}

/// What is too far away to be counted is the end of time.
fn later(from: Timestamp, by: Duration) -> Timestamp {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| from.checked_add_signed(by))
        .unwrap_or(Timestamp::MAX_UTC)
}
