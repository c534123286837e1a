//! What a server costs: Hetzner bills every started hour whole, up to a cap for each calendar month.
//!
//! Decimal arithmetic on integers: prices have at most ten decimals, and a sum of money must not
//! depend on the order of its terms. An hour belongs to the UTC day, and so to the month, in which it
//! begins; within a month hours are paid in the order of time until its cap is reached. So the days
//! of a month add up to the month, whatever is asked for first. Absent on purpose: VAT (all amounts
//! are net).

use std::{fmt, ops::Range, str::FromStr};

use cattle_schemas::Timestamp;
use chrono::{Datelike, Months, NaiveDate, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};

/// Decimals that are kept: Hetzner writes net prices with ten.
const DECIMALS: usize = 10;
const ONE: i128 = 10_i128.pow(DECIMALS as u32);
/// Whole digits of a price that are read; more is no price.
const MAX_WHOLE_DIGITS: usize = 12;
const HOUR: TimeDelta = TimeDelta::hours(1);

/// An amount of the account's currency, net, never negative. Kept as text with all its decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(i128);

/// A price of Hetzner's, net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// For each started hour.
    pub hourly: Amount,
    /// The most of one calendar month (UTC); `None` where Hetzner did not say.
    #[serde(default)]
    pub monthly: Option<Amount>,
}

/// What a server costs, its IPv4 address apart: each is capped by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerPrice {
    /// The server.
    pub server: Price,
    /// Its primary IPv4 address.
    pub ipv4: Price,
}

impl ServerPrice {
    /// What one started hour of both costs.
    #[must_use]
    pub fn hourly(&self) -> Amount {
        self.server.hourly + self.ipv4.hourly
    }
}

/// Not a decimal number such as `0.0088`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a price")]
pub struct NotAPrice(String);

impl FromStr for Amount {
    type Err = NotAPrice;

    /// Decimals beyond the tenth are cut: Hetzner writes gross prices with sixteen.
    fn from_str(text: &str) -> Result<Self, NotAPrice> {
        let error = || NotAPrice(text.chars().take(40).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > MAX_WHOLE_DIGITS
            || !digits(whole)
            || !digits(fraction)
            || text.ends_with('.')
        {
            return Err(error());
        }
        let kept = &fraction[..fraction.len().min(DECIMALS)];
        let scaled: i128 = format!("{whole}{kept:0<DECIMALS$}")
            .parse()
            .map_err(|_| error())?;
        Ok(Self(scaled))
    }
}

impl TryFrom<String> for Amount {
    type Error = NotAPrice;

    fn try_from(text: String) -> Result<Self, NotAPrice> {
        text.parse()
    }
}

impl From<Amount> for String {
    /// Exact, unlike what people are shown.
    fn from(amount: Amount) -> Self {
        format!("{}.{:0DECIMALS$}", amount.0 / ONE, amount.0 % ONE)
    }
}

impl fmt::Display for Amount {
    /// Four places, rounded half up, as Hetzner's invoices have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: i128 = ONE / 10_000;
        let units = (self.0 + UNIT / 2) / UNIT;
        f.pad(&format!("{}.{:04}", units / 10_000, units % 10_000))
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::default(), |sum, term| sum + term)
    }
}

impl Amount {
    /// What is left of it; never below zero.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(factor)))
    }
}

/// So many hours of one month.
fn capped(price: Price, hours: u64) -> Amount {
    let whole = price.hourly.times(hours);
    price.monthly.map_or(whole, |cap| whole.min(cap))
}

/// What was billed for one server, or for several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    /// Started hours.
    pub hours: u64,
    /// The server's share.
    pub server: Amount,
    /// The IPv4 address's share.
    pub ipv4: Amount,
}

impl Billed {
    /// Both shares.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.server + self.ipv4
    }
}

impl std::ops::AddAssign for Billed {
    fn add_assign(&mut self, other: Self) {
        self.hours += other.hours;
        self.server = self.server + other.server;
        self.ipv4 = self.ipv4 + other.ipv4;
    }
}

/// The hours that are billed for a server from its creation until `until`: at least one.
#[must_use]
pub fn started_hours(created: Timestamp, until: Timestamp) -> u64 {
    hours_up_to(created, until).max(1)
}

/// The hours after `created` that begin before `until`, if the server lives so long.
fn hours_up_to(created: Timestamp, until: Timestamp) -> u64 {
    let length = HOUR.num_milliseconds();
    let elapsed = (until - created).num_milliseconds().max(0);
    (elapsed.cast_unsigned()).div_ceil(length.cast_unsigned())
}

/// What is billed for a server that is there from `created` to `until`.
#[must_use]
pub fn billed(price: &ServerPrice, created: Timestamp, until: Timestamp) -> Billed {
    accrued(price, created, started_hours(created, until))
}

/// The part of it whose hours begin within `window`: what began before the window has used up its
/// share of the month's cap.
#[must_use]
pub fn billed_within(
    price: &ServerPrice,
    created: Timestamp,
    until: Timestamp,
    window: Range<Timestamp>,
) -> Billed {
    let hours = started_hours(created, until);
    let before = |at| accrued(price, created, hours.min(hours_up_to(created, at)));
    let (from, to) = (before(window.start), before(window.end.max(window.start)));
    Billed {
        hours: to.hours - from.hours,
        server: to.server.less(from.server),
        ipv4: to.ipv4.less(from.ipv4),
    }
}

/// The first `hours` of a server's life, each month capped by itself.
fn accrued(price: &ServerPrice, created: Timestamp, hours: u64) -> Billed {
    let mut sum = Billed::default();
    let mut first = created.date_naive().with_day(1);
    while sum.hours < hours {
        first = first.and_then(|first| first.checked_add_months(Months::new(1)));
        let until_then = match first {
            Some(next) => hours.min(hours_up_to(created, midnight(next))),
            None => hours,
        };
        let in_month = until_then - sum.hours;
        sum += Billed {
            hours: in_month,
            server: capped(price.server, in_month),
            ipv4: capped(price.ipv4, in_month),
        };
    }
    sum
}

/// The instants of a UTC day.
#[must_use]
pub fn day(date: NaiveDate) -> Range<Timestamp> {
    midnight(date)..midnight(date.succ_opt().unwrap_or(date))
}

fn midnight(date: NaiveDate) -> Timestamp {
    date.and_time(NaiveTime::MIN).and_utc()
}
