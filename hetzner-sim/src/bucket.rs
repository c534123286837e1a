//! The rate limit: a token bucket whose capacity is the hourly limit, refilled continuously.

use chrono::{DateTime, Duration, Utc};

const HOUR_SECONDS: f64 = 3600.0;

/// One project's bucket. Calls without a valid token draw from it as well.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    limit: u32,
    tokens: f64,
    filled_at: DateTime<Utc>,
}

/// What the three `RateLimit-*` headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Unix seconds at which the bucket is full again, which is not when the next call may come.
    pub(crate) reset: i64,
}

impl Bucket {
    pub(crate) fn new(limit: u32, now: DateTime<Utc>) -> Self {
        Self {
            limit,
            tokens: f64::from(limit),
            filled_at: now,
        }
    }

    /// Takes one call's token; false when there is none.
    pub(crate) fn take(&mut self, now: DateTime<Utc>) -> bool {
        self.refill(now);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Changes the limit; what was left stays, up to the new capacity.
    pub(crate) fn set_limit(&mut self, limit: u32, now: DateTime<Utc>) {
        self.refill(now);
        self.limit = limit;
        self.tokens = self.tokens.min(f64::from(limit));
    }

    /// Sets what is left, to make an exhausted or a fresh account.
    pub(crate) fn set_remaining(&mut self, remaining: u32, now: DateTime<Utc>) {
        self.refill(now);
        self.tokens = f64::from(remaining.min(self.limit));
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn standing(&self, now: DateTime<Utc>) -> Standing {
        let missing = f64::from(self.limit) - self.tokens;
        let seconds = missing * HOUR_SECONDS / f64::from(self.limit.max(1));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let (remaining, millis) = (self.tokens.floor() as u32, (seconds * 1000.0).ceil() as i64);
        let full = now + Duration::milliseconds(millis);
        Standing {
            limit: self.limit,
            remaining,
            reset: full.timestamp() + i64::from(full.timestamp_subsec_millis() > 0),
        }
    }

    fn refill(&mut self, now: DateTime<Utc>) {
        let elapsed = (now - self.filled_at)
            .num_microseconds()
            .unwrap_or(i64::MAX);
        #[allow(clippy::cast_precision_loss)]
        let seconds = elapsed.max(0) as f64 / 1e6;
        let limit = f64::from(self.limit);
        self.tokens = (self.tokens + seconds * limit / HOUR_SECONDS).min(limit);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    #[test]
    fn the_recorded_trace_is_reproduced() {
        // Live, 2024-07-01: limit 3600, remaining 3599, reset one second ahead.
        let mut bucket = Bucket::new(3600, at(0));
        assert!(bucket.take(at(0)));
        assert_eq!(
            bucket.standing(at(0)),
            Standing {
                limit: 3600,
                remaining: 3599,
                reset: at(1).timestamp()
            }
        );
    }

    #[test]
    fn a_burst_empties_it_and_every_second_brings_one_call() {
        let mut bucket = Bucket::new(3600, at(0));
        assert!((0..3600).all(|_| bucket.take(at(0))));
        assert!(!bucket.take(at(0)));
        assert_eq!(bucket.standing(at(0)).remaining, 0);
        assert_eq!(bucket.standing(at(0)).reset, at(3600).timestamp());
        assert!(bucket.take(at(1)));
        assert!(!bucket.take(at(1)));
    }

    #[test]
    fn it_never_holds_more_than_the_limit() {
        let mut bucket = Bucket::new(10, at(0));
        assert!(bucket.take(at(100_000)));
        assert_eq!(bucket.standing(at(100_000)).remaining, 9);
    }
}
