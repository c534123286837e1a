//! The socket API: bodies and replies that are not a status, an event, a job or a problem.
//!
//! | call | body | reply |
//! |---|---|---|
//! | `PUT /v1/cattle/{name}` | a spec file, YAML or JSON, task inline | [`ApplyReply`] |
//! | `GET /v1/cattle` | | [`CattleList`] |
//! | `GET /v1/cattle/{name}` | | [`crate::status::CattleStatus`] |
//! | `DELETE /v1/cattle/{name}` | | [`DestroyReply`] |
//! | `POST /v1/prune` | [`PruneRequest`] | [`PruneReply`] |
//! | `POST /v1/plan` | [`PlanRequest`] | [`PlanReply`] |
//! | `GET /v1/cattle/{name}/logs` | | `text/plain` bytes, streamed with `follow=true` |
//! | `GET /v1/cattle/{name}/result` | | [`ResultReply`] |
//! | `GET /v1/cattle/{name}/events`, `GET /v1/events` | | [`EventList`], or server-sent events |
//! | `POST /v1/cattle/{name}/rerun` | | [`RerunReply`] |
//! | `POST /v1/cattle/{name}/retry` | | [`RetryReply`] |
//! | `POST /v1/cattle/{name}/extend` | [`ExtendRequest`] | [`ExtendReply`] |
//! | `POST /v1/reap` | [`ReapRequest`] | [`ReapReply`] |
//! | `GET /v1/pauses`, `POST /v1/pause`, `POST /v1/resume` | [`crate::pause`] | |
//! | `GET /v1/cost` | | [`CostReply`] |
//! | `GET /v1/limits` | | [`Limits`] |
//! | `GET /v1/cost` | [`CostQuery`] | [`CostReply`] |
//! | `/v1/jobs…` | [`crate::job`] | |
//!
//! With `Accept: text/event-stream` the event lists stay open: `id:` is the event's id, `event:` its
//! reason, `data:` the [`Event`] as JSON; `Last-Event-ID` resumes after it.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Timestamp,
    duration::SpecDuration,
    event::Event,
    guest::FailureCause,
    problem::Diagnostic,
    status::{CattleStatus, ControllerStatus, EndReason, Phase},
};

/// The socket on a host.
pub const DEFAULT_SOCKET: &str = "/run/clf/orchestrator.sock";
/// The environment variable that names it.
pub const SOCKET_ENV: &str = "CLF_SOCKET_PATH";
/// The socket in a project.
pub const PROJECT_SOCKET: &str = ".clawdlets/cattle/orchestrator.sock";
/// The longest spec file, on disk and in a `PUT`.
pub const MAX_SPEC_BYTES: usize = 256 * 1024;

/// What a `PUT` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// There was none of this name.
    Created,
    /// Changed in place; the run goes on.
    Configured,
    /// The run ends and a new one starts.
    Replaced,
    /// Nothing to do.
    Unchanged,
}

/// Query of `PUT /v1/cattle/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApplyQuery {
    /// Say what would happen, change nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Refuse (`limit-reached`) when it could not start at once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refuse_at_limit: bool,
    /// The directory it was applied from, remembered for `--prune`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply_set: Option<String>,
    /// Refuse (`name-taken`) when a cattle of this name exists already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub create_only: bool,
}

/// Reply of `PUT /v1/cattle/{name}`. The `ETag` header carries the spec's version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyReply {
    /// Its name.
    pub name: String,
    /// What happened, or with `dryRun` would.
    pub change: Change,
    /// The live run, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where it is.
    pub phase: Phase,
    /// What somebody should know: a running task ends, a TTL is already over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether nothing was changed because it was asked so.
    #[serde(default)]
    pub dry_run: bool,
}

/// Query of `GET /v1/cattle`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListQuery {
    /// Only with these labels: `key=value,key2=value2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Also runs that ended over 24 hours ago.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only what this caller applied from this directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply_set: Option<String>,
    /// At most so many; 500 unless given, at most 5,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the previous page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Reply of `GET /v1/cattle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CattleList {
    /// By name.
    pub items: Vec<CattleStatus>,
    /// `cursor` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The controller itself.
    pub controller: ControllerStatus,
    /// Files that are nobody's cattle: a name that is not allowed, a second file of one stem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// Query of long-polling reads: `waitFor=ended&timeoutSeconds=`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WaitQuery {
    /// Answer when this holds, or the time is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<WaitFor>,
    /// At most so long; 30 unless given, at most 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitFor {
    /// The guest reported in, or it is over.
    Running,
    /// The latest run is over (its server may still be going).
    Ended,
    /// The latest run's server is proved gone.
    Gone,
}

/// Query of `DELETE /v1/cattle/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DestroyQuery {
    /// Do not wait for what the guest has left to hand over: the end of its log is lost, and its
    /// result where it has not arrived.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// Reply of `DELETE /v1/cattle/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestroyReply {
    /// Its name.
    pub name: String,
    /// The run that ends, if one was live, or whose server was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// That run was over before; its server is no longer kept, or its hand-over was cut short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Its guest may hand over what is left of log and result until then at the latest; the server is
    /// deleted after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over_until: Option<Timestamp>,
    /// That run was over before; its server, which another owner has marked or which is in another
    /// project, is given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
    /// Whether anything was left to do.
    pub changed: bool,
    /// Whether the spec file was removed (only those the socket wrote are).
    pub spec_removed: bool,
    /// The spec file that stays, ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_remains: Option<String>,
}

/// Body of `POST /v1/prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PruneRequest {
    /// The directory that they were applied from.
    pub apply_set: String,
    /// What it has no longer. Others than what the caller applied from there are left alone.
    pub names: Vec<String>,
}

/// One spec that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// Its name.
    pub name: String,
    /// The live run that ends for it, unless too many would at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Reply of `POST /v1/prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneReply {
    /// In the order in which they were named.
    pub items: Vec<Pruned>,
}

/// Body of `POST /v1/plan`: plan as if these were applied too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PlanRequest {
    /// Name to spec file, YAML or JSON text, task inline.
    pub files: BTreeMap<String, String>,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// A stable word: `start`, `end`, `delete`, `adopt`, `relabel`, …
    pub verb: String,
    /// The cattle, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cattle: Option<String>,
    /// The run, where there is one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The server, where there is one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<u64>,
    /// A sentence for people.
    pub message: String,
}

/// A cattle that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWait {
    /// The cattle.
    pub cattle: String,
    /// A pending reason.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// 1 is next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
}

/// Reply of `POST /v1/plan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReply {
    /// What the next pass would do.
    pub actions: Vec<PlannedAction>,
    /// What waits.
    pub waiting: Vec<PlannedWait>,
    /// When the loop wakes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_wake: Option<Timestamp>,
    /// What is wrong with spec files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// What the servers to be created cost; absent while prices are not known, or without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn: Option<SpawnCost>,
}

/// What a plan adds to the bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpawnCost {
    /// Servers to be created.
    pub servers: u32,
    /// What an hour of all of them costs, IPv4 included, at their first candidates; decimal, net.
    pub hourly: String,
    /// The account's currency.
    pub currency: String,
}

impl fmt::Display for SpawnCost {
    /// `3 to spawn: +0.0960 EUR/h`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            servers,
            hourly,
            currency,
        } = self;
        write!(f, "{servers} to spawn: +{hourly} {currency}/h")
    }
}

/// How charges are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CostBy {
    /// Everything together.
    #[default]
    Fleet,
    /// By persona.
    Persona,
    /// By UTC day on which the hours began.
    Day,
}

/// Query of `GET /v1/cost`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CostQuery {
    /// How charges are put together.
    pub by: CostBy,
    /// Only hours that began at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only hours that began before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Charges of one group. Net, decimal, four places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostItem {
    /// The fleet, the persona, or the day as `2026-11-22`.
    pub key: String,
    /// Runs that had a server.
    pub runs: u64,
    /// Started hours, each billed whole.
    pub started_hours: u64,
    /// Servers.
    pub server: String,
    /// IPv4 addresses.
    pub ipv4: String,
    /// Both.
    pub total: String,
}

/// Reply of `GET /v1/cost`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostReply {
    /// How they were put together.
    pub by: CostBy,
    /// The account's currency; empty while it is not known.
    pub currency: String,
    /// By key.
    pub items: Vec<CostItem>,
    /// All of them; its key is `total`.
    pub total: CostItem,
    /// Runs that had a server whose price is not known: not in the sums.
    pub unpriced_runs: u64,
}

/// Query of `GET /v1/cattle/{name}/logs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogsQuery {
    /// Which run; the latest unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// From which byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Only so many bytes from the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_bytes: Option<u64>,
    /// Stay until the run is over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Reply of `GET /v1/cattle/{name}/result`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultReply {
    /// The cattle.
    pub name: String,
    /// The run.
    pub run: String,
    /// Why it is over; absent while it hands over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The runner's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, where its exit code does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// Likewise, in the words of the guest: text from a stranger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The content of `result.json`; null when the runner left none.
    pub result: Option<Value>,
}

/// Query of the event lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventsQuery {
    /// Only after this id. Without it a list has the latest, and a stream begins now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many; 1,000 unless given, at most 5,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Query of lists that are pages and nothing more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PageQuery {
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the previous page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Reply of the event lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// Oldest first.
    pub items: Vec<Event>,
}

/// Reply of `POST /v1/cattle/{name}/rerun`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RerunReply {
    /// The cattle, pending again.
    pub name: String,
    /// Where it is now.
    pub phase: Phase,
}

/// Reply of `POST /v1/cattle/{name}/retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryReply {
    /// The cattle.
    pub name: String,
    /// Where it is after it was looked at.
    pub phase: Phase,
    /// What it still waits for, as a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Body of `POST /v1/cattle/{name}/extend`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtendRequest {
    /// How much is added.
    pub by: SpecDuration,
}

/// Reply of `POST /v1/cattle/{name}/extend`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtendReply {
    /// The cattle.
    pub name: String,
    /// The run.
    pub run: String,
    /// The new expiry.
    pub expires_at: Timestamp,
    /// What somebody should know: `limits.maxTtl` cut it short.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Body of `POST /v1/reap`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReapRequest {
    /// Only say what would be deleted.
    pub dry_run: bool,
}

/// One server past its expiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reaped {
    /// Hetzner's id.
    pub server: u64,
    /// Its name.
    pub name: String,
    /// When it expired.
    pub expired_at: Timestamp,
    /// Whether the delete call was accepted; `false` with `dryRun` or an error.
    pub deleted: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reply of `POST /v1/reap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReapReply {
    /// Each server past its expiry.
    pub servers: Vec<Reaped>,
    /// Whether nothing was deleted because it was asked so.
    #[serde(default)]
    pub dry_run: bool,
    /// What is listed and could not be read, a sentence each. A server that is only odd is reaped by
    /// its expiry like any other; what has no id cannot be, and bills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// How much there is.
    pub limit: f64,
    /// How much is used.
    pub used: f64,
    /// How much is left.
    pub left: f64,
}

/// Reply of `GET /v1/limits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// By name: `maxInstances`, `liveRunsPerRequester`, `createsPerHour`, `hetznerRequests`, …
    pub limits: BTreeMap<String, Limit>,
    /// The longest TTL.
    pub max_ttl: SpecDuration,
    /// What a spec may choose.
    pub images: Vec<String>,
    /// What a spec may choose.
    pub server_types: Vec<String>,
    /// What a spec may choose.
    pub locations: Vec<String>,
}
