//! How much time is left, by a clock that nobody sets.
//!
//! The machine's wall clock may be hours off until NTP has spoken, and the dates of a controller
//! mean nothing beside it. So a moment counts from the machine's start, the time for which it was
//! suspended included, and what is left of a task's time is what the controller said in its last
//! reply. Only a controller that does not say it is measured by the wall clock.

use std::time::Duration;

use cattle_schemas::Timestamp;
use chrono::Utc;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// A sleeping task is not told of a suspended machine that wakes up; it looks so often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Far enough to mean never, near enough to be added to any moment.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A moment, as the time since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanos))
    }

    /// So long from now.
    pub(crate) fn after(wait: Duration) -> Self {
        Self::now() + wait
    }

    /// When the time is up of which a reply that came just now speaks.
    pub(crate) fn told(seconds_left: Option<u64>, expires_at: Timestamp) -> Self {
        Self::after(match seconds_left {
            Some(seconds) => Duration::from_secs(seconds),
            None => (expires_at - Utc::now()).to_std().unwrap_or_default(),
        })
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Resolves then.
    pub(crate) async fn reached(self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK_AGAIN)).await;
        }
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self(self.0 + wait.min(NEVER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_controller_says_is_left_counts_whatever_its_date_is() {
        let past = Utc::now() - chrono::TimeDelta::hours(2);
        let told = Moment::told(Some(300), past).left();
        assert!((Duration::from_secs(290)..=Duration::from_secs(300)).contains(&told));
        assert!(Moment::told(None, past).has_passed());
    }

    #[test]
    fn nothing_is_so_far_away_that_it_cannot_be_added() {
        let never = Moment::told(Some(u64::MAX), Utc::now());
        assert!(never > Moment::after(Duration::from_secs(86_400)));
    }
}
