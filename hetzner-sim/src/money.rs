//! Amounts of money and the cost meter's arithmetic.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
};

use chrono::{DateTime, Datelike, TimeZone, Utc};
use serde::{Serialize, Serializer};

/// Euros, in ten-thousandths: the finest step in the price list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(u64);

impl Money {
    pub(crate) const fn from_e4(e4: u64) -> Self {
        Self(e4)
    }

    /// The amount in ten-thousandths.
    #[must_use]
    pub const fn e4(self) -> u64 {
        self.0
    }

    /// As the API prints net amounts: ten decimals.
    pub(crate) fn net(self) -> String {
        format!("{}.{:04}000000", self.0 / 10_000, self.0 % 10_000)
    }

    /// As the API prints gross amounts: sixteen decimals.
    pub(crate) fn gross(self) -> String {
        format!("{}.{:04}000000000000", self.0 / 10_000, self.0 % 10_000)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// What a resource costs that existed from `from` to `to`: in each calendar month its started
/// hours times the hourly price, at most the monthly cap. Also the started hours.
pub(crate) fn metered(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    hourly: Money,
    cap: Money,
) -> (Money, u64) {
    let (mut cost, mut all_hours, mut start) = (Money::default(), 0, from);
    loop {
        let month_end = next_month(start);
        let end = to.min(month_end);
        let hours = started_hours(start, end);
        cost += Money(hours * hourly.0).min(cap);
        all_hours += hours;
        if end >= to {
            return (cost, all_hours);
        }
        start = month_end;
    }
}

/// Every started hour counts whole, and the first starts at once.
fn started_hours(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    let millis = (to - from).num_milliseconds().max(1);
    u64::try_from(millis).unwrap_or(1).div_ceil(3_600_000)
}

fn next_month(at: DateTime<Utc>) -> DateTime<Utc> {
    let (year, month) = match at.month() {
        12 => (at.year() + 1, 1),
        month => (at.year(), month + 1),
    };
    Utc.with_ymd_and_hms(year, month, 1, 0, 0, 0)
        .single()
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    const CX23: (Money, Money) = (Money(88), Money(54_900));

    fn t(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::five_minutes_are_an_hour("2026-11-10T10:00:00Z", "2026-11-10T10:05:00Z", 1, "0.0088")]
    #[case::an_hour_is_an_hour("2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z", 1, "0.0088")]
    #[case::a_second_more_is_two("2026-11-10T10:00:00Z", "2026-11-10T11:00:01Z", 2, "0.0176")]
    #[case::nothing_is_an_hour("2026-11-10T10:00:00Z", "2026-11-10T10:00:00Z", 1, "0.0088")]
    #[case::a_whole_month_is_capped("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", 744, "5.4900")]
    #[case::months_are_capped_apart(
        "2026-10-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
        1464,
        "10.9800"
    )]
    #[case::over_new_year("2026-12-31T23:30:00Z", "2027-01-01T00:30:00Z", 2, "0.0176")]
    fn a_server_costs(
        #[case] from: &str,
        #[case] to: &str,
        #[case] hours: u64,
        #[case] cost: &str,
    ) {
        let (amount, started) = metered(t(from), t(to), CX23.0, CX23.1);
        assert_eq!((amount.to_string().as_str(), started), (cost, hours));
    }

    #[test]
    fn prices_print_with_the_decimals_of_the_api() {
        assert_eq!(CX23.0.net(), "0.0088000000");
        assert_eq!(CX23.0.gross(), "0.0088000000000000");
    }
}
