//! Names and identifiers, valid by construction.
//!
//! Whoever holds one of these types need not check it again. Absent on purpose: minting. A run's id
//! is drawn by the controller, which has randomness and a clock.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest cattle name: a server is named `cattle-<name>-<6>`, and Hetzner's host name labels
/// end at 63 characters.
pub const MAX_NAME: usize = 40;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a {what} must not be empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Longer than [`MAX_NAME`].
    #[error("a {what} has at most {MAX_NAME} characters, this has {length}")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// Its length in characters.
        length: usize,
    },
    /// Against `[a-z]([a-z0-9-]*[a-z0-9])?`.
    #[error("a {what} is made of a-z, 0-9 and `-`, begins with a letter and does not end with `-`")]
    Malformed {
        /// Which kind of name.
        what: &'static str,
    },
    /// Not 26 characters of Crockford's base 32.
    #[error("not a run id (a ULID of 26 characters)")]
    Run,
    /// Not 12 lower-case hex digits.
    #[error("not a spec hash (12 hex digits)")]
    Hash,
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    let length = text.chars().count();
    if length > MAX_NAME {
        return Err(NameError::TooLong { what, length });
    }
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    if !bytes[0].is_ascii_lowercase() || bytes[bytes.len() - 1] == b'-' || !bytes.iter().all(inner)
    {
        return Err(NameError::Malformed { what });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// One named desired VM with one task: the stem of its spec file.
    CattleName,
    "cattle name"
);
name!(
    /// A directory beneath `cattle/personas`.
    PersonaName,
    "persona name"
);
name!(
    /// The label `fleet`.
    FleetName,
    "fleet name"
);

/// One attempt at a cattle: a ULID. Orders by the time it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(ulid::Ulid);

impl RunId {
    /// From 48 bits of milliseconds since the epoch and 80 bits of randomness.
    #[must_use]
    pub fn from_parts(unix_millis: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(unix_millis, random))
    }

    /// When it was drawn; within a second of the run's intent.
    #[must_use]
    pub fn drawn_at(self) -> Option<cattle_schemas::Timestamp> {
        let millis = i64::try_from(self.0.timestamp_ms()).ok()?;
        cattle_schemas::Timestamp::from_timestamp_millis(millis)
    }

    /// The last six characters in lower case: random, and what distinguishes server names.
    #[must_use]
    pub fn suffix(self) -> String {
        self.0.to_string()[20..].to_ascii_lowercase()
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        ulid::Ulid::from_string(text)
            .map(Self)
            .map_err(|_| NameError::Run)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// What of a spec makes it another task when it changes: 12 hex digits of a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecHash(String);

impl SpecHash {
    /// The first 12 hex digits of a digest.
    #[must_use]
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        Self(
            digest[..6]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpecHash {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 12 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Hash)
        }
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for SpecHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SpecHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Hetzner's number of a server; up to 2^53 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerId(pub u64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The server's name for a run: same run, same name, so that a repeated create after a lost reply
/// meets `uniqueness_error` instead of making a second server.
#[must_use]
pub fn server_name(cattle: &CattleName, run: RunId) -> String {
    format!("cattle-{cattle}-{}", run.suffix())
}
