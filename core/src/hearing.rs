//! Since when guests could be heard without a break.
//!
//! A guest's silence says something only while we would have heard it. That is a fact about passes:
//! they must come in time, succeed, and find clocks that run as one. What breaks it begins the wait
//! anew; a function of the passes' times and outcomes, and of nothing else.

use std::time::Duration;

use cattle_schemas::Timestamp;
use chrono::TimeDelta;

use crate::clock::Reading;

/// Passes come at least so often, whatever they wait for: as often as a guest calls.
pub const PASS_EVERY: Duration = Duration::from_secs(15);

/// A pass that comes later than this after the one before it was held up: the process was stopped,
/// the host suspended, or the ledger locked. Then nobody knows what was missed.
const LATE: Duration = Duration::from_secs(45);

/// Clocks that part by more than this between two passes did not run as one: somebody set ours, or
/// the time that is used moved.
const PARTED: TimeDelta = TimeDelta::seconds(5);

/// What a pass reads of its clocks, all at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The clock that nobody sets.
    pub reading: Reading,
    /// The time that everything is judged by.
    pub now: Timestamp,
    /// Our wall clock.
    pub wall: Timestamp,
}

/// The fact, kept from pass to pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hearing {
    since: Option<Timestamp>,
    last: Option<Moment>,
}

impl Hearing {
    /// A pass begins. `hears` says whether guests can be heard at all, and whether everything that they
    /// said since the pass before could be taken in. Answers since when without a break.
    pub fn pass(&mut self, at: Moment, hears: bool) -> Option<Timestamp> {
        let unbroken = self.last.is_some_and(|last| goes_on(last, at));
        self.since = match self.since {
            _ if !hears => None,
            Some(since) if unbroken => Some(since),
            _ => Some(at.now),
        };
        self.last = Some(at);
        self.since
    }

    /// Since when, at a later moment of the same pass: one that is held up in its middle must not take
    /// for silence what went by meanwhile.
    #[must_use]
    pub fn still(&self, at: Moment) -> Option<Timestamp> {
        self.since
            .filter(|_| self.last.is_some_and(|last| goes_on(last, at)))
    }

    /// How far the time has moved since the pass before, beyond what went by.
    #[must_use]
    pub fn moved(&self, at: Moment) -> TimeDelta {
        let Some(last) = self.last else {
            return TimeDelta::zero();
        };
        let zero = |at: Moment| at.now - TimeDelta::from_std(at.reading).unwrap_or_default();
        zero(at) - zero(last)
    }

    /// A pass failed: what guests said may not have been taken in either.
    pub fn broken(&mut self) {
        self.since = None;
    }
}

fn goes_on(last: Moment, at: Moment) -> bool {
    let Some(gap) = at.reading.checked_sub(last.reading) else {
        return false;
    };
    let went_by = TimeDelta::from_std(gap).unwrap_or(TimeDelta::MAX);
    let together = |then: Timestamp, now: Timestamp| (now - then - went_by).abs() <= PARTED;
    gap <= LATE && together(last.now, at.now) && together(last.wall, at.wall)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    /// All clocks agree.
    fn at(seconds: u64) -> Moment {
        let time = noon() + Duration::from_secs(seconds);
        Moment {
            reading: Duration::from_secs(7_000 + seconds),
            now: time,
            wall: time,
        }
    }

    fn heard_for(seconds: u64) -> Hearing {
        let mut hearing = Hearing::default();
        for seconds in (0..=seconds).step_by(15) {
            assert_eq!(hearing.pass(at(seconds), true), Some(noon()));
        }
        hearing
    }

    #[test]
    fn passes_in_time_go_on_from_the_first() {
        heard_for(600);
    }

    #[test]
    fn a_stop_of_three_minutes_begins_the_wait_anew() {
        let mut hearing = heard_for(60);
        assert_eq!(hearing.pass(at(260), true), Some(at(260).now));
        assert_eq!(hearing.pass(at(275), true), Some(at(260).now));
    }

    #[test]
    fn a_stop_in_the_middle_of_a_pass_is_no_silence_either() {
        let mut hearing = heard_for(60);
        assert_eq!(hearing.still(at(61)), Some(noon()));
        assert_eq!(hearing.still(at(260)), None);
        assert_eq!(hearing.pass(at(261), true), Some(at(261).now));
    }

    #[test]
    fn a_pass_that_failed_begins_the_wait_anew() {
        let mut hearing = heard_for(60);
        hearing.broken();
        assert_eq!(hearing.pass(at(77), true), Some(at(77).now));
    }

    #[test]
    fn what_could_not_be_taken_in_begins_the_wait_anew() {
        let mut hearing = heard_for(60);
        assert_eq!(hearing.pass(at(70), false), None);
        assert_eq!(hearing.pass(at(75), true), Some(at(75).now));
    }

    #[test]
    fn time_that_moves_is_told_apart_from_time_that_goes_by() {
        let hearing = heard_for(60);
        assert_eq!(hearing.moved(at(500)), TimeDelta::zero());
        let mut moved = at(75);
        moved.now += TimeDelta::hours(1);
        assert_eq!(hearing.moved(moved), TimeDelta::hours(1));
    }

    #[test]
    fn clocks_that_part_begin_the_wait_anew() {
        for step in [240, 3_600, 86_400, -240] {
            let mut hearing = heard_for(60);
            let mut stepped = at(75);
            stepped.wall += TimeDelta::seconds(step);
            assert_eq!(hearing.pass(stepped, true), Some(at(75).now), "{step}");
            let mut hearing = heard_for(60);
            let mut moved = at(75);
            moved.now += TimeDelta::seconds(step);
            assert_eq!(hearing.pass(moved, true), Some(moved.now), "{step}");
        }
        // As NTP steers one.
        let mut hearing = heard_for(60);
        let mut slewed = at(75);
        slewed.wall += TimeDelta::milliseconds(8);
        assert_eq!(hearing.pass(slewed, true), Some(noon()));
    }

    proptest! {
        /// Whatever happens, it is never said that guests were heard over a gap.
        #[test]
        fn no_gap_is_ever_inside(gaps in proptest::collection::vec((0_u64..400, any::<bool>()), 1..60)) {
            let (mut hearing, mut seconds) = (Hearing::default(), 0);
            let mut last_break = noon();
            for (gap, failed) in gaps {
                seconds += gap;
                if failed {
                    hearing.broken();
                }
                if failed || Duration::from_secs(gap) > LATE {
                    last_break = at(seconds).now;
                }
                let since = hearing.pass(at(seconds), true).unwrap();
                prop_assert!(since >= last_break);
            }
        }
    }
}
