//! What labels cannot say: the record of assignments and runs.
//!
//! These are plain values that `plan` reads; the controller's store keeps them. Transitions are in
//! [`crate::lifecycle`].

use std::{collections::BTreeMap, time::Duration};

use cattle_schemas::{
    Timestamp,
    guest::{MAX_LOG_BYTES, Outcome},
    spec_file::OnFailure,
    status::{EndReason, PendingReason},
};
use serde::{Deserialize, Serialize};

use crate::{
    account::AccountLimit,
    breaker::ImageRecord,
    catalogue::ImageKind,
    charge::Charge,
    clock::Wait,
    cost::{Amount, ServerPrice},
    desired::{Authority, Placement, Requester},
    names::{CattleName, FleetName, PersonaName, RunId, ServerId, SpecHash},
    pause::Pause,
    substance::Substance,
};

/// The part of the ledger that one plan needs: every run that is not over and gone, the latest run
/// of every name, every run that a listed server's label names, and the assignment of every
/// (name, hash) that is desired, live, or not ended.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By id, so oldest first.
    pub runs: BTreeMap<RunId, Run>,
    /// What became of each (name, hash).
    pub assignments: BTreeMap<(CattleName, SpecHash), Assignment>,
    /// When each server of the last hour was asked for, for `createsPerHour`.
    pub creates_last_hour: Vec<Timestamp>,
    /// How many bytes of log are stored of each run whose hand-over is open, where that is known.
    pub logs: BTreeMap<RunId, u64>,
    /// With a `maxDaily`: what servers are billed for that were there on the present UTC day, those
    /// that are gone included. May repeat runs of above, which then are the truth.
    pub charges: Vec<Charge>,
    /// Of runs that ended within the last hour for a removed or changed spec: when, and the source that
    /// each counts for.
    pub recent_ends: Vec<(Timestamp, Requester)>,
    /// What is known of each image that servers were made of.
    pub images: BTreeMap<String, ImageRecord>,
    /// Pauses that hold, and those that ended within the last hour; oldest first.
    pub pauses: Vec<Pause>,
}

impl Ledger {
    /// Pauses that hold.
    pub fn holding(&self) -> impl Iterator<Item = &Pause> {
        self.pauses.iter().filter(|pause| pause.holds())
    }

    /// Why nothing at all may start.
    #[must_use]
    pub fn starts_paused(&self) -> Option<&Pause> {
        self.holding()
            .find(|pause| pause.starts && pause.is_whole())
    }

    /// Why nothing at all may end for its spec.
    #[must_use]
    pub fn ends_paused(&self) -> Option<&Pause> {
        self.holding().find(|pause| pause.ends && pause.is_whole())
    }
}

/// One (name, spec hash) the ledger has seen: the thing that is done at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// When it was first seen, or last rerun: its place in the queue.
    pub queued_at: Timestamp,
    /// Who asked.
    pub requester: Requester,
    /// Set when it is spent: nothing starts for it until `rerun`. Stays for good.
    pub ended: Option<AssignmentEnd>,
    /// Runs since `queued_at` that ended before their env was handed out.
    pub failed_starts: u32,
    /// Not before this is over, after a failed start.
    pub not_before: Option<Wait>,
    /// What its latest run was made of, or will be; `None` of one from before this was kept.
    #[serde(default)]
    pub substance: Option<Substance>,
}

/// Why an assignment is spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentEnd {
    /// Of its last run; `not-started` or `destroyed` without one.
    pub reason: EndReason,
    /// When.
    pub at: Timestamp,
    /// A sentence for people.
    pub message: String,
    /// The spec went away or changed before anything was done for it, so asking for it again is a
    /// first time: it is queued anew instead of staying ended.
    #[serde(default)]
    pub reopens: bool,
}

/// One attempt at a cattle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its ULID.
    pub id: RunId,
    /// Whose it is.
    pub cattle: CattleName,
    /// What it was started from, by name: see [`Assignment::substance`].
    pub hash: SpecHash,
    /// The spec, as far as the run needs it to its end.
    pub spec: RunSpec,
    /// Who asked.
    pub requester: Requester,
    /// What that source may do.
    pub authority: Authority,
    /// The spec directory it came from.
    pub root: String,
    /// The fleet that it was started in, which its servers were labelled with; `None` in records from
    /// before this was kept.
    #[serde(default)]
    pub fleet: Option<FleetName>,
    /// When the intent was recorded.
    pub created_at: Timestamp,
    /// `POST /servers` calls made or about to be made, from 1.
    pub attempt: u32,
    /// When the latest of them was about to be made, by Hetzner's clock: what the TTL counts from.
    pub posted_at: Timestamp,
    /// Not to be posted again before this is over, after a failed attempt. With a server: not to be
    /// powered on again before this, after a failed power-on. Of an ended run: not to be deleted
    /// again before this, after a failed delete.
    pub retry_at: Option<Wait>,
    /// The fate of the latest attempt.
    pub create: CreateState,
    /// An attempt before the latest may have made a server all the same: its reply was lost. Then a
    /// refusal of the latest settles nothing.
    #[serde(default)]
    pub earlier_attempt_open: bool,
    /// What Hetzner refused, or what keeps its server from running, for people.
    pub create_message: Option<String>,
    /// What a refused create waits for, as the status says it.
    #[serde(default)]
    pub create_reason: Option<PendingReason>,
    /// The limit of the account that it met, where Hetzner said which.
    #[serde(default)]
    pub create_limit: Option<AccountLimit>,
    /// Why the delete of its server failed the last time, for people.
    #[serde(default)]
    pub delete_message: Option<String>,
    /// What of its labels Hetzner is not told, and why, for people.
    #[serde(default)]
    pub label_message: Option<String>,
    /// The most that an hour of its server may cost, so that the budget holds; `None` without one.
    #[serde(default)]
    pub hourly_limit: Option<Amount>,
    /// Granted by `extend`.
    pub extension: Duration,
    /// When its server is deleted whatever happens.
    pub expires_at: Timestamp,
    /// Its server.
    pub server: Option<RunServer>,
    /// When Hetzner was first seen to run the server.
    pub booted_at: Option<Timestamp>,
    /// What was done about a server that was found off before its env was handed out.
    #[serde(default)]
    pub power_on: Option<PowerOn>,
    /// When the env was handed out: from here on the spec is used up.
    pub env_at: Option<Timestamp>,
    /// When the guest first reported: the task begins.
    pub started_at: Option<Timestamp>,
    /// The guest's last sign of life.
    pub last_seen_at: Option<Timestamp>,
    /// What the guest handed over.
    pub outcome: Option<Outcome>,
    /// When it did.
    pub outcome_at: Option<Timestamp>,
    /// How many bytes of its log were stored when the hand-over after its end was over.
    #[serde(default)]
    pub log_stored: Option<u64>,
    /// The source of specs that its end counts for: whose removed or changed spec ended it, unless
    /// somebody asked for that one alone or confirmed it.
    #[serde(default)]
    pub counts_for: Option<Requester>,
    /// Set when the run is over; never changes again.
    pub ended: Option<RunEnd>,
    /// When a call about its server last came back, other than its delete. What was listed before
    /// is old news about it; so one answer, or one failure, is not asked for again and again until
    /// the next list.
    #[serde(default)]
    pub called_at: Option<Timestamp>,
    /// When Hetzner last answered, or failed to, how far the actions of its server are.
    #[serde(default)]
    pub followed_at: Option<Timestamp>,
    /// The digest of its guest's session token, as its server's label has it.
    #[serde(default)]
    pub session: Option<String>,
    /// The ledger was put back from an older copy while it lived: what it did since is not known.
    #[serde(default)]
    pub rejoined: bool,
    /// Since when Hetzner says that its server is not there, while its guest was heard.
    #[serde(default)]
    pub missing_since: Option<Timestamp>,
    /// Another owner has marked its server, which is left alone while that is so.
    #[serde(default)]
    pub taken: Option<Taken>,
    /// Servers that carry its label beside its own, as far as they were told of.
    #[serde(default)]
    pub duplicates: Vec<ServerId>,
    /// When its server was proved gone or given up, or it was certain that there never was one.
    pub gone_at: Option<Timestamp>,
}

/// A server that another owner has marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// The label that says so.
    pub label: String,
    /// When it was seen.
    pub at: Timestamp,
}

/// What a run keeps of its spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// Who it is.
    pub persona: PersonaName,
    /// The task, complete.
    pub task: cattle_schemas::task::Task,
    /// Resolved.
    pub model: String,
    /// Whether the guest gets the GitHub token.
    pub with_github_token: bool,
    /// `false` keeps the VM until its TTL after the task.
    pub auto_shutdown: bool,
    /// What happens to the VM of a failed task. Follows the spec file.
    pub on_failure: OnFailure,
    /// Time to live. Follows the spec file.
    pub ttl: Duration,
    /// The spec's labels. Follow the spec file.
    pub labels: BTreeMap<String, String>,
    /// What it was started with.
    pub placement: Placement,
}

/// The fate of the latest `POST /servers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreateState {
    /// Recorded; the call may or may not have reached Hetzner.
    Intended,
    /// Accepted: the server has an id.
    Accepted,
    /// Refused for certain: there is no server from it.
    Refused,
}

/// The server of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunServer {
    /// Hetzner's number.
    pub id: ServerId,
    /// Its name.
    pub name: String,
    /// Public IPv4 address.
    pub ipv4: Option<String>,
    /// Server type.
    pub server_type: Option<String>,
    /// Location.
    pub location: Option<String>,
    /// When Hetzner created it; what billing counts from.
    pub created: Option<Timestamp>,
    /// What it costs, as it was known at create.
    #[serde(default)]
    pub price: Option<ServerPrice>,
    /// The image that its create named: by its number where that was known.
    #[serde(default)]
    pub made_of: Option<String>,
    /// What its image is, where that was known at create.
    #[serde(default)]
    pub image: Option<ImageKind>,
    /// The actions that its create, or a power-on, began and that are not known to be over. Empty
    /// once Hetzner was seen to run it.
    #[serde(default)]
    pub actions: Vec<u64>,
}

/// Powering on a server that was found off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerOn {
    /// Calls made or about to be made.
    pub tries: u32,
    /// When the latest of them was.
    pub at: Timestamp,
    /// Hetzner accepted it.
    pub accepted: bool,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// Why.
    pub reason: EndReason,
    /// When.
    pub at: Timestamp,
    /// A sentence for people.
    pub message: String,
    /// Keep the server on for a look until then (`onFailure: hold`).
    pub hold_until: Option<Timestamp>,
    /// Its guest may still hand over what is left of log and result, until then at the latest. Set
    /// while that is open, and of no meaning once its server is gone ([`Run::handover_until`]); the end
    /// itself cannot change any more.
    #[serde(default)]
    pub handover_until: Option<Timestamp>,
}

impl Run {
    /// Not over yet.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    /// Takes one of `maxInstances`: its server exists, may exist, or is about to. A run whose create
    /// was refused for certain takes none while it waits for its next attempt: ten specs with a
    /// mistake must not block a fleet of ten.
    #[must_use]
    pub fn holds_slot(&self) -> bool {
        self.gone_at.is_none() && !self.is_refused()
    }

    /// Its latest create was refused and it has no server. Whatever a reply said: a run whose guest
    /// has called has one.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.create == CreateState::Refused && self.server.is_none() && self.env_at.is_none()
    }

    /// Its server, or what to call it while its id is not known.
    #[must_use]
    pub fn server_in_words(&self) -> String {
        match &self.server {
            Some(server) => format!("server {} ({})", server.name, server.id),
            None => format!("server {}", self.server_name()),
        }
    }

    /// Until when its server is to be kept on, by what its guest handed over and by its spec; `None`
    /// when the server goes with the run. What the plan ends the run with, and what its guest is
    /// told, so that it does not power off what is to be looked at.
    #[must_use]
    pub fn hold_until(&self) -> Option<Timestamp> {
        let outcome = self.outcome.as_ref()?;
        match self.spec.on_failure {
            _ if !self.spec.auto_shutdown => Some(self.expires_at),
            OnFailure::Hold(hold) if !outcome.succeeded() => {
                let since = self.outcome_at.unwrap_or(self.posted_at);
                Some(self.expires_at.min(since + hold.as_std()))
            }
            _ => None,
        }
    }

    /// Whether its guest is to stay on at this moment although its task is over.
    #[must_use]
    pub fn guest_stays(&self, now: Timestamp) -> bool {
        match self.ended {
            Some(_) => self.is_kept(now),
            None => self.hold_until().is_some_and(|until| now < until),
        }
    }

    /// Whether its guest's tokens are good for anything: while it lives, then while its hand-over is
    /// open, and while its server is kept and has not been let go.
    #[must_use]
    pub fn may_speak(&self) -> bool {
        let kept = || self.gone_at.is_none() && self.kept_until().is_some();
        self.is_live() || self.handover_until().is_some() || kept()
    }

    /// Over, and its guest may still hand over, until then at the latest. Also after that moment,
    /// until it is recorded what came of it.
    #[must_use]
    pub fn handover_until(&self) -> Option<Timestamp> {
        let open = self.ended.as_ref()?.handover_until?;
        self.gone_at.is_none().then_some(open)
    }

    /// Over, and its guest is listened to at this moment for what is left of log and result.
    #[must_use]
    pub fn is_handing_over(&self, now: Timestamp) -> bool {
        self.handover_until().is_some_and(|until| now < until)
    }

    /// How long its log is by the word of its guest, as far as a log may be; `None` before that.
    #[must_use]
    pub fn log_written(&self) -> Option<u64> {
        Some(self.outcome.as_ref()?.log_bytes.min(MAX_LOG_BYTES))
    }

    /// Hetzner says that its server is not there, and its guest works on.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.is_live() && self.missing_since.is_some()
    }

    /// Over, its server kept on for a look at this moment.
    #[must_use]
    pub fn is_kept(&self, now: Timestamp) -> bool {
        self.gone_at.is_none() && self.kept_until().is_some_and(|until| now < until)
    }

    /// Until when its server is kept on after its end; never beyond its expiry.
    #[must_use]
    pub fn kept_until(&self) -> Option<Timestamp> {
        let end = self.ended.as_ref()?;
        Some(end.hold_until?.min(self.expires_at))
    }

    /// Its name at Hetzner.
    #[must_use]
    pub fn server_name(&self) -> String {
        crate::names::server_name(&self.cattle, self.id)
    }
}
