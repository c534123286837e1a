//! The labels on a server: Hetzner's labels are the truth about what exists.

use std::collections::BTreeMap;

use cattle_schemas::Timestamp;

use crate::names::{CattleName, RunId, SpecHash};

/// A server's labels, decoded as far as they go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerLabels {
    /// `cattle-name`.
    pub cattle: Option<CattleName>,
    /// `run`.
    pub run: Option<RunId>,
    /// `spec-hash`.
    pub hash: Option<SpecHash>,
    /// `expires-at`, unix seconds; `None` when missing or malformed.
    pub expires_at: Option<Timestamp>,
    /// What could not be decoded, in words.
    pub problems: Vec<String>,
    /// All labels as they are.
    pub raw: BTreeMap<String, String>,
}
