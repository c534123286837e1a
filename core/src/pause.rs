//! Why nothing starts, or nothing ends for its spec, until somebody, or something, says so.
//!
//! A pause is a fact of the ledger: a restart does not end it. Of one reason and subject at most one
//! holds at a time. What `plan` makes of them: a pause of everything ([`Pause::subject`] is empty)
//! holds back all starts, or all ends for specs; one of a part holds back that part.

use std::fmt::{self, Write as _};

use cattle_schemas::{
    Timestamp,
    pause::{self as wire, PauseStatus},
    status::PauseReason,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    candidates::told,
    names::{CattleName, RunId, SpecHash},
};

/// Who begins pauses that nobody asked for.
pub const CONTROLLER: &str = "the controller";

/// Characters of a digest: nobody has to guess one, it only tells lists apart.
const DIGEST_LENGTH: usize = 12;

/// One pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Why it holds.
    pub reason: PauseReason,
    /// What alone it is about: a source of specs (`deletes`), an image (`breaker`). Empty: everything.
    #[serde(default)]
    pub subject: String,
    /// Nothing starts.
    pub starts: bool,
    /// Nothing ends because of spec files.
    pub ends: bool,
    /// Since when.
    pub since: Timestamp,
    /// Who began it: [`CONTROLLER`], or an operator.
    pub by: String,
    /// A clause for people: what happened, or what an operator said.
    pub message: String,
    /// What is held back, or was found: what a digest stands for.
    #[serde(default)]
    pub items: Vec<PauseItem>,
    /// What could not be read when that was found. Its specs were there as well, and join the list
    /// once they can be read.
    #[serde(default)]
    pub unread: Vec<Unread>,
    /// Set when it is over; never changes again.
    #[serde(default)]
    pub resumed: Option<Resumed>,
}

/// One thing that a pause holds back, or found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseItem {
    /// The cattle.
    pub cattle: CattleName,
    /// What it asks for, or its run was started from.
    pub hash: SpecHash,
    /// Its run, where there is one.
    #[serde(default)]
    pub run: Option<RunId>,
    /// A sentence for people; not part of the digest.
    pub message: String,
}

/// A place of specs that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unread {
    /// A spec directory.
    Root(String),
    /// A spec that did not validate.
    Spec(CattleName),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => write!(f, "directory {root}"),
            Self::Spec(name) => write!(f, "spec {name}"),
        }
    }
}

/// The end of a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// When.
    pub at: Timestamp,
    /// Who ended it.
    pub by: String,
    /// Somebody saw [`Pause::items`] and confirmed them; `false` when it ended by itself.
    pub confirmed: bool,
}

impl Pause {
    /// One that the controller begins, of everything, with nothing to show.
    #[must_use]
    pub fn by_controller(reason: PauseReason, message: impl Into<String>, now: Timestamp) -> Self {
        Self {
            reason,
            subject: String::new(),
            starts: false,
            ends: false,
            since: now,
            by: CONTROLLER.to_owned(),
            message: message.into(),
            items: Vec::new(),
            unread: Vec::new(),
            resumed: None,
        }
    }

    /// Not over yet.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.resumed.is_none()
    }

    /// Whether it is about everything, not a part.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.subject.is_empty()
    }

    /// What stands for [`Self::items`]; `None` where nothing is to be confirmed.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        if !takes_digest(self.reason) {
            return None;
        }
        let mut items: Vec<&PauseItem> = self.items.iter().collect();
        items.sort_unstable();
        let mut text = format!("{}\n{}\n", self.reason, self.subject);
        for item in items {
            let run = item.run.map(|run| run.to_string()).unwrap_or_default();
            let _ = writeln!(text, "{} {} {run}", item.cattle, item.hash);
        }
        for unread in &self.unread {
            let _ = writeln!(text, "{unread}");
        }
        let mut digest = String::with_capacity(DIGEST_LENGTH);
        for byte in &Sha256::digest(text)[..DIGEST_LENGTH / 2] {
            let _ = write!(digest, "{byte:02x}");
        }
        Some(digest)
    }

    /// The command that ends it.
    #[must_use]
    pub fn command(&self) -> String {
        let mut command = format!("clawdlets cattle resume --reason {}", self.reason);
        if let Some(digest) = self.digest() {
            let _ = write!(command, " --digest {digest}");
        }
        command
    }

    /// Why, who, since when, and the way out.
    #[must_use]
    pub fn sentence(&self) -> String {
        let since = self.since.format("%Y-%m-%d %H:%M:%S UTC");
        let command = match takes_digest(self.reason) {
            // The list comes first; whoever has seen it has its digest.
            true => format!("clawdlets cattle resume --reason {}", self.reason),
            false => self.command(),
        };
        let way_out = match self.reason {
            PauseReason::Paused => format!("`{command}` goes on"),
            PauseReason::Breaker => format!("`{command}` tries one now"),
            PauseReason::Ledger | PauseReason::Deletes => {
                format!("`{command}` shows the list, and takes its digest")
            }
            PauseReason::SecondController => {
                format!("stop one of them, then say `{command}` to the other")
            }
        };
        match self.reason {
            PauseReason::Paused => {
                format!(
                    "paused by {} since {since}: {}; {way_out}",
                    self.by, self.message
                )
            }
            _ => format!(
                "{}{} (since {since}); {way_out}",
                self.message,
                self.unread_in_words()
            ),
        }
    }

    /// What is missing in the list, where something is.
    fn unread_in_words(&self) -> String {
        if self.unread.is_empty() {
            return String::new();
        }
        format!(
            "; {} cannot be read yet, and joins the list when it can",
            told(&self.unread)
        )
    }

    /// As the socket answers it.
    #[must_use]
    pub fn status(&self) -> PauseStatus {
        PauseStatus {
            reason: self.reason,
            subject: (!self.is_whole()).then(|| self.subject.clone()),
            starts: self.starts,
            ends: self.ends,
            since: self.since,
            by: self.by.clone(),
            message: self.sentence(),
            command: self.command(),
            digest: self.digest(),
            items: self
                .items
                .iter()
                .map(|item| wire::PauseItem {
                    cattle: item.cattle.to_string(),
                    run: item.run.map(|run| run.to_string()),
                    message: item.message.clone(),
                })
                .collect(),
        }
    }
}

/// Whether a pause of this reason is ended only by who has seen its list.
#[must_use]
pub fn takes_digest(reason: PauseReason) -> bool {
    matches!(reason, PauseReason::Ledger | PauseReason::Deletes)
}
