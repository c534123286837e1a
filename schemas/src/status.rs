//! What the controller says about a cattle: phases, conditions, runs.
//!
//! The words here are the same in the CLI, in events and in metrics.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, duration::SpecDuration, guest::FailureCause, problem::Diagnostic};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $type { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $type {
            /// All of them, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(
    /// Where a cattle or a run is in its life.
    Phase {
        /// Waits to start; `reason` says for what.
        Pending = "Pending",
        /// The create call is under way, or Hetzner has not started the server yet.
        Provisioning = "Provisioning",
        /// Hetzner says running; the guest has not reported in.
        Booting = "Booting",
        /// The guest has reported in.
        Running = "Running",
        /// Over, and its server not yet proved gone (or kept for a look).
        Finishing = "Finishing",
        /// Ended as `completed`.
        Succeeded = "Succeeded",
        /// Ended because somebody wanted it to.
        Canceled = "Canceled",
        /// Every other end.
        Failed = "Failed",
    }
);

words!(
    /// Why a run is over.
    EndReason {
        /// The task succeeded.
        Completed = "completed",
        /// The task failed.
        TaskFailed = "task-failed",
        /// Its time was up.
        TtlExpired = "ttl-expired",
        /// The guest did not report in before the boot deadline.
        BootTimeout = "boot-timeout",
        /// The guest fell silent, or powered off without a result.
        GuestLost = "guest-lost",
        /// Its spec was removed.
        SpecRemoved = "spec-removed",
        /// Its spec asks for something else now.
        SpecChanged = "spec-changed",
        /// Somebody asked for its end.
        Destroyed = "destroyed",
        /// The server vanished without our doing.
        DeletedExternally = "deleted-externally",
        /// No server could be made.
        CreateFailed = "create-failed",
        /// Still pending after `startWithin`.
        NotStarted = "not-started",
        /// Two nodes claimed the run.
        TokenContested = "token-contested",
    }
);

impl EndReason {
    /// The phase of a run that ended so.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::Completed => Phase::Succeeded,
            Self::Destroyed | Self::SpecRemoved | Self::SpecChanged => Phase::Canceled,
            Self::TaskFailed
            | Self::TtlExpired
            | Self::BootTimeout
            | Self::GuestLost
            | Self::DeletedExternally
            | Self::CreateFailed
            | Self::NotStarted
            | Self::TokenContested => Phase::Failed,
        }
    }
}

words!(
    /// What a pending cattle waits for.
    PendingReason {
        /// Just seen; the next pass starts it.
        Queued = "queued",
        /// `maxInstances` servers exist.
        MaxInstances = "max-instances",
        /// Its requester has as many live runs as allowed.
        RequesterLimit = "requester-limit",
        /// `createsPerHour` is used up.
        CreatesPerHour = "creates-per-hour",
        /// The budget is used up.
        Budget = "budget",
        /// No candidate has stock.
        OutOfStock = "out-of-stock",
        /// Hetzner's rate limit.
        RateLimited = "rate-limited",
        /// Hetzner's account does not allow it: its token, its quota, a restriction.
        Account = "account",
        /// Nothing is started until `resume`, or cattle are disabled; the message says which.
        StartsPaused = "starts-paused",
        /// Something in the configuration must be mended; the message says what.
        Config = "config",
        /// The spec does not validate.
        SpecInvalid = "spec-invalid",
        /// A run failed before its task began; the next is due later.
        Backoff = "backoff",
        /// The previous run's server is not gone yet.
        PreviousRun = "previous-run",
        /// `unprovenImage` servers exist of an image that no guest has reported from yet.
        UnprovenImage = "unproven-image",
        /// Hetzner's clock and this machine's do not agree, so nobody knows what time it is.
        ClockSkew = "clock-skew",
        /// Hetzner does not answer.
        HetznerUnreachable = "hetzner-unreachable",
    }
);

words!(
    /// Why a pause holds: what `resume --reason` names.
    PauseReason {
        /// An operator asked for it.
        Paused = "paused",
        /// The ledger is not the one that this fleet had.
        Ledger = "ledger",
        /// Another controller keeps the same fleet.
        SecondController = "second-controller",
        /// Servers of an image do not boot.
        Breaker = "breaker",
        /// Too many runs of one source would end at once because of their specs.
        Deletes = "deletes",
    }
);

words!(
    /// What a condition is about.
    ConditionType {
        /// The spec parses and validates.
        SpecValid = "SpecValid",
        /// The live run differs from what the spec would start now.
        Drifted = "Drifted",
        /// The server is kept on after its task.
        Kept = "Kept",
        /// No live spec or known run stands behind this server.
        Orphan = "Orphan",
        /// A second server with the label of a run that has its own; on the run's cattle, and on it.
        Duplicate = "Duplicate",
        /// Another owner has marked its server, which is left alone.
        TakenOver = "TakenOver",
        /// Controller: nothing is started.
        StartsPaused = "StartsPaused",
        /// Controller: nothing is ended because of spec files.
        EndsPaused = "EndsPaused",
        /// Its image was looked for: `missing`, `ambiguous` or `unread` when it was not found.
        ImageResolved = "ImageResolved",
        /// Everything that Hetzner lists can be read; also of one server.
        ServersReadable = "ServersReadable",
        /// Controller: the API answers.
        HetznerReachable = "HetznerReachable",
        /// Controller: clocks do not agree; the reason is `hetzner`, `unsettled` or `own-clock`.
        ClockSkew = "ClockSkew",
        /// Controller: the token may read and write.
        TokenAccepted = "TokenAccepted",
        /// Controller: the token opens the project in which the fleet lives.
        ProjectIsOurs = "ProjectIsOurs",
        /// Controller: its ledger can be written; nothing new is taken or started while not.
        LedgerWritable = "LedgerWritable",
        /// Controller: the fleet's configuration was read.
        FleetConfigValid = "FleetConfigValid",
        /// Controller: a spec directory can be read.
        SpecsReadable = "SpecsReadable",
    }
);

/// One condition, as Kubernetes has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// A stable word for why.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` last changed, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// The server of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Hetzner's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Hetzner's word, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Server type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_type: Option<String>,
    /// Location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Public IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its ULID.
    pub run: String,
    /// Where it is.
    pub phase: Phase,
    /// Why it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// A sentence that explains the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `POST /servers` calls made for it.
    pub attempt: u32,
    /// Its server, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerStatus>,
    /// When the intent was recorded.
    pub created_at: Timestamp,
    /// When Hetzner was first seen to run the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<Timestamp>,
    /// When the guest first reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The guest's last sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When its server was proved gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Timestamp>,
    /// When it is deleted whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Over, and until then at the latest its guest may hand over what is left of log and result; its
    /// server is deleted after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over_until: Option<Timestamp>,
    /// The runner's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why the task failed, where its exit code does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// Its log, once something is known of its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogStatus>,
    /// Its cost so far: started hours times the hourly price, IPv4 included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// Whether the log of a run is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStatus {
    /// Bytes that the task wrote, as its guest says, up to what is kept of a log; absent where its
    /// guest never said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// Bytes that had arrived when nothing more was taken from the guest; absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
}

impl LogStatus {
    /// Whether it is known that a part never arrived.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.stored
            .zip(self.written)
            .is_some_and(|(stored, written)| stored < written)
    }
}

/// Money, net.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Decimal, four places: server and IPv4 address together.
    pub amount: String,
    /// The server's share.
    pub server: String,
    /// The IPv4 address's share.
    pub ipv4: String,
    /// What each started hour of both costs.
    pub hourly: String,
    /// The account's currency.
    pub currency: String,
    /// Started hours, each billed whole.
    pub started_hours: u64,
}

/// What the spec asks for, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpecSummary {
    /// Persona.
    pub persona: String,
    /// Task id.
    pub task_id: String,
    /// The model that will be, or is, used.
    pub model: String,
    /// Time to live.
    pub ttl: SpecDuration,
    /// What makes it another task when it changes.
    pub spec_hash: String,
}

/// Where a spec comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpecOrigin {
    /// The file.
    pub path: String,
    /// `operator`, `uid:<n>` or `dir:<path>`.
    pub requester: String,
}

/// One cattle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CattleStatus {
    /// Its name.
    pub name: String,
    /// Where its latest run is, or `Pending`.
    pub phase: Phase,
    /// With `Pending`: what it waits for. Otherwise the end reason, if ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence for people: why it waits, or why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// With `Pending`: 1 is next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// Conditions that deserve a look; `SpecValid` while there is a spec or a live run.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Its latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    /// Earlier runs, newest first; only in the answer for one cattle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_runs: Vec<RunStatus>,
    /// What the spec asks for; absent when it does not parse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<SpecSummary>,
    /// Where the spec is; absent when there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SpecOrigin>,
    /// What is wrong with the spec file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// The spec's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Since when it waits, with `Pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
}

/// The controller itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// The fleet it keeps.
    pub fleet: String,
    /// Its version.
    pub version: String,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// When Hetzner was last listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// What Hetzner's rate limit has left; absent before its first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<CallBudget>,
}

/// Hetzner's rate limit, which all tools of a project share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallBudget {
    /// Calls an hour.
    pub limit: u32,
    /// Calls left now, what was refilled since the last answer included.
    pub remaining: u32,
    /// How many of those only deletes may use.
    pub reserve: u32,
    /// Calls that this controller made within the last hour.
    pub used_last_hour: u32,
    /// Calls that others are known to have made within the last hour.
    pub others_last_hour: u32,
}
