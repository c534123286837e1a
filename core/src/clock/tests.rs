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
