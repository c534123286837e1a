//! The rate limit: a token bucket, refilled continuously. On the real API its capacity and its
//! hourly refill are one number; here they may differ, so that a test can empty a small bucket
//! without waiting for it through an hour.

use chrono::{DateTime, Duration, Utc};

const HOUR_SECONDS: f64 = 3600.0;

/// One project's bucket. Calls without a valid token draw from it as well.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// How many calls it holds.
    limit: u32,
    /// How many calls an hour brings back.
    refill: u32,
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
    /// A full bucket of `limit` calls that gets back `refill` an hour.
    pub(crate) fn new(limit: u32, refill: u32, now: DateTime<Utc>) -> Self {
        Self {
            limit,
            refill,
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

    /// Changes the capacity; what was left stays, up to the new one.
    pub(crate) fn set_limit(&mut self, limit: u32, now: DateTime<Utc>) {
        self.refill(now);
        self.limit = limit;
        self.tokens = self.tokens.min(f64::from(limit));
    }

    /// Changes how many calls an hour brings back, from now on.
    pub(crate) fn set_refill(&mut self, refill: u32, now: DateTime<Utc>) {
        self.refill(now);
        self.refill = refill;
    }

    /// Sets what is left, to make an exhausted or a fresh account.
    pub(crate) fn set_remaining(&mut self, remaining: u32, now: DateTime<Utc>) {
        self.refill(now);
        self.tokens = f64::from(remaining.min(self.limit));
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn refill_per_hour(&self) -> u32 {
        self.refill
    }

    pub(crate) fn standing(&self, now: DateTime<Utc>) -> Standing {
        let missing = f64::from(self.limit) - self.tokens;
        let seconds = missing * HOUR_SECONDS / f64::from(self.refill.max(1));
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
        let gained = seconds * f64::from(self.refill) / HOUR_SECONDS;
        self.tokens = (self.tokens + gained).min(f64::from(self.limit));
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
        let mut bucket = Bucket::new(3600, 3600, at(0));
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
        let mut bucket = Bucket::new(3600, 3600, at(0));
        assert!((0..3600).all(|_| bucket.take(at(0))));
        assert!(!bucket.take(at(0)));
        assert_eq!(bucket.standing(at(0)).remaining, 0);
        assert_eq!(bucket.standing(at(0)).reset, at(3600).timestamp());
        assert!(bucket.take(at(1)));
        assert!(!bucket.take(at(1)));
    }

    #[test]
    fn a_small_bucket_may_refill_fast_and_says_when_it_is_full_again() {
        let mut bucket = Bucket::new(60, 3600, at(0));
        assert!((0..60).all(|_| bucket.take(at(0))));
        assert!(!bucket.take(at(0)));
        assert_eq!(
            bucket.standing(at(0)),
            Standing {
                limit: 60,
                remaining: 0,
                reset: at(60).timestamp()
            }
        );
        assert!(bucket.take(at(1)));
        assert!(!bucket.take(at(1)));
        assert_eq!(bucket.standing(at(1)).reset, at(61).timestamp());
        bucket.set_refill(7200, at(1));
        assert_eq!(bucket.standing(at(1)).reset, at(31).timestamp());
        assert!(bucket.take(at(2)) && bucket.take(at(2)) && !bucket.take(at(2)));
    }

    #[test]
    fn it_never_holds_more_than_the_limit() {
        let mut bucket = Bucket::new(10, 10, at(0));
        assert!(bucket.take(at(100_000)));
        assert_eq!(bucket.standing(at(100_000)).remaining, 9);
    }
}
