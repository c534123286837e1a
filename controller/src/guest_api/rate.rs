//! How often a guest may call, fail to show a token, or cause an alert.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cattle_core::names::RunId;
use tokio::time::Instant;

/// A bucket: so many at once, and one more after each interval.
#[derive(Clone, Copy, Debug)]
struct Rule {
    burst: u32,
    every: Duration,
}

/// A guest sends five log calls a second at most, and a report now and then; the burst is its
/// backlog after a restart of the controller.
const CALLS: Rule = Rule {
    burst: 100,
    every: Duration::from_millis(100),
};

/// Nobody who guesses tokens of 256 bits gets anywhere; this tells whoever repeats a wrong one to
/// wait. Right tokens are not counted: all guests may be behind one address.
const FAILURES: Rule = Rule {
    burst: 60,
    every: Duration::from_secs(1),
};

/// Each alert is a row that is kept for the retention time.
const ALERTS: Rule = Rule {
    burst: 3,
    every: Duration::from_secs(60),
};

/// Full buckets are forgotten beyond so many, and all of them should none be full.
const MAX_BUCKETS: usize = 16_384;

/// All buckets.
#[derive(Default)]
pub(super) struct Rates {
    calls: Buckets<RunId>,
    failures: Buckets<IpAddr>,
    alerts: Buckets<RunId>,
}

impl Rates {
    /// Whether a run's guest may call now.
    pub(super) fn may_call(&self, run: RunId) -> bool {
        self.calls.take(run, CALLS, Instant::now())
    }

    /// Counts a wrong token from this address, and whether it may be told so.
    pub(super) fn may_fail(&self, peer: IpAddr) -> bool {
        self.failures.take(peer, FAILURES, Instant::now())
    }

    pub(super) fn may_alert(&self, run: RunId) -> bool {
        self.alerts.take(run, ALERTS, Instant::now())
    }
}

struct Buckets<K>(Mutex<HashMap<K, Bucket>>);

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Bucket {
    fn at(self, rule: Rule, now: Instant) -> f64 {
        let gained = now
            .saturating_duration_since(self.at)
            .div_duration_f64(rule.every);
        (self.left + gained).min(f64::from(rule.burst))
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one, if there is one.
    fn take(&self, key: K, rule: Rule, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, bucket| bucket.at(rule, now) < f64::from(rule.burst));
            if buckets.len() >= MAX_BUCKETS {
                buckets.clear();
            }
        }
        let full = Bucket {
            left: f64::from(rule.burst),
            at: now,
        };
        let bucket = buckets.entry(key).or_insert(full);
        let left = bucket.at(rule, now);
        let taken = left >= 1.0;
        *bucket = Bucket {
            left: if taken { left - 1.0 } else { left },
            at: now,
        };
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        burst: 2,
        every: Duration::from_secs(10),
    };

    #[test]
    fn a_burst_and_then_one_for_each_interval() {
        let buckets = Buckets::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(buckets.take(1, RULE, start));
        assert!(buckets.take(1, RULE, start));
        assert!(!buckets.take(1, RULE, start));
        assert!(!buckets.take(1, RULE, after(9)));
        assert!(buckets.take(1, RULE, after(10)));
        assert!(!buckets.take(1, RULE, after(11)));
        assert!(buckets.take(2, RULE, after(11)), "others are not affected");
        let much_later = (0..5).map(|_| buckets.take(1, RULE, after(1_000)));
        assert_eq!(
            much_later.filter(|taken| *taken).count(),
            2,
            "no more than the burst"
        );
    }

    #[test]
    fn memory_has_a_bound() {
        let buckets = Buckets::default();
        let start = Instant::now();
        for key in 0..3 * MAX_BUCKETS {
            buckets.take(key, RULE, start);
        }
        assert!(
            buckets
                .0
                .lock()
                .is_ok_and(|buckets| buckets.len() <= MAX_BUCKETS)
        );
    }
}
