//! Jobs: recorded requests of bots, through `clf`.
//!
//! | call | body | reply |
//! |---|---|---|
//! | `POST /v1/jobs` | [`JobRequest`] | [`Job`] |
//! | `GET /v1/jobs` | `?limit=&cursor=` | [`JobList`] |
//! | `GET /v1/jobs/{id}` | `?waitFor=ended&timeoutSeconds=` | [`Job`] |
//! | `POST /v1/jobs/{id}/cancel` | | [`Job`] |
//!
//! Logs and results have no calls of their own: a job names its cattle and run, and those have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, spec_file::CattleFile, status::EndReason};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JobKind {
    /// Writes a spec; ends as its cattle ends.
    #[serde(rename = "cattle.spawn")]
    CattleSpawn,
    /// Deletes servers that are past their expiry. Operators only.
    #[serde(rename = "cattle.reap")]
    CattleReap,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Its cattle waits.
    Queued,
    /// Its cattle lives.
    Running,
    /// Its cattle succeeded.
    Done,
    /// Its cattle failed.
    Failed,
    /// Somebody wanted its end.
    Canceled,
}

impl JobState {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Canceled)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Body of `POST /v1/jobs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobRequest {
    /// What to do.
    pub kind: JobKind,
    /// With `cattle.spawn`: the name; `<persona>-<6 random>` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// With `cattle.spawn`: the spec file's content, the task inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<CattleFile>,
    /// With `cattle.reap`: only say what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
    /// With `cattle.spawn`: wait in the queue at `maxInstances` instead of being refused.
    #[serde(default)]
    pub queue: bool,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// A ULID.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// Where it is.
    pub state: JobState,
    /// Who asked.
    pub requester: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Its cattle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cattle: Option<String>,
    /// Its cattle's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Why it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Reply of `GET /v1/jobs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobList {
    /// Newest first.
    pub items: Vec<Job>,
    /// `cursor` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
