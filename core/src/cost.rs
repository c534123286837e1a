//! What a server costs: Hetzner bills every started hour whole, up to a cap for each month.
//!
//! Decimal arithmetic on integers: prices have at most ten decimals, and a sum of money must not
//! depend on the order of its terms. Absent on purpose: VAT (all amounts are net) and the turn of a
//! month, which would only ever make a run cheaper to us than this says.

use std::{fmt, str::FromStr};

use cattle_schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// Decimals that are kept: Hetzner writes net prices with ten.
const DECIMALS: usize = 10;
const ONE: i128 = 10_i128.pow(DECIMALS as u32);
/// Whole digits of a price that are read; more is no price.
const MAX_WHOLE_DIGITS: usize = 12;
const SECONDS_PER_HOUR: i64 = 3600;

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
    /// The most of one calendar month; `None` where Hetzner did not say.
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
    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(factor)))
    }
}

/// The hours that are billed for a server from its creation until `until`: at least one.
#[must_use]
pub fn started_hours(created: Timestamp, until: Timestamp) -> u64 {
    let seconds = (until - created).num_seconds().max(1);
    let hours = (seconds + SECONDS_PER_HOUR - 1) / SECONDS_PER_HOUR;
    u64::try_from(hours).unwrap_or(u64::MAX)
}

/// Started hours times the hourly price, at most `monthly_cap`.
#[must_use]
pub fn cost(hourly: Amount, hours: u64, monthly_cap: Option<Amount>) -> Amount {
    let whole = hourly.times(hours);
    monthly_cap.map_or(whole, |cap| whole.min(cap))
}
