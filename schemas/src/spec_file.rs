//! The spec file: one cattle, as its author writes it.
//!
//! These types give the JSON Schema and let programs *write* spec files. Reading goes through
//! `cattle_core::spec`, which walks positions and reports every error at once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::SpecDuration, task::TaskInput};

/// The only `apiVersion`.
pub const API_VERSION: &str = "clawdlets.dev/v1";
/// The only `kind`.
pub const KIND: &str = "Cattle";

/// One spec file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CattleFile {
    /// `clawdlets.dev/v1`.
    #[schemars(regex(pattern = "^clawdlets\\.dev/v1$"))]
    pub api_version: String,
    /// `Cattle`.
    #[schemars(regex(pattern = "^Cattle$"))]
    pub kind: String,
    /// Name and labels; both optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What to run.
    pub spec: CattleFileSpec,
}

/// `metadata` of a spec file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Must equal the file's stem where written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: Option<String>,
    /// On the server as `spec.<key>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 32,
        "propertyNames" = { "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "maxLength": 58 },
        "additionalProperties" = { "type": "string", "pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", "maxLength": 63 },
    ))]
    pub labels: BTreeMap<String, String>,
}

/// `spec` of a spec file. Exactly one of `task` and `taskFile` must be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["task"] }, { "required": ["taskFile"] }]))]
pub struct CattleFileSpec {
    /// Directory name beneath `cattle/personas`.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub persona: String,
    /// The task, inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskInput>,
    /// A `task.json`, relative to this file, beneath the project's `cattle/`, not hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_file: Option<String>,
    /// How long the server may live; else the fleet's `defaultTtl`; at most `limits.maxTtl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<SpecDuration>,
    /// Still pending after this: ends as `not-started`. 24h unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within: Option<SpecDuration>,
    /// `provider/model`; else the persona's, else the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), regex(pattern = "^[a-z0-9][a-z0-9._-]*/[!-~]+$"))]
    pub model: Option<String>,
    /// Hand the GitHub token to the guest. Operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_github_token: Option<bool>,
    /// `false` keeps the VM until its TTL after the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_shutdown: Option<bool>,
    /// Where and on what to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hetzner: Option<Placement>,
    /// What happens to the VM of a failed task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// Hetzner choices of a spec; each optional, else the fleet's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [
    { "not": { "required": ["serverType", "serverTypes"] } },
    { "not": { "required": ["location", "locations"] } },
]))]
pub struct Placement {
    /// Image id, name, or selector of labels as `role=cattle-image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// One candidate; the short form of `serverTypes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_type: Option<String>,
    /// Candidates, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_types: Option<Vec<String>>,
    /// One candidate; the short form of `locations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Candidates, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locations: Option<Vec<String>>,
}

/// `onFailure`: `destroy`, or `{ hold: 30m }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Delete the server as after a success.
    #[default]
    Destroy,
    /// Keep it on for a look, still under the TTL.
    Hold(SpecDuration),
}
