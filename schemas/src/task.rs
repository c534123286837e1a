//! `task.json`: what one cattle does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The only task schema version there is.
pub const TASK_SCHEMA_VERSION: u32 = 1;

/// The task type that is meant when none is written.
pub const DEFAULT_TASK_TYPE: &str = "clawdbot.gateway.agent";

/// A task as the guest receives it: complete, with `callbackUrl` forced to the empty string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Always [`TASK_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Free text that identifies the task to its author; the cattle's name unless written.
    pub task_id: String,
    /// Chooses the runner in the guest.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the agent is told.
    pub message: String,
    /// Always `""`: a guest calls nobody back but its controller.
    #[serde(default)]
    pub callback_url: String,
}

/// A task as people write it: only `message` is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskInput {
    /// Must be 1 where written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub schema_version: Option<u32>,
    /// Free text; the cattle's name unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// `clawdbot.gateway.agent` unless written.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What the agent is told.
    #[schemars(length(min = 1))]
    pub message: String,
    /// Accepted for compatibility; always replaced by `""`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}
