//! Between guest and controller, over the tailnet: bootstrap file, env, report, logs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::Timestamp;

/// The controller's guest API port.
pub const GUEST_API_PORT: u16 = 18_337;

/// Where the guest finds what it needs; all beneath its root.
pub mod paths {
    /// The task.
    pub const TASK: &str = "/var/lib/clawdlets/cattle/task.json";
    /// The persona: `SOUL.md`, `config.json`, later `skills/` and `memory/`.
    pub const PERSONA_DIR: &str = "/var/lib/clawdlets/cattle/persona";
    /// The persona's text.
    pub const SOUL: &str = "/var/lib/clawdlets/cattle/persona/SOUL.md";
    /// The persona's configuration.
    pub const PERSONA_CONFIG: &str = "/var/lib/clawdlets/cattle/persona/config.json";
    /// [`super::Bootstrap`].
    pub const BOOTSTRAP: &str = "/run/clawdlets/cattle/bootstrap.json";
    /// The tailnet key, for one run.
    pub const TAILNET_KEY: &str = "/run/clawdlets/ts.key";
    /// The runner's working directory.
    pub const WORKSPACE: &str = "/var/lib/clawdlets/cattle/workspace";
    /// What the runner leaves as the result, inside the workspace.
    pub const RESULT_FILE: &str = "result.json";
}

/// The longest result a guest hands back: 256 KiB is a report, not an archive.
pub const MAX_RESULT_BYTES: usize = 256 * 1024;
/// The longest body of one log call.
pub const MAX_LOG_CHUNK_BYTES: usize = 256 * 1024;
/// What is kept of one run's log; a guest sends nothing beyond.
pub const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// The longest persona archive (`skills/` and `memory/`).
pub const MAX_PERSONA_BYTES: u64 = 32 * 1024 * 1024;
/// How often the guest says that it lives, seconds.
pub const HEARTBEAT_SECONDS: u64 = 15;
/// The header that makes fetching the env safe to repeat: 128 random bits, hex.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// `bootstrap.json`: everything a guest knows before its first call. The token in it is spent by
/// that call, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bootstrap {
    /// Always 1.
    pub schema_version: u32,
    /// The cattle's name.
    pub cattle: String,
    /// The run.
    pub run: String,
    /// The controller's guest API: `http://100.64.0.1:18337`.
    pub controller_url: String,
    /// The controller's tailnet address, checked before the token is sent; absent without a tailnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_address: Option<String>,
    /// The controller's tailnet StableID, checked likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_stable_id: Option<String>,
    /// 256 bits, hex; spent by the first env call.
    #[schemars(with = "String")]
    pub token: Zeroizing<String>,
    /// When the server is deleted whatever happens.
    pub expires_at: Timestamp,
}

/// Reply of `GET /v1/cattle/env`. Carries secrets: no `Debug`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvReply {
    /// The run it belongs to.
    pub run: String,
    /// What the runner gets in its environment.
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Zeroizing<String>>,
    /// Bearer for every later call.
    #[schemars(with = "String")]
    pub session_token: Zeroizing<String>,
    /// SHA-256, hex, of the persona archive; absent when the persona has neither skills nor memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona_digest: Option<String>,
    /// The model to use, `provider/model`.
    pub model: String,
}

/// What `POST /v1/cattle/report` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// The first report: the env is here, the runner waits for the acknowledgement.
    Ready,
    /// The runner runs.
    Heartbeat,
    /// The runner is over; `outcome` is there.
    Finished,
}

/// Body of `POST /v1/cattle/report`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// What it says.
    pub kind: ReportKind,
    /// With `finished` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// How the runner ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// The runner's exit code; absent when a signal ended it or it never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it failed, in a sentence, where the guest knows more than the exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The content of `result.json`, if the runner left one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Length of the log in bytes, so that the controller can tell whether it has all.
    pub log_bytes: u64,
}

impl Outcome {
    /// Whether the task succeeded: exit code 0 and nothing else wrong.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.exit_code == Some(0) && self.signal.is_none() && self.message.is_none()
    }
}

/// Reply to a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportReply {
    /// Set when the guest must stop its runner, hand over what it has, and power off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// After `finished`: stay on, and go on with heartbeats, until told otherwise (410, or `stop`)
    /// or until the TTL ends. Else the guest powers off.
    #[serde(default)]
    pub stay: bool,
    /// When the server is deleted whatever happens.
    pub expires_at: Timestamp,
}

/// Why, and by when, a guest has to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// An end reason, as in the status.
    pub reason: String,
    /// Seconds until the server is deleted.
    pub grace_seconds: u64,
}

/// Reply to `POST /v1/cattle/logs?offset=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsReply {
    /// Where the next chunk begins: bytes stored so far.
    pub next_offset: u64,
    /// `true` when the cap is reached and further bytes are dropped.
    #[serde(default)]
    pub full: bool,
}
