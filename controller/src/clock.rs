//! The clock of one controller: Hetzner's time, carried on by the kernel's boot clock.
//!
//! What a reply does to it is the core's ([`cattle_core::clock`]); here are the readings. The boot
//! clock counts suspended time and is set by nobody; our wall clock is read beside it, for the start
//! and to be compared. Clones share what they learn.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cattle_core::{
    clock::{AGREES, Carried, Clocks, Reading, Reply, Trust},
    hearing::Moment,
};
use cattle_schemas::Timestamp;
use chrono::{TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Where readings come from: this machine, or for a test this machine and what was turned since.
#[derive(Clone, Debug, Default)]
pub struct TimeSource(Option<Hands>);

/// The hands of a controller's clocks, for a test that lets hours go by or sets the wall clock. No
/// option of a program leads here.
#[derive(Clone, Debug, Default)]
pub struct Hands(Arc<Mutex<Turned>>);

#[derive(Clone, Copy, Debug, Default)]
struct Turned {
    gone_by: Duration,
    wall_set: TimeDelta,
}

impl Hands {
    /// Lets time go by, on all clocks.
    pub fn pass(&self, time: Duration) {
        self.lock().gone_by += time;
    }

    /// Sets the wall clock, so far ahead of what it would be; the boot clock runs on.
    pub fn set_wall(&self, ahead: TimeDelta) {
        self.lock().wall_set = ahead;
    }

    /// A source with these hands.
    #[must_use]
    pub fn source(&self) -> TimeSource {
        TimeSource(Some(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Turned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeSource {
    fn turned(&self) -> Turned {
        self.0
            .as_ref()
            .map_or_else(Turned::default, |hands| *hands.lock())
    }

    fn reading(&self) -> Reading {
        let booted = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(booted.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(booted.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanos) + self.turned().gone_by
    }

    fn wall(&self) -> Timestamp {
        let turned = self.turned();
        Utc::now() + turned.gone_by + turned.wall_set
    }
}

/// A clock that follows Hetzner's.
#[derive(Clone, Debug)]
pub struct Clock {
    source: TimeSource,
    carried: Arc<Mutex<Carried>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::start(TimeSource::default())
    }
}

impl Clock {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn start(source: TimeSource) -> Self {
        let carried = Carried::start(source.wall(), source.reading());
        Self {
            source,
            carried: Arc::new(Mutex::new(carried)),
        }
    }

    /// Now, by Hetzner's clock, as far as it is known.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(self.reading())
    }

    /// The time at a reading.
    #[must_use]
    pub fn at(&self, reading: Reading) -> Timestamp {
        self.lock().at(reading)
    }

    /// The boot clock.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.source.reading()
    }

    /// All clocks at one moment.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.look().0
    }

    /// What is known of the clocks, for a plan and for people.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        self.look().1
    }

    /// All clocks at one moment, and what is known of them then. Read apart, a time from before Hetzner
    /// was heard would be judged by as if it were Hetzner's.
    #[must_use]
    pub fn look(&self) -> (Moment, Clocks) {
        let (reading, wall) = (self.reading(), self.source.wall());
        let (now, trust) = {
            let carried = self.lock();
            (carried.at(reading), carried.trust())
        };
        let clocks = Clocks {
            trust,
            wall_ahead: wall - now,
        };
        let moment = Moment { reading, now, wall };
        (moment, clocks)
    }

    /// Whether something may be called over by it.
    #[must_use]
    pub fn judges(&self) -> bool {
        self.lock().trust().judges()
    }

    /// The time by which something may be called over: now, or while that is not known the beginning
    /// of time, by which nothing is.
    #[must_use]
    pub fn judged(&self) -> Timestamp {
        let (moment, clocks) = self.look();
        if clocks.trust.judges() {
            moment.now
        } else {
            Timestamp::MIN_UTC
        }
    }

    /// A reply came just now that was asked for at `sent`.
    pub fn hear(&self, sent: Reading, date: Timestamp) {
        let reply = Reply {
            sent,
            received: self.reading(),
            date,
        };
        let wall = self.source.wall();
        let (before, moved, after) = {
            let mut carried = self.lock();
            let before = carried.trust();
            let moved = carried.hear(&reply, wall);
            (before, moved, carried.trust())
        };
        if moved.abs() > AGREES && before.judges() {
            tracing::warn!(
                seconds = moved.num_seconds(),
                "Hetzner has told another time for minutes: it is believed now"
            );
        }
        match after {
            Trust::Disputed(dispute) | Trust::Unsettled(dispute) if before.dispute().is_none() => {
                tracing::warn!(
                    seconds = dispute.ahead.num_seconds(),
                    "Hetzner's date is ahead of the time that is used by so much, and not believed"
                );
            }
            _ => {}
        }
    }

    /// A reply came just now that has no date.
    pub fn hear_undated(&self) {
        let (reading, wall) = (self.reading(), self.source.wall());
        self.lock().hear_undated(reading, wall);
    }

    fn lock(&self) -> MutexGuard<'_, Carried> {
        // Every change is complete before anything that could panic.
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hetzner answers at once, and dates its reply ahead of the true time by so much.
    fn hear(clock: &Clock, hands: &Hands, ahead: TimeDelta) {
        let truth = Utc::now() + hands.lock().gone_by;
        clock.hear(clock.reading(), truth + ahead);
    }

    fn off(clock: &Clock, hands: &Hands) -> i64 {
        let truth = Utc::now() + hands.lock().gone_by;
        (clock.now() - truth).num_seconds()
    }

    #[test]
    fn time_goes_by_with_the_boot_clock_whatever_the_wall_clock_says() {
        let hands = Hands::default();
        let clock = Clock::start(hands.source());
        hear(&clock, &hands, TimeDelta::zero());
        hands.set_wall(TimeDelta::days(1));
        hands.pass(Duration::from_secs(600));
        assert!(off(&clock, &hands).abs() <= 2);
        assert!(clock.clocks().wall_ahead > TimeDelta::hours(23));
        assert!(clock.judges());
    }

    #[test]
    fn nothing_is_over_before_hetzner_has_told_its_time() {
        let clock = Clock::default();
        assert_eq!(clock.judged(), Timestamp::MIN_UTC);
        clock.hear(clock.reading(), Utc::now());
        assert!(clock.judged() > Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_time_and_whether_it_judges_are_read_at_one_moment() {
        for _ in 0..20 {
            let hands = Hands::default();
            hands.set_wall(TimeDelta::days(1));
            let clock = Clock::start(hands.source());
            // A day ahead until somebody sets it right, and the next reply agrees.
            hear(&clock, &hands, TimeDelta::zero());
            let other = clock.clone();
            let looks = std::thread::spawn(move || {
                let deadline = std::time::Instant::now() + Duration::from_secs(10);
                while std::time::Instant::now() < deadline {
                    let (moment, clocks) = other.look();
                    if clocks.trust.judges() {
                        return moment.now;
                    }
                }
                panic!("it never agrees");
            });
            hands.set_wall(TimeDelta::zero());
            hear(&clock, &hands, TimeDelta::zero());
            let judged_by = looks.join().expect("it agrees");
            assert!(judged_by < Utc::now() + TimeDelta::hours(1), "{judged_by}");
        }
    }

    #[test]
    fn clones_share_what_they_learn() {
        let clock = Clock::default();
        clock.clone().hear(clock.reading(), Utc::now());
        assert!(clock.judges());
    }
}
