//! What a fault does to the servers and actions that a call starts, rather than to its reply.

use chrono::{DateTime, Utc};

use super::server::Fate;

/// How a fault bends what a call starts.
#[derive(Clone, Debug, Default)]
pub(crate) enum Twist {
    #[default]
    None,
    Stuck,
    StaysOff,
    Error(String, String),
    Vanishes,
    /// These, or all.
    LosesLabels(Option<Vec<String>>),
}

impl Twist {
    /// The error the call's action will end in.
    pub(crate) fn error(&self) -> Option<(String, String)> {
        match self {
            Self::Error(code, message) => Some((code.clone(), message.clone())),
            _ => None,
        }
    }

    /// When the call's action ends, given when it should.
    pub(crate) fn due(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (!matches!(self, Self::Stuck)).then_some(at)
    }

    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Stuck => Fate::Stuck,
            Self::StaysOff => Fate::StaysOff,
            Self::None | Self::Error(..) | Self::Vanishes | Self::LosesLabels(_) => Fate::Fine,
        }
    }
}
