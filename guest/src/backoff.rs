//! Waiting between attempts: doubling, with jitter, so that fifty guests that lost their
//! controller in one moment do not come back in one moment.

use std::time::Duration;

/// The first wait: long enough for a listener to reopen, short enough to go unnoticed.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait. A controller's restart should be noticed within seconds.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest a controller may tell us to wait by `Retry-After`.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// The waits of one call's attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next wait: between half and all of the doubling step, or what the controller asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        match asked {
            Some(asked) => asked.min(LONGEST_ASKED),
            None => jittered(step, random_unit()),
        }
    }
}

fn jittered(step: Duration, unit: f64) -> Duration {
    step.mul_f64(0.5 + unit / 2.0)
}

/// In `[0, 1)`. Without randomness the middle: jitter is a courtesy, not a need.
pub(crate) fn random_unit() -> f64 {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_keep_within_half_and_all_of_the_step() {
        let mut backoff = Backoff::new();
        let mut step = FIRST;
        for _ in 0..10 {
            let wait = backoff.next(None);
            assert!(wait >= step / 2 && wait <= step, "{wait:?} for {step:?}");
            step = (step * 2).min(LONGEST);
        }
        assert_eq!(step, LONGEST);
    }

    #[test]
    fn what_the_controller_asks_for_is_granted_up_to_a_minute() {
        let mut backoff = Backoff::new();
        assert_eq!(
            backoff.next(Some(Duration::from_secs(3))),
            Duration::from_secs(3)
        );
        assert_eq!(
            backoff.next(Some(Duration::from_secs(86_400))),
            LONGEST_ASKED
        );
    }
}
