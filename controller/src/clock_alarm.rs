//! Says it once when clocks part, and once when they agree again; the condition says it all the
//! time, and the metrics as numbers.

use std::time::Duration;

use cattle_core::{
    clock::{Clocks, Reading},
    status,
};
use chrono::TimeDelta;

/// The same is not said again before this: a date that comes and goes must not fill the ledger.
const SAID_AGAIN: Duration = Duration::from_secs(10 * 60);

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct ClockAlarm {
    /// What it was about, and when.
    said: Option<(String, Reading)>,
    parted: bool,
}

impl ClockAlarm {
    /// Looks at the clocks; answers what is to be told, if anything.
    pub(crate) fn look(&mut self, clocks: Clocks, reading: Reading) -> Option<String> {
        show(clocks);
        let skew = status::clock_skew(clocks);
        if !skew.status {
            // Not before Hetzner was heard: then there is nothing to agree with.
            let over = self.parted && clocks.trust.judges();
            self.parted &= !over;
            return over.then(|| "the clocks agree again".to_owned());
        }
        self.parted = true;
        let lately = self.said.as_ref().is_some_and(|(reason, at)| {
            *reason == skew.reason && reading.saturating_sub(*at) < SAID_AGAIN
        });
        if lately {
            return None;
        }
        self.said = Some((skew.reason, reading));
        Some(skew.message)
    }
}

/// For whoever watches from afar.
fn show(clocks: Clocks) {
    let seconds = |span: TimeDelta| span.as_seconds_f64();
    let disputed = clocks.trust.dispute().map_or(0.0, |it| seconds(it.ahead));
    metrics::gauge!("cattle_clock_hetzner_ahead_seconds").set(disputed);
    metrics::gauge!("cattle_clock_own_ahead_seconds").set(seconds(clocks.wall_ahead));
    let known = if clocks.trust.judges() { 1.0 } else { 0.0 };
    metrics::gauge!("cattle_clock_known").set(known);
}

#[cfg(test)]
mod tests {
    use cattle_core::clock::{Dispute, Trust};
    use cattle_schemas::Timestamp;

    use super::*;

    fn clocks(trust: Trust) -> Clocks {
        Clocks {
            trust,
            ..Clocks::default()
        }
    }

    #[test]
    fn a_date_that_comes_and_goes_is_told_once_and_its_end_too() {
        let dispute = Dispute {
            ahead: TimeDelta::hours(3),
            since: Timestamp::UNIX_EPOCH,
        };
        let disputed = clocks(Trust::Disputed(dispute));
        let mut alarm = ClockAlarm::default();
        let mut told = Vec::new();
        for round in 0..4 {
            let at = Duration::from_secs(round * 60);
            told.extend(alarm.look(disputed, at));
            told.extend(alarm.look(disputed, at));
            told.extend(alarm.look(clocks(Trust::Agreed), at));
        }
        let agreed = told.iter().filter(|it| it.contains("agree again")).count();
        assert_eq!(told.len() - agreed, 1, "{told:?}");
        assert!(told[0].contains("is 3h ahead of"), "{told:?}");
        assert_eq!(alarm.look(clocks(Trust::Agreed), SAID_AGAIN), None);
        assert!(alarm.look(disputed, SAID_AGAIN).is_some());
    }
}
