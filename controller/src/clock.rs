//! Hetzner's clock, as far as we know it.
//!
//! Expiry is judged by the clock that bills. Every reply carries a `Date` of whole seconds; an
//! offset within [`NOISE`] is taken for none, so that `now` does not jump about.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use cattle_schemas::Timestamp;
use chrono::{TimeDelta, Utc};

/// Whole seconds plus a slow network explain this much.
const NOISE: TimeDelta = TimeDelta::seconds(3);

/// From here on somebody should look at the clocks: boot deadlines are minutes.
pub const ALARMING: TimeDelta = TimeDelta::seconds(60);

/// A clock that follows Hetzner's. Clones share what they learn.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_millis: Arc<AtomicI64>,
}

impl Clock {
    /// Now, by Hetzner's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Utc::now() + self.offset()
    }

    /// How far Hetzner's clock is ahead of ours; zero within the noise.
    #[must_use]
    pub fn offset(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.offset_millis.load(Ordering::Relaxed))
    }

    /// Learn how far ahead a reply was dated.
    pub fn learn(&self, offset: TimeDelta) {
        let offset = if offset.abs() <= NOISE {
            TimeDelta::zero()
        } else {
            offset
        };
        self.offset_millis
            .store(offset.num_milliseconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_difference_is_noise_and_a_large_one_is_followed() {
        let clock = Clock::default();
        clock.learn(TimeDelta::seconds(-2));
        assert_eq!(clock.offset(), TimeDelta::zero());
        clock.learn(TimeDelta::seconds(90));
        assert_eq!(clock.offset(), TimeDelta::seconds(90));
    }
}
