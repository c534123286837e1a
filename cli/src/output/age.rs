//! Times as people read them.

use cattle_schemas::Timestamp;

/// How long ago, in the one unit that matters: `5s`, `12m`, `3h`, `2d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    short((now - then).num_seconds().max(0))
}

/// How long until then: `in 1h20m`, or `12m ago`.
pub(crate) fn until(then: Timestamp, now: Timestamp) -> String {
    let seconds = (then - now).num_seconds();
    if seconds < 0 {
        format!("{} ago", short(-seconds))
    } else {
        format!("in {}", precise(seconds))
    }
}

/// The instant itself, to the second, in UTC.
pub(crate) fn clock(then: Timestamp) -> String {
    then.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn short(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn precise(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m"),
        3_600..86_400 if minutes % 60 == 0 => format!("{hours}h"),
        3_600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ if hours % 24 == 0 => format!("{days}d"),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let then = DateTime::UNIX_EPOCH;
        let aged = |seconds| age(then, then + TimeDelta::seconds(seconds));
        assert_eq!(
            [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(aged),
            ["0s", "0s", "119s", "2m", "119m", "2h", "47h", "2d"]
        );
    }

    #[test]
    fn what_comes_is_told_apart_from_what_has_been() {
        let now = DateTime::UNIX_EPOCH;
        let told = |seconds| until(now + TimeDelta::seconds(seconds), now);
        assert_eq!(
            [30, 3_599, 3_600, 4_800, 86_400, 97_200, -720].map(told),
            [
                "in 30s", "in 59m", "in 1h", "in 1h20m", "in 1d", "in 1d3h", "12m ago"
            ]
        );
    }
}
