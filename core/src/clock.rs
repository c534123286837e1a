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
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const BOOT: Reading = Duration::from_secs(1_000);

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn seconds(seconds: i64) -> TimeDelta {
        TimeDelta::seconds(seconds)
    }

    /// A clock, and a Hetzner whose date is off by so much.
    struct Stage {
        carried: Carried,
        reading: Reading,
        wall_ahead: TimeDelta,
    }

    impl Stage {
        /// Our wall clock is ahead of the true time by so much at the start.
        fn start(wall_ahead: i64) -> Self {
            let wall_ahead = seconds(wall_ahead);
            Self {
                carried: Carried::start(noon() + wall_ahead, BOOT),
                reading: BOOT,
                wall_ahead,
            }
        }

        fn agreed() -> Self {
            let mut stage = Self::start(0);
            stage.reply(0);
            assert_eq!(stage.carried.trust(), Trust::Agreed);
            stage
        }

        fn truth(&self) -> Timestamp {
            noon() + delta(self.reading - BOOT)
        }

        fn pass(&mut self, seconds: u64) {
            self.reading += Duration::from_secs(seconds);
        }

        /// A reply whose date is ahead of the truth by so much; answers how far it moved the time.
        fn reply(&mut self, ahead: i64) -> TimeDelta {
            let reply = Reply {
                sent: self.reading - Duration::from_millis(80),
                received: self.reading,
                date: self.truth() + seconds(ahead),
            };
            let wall = self.truth() + self.wall_ahead;
            self.carried.hear(&reply, wall)
        }

        /// How far what is carried is ahead of the truth, in seconds.
        fn off(&self) -> i64 {
            (self.carried.at(self.reading) - self.truth()).num_seconds()
        }
    }

    #[test]
    fn nothing_is_judged_before_hetzner_has_told_its_time() {
        let mut stage = Stage::start(0);
        assert!(!stage.carried.trust().judges());
        assert_eq!(stage.reply(1), TimeDelta::zero());
        assert!(stage.carried.trust().judges());
    }

    #[test]
    fn where_no_reply_has_a_date_our_own_clock_judges_after_five_minutes() {
        let mut stage = Stage::start(0);
        for _ in 0..10 {
            assert!(!stage.carried.trust().judges());
            stage.pass(34);
            let wall = stage.truth();
            stage.carried.hear_undated(stage.reading, wall);
        }
        assert!(stage.carried.trust().judges());
        // And nothing of that holds up dates that come after all.
        let mut stage = Stage::start(0);
        let wall = stage.truth();
        stage.carried.hear_undated(stage.reading, wall);
        stage.reply(0);
        assert_eq!(stage.carried.trust(), Trust::Agreed);
    }

    #[test]
    fn one_list_three_hours_ahead_moves_nothing_and_is_told() {
        let mut stage = Stage::agreed();
        stage.pass(30);
        assert_eq!(stage.reply(3 * 3_600), TimeDelta::zero());
        let dispute = stage.carried.trust().dispute().unwrap();
        assert!((dispute.ahead - seconds(3 * 3_600)).abs() <= seconds(1));
        assert_eq!(dispute.since, stage.carried.at(stage.reading));
        assert!(stage.carried.trust().judges());
        stage.pass(30);
        stage.reply(0);
        assert_eq!((stage.carried.trust(), stage.off()), (Trust::Agreed, 0));
    }

    #[test]
    fn ten_minutes_ahead_for_forty_seconds_moves_nothing_however_many_replies() {
        let mut stage = Stage::agreed();
        for _ in 0..80 {
            stage.pass(1);
            assert_eq!(stage.reply(600), TimeDelta::zero());
        }
        assert_eq!(stage.off(), 0);
    }

    #[test]
    fn a_date_that_ten_replies_over_five_minutes_agree_on_is_believed() {
        let mut stage = Stage::agreed();
        for reply in 1..=10 {
            assert_eq!(stage.off(), 0, "before reply {reply}");
            stage.pass(34);
            stage.reply(25 * 3_600);
        }
        assert_eq!(stage.off(), 25 * 3_600);
        assert_eq!(stage.carried.trust(), Trust::Agreed);
    }

    #[test]
    fn few_replies_over_long_and_replies_that_differ_are_not_believed() {
        let mut stage = Stage::agreed();
        for _ in 0..9 {
            stage.pass(120);
            stage.reply(600);
        }
        assert_eq!(stage.off(), 0);
        let mut stage = Stage::agreed();
        for ahead in 0..100 {
            stage.pass(30);
            stage.reply(600 + 7 * (ahead % 2));
        }
        assert_eq!(stage.off(), 0);
        // One that agrees with what is carried ends the others' row.
        for _ in 0..50 {
            for _ in 0..9 {
                stage.pass(40);
                stage.reply(600);
            }
            stage.reply(0);
        }
        assert_eq!(stage.off(), 0);
    }

    #[test]
    fn what_agrees_is_followed_by_the_second_reply_and_noise_is_not() {
        let mut stage = Stage::agreed();
        stage.pass(5);
        assert_eq!(stage.reply(40), TimeDelta::zero());
        stage.pass(5);
        assert!(stage.reply(40) > seconds(38));
        assert!((38..=40).contains(&stage.off()), "{}", stage.off());
        // And not further than a minute from what was settled, however it creeps.
        for ahead in 45..100 {
            stage.reply(ahead);
            stage.reply(ahead);
        }
        assert!(stage.off() <= 60, "{}", stage.off());
        let mut stage = Stage::agreed();
        for ahead in [2, -2, 3, 0, 2, 2, 2] {
            assert_eq!(stage.reply(ahead), TimeDelta::zero(), "{ahead}");
        }
    }

    #[test]
    fn a_clock_that_drifts_is_followed_for_ever() {
        let mut stage = Stage::agreed();
        // Four seconds a day, for three weeks.
        for list in 0..20 * 2_880_i64 {
            stage.pass(30);
            stage.reply(list * 4 / 2_880);
        }
        assert!((stage.off() - 80).abs() <= 6, "{}", stage.off());
        assert_eq!(stage.carried.trust(), Trust::Agreed);
    }

    #[test]
    fn at_a_start_a_wrong_wall_clock_judges_nothing_until_it_is_settled() {
        let mut stage = Stage::start(86_400);
        for reply in 1..=9 {
            stage.reply(0);
            assert!(!stage.carried.trust().judges(), "reply {reply}");
            stage.pass(34);
        }
        stage.reply(0);
        assert_eq!(stage.carried.trust(), Trust::Agreed);
        assert!(stage.off().abs() <= 1, "{}", stage.off());
    }

    #[test]
    fn a_wall_clock_that_is_set_right_after_the_start_settles_it_at_once() {
        let mut stage = Stage::start(-30 * 86_400);
        stage.reply(0);
        assert!(!stage.carried.trust().judges());
        stage.pass(20);
        stage.wall_ahead = TimeDelta::zero();
        stage.reply(0);
        assert_eq!((stage.carried.trust(), stage.off()), (Trust::Agreed, 0));
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_nothing() {
        for step in [240, 3_600, 86_400, -86_400] {
            let mut stage = Stage::agreed();
            stage.wall_ahead = seconds(step);
            stage.pass(30);
            assert_eq!(stage.reply(0), TimeDelta::zero());
            assert_eq!((stage.carried.trust(), stage.off()), (Trust::Agreed, 0));
        }
    }

    #[test]
    fn a_host_that_stood_still_takes_hetzners_time_after_five_minutes() {
        // The machine was paused with its boot clock, as a restored snapshot is.
        let mut stage = Stage::agreed();
        let mut moved = TimeDelta::zero();
        for _ in 0..11 {
            stage.pass(30);
            moved += stage.reply(3_600);
        }
        assert!((moved - seconds(3_600)).abs() <= seconds(1), "{moved}");
    }

    #[test]
    fn a_wait_is_no_longer_than_it_was_whatever_the_clock_does() {
        let wait = Wait::new(noon(), Duration::from_secs(10));
        assert_eq!(wait.ends(noon()), noon() + seconds(10));
        assert_eq!(wait.ends(noon() + seconds(90)), noon() + seconds(10));
        for back in [1, 3_600, 25 * 3_600] {
            let now = noon() - seconds(back);
            assert_eq!(wait.ends(now), now, "{back}");
        }
    }

    #[test]
    fn a_wait_of_an_older_ledger_is_a_date_and_ends_within_the_hour() {
        let read: Wait = serde_json::from_str("\"2026-11-22T12:00:10Z\"").unwrap();
        assert_eq!(read.ends(noon()), noon() + seconds(10));
        assert_eq!(read.ends(noon() - seconds(7_200)), noon() - seconds(7_200));
        let wait = Wait::new(noon(), Duration::from_secs(10));
        let text = serde_json::to_string(&wait).unwrap();
        assert_eq!(serde_json::from_str::<Wait>(&text).unwrap(), wait);
    }

    /// What happens to a clock: time goes by, and Hetzner answers with some date, or somebody sets our
    /// wall clock.
    #[derive(Clone, Debug)]
    enum Happens {
        Reply { after: u64, ahead: i64 },
        WallSet { ahead: i64 },
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let ahead = || prop_oneof![-2_i64..=2, -70_i64..=70, -100_000_i64..=100_000];
        prop_oneof![
            4 => (0_u64..200, ahead()).prop_map(|(after, ahead)| Happens::Reply { after, ahead }),
            1 => ahead().prop_map(|ahead| Happens::WallSet { ahead }),
        ]
    }

    proptest! {
        /// Whatever single replies say and whoever sets our clock: between true replies no lie moves
        /// the time further than two of them agree on, and never beyond a minute.
        #[test]
        fn no_single_reply_moves_the_time(history in proptest::collection::vec(happens(), 1..80)) {
            let mut stage = Stage::agreed();
            for what in history {
                match what {
                    Happens::WallSet { ahead } => stage.wall_ahead = seconds(ahead),
                    Happens::Reply { after, ahead } => {
                        stage.pass(after);
                        stage.reply(ahead);
                        // Two true ones after each: no two lies in a row.
                        stage.reply(0);
                        stage.reply(0);
                        prop_assert!(stage.off().abs() <= 3, "{}", stage.off());
                        prop_assert!(stage.carried.trust().judges());
                    }
                }
            }
        }

        /// However replies lie for less than five minutes, the time stays within a minute.
        #[test]
        fn no_five_minutes_of_lies_move_it_beyond_a_minute(
            lies in proptest::collection::vec((0_u64..20, -200_000_i64..=200_000), 1..200),
        ) {
            let mut stage = Stage::agreed();
            let began = stage.reading;
            for (after, ahead) in lies {
                stage.pass(after);
                if stage.reading - began >= OVER {
                    break;
                }
                stage.reply(ahead);
                prop_assert!(stage.off().abs() <= 61, "{}", stage.off());
            }
        }

        /// Replies that all tell one time are believed in the end, from wherever it began.
        #[test]
        fn what_everybody_says_for_long_is_believed(wall in -200_000_i64..=200_000, hetzner in -200_000_i64..=200_000) {
            let mut stage = Stage::start(wall);
            for _ in 0..12 {
                stage.reply(hetzner);
                stage.pass(30);
            }
            prop_assert!((stage.off() - hetzner).abs() <= 4, "{} for {hetzner}", stage.off());
            prop_assert_eq!(stage.carried.trust(), Trust::Agreed);
        }
    }
}
