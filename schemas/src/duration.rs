//! Durations as people write them: `<n>(s|m|h|d)`, one number and one unit.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest duration accepted, ten years: far above any use, far below any overflow in
/// arithmetic on timestamps.
pub const MAX_SECONDS: u64 = 10 * 365 * 86_400;

/// The JSON Schema pattern of a written duration.
pub const PATTERN: &str = "^[1-9][0-9]{0,8}(s|m|h|d)$";

/// A positive duration in whole seconds, at most [`MAX_SECONDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecDuration(u64);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not `<n>(s|m|h|d)`.
    #[error("`{0}` is not a duration: write a number and one of s, m, h, d, as in `90m`")]
    Malformed(String),
    /// Zero seconds.
    #[error("a duration must be longer than zero")]
    Zero,
    /// Above [`MAX_SECONDS`].
    #[error("`{0}` is longer than ten years")]
    TooLong(String),
}

impl SpecDuration {
    /// From whole seconds.
    ///
    /// # Errors
    /// Zero, or more than [`MAX_SECONDS`].
    pub fn from_secs(seconds: u64) -> Result<Self, DurationError> {
        match seconds {
            0 => Err(DurationError::Zero),
            s if s > MAX_SECONDS => Err(DurationError::TooLong(format!("{s}s"))),
            s => Ok(Self(s)),
        }
    }

    /// Whole seconds.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        self.0
    }

    /// As a standard duration.
    #[must_use]
    pub fn as_std(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for SpecDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let shown = || text.chars().take(40).collect::<String>();
        let malformed = || DurationError::Malformed(shown());
        let unit = text.chars().last().ok_or_else(malformed)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(malformed()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let seconds = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .ok_or_else(|| DurationError::TooLong(shown()))?;
        Self::from_secs(seconds).map_err(|error| match error {
            DurationError::TooLong(_) => DurationError::TooLong(shown()),
            other => other,
        })
    }
}

impl fmt::Display for SpecDuration {
    /// The largest unit that divides it: `2h`, `90m`, `90s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
            if self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}s", self.0)
    }
}

impl Serialize for SpecDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpecDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for SpecDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "A number and one of s, m, h, d",
            "examples": ["90s", "30m", "2h", "1d"],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_unit_counts_its_seconds() {
        let seconds = |text: &str| text.parse::<SpecDuration>().unwrap().as_secs();
        assert_eq!(
            ["90s", "30m", "2h", "1d"].map(seconds),
            [90, 1_800, 7_200, 86_400]
        );
    }

    #[test]
    fn anything_but_one_number_and_one_unit_is_refused() {
        for text in [
            "", "h", "2", "2 h", "-2h", "+2h", "1h30m", "2H", "1.5h", "٣h", "2h ",
        ] {
            assert!(
                matches!(
                    text.parse::<SpecDuration>(),
                    Err(DurationError::Malformed(_))
                ),
                "{text:?}"
            );
        }
        assert_eq!("0m".parse::<SpecDuration>(), Err(DurationError::Zero));
        assert!(matches!(
            "99999999999999999999d".parse::<SpecDuration>(),
            Err(DurationError::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(seconds in 1..=MAX_SECONDS) {
            let duration = SpecDuration::from_secs(seconds).unwrap();
            prop_assert_eq!(duration.to_string().parse::<SpecDuration>().unwrap(), duration);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = text.parse::<SpecDuration>();
        }
    }
}
