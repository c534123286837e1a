//! Whether the ledger can be written, in words for people.

use cattle_schemas::status::{Condition, ConditionType};

use crate::status::condition;

/// Whether the ledger can be written, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Writable {
    /// It can.
    #[default]
    Yes,
    /// What room there is, is kept for ends and deletes.
    NoRoom,
    /// Another process holds its lock.
    Locked,
    /// The file system or the file does not let us; why.
    Failing(String),
}

impl Writable {
    /// The stable word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Yes => "written",
            Self::NoRoom => "no-room",
            Self::Locked => "locked",
            Self::Failing(_) => "failing",
        }
    }

    /// What is wrong, what follows from it, and what to do. `None` while nothing is.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        Some(match self {
            Self::Yes => return None,
            Self::NoRoom => "the state directory's file system has no room: free some space there; until then nothing is taken or started, what runs goes on, and ends and deletes proceed".to_owned(),
            Self::Locked => "the ledger is locked by another process, a backup or a forgotten `sqlite3`: let it finish, or end it; until then nothing is taken or started, and what is past its expiry is deleted all the same".to_owned(),
            Self::Failing(why) => format!("the ledger cannot be written: {why}; look at the state directory and its file system; until then nothing is taken or started, and what is past its expiry is deleted all the same"),
        })
    }

    /// The controller's condition.
    #[must_use]
    pub fn condition(&self) -> Condition {
        condition(
            ConditionType::LedgerWritable,
            *self == Self::Yes,
            self.reason(),
            self.complaint().unwrap_or_default(),
            None,
        )
    }
}
