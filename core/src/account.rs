//! What Hetzner's answers say of the account's token.
//!
//! Nobody asks for it: the calls that are made anyway tell. A token that may only read is known as
//! such from the first write on.

use cattle_schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// A limit of the account that a create met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountLimit {
    /// `server_limit`.
    Servers,
    /// `primary_ip_limit`.
    PrimaryIps,
    /// `dedicated_core_limit`.
    DedicatedCores,
}

impl AccountLimit {
    /// By the name that Hetzner gives in `details.limits`, or by the sentence where it gives none.
    #[must_use]
    pub fn from_words(names: &[String], message: &str) -> Option<Self> {
        let named = names.iter().find_map(|name| match name.as_str() {
            "server_limit" => Some(Self::Servers),
            "primary_ip_limit" => Some(Self::PrimaryIps),
            "dedicated_core_limit" => Some(Self::DedicatedCores),
            _ => None,
        });
        let message = message.to_ascii_lowercase();
        let said = |words: &str, limit| message.contains(words).then_some(limit);
        named
            .or_else(|| said("primary ip limit", Self::PrimaryIps))
            .or_else(|| said("dedicated core", Self::DedicatedCores))
            .or_else(|| said("server limit", Self::Servers))
    }
}

/// What is known of the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Token {
    /// No answer yet.
    #[default]
    Unknown,
    /// The latest answers were given to it.
    Accepted,
    /// It is refused.
    Refused {
        /// For what it is.
        why: Refusal,
        /// The sentence, with the fix.
        message: String,
        /// The first time in a row.
        since: Timestamp,
        /// The latest time.
        at: Timestamp,
    },
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// For anything: it is missing, mistyped or revoked, which Hetzner does not tell apart.
    Unauthorized,
    /// For writing.
    ReadOnly,
}

impl Refusal {
    /// The stable word, as in the condition `TokenAccepted`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ReadOnly => "read-only",
        }
    }
}

/// What an answer says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It may read.
    Read,
    /// It may write.
    Written,
    /// It is refused; the sentence, with the fix.
    Refused(Refusal, String),
}

impl Token {
    /// What is known after an answer. A token that may only read is refused until a write works.
    #[must_use]
    pub fn after(&self, heard: Heard, now: Timestamp) -> Self {
        match (self, heard) {
            (Self::Refused { why, since, .. }, Heard::Refused(again, message)) if *why == again => {
                Self::Refused {
                    why: again,
                    message,
                    since: *since,
                    at: now,
                }
            }
            (_, Heard::Refused(why, message)) => Self::Refused {
                why,
                message,
                since: now,
                at: now,
            },
            (
                Self::Refused {
                    why: Refusal::ReadOnly,
                    ..
                },
                Heard::Read,
            ) => self.clone(),
            (_, Heard::Read | Heard::Written) => Self::Accepted,
        }
    }

    /// Why it is refused, where it is.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { why, .. } => Some(*why),
            Self::Unknown | Self::Accepted => None,
        }
    }

    /// The sentence that says so.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        match self {
            Self::Refused { message, .. } => Some(message),
            Self::Unknown | Self::Accepted => None,
        }
    }
}
