//! What can go wrong with a call, and what it means to the caller.

use std::{sync::Arc, time::Duration};

use cattle_core::{account::AccountLimit, rate::Class};
use cattle_schemas::status::PendingReason;
use serde_json::Value;

use super::{
    redact::Redactor,
    sentences::{Circumstances, Obstacle},
    table::{Code, Disposition, Operation, Pace, disposition, gateway, knows_no_such_path},
};

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection: the call certainly had no effect.
    NotSent,
    /// No answer in time; it may have had an effect.
    Timeout,
    /// The connection broke; it may have had an effect.
    Cut,
    /// An answer longer than we read.
    TooLarge,
    /// A success that does not say what it must; what is missing.
    Unreadable(String),
    /// Refused with a code.
    Refused(Code),
    /// A status of failure without Hetzner's error body: a gateway spoke.
    Gateway,
    /// Something of our name exists that we did not make.
    NotOurs,
    /// Another ledger keeps the fleet.
    OtherLedger,
    /// Never sent: the rate limit had no room for calls of this class in time.
    NoRoom(Class),
    /// Never sent: it holds a secret, or could not be searched for one; which, or why.
    Withheld(String),
}

impl Kind {
    /// For metrics, where there is no status.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::NotSent => "not-sent",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::TooLarge => "too-large",
            Self::Unreadable(_) => "unreadable",
            Self::Refused(_) => "refused",
            Self::Gateway => "gateway",
            Self::NotOurs => "not-ours",
            Self::OtherLedger => "other-ledger",
            Self::NoRoom(_) => "no-room",
            Self::Withheld(_) => "withheld",
        }
    }
}

/// A call that failed.
#[derive(Debug)]
pub struct ApiError {
    /// What was asked.
    pub operation: Operation,
    /// About what.
    pub subject: String,
    /// How it failed.
    pub kind: Kind,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// Hetzner's sentence: redacted, escaped, at most 300 characters. May be empty.
    pub message: String,
    /// What Hetzner's support asks for.
    pub correlation_id: Option<String>,
    /// After a 429: how long to wait, spread.
    pub retry_after: Option<Duration>,
    /// After a `resource_limit_exceeded`: which limit, where Hetzner said.
    pub limit: Option<AccountLimit>,
    pub(super) circumstances: Box<Circumstances>,
}

impl ApiError {
    pub(super) fn new(operation: Operation, subject: impl Into<String>, kind: Kind) -> Self {
        Self {
            operation,
            subject: subject.into(),
            kind,
            status: None,
            message: String::new(),
            correlation_id: None,
            retry_after: None,
            limit: None,
            circumstances: Box::default(),
        }
    }

    pub(super) fn caused_by(mut self, error: reqwest::Error) -> Self {
        self.circumstances.obstacle = Obstacle::of(&error).filter(|_| self.kind == Kind::NotSent);
        // What the sentence says in full needs no chain of causes behind it. The URL says nothing
        // that operation, subject and endpoint do not.
        if self.circumstances.obstacle.is_none() {
            self.circumstances.source = Some(error.without_url());
        }
        self
    }

    pub(super) fn at(mut self, endpoint: &Arc<str>) -> Self {
        self.circumstances.endpoint = Some(endpoint.clone());
        self
    }

    /// From the body of a status of failure.
    pub(super) fn from_reply(
        operation: Operation,
        subject: String,
        status: u16,
        body: &[u8],
        redactor: &Redactor,
    ) -> Self {
        let reply: Option<Value> = serde_json::from_slice(body).ok();
        let error = reply.as_ref().and_then(|reply| reply.get("error"));
        let word = error.and_then(|error| error.get("code")?.as_str());
        let mut failed = Self::new(operation, subject, Kind::Gateway);
        failed.status = Some(status);
        let Some(word) = word else { return failed };
        let code = Code::from_word(word);
        failed.kind = Kind::Refused(code);
        let mut message = String::new();
        if code == Code::Other {
            message.push_str(word);
            message.push_str(": ");
        }
        message.push_str(
            error
                .and_then(|error| error.get("message")?.as_str())
                .unwrap_or_default(),
        );
        let told = error.and_then(|error| error.get("details"));
        if code == Code::ResourceLimitExceeded {
            failed.limit = AccountLimit::from_words(&names(told, "limits"), &message);
        }
        message.push_str(&details(told));
        failed.message = redactor.clean(&message);
        failed
    }

    /// About a reply of success that does not do.
    pub(super) fn about(
        reply: &super::transport::Reply,
        operation: Operation,
        subject: impl Into<String>,
        kind: Kind,
    ) -> Self {
        let mut error = Self::new(operation, subject, kind);
        error.status = Some(reply.status);
        error.correlation_id.clone_from(&reply.correlation_id);
        error.at(&reply.endpoint)
    }

    /// Hetzner's code, where it gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self.kind {
            Kind::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// What the controller does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match &self.kind {
            Kind::NotSent | Kind::NoRoom(_) => Disposition::Retry(Pace::Soon),
            Kind::NotOurs | Kind::OtherLedger | Kind::Withheld(_) => Disposition::Operator,
            // It says success, so the effect is there; what it was must be read again.
            Kind::Unreadable(_) | Kind::TooLarge | Kind::Timeout | Kind::Cut => {
                match self.operation {
                    Operation::CreateServer => Disposition::LookUp,
                    _ => Disposition::Retry(Pace::Soon),
                }
            }
            Kind::Gateway => gateway(self.operation, self.status.unwrap_or_default()),
            Kind::Refused(code) => disposition(
                self.operation,
                self.status.unwrap_or_default(),
                *code,
                &self.message,
            ),
        }
    }

    /// How long to wait before the same call is made again, where that makes sense at all.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        match self.disposition() {
            Disposition::Retry(pace) => Some(self.retry_after.unwrap_or_else(|| pace.wait())),
            Disposition::LookUp => Some(Pace::Soon.wait()),
            // A defect of ours is as slow to go away as what an operator must mend.
            Disposition::Operator | Disposition::Bug => Some(Pace::Slow.wait()),
            Disposition::NextCandidate(_) | Disposition::Adopt | Disposition::Done => None,
        }
    }

    /// What a failed create means for the run. Only meaningful for [`Operation::CreateServer`].
    #[must_use]
    pub fn outcome(&self) -> CreateOutcome {
        let refused = |retry_in| CreateOutcome::Refused { retry_in };
        let pending = |reason| CreateOutcome::Pending {
            reason,
            message: self.to_string(),
            retry_in: Pace::Slow.wait(),
        };
        match self.disposition() {
            Disposition::LookUp => CreateOutcome::MayExist,
            Disposition::Adopt => CreateOutcome::Uniqueness,
            Disposition::NextCandidate(cool_down) => CreateOutcome::NextCandidate { cool_down },
            Disposition::Retry(pace)
                if self.status == Some(429) || matches!(self.kind, Kind::NoRoom(_)) =>
            {
                CreateOutcome::Pending {
                    reason: PendingReason::RateLimited,
                    message: self.to_string(),
                    retry_in: self.retry_after.unwrap_or_else(|| pace.wait()),
                }
            }
            Disposition::Retry(pace) if self.kind == Kind::NotSent => CreateOutcome::Pending {
                reason: PendingReason::HetznerUnreachable,
                message: self.to_string(),
                retry_in: pace.wait(),
            },
            Disposition::Retry(pace) => refused(pace.wait()),
            Disposition::Operator if self.is_account() => pending(PendingReason::Account),
            Disposition::Operator if self.is_elsewhere() => {
                pending(PendingReason::HetznerUnreachable)
            }
            Disposition::Operator | Disposition::Bug | Disposition::Done => {
                pending(PendingReason::Config)
            }
        }
    }

    /// What a cattle waits for after this failure.
    #[must_use]
    pub fn pending_reason(&self) -> PendingReason {
        match self.outcome() {
            CreateOutcome::Pending { reason, .. } => reason,
            _ if self.is_unreachable() => PendingReason::HetznerUnreachable,
            _ => PendingReason::Backoff,
        }
    }

    /// Whether the token is what is wrong: then everything is, and the controller is degraded.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        match self.code() {
            Some(Code::Unauthorized | Code::TokenReadonly) => self.status < Some(500),
            Some(_) => self.status == Some(401),
            None => false,
        }
    }

    /// Whether it is Hetzner's account that has to be mended, and not our configuration.
    #[must_use]
    pub fn is_account(&self) -> bool {
        self.is_credentials()
            || matches!(
                self.code(),
                Some(Code::Forbidden | Code::ResourceLimitExceeded | Code::ResourceLocked)
            )
            || self.code() == Some(Code::Other) && self.status == Some(403)
    }

    /// Whether what answered is probably another web server than the API.
    pub(super) fn is_elsewhere(&self) -> bool {
        match self.kind {
            Kind::Gateway => self.status.is_some_and(|status| status < 500),
            Kind::Refused(Code::NotFound) => knows_no_such_path(self.operation),
            _ => false,
        }
    }

    /// Whether Hetzner did not answer, or not as Hetzner: says nothing about what was asked.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self.kind {
            Kind::NotSent | Kind::Timeout | Kind::Cut | Kind::TooLarge | Kind::Unreadable(_) => {
                true
            }
            Kind::Gateway => self.status.is_none_or(|status| status >= 500),
            Kind::Refused(_)
            | Kind::NotOurs
            | Kind::OtherLedger
            | Kind::NoRoom(_)
            | Kind::Withheld(_) => false,
        }
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.circumstances.source.as_ref();
        source.map(|error| error as _)
    }
}

/// What a failed create means for its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// There is certainly no server from it; the same create again after this.
    Refused {
        /// How long to wait.
        retry_in: Duration,
    },
    /// The server may exist: look by name.
    MayExist,
    /// No server here: the next pair; this one is left alone for so long.
    NextCandidate {
        /// For how long.
        cool_down: Duration,
    },
    /// A server of this name exists: adopt it if its `run` label is ours.
    Uniqueness,
    /// No server, and no better luck with another pair.
    Pending {
        /// The word for it.
        reason: PendingReason,
        /// The sentence, with the fix where there is one.
        message: String,
        /// When to try again.
        retry_in: Duration,
    },
}

/// The names of the entries of a list in `details`.
fn names(details: Option<&Value>, list: &str) -> Vec<String> {
    let entries = details.and_then(|details| details.get(list)?.as_array());
    let name = |entry: &Value| Some(entry.get("name")?.as_str()?.to_owned());
    entries.into_iter().flatten().filter_map(name).collect()
}

/// The part of `details` that tells a person what to mend.
fn details(details: Option<&Value>) -> String {
    let entries = |name: &str| {
        details
            .and_then(|details| details.get(name)?.as_array())
            .cloned()
            .unwrap_or_default()
    };
    let name = |entry: &Value| {
        entry
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let fields = entries("fields")
        .iter()
        .map(|field| {
            let messages = field
                .get("messages")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let messages: Vec<_> = messages.iter().filter_map(Value::as_str).collect();
            if messages.is_empty() {
                name(field)
            } else {
                format!("{}: {}", name(field), messages.join(" "))
            }
        })
        .collect::<Vec<_>>();
    let limits = entries("limits").iter().map(name).collect::<Vec<_>>();
    let told = [fields, limits].concat().join("; ");
    if told.is_empty() {
        told
    } else {
        format!(" [{told}]")
    }
}
