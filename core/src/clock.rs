//! The time that everything is judged by: Hetzner's, carried on from an anchor.
//!
//! Hetzner bills by its own clock and tells it with every reply. Between replies its time is carried
//! on by a clock of ours that nobody sets and that counts suspended time too (`CLOCK_BOOTTIME`); our
//! wall clock is asked only until the two have agreed once. A date that agrees with the time that we
//! carry is believed at once. One that does not is believed when many replies over minutes say the
//! same; until then it changes nothing, and [`Trust`] says so.
//!
//! Invariants: one reply alone moves nothing; what replies move at once stays within [`AGREES`] of
//! what was carried; a step of our wall clock moves nothing once the clocks have agreed.

use std::time::Duration;

use cattle_schemas::Timestamp;
use chrono::TimeDelta;

/// A reading of the clock that carries: what went by since some instant, suspended time included.
pub type Reading = Duration;

/// So far apart, Hetzner's date and the time that we carry are taken for the same clock. Boot
/// deadlines are minutes.
pub const AGREES: TimeDelta = TimeDelta::seconds(60);

/// Whole seconds, and machines behind one name, explain this much: it moves nothing, so that `now`
/// does not jump about.
const NOISE: TimeDelta = TimeDelta::seconds(3);

/// Replies that say another time than the one we carry are believed when there were so many …
const REPLIES: u32 = 10;
/// … over so long …
const OVER: Duration = Duration::from_secs(5 * 60);
/// … and all of them agree within this.
const TOGETHER: TimeDelta = TimeDelta::seconds(5);

/// When a reply was asked for and came, and the date that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// When it was asked for.
    pub sent: Reading,
    /// When it came.
    pub received: Reading,
    /// Its `Date`, cut to whole seconds and written at some time between the two.
    pub date: Timestamp,
}

/// The times at reading zero that explain a reply.
#[derive(Clone, Copy, Debug)]
struct Says {
    earliest: Timestamp,
    latest: Timestamp,
}

impl Says {
    fn of(reply: &Reply) -> Self {
        let sent = reply.sent.min(reply.received);
        Self {
            earliest: back(reply.date, reply.received),
            latest: back(reply.date + TimeDelta::seconds(1), sent),
        }
    }

    /// The one that is nearest to this.
    fn nearest(self, zero: Timestamp) -> Timestamp {
        zero.clamp(self.earliest, self.latest)
    }
}

fn delta(reading: Reading) -> TimeDelta {
    TimeDelta::from_std(reading).unwrap_or(TimeDelta::MAX)
}

/// An instant that far before this one; the beginning of time where there is none.
fn back(at: Timestamp, by: Reading) -> Timestamp {
    at.checked_sub_signed(delta(by))
        .unwrap_or(Timestamp::MIN_UTC)
}

/// How far what is carried can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Hetzner has not told its time yet: it is our wall clock's, and nothing is judged by it.
    #[default]
    Unheard,
    /// Hetzner's first dates and our wall clock say different things: nothing is judged until many
    /// replies have agreed, or our wall clock was set.
    Unsettled(Dispute),
    /// Hetzner's latest date agrees with what is carried.
    Agreed,
    /// They agreed once, and Hetzner's latest date says something else. What is carried stands.
    Disputed(Dispute),
}

/// Dates that are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// How far the latest is ahead of what is carried.
    pub ahead: TimeDelta,
    /// When the first came, by what is carried.
    pub since: Timestamp,
}

impl Trust {
    /// Whether something may be called over by what is carried: not before the clocks have agreed
    /// once.
    #[must_use]
    pub fn judges(self) -> bool {
        matches!(self, Self::Agreed | Self::Disputed(_))
    }

    /// What is not believed.
    #[must_use]
    pub fn dispute(self) -> Option<Dispute> {
        match self {
            Self::Unheard | Self::Agreed => None,
            Self::Unsettled(dispute) | Self::Disputed(dispute) => Some(dispute),
        }
    }
}

/// What a pass knows of its clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// How far the time that is used can be relied on.
    pub trust: Trust,
    /// How far our wall clock is ahead of it.
    pub wall_ahead: TimeDelta,
}

/// Consecutive replies that agree with each other.
#[derive(Clone, Copy, Debug)]
struct Agreement {
    first: Reading,
    replies: u32,
    /// What they have in common lies between these.
    least: Timestamp,
    most: Timestamp,
}

impl Agreement {
    fn begin(said: Timestamp, received: Reading) -> Self {
        Self {
            first: received,
            replies: 1,
            least: said,
            most: said,
        }
    }

    /// With one more reply; begun anew where that says something else.
    fn with(self, says: Says, received: Reading) -> Self {
        let said = says.nearest(self.middle());
        let (least, most) = (self.least.min(said), self.most.max(said));
        if most - least > TOGETHER {
            return Self::begin(said, received);
        }
        Self {
            replies: self.replies.saturating_add(1),
            least,
            most,
            ..self
        }
    }

    fn middle(&self) -> Timestamp {
        self.least + (self.most - self.least) / 2
    }

    fn convinces(&self, now: Reading) -> bool {
        self.replies >= REPLIES && now.saturating_sub(self.first) >= OVER
    }
}

/// Hetzner's time, carried on.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// The time at reading zero, as it was last settled.
    anchor: Timestamp,
    /// What replies that agree have moved it since; within [`AGREES`].
    moved: TimeDelta,
    /// How much further the latest reply would have moved it.
    wanted: TimeDelta,
    trust: Trust,
    agreement: Option<Agreement>,
}

impl Carried {
    /// From our wall clock, until Hetzner says more.
    #[must_use]
    pub fn start(wall: Timestamp, reading: Reading) -> Self {
        Self {
            anchor: back(wall, reading),
            moved: TimeDelta::zero(),
            wanted: TimeDelta::zero(),
            trust: Trust::Unheard,
            agreement: None,
        }
    }

    /// The time at a reading.
    #[must_use]
    pub fn at(&self, reading: Reading) -> Timestamp {
        self.zero()
            .checked_add_signed(delta(reading))
            .unwrap_or(Timestamp::MAX_UTC)
    }

    /// How far it can be relied on.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    fn zero(&self) -> Timestamp {
        self.anchor
            .checked_add_signed(self.moved)
            .unwrap_or(self.anchor)
    }

    /// Takes in a reply; `wall` is what our wall clock said when it came. Answers how far that moved
    /// the time.
    pub fn hear(&mut self, reply: &Reply, wall: Timestamp) -> TimeDelta {
        let before = self.zero();
        let received = reply.received;
        if !self.trust.judges() {
            // Nothing was judged by it so far, and somebody may have set our wall clock meanwhile.
            self.anchor = back(wall, received);
            self.moved = TimeDelta::zero();
        }
        let says = Says::of(reply);
        let agreement = match self.agreement.filter(|_| self.trust != Trust::Unheard) {
            Some(agreement) => agreement.with(says, received),
            None => Agreement::begin(says.nearest(self.zero()), received),
        };
        let ahead = says.nearest(self.anchor) - self.anchor;
        if ahead.abs() <= AGREES {
            self.trust = Trust::Agreed;
            self.follow(says);
        } else {
            self.dispute(ahead, received);
        }
        self.agreement = Some(if agreement.convinces(received) {
            self.settle(says, agreement.middle());
            Agreement::begin(says.nearest(self.zero()), received)
        } else {
            agreement
        });
        self.zero() - before
    }

    /// Takes in a reply without a date; `wall` is what our wall clock said when it came. Where no reply
    /// ever has one, our wall clock is all there is, and time must be judged by something.
    pub fn hear_undated(&mut self, received: Reading, wall: Timestamp) {
        if self.trust != Trust::Unheard {
            return;
        }
        self.anchor = back(wall, received);
        let agreement = match self.agreement {
            Some(agreement) => Agreement {
                replies: agreement.replies.saturating_add(1),
                ..agreement
            },
            None => Agreement::begin(self.anchor, received),
        };
        if agreement.convinces(received) {
            self.trust = Trust::Agreed;
            self.agreement = None;
        } else {
            self.agreement = Some(agreement);
        }
    }

    /// As far as this reply and the one before it want the same.
    fn follow(&mut self, says: Says) {
        let zero = self.zero();
        let mut wants = says.nearest(zero) - zero;
        if wants.abs() <= NOISE {
            wants = TimeDelta::zero();
        }
        let both = if wants > TimeDelta::zero() {
            wants.min(self.wanted.max(TimeDelta::zero()))
        } else {
            wants.max(self.wanted.min(TimeDelta::zero()))
        };
        self.moved += both;
        self.wanted = wants - both;
    }

    fn dispute(&mut self, ahead: TimeDelta, received: Reading) {
        self.wanted = TimeDelta::zero();
        let since = match self.trust.dispute() {
            Some(known) => known.since,
            None => self.at(received),
        };
        let dispute = Dispute { ahead, since };
        self.trust = if self.trust.judges() {
            Trust::Disputed(dispute)
        } else {
            Trust::Unsettled(dispute)
        };
    }

    /// What many replies over minutes agree on is the time.
    fn settle(&mut self, says: Says, said: Timestamp) {
        let zero = self.zero();
        let off = says.nearest(zero) - zero;
        self.anchor = if off.abs() <= NOISE { zero } else { said };
        self.moved = TimeDelta::zero();
        self.wanted = TimeDelta::zero();
        self.trust = Trust::Agreed;
    }
}

/// A wait before something is tried again. It is kept with how long it was, so that a clock that
/// goes back cannot stretch it: what has more left than it ever had is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Written", rename_all = "camelCase")]
pub struct Wait {
    /// When it is over, by the clock that it began by.
    pub until: Timestamp,
    /// How long it is.
    pub lasts: Duration,
}

/// The longest wait that was ever recorded without its length: a pair that is not offered is asked
/// for again after an hour.
const LONGEST_UNSAID: Duration = Duration::from_secs(3_600);

/// As a ledger has it; older ones have the date alone.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Whole { until: Timestamp, lasts: Duration },
    Date(Timestamp),
}

impl From<Written> for Wait {
    fn from(written: Written) -> Self {
        let (until, lasts) = match written {
            Written::Whole { until, lasts } => (until, lasts),
            Written::Date(until) => (until, LONGEST_UNSAID),
        };
        Self { until, lasts }
    }
}

impl Wait {
    /// One that begins now.
    #[must_use]
    pub fn new(now: Timestamp, lasts: Duration) -> Self {
        Self {
            until: now + lasts,
            lasts,
        }
    }

    /// One that begins now and is over at that time.
    #[must_use]
    pub fn until(until: Timestamp, now: Timestamp) -> Self {
        let lasts = (until - now).to_std().unwrap_or_default();
        Self { until, lasts }
    }

    /// When it is over, by the clock as it is now.
    #[must_use]
    pub fn ends(&self, now: Timestamp) -> Timestamp {
        if self.until - now > delta(self.lasts) {
            now
        } else {
            self.until
        }
    }
}

/// When `wait` after `since` is over. An instant that is further ahead than replies move the time at
/// once was noted before the clock went back: then the wait is over, rather than stretched.
#[must_use]
pub fn after(since: Timestamp, wait: Duration, now: Timestamp) -> Timestamp {
    if since - now > AGREES {
        now
    } else {
        since + wait
    }
}

#[cfg(test)]
mod tests;
