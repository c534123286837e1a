//! When a server is deleted whatever happens.
//!
//! All instants here are Hetzner's: a controller whose clock is wrong must not cut a task short or
//! pay for one too long.

use std::time::Duration;

use cattle_schemas::Timestamp;

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

/// The expiry of a server whose label does not say.
#[must_use]
pub fn fallback(created: Timestamp, default_ttl: Duration) -> Timestamp {
    created + default_ttl
}
