//! Pauses: why nothing starts, or nothing ends for its spec, until somebody says so.
//!
//! | call | body | reply |
//! |---|---|---|
//! | `GET /v1/pauses` | | [`PauseList`] |
//! | `POST /v1/pause` | [`PauseRequest`] | [`PauseStatus`] |
//! | `POST /v1/resume` | [`ResumeRequest`] | [`ResumeReply`] |
//!
//! All of them are for operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, status::PauseReason};

/// The longest `why` of a pause, in bytes: it is shown in every list.
pub const MAX_WHY_BYTES: usize = 500;

/// Body of `POST /v1/pause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseRequest {
    /// Nothing starts.
    #[serde(default)]
    pub starts: bool,
    /// Nothing ends because of spec files.
    #[serde(default)]
    pub ends: bool,
    /// Why, for everybody who asks.
    pub why: String,
}

/// One thing that a pause holds back, or found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseItem {
    /// The cattle.
    pub cattle: String,
    /// Its run, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A sentence for people.
    pub message: String,
}

/// One pause that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseStatus {
    /// Why it holds.
    pub reason: PauseReason,
    /// What alone it is about: a source of specs (`deletes`), an image (`breaker`). Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Nothing starts.
    pub starts: bool,
    /// Nothing ends because of spec files.
    pub ends: bool,
    /// Since when.
    pub since: Timestamp,
    /// Who began it.
    pub by: String,
    /// A sentence for people: why, who, since when, and the way out.
    pub message: String,
    /// The command that ends it.
    pub command: String,
    /// What `resume` must be told with this reason: it stands for `items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is held back, or was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<PauseItem>,
}

/// Reply of `GET /v1/pauses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseList {
    /// Oldest first.
    pub items: Vec<PauseStatus>,
}

/// Body of `POST /v1/resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResumeRequest {
    /// Which pause; may be left out while exactly one holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<PauseReason>,
    /// With `ledger` and `deletes`: the digest of the list that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// With `ledger`: the cattle of the list that start all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
}

/// Reply of `POST /v1/resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResumeReply {
    /// A sentence for people.
    pub message: String,
    /// What still holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseStatus>,
}
