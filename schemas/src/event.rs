//! Events: what happened to a cattle, with stable reasons and monotonic ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Stored and monotonic; `Last-Event-ID` resumes after it.
    pub id: u64,
    /// When.
    pub time: Timestamp,
    /// Which cattle; absent for the controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cattle: Option<String>,
    /// Which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A stable word.
    pub reason: EventReason,
    /// A sentence for people.
    pub message: String,
}

/// Stable words for what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventReason {
    /// A (name, spec hash) was seen for the first time, or rerun.
    Queued,
    /// It waits; the message says for what.
    Waiting,
    /// The spec stopped validating; the run is frozen.
    SpecInvalid,
    /// The spec validates again.
    SpecValid,
    /// The intent is recorded, the create call goes out.
    Creating,
    /// Hetzner accepted the create.
    Created,
    /// A server of a known run was found and taken over.
    Adopted,
    /// The create call failed; it will be tried again.
    CreateRetried,
    /// Hetzner says that it runs.
    Booting,
    /// Powered on because it was found off.
    PoweredOn,
    /// The env was handed out.
    EnvHandedOut,
    /// The guest reported in; the task begins.
    Started,
    /// The guest handed over its result.
    Reported,
    /// TTL or labels changed in place.
    Updated,
    /// Asked to stop; the guest has some seconds.
    Stopping,
    /// The run ended; the message has the end reason.
    Ended,
    /// The delete call went out.
    Deleting,
    /// The server is proved gone.
    Gone,
    /// Kept on for a look.
    Kept,
    /// A server without a run was found.
    OrphanFound,
    /// A second server carries the label of a run.
    DuplicateFound,
    /// Another owner has marked the server of a run.
    TakenOver,
    /// A server past its expiry was deleted by the reaper.
    Reaped,
    /// Something is wrong that an operator must mend.
    Alert,
    /// A second try of an ended cattle was asked for.
    Rerun,
    /// The TTL was extended.
    Extended,
    /// Starts or ends are paused; the message says why, and the way out.
    Paused,
    /// A pause is over.
    Resumed,
}

impl EventReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::SpecInvalid => "spec-invalid",
            Self::SpecValid => "spec-valid",
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::CreateRetried => "create-retried",
            Self::Booting => "booting",
            Self::PoweredOn => "powered-on",
            Self::EnvHandedOut => "env-handed-out",
            Self::Started => "started",
            Self::Reported => "reported",
            Self::Updated => "updated",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
            Self::Deleting => "deleting",
            Self::Gone => "gone",
            Self::Kept => "kept",
            Self::OrphanFound => "orphan-found",
            Self::DuplicateFound => "duplicate-found",
            Self::TakenOver => "taken-over",
            Self::Reaped => "reaped",
            Self::Alert => "alert",
            Self::Rerun => "rerun",
            Self::Extended => "extended",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
    }
}

/// An event before the store gives it its id and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Which cattle; absent for the controller's own.
    pub cattle: Option<String>,
    /// Which run.
    pub run: Option<String>,
    /// A stable word.
    pub reason: EventReason,
    /// A sentence for people.
    pub message: String,
}
