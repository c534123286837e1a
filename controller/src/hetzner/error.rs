//! What can go wrong with a call, and the one table that says what the controller does about it.
//!
//! The table is [`disposition`]: an exhaustive match over every code that Hetzner documents or its
//! own clients know, so that a new code here cannot be forgotten there. Messages of the API are
//! other people's text: shortened, escaped, and searched for parts of our token, which one wording
//! of the rate limit's message was seen to contain.

use std::{fmt, time::Duration};

use cattle_core::untrusted;
use cattle_schemas::status::PendingReason;
use serde_json::Value;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Operation {
    ListServers,
    GetServer,
    FindServer,
    CreateServer,
    DeleteServer,
    PowerOn,
    Relabel,
    Actions,
    FindFirewall,
    CreateFirewall,
    RepairFirewall,
    RelabelFirewall,
    ListSshKeys,
    CreateSshKey,
    Prices,
}

impl Operation {
    /// All, for documentation and tests.
    pub const ALL: [Self; 15] = [
        Self::ListServers,
        Self::GetServer,
        Self::FindServer,
        Self::CreateServer,
        Self::DeleteServer,
        Self::PowerOn,
        Self::Relabel,
        Self::Actions,
        Self::FindFirewall,
        Self::CreateFirewall,
        Self::RepairFirewall,
        Self::RelabelFirewall,
        Self::ListSshKeys,
        Self::CreateSshKey,
        Self::Prices,
    ];

    /// For metrics and spans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListServers => "list-servers",
            Self::GetServer => "get-server",
            Self::FindServer => "find-server",
            Self::CreateServer => "create-server",
            Self::DeleteServer => "delete-server",
            Self::PowerOn => "power-on",
            Self::Relabel => "relabel",
            Self::Actions => "actions",
            Self::FindFirewall => "find-firewall",
            Self::CreateFirewall => "create-firewall",
            Self::RepairFirewall => "repair-firewall",
            Self::RelabelFirewall => "relabel-firewall",
            Self::ListSshKeys => "list-ssh-keys",
            Self::CreateSshKey => "create-ssh-key",
            Self::Prices => "prices",
        }
    }

    /// For sentences: "cannot … `subject`".
    fn phrase(self) -> &'static str {
        match self {
            Self::ListServers => "list",
            Self::GetServer => "read",
            Self::FindServer => "look for",
            Self::CreateServer | Self::CreateFirewall | Self::CreateSshKey => "create",
            Self::DeleteServer => "delete",
            Self::PowerOn => "power on",
            Self::Relabel | Self::RelabelFirewall => "label",
            Self::Actions => "read",
            Self::FindFirewall => "look for",
            Self::RepairFirewall => "set the rules of",
            Self::ListSshKeys => "list",
            Self::Prices => "read",
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $word:literal,)*) => {
        /// Hetzner's `error.code`, as documented or known to its own clients.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Code {
            $($variant,)*
            /// A code that did not exist when this was written.
            Other,
        }

        impl Code {
            /// All known ones.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            fn from_word(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::Other,
                }
            }

            /// Hetzner's word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

codes! {
    JsonError = "json_error",
    Unauthorized = "unauthorized",
    TokenReadonly = "token_readonly",
    Forbidden = "forbidden",
    Maintenance = "maintenance",
    ResourceLimitExceeded = "resource_limit_exceeded",
    NotFound = "not_found",
    MethodNotAllowed = "method_not_allowed",
    UniquenessError = "uniqueness_error",
    Conflict = "conflict",
    DeprecatedApiEndpoint = "deprecated_api_endpoint",
    ResourceUnavailable = "resource_unavailable",
    InvalidInput = "invalid_input",
    ServiceError = "service_error",
    UnsupportedError = "unsupported_error",
    Locked = "locked",
    Protected = "protected",
    RateLimitExceeded = "rate_limit_exceeded",
    ServerError = "server_error",
    BadGateway = "bad_gateway",
    Unavailable = "unavailable",
    Timeout = "timeout",
    UnknownError = "unknown_error",
    RobotUnavailable = "robot_unavailable",
    ResourceLocked = "resource_locked",
    PlacementError = "placement_error",
    PrimaryIpAssigned = "primary_ip_assigned",
    PrimaryIpDatacenterMismatch = "primary_ip_datacenter_mismatch",
    PrimaryIpVersionMismatch = "primary_ip_version_mismatch",
    InvalidServerType = "invalid_server_type",
    ServerNotStopped = "server_not_stopped",
    ServerAlreadyAttached = "server_already_attached",
    IpNotAvailable = "ip_not_available",
    NoSubnetAvailable = "no_subnet_available",
    NetworksOverlap = "networks_overlap",
    ServerAlreadyAdded = "server_already_added",
    IncompatibleNetworkType = "incompatible_network_type",
    FirewallResourceNotFound = "firewall_resource_not_found",
    FirewallAlreadyApplied = "firewall_already_applied",
    PrivateNetOnlyServer = "private_net_only_server",
    FirewallManagedByLabelSelector = "firewall_managed_by_label_selector",
    ResourceInUse = "resource_in_use",
    MustBeUnassigned = "must_be_unassigned",
}

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
    /// Hetzner's sentence: redacted, escaped, at most [`MAX_MESSAGE`] characters. May be empty.
    pub message: String,
    /// What Hetzner's support asks for.
    pub correlation_id: Option<String>,
    /// After a 429: how long to wait, spread.
    pub retry_after: Option<Duration>,
    source: Option<reqwest::Error>,
}

/// The longest message that is kept of what the API says.
pub const MAX_MESSAGE: usize = 300;

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
            source: None,
        }
    }

    pub(super) fn caused_by(mut self, error: reqwest::Error) -> Self {
        // The URL says nothing that operation and subject do not.
        self.source = Some(error.without_url());
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
        message.push_str(&details(error.and_then(|error| error.get("details"))));
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
        error
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
            Kind::NotSent => Disposition::Retry(Pace::Soon),
            Kind::NotOurs => Disposition::Operator,
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
            Disposition::Operator => Some(Pace::Slow.wait()),
            Disposition::NextCandidate(_)
            | Disposition::Adopt
            | Disposition::Done
            | Disposition::Bug => None,
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
            Disposition::Retry(pace) => match self.code() {
                Some(Code::RateLimitExceeded) => CreateOutcome::Pending {
                    reason: PendingReason::RateLimited,
                    message: self.to_string(),
                    retry_in: self.retry_after.unwrap_or_else(|| pace.wait()),
                },
                _ if self.kind == Kind::NotSent => CreateOutcome::Pending {
                    reason: PendingReason::HetznerUnreachable,
                    message: self.to_string(),
                    retry_in: pace.wait(),
                },
                _ => refused(pace.wait()),
            },
            Disposition::Operator | Disposition::Bug | Disposition::Done => {
                pending(PendingReason::Config)
            }
        }
    }

    /// Whether the token is what is wrong: then everything is, and the controller is degraded.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        matches!(self.code(), Some(Code::Unauthorized | Code::TokenReadonly))
            || self.status == Some(401)
    }

    /// Whether Hetzner did not answer, or not as Hetzner: says nothing about what was asked.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self.kind {
            Kind::NotSent | Kind::Timeout | Kind::Cut | Kind::TooLarge | Kind::Unreadable(_) => {
                true
            }
            Kind::Gateway => self.status.is_none_or(|status| status >= 500),
            Kind::Refused(_) | Kind::NotOurs => false,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.operation.phrase(), self.subject)?;
        match &self.kind {
            Kind::NotSent => write!(f, "no connection to Hetzner")?,
            Kind::Timeout => write!(f, "Hetzner did not answer in time")?,
            Kind::Cut => write!(f, "the connection to Hetzner broke")?,
            Kind::TooLarge => write!(f, "Hetzner's answer is too large")?,
            Kind::Unreadable(what) => write!(f, "Hetzner's answer is unreadable ({what})")?,
            Kind::Gateway => write!(f, "Hetzner answered without an explanation")?,
            Kind::NotOurs => write!(
                f,
                "one of this name exists that clawdlets did not make; rename or delete it"
            )?,
            Kind::Refused(Code::Other) => write!(f, "{}", self.message)?,
            Kind::Refused(code) if self.message.is_empty() => write!(f, "{}", code.as_str())?,
            Kind::Refused(code) => write!(f, "{} ({})", self.message, code.as_str())?,
        }
        if let Some(status) = self.status {
            write!(f, ", HTTP {status}")?;
        }
        if let Some(id) = &self.correlation_id {
            write!(f, ", correlation id {id}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// How soon the same call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It was bad luck.
    Soon,
    /// Another action holds the server; those take seconds (8.3 of the fact sheet).
    Locked,
    /// Only something outside changes it: a quota, maintenance, an account.
    Slow,
}

impl Pace {
    /// Before the next try.
    #[must_use]
    pub fn wait(self) -> Duration {
        match self {
            Self::Soon => Duration::from_secs(2),
            Self::Locked => Duration::from_secs(10),
            Self::Slow => Duration::from_secs(300),
        }
    }
}

/// What the controller does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The same call again, later.
    Retry(Pace),
    /// Create elsewhere; leave this pair alone for so long.
    NextCandidate(Duration),
    /// Ours is there already: look it up by name and take it over.
    Adopt,
    /// What was wanted is so.
    Done,
    /// It may have happened: look by name before trying again.
    LookUp,
    /// Somebody must mend something: alert, and try again slowly.
    Operator,
    /// The controller asked for something that cannot be: alert, and do not repeat it as it is.
    Bug,
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

/// No stock: comes back within hours (seen within three), so asking every ten minutes is polite.
const NO_STOCK: Duration = Duration::from_secs(600);
/// A pair that is not offered, or only withheld: nothing changes it soon.
const NOT_OFFERED: Duration = Duration::from_secs(3600);

/// The table: every code, in the order of the API's documentation, and what it leads to.
#[must_use]
pub fn disposition(operation: Operation, status: u16, code: Code, message: &str) -> Disposition {
    use Disposition::{Adopt, Bug, Done, LookUp, NextCandidate, Operator, Retry};
    use Pace::{Locked, Slow, Soon};
    let create = operation == Operation::CreateServer;
    let delete = operation == Operation::DeleteServer;
    match code {
        Code::JsonError => Bug,
        Code::Unauthorized => Operator,
        Code::TokenReadonly => Operator,
        // On create also the face of Hetzner's restriction of new customers.
        Code::Forbidden => Operator,
        Code::Maintenance => Retry(Slow),
        Code::ResourceLimitExceeded => Operator,
        // The server is gone: nothing to delete, to label or to power on.
        Code::NotFound if delete => Done,
        Code::NotFound if on_server(operation) => Done,
        // A firewall or key that was deleted under us, or an image that is gone.
        Code::NotFound if create => Operator,
        Code::NotFound => Retry(Soon),
        Code::MethodNotAllowed => Bug,
        Code::UniquenessError => Adopt,
        Code::Conflict => Retry(Soon),
        Code::DeprecatedApiEndpoint => Bug,
        Code::ResourceUnavailable if create => NextCandidate(NO_STOCK),
        Code::ResourceUnavailable => Retry(Slow),
        Code::InvalidInput if create && is_stock(message) => NextCandidate(NOT_OFFERED),
        // An image, type or location that does not exist, `user_data` that is too long.
        Code::InvalidInput if create => Operator,
        Code::InvalidInput => Bug,
        Code::ServiceError if create => LookUp,
        Code::ServiceError => Retry(Soon),
        Code::UnsupportedError if create => Operator,
        Code::UnsupportedError => Bug,
        Code::Locked => Retry(Locked),
        Code::Protected => Operator,
        Code::RateLimitExceeded => Retry(Soon),
        // After a failure of theirs nobody knows whether the server exists.
        Code::ServerError | Code::BadGateway | Code::Unavailable | Code::Timeout if create => {
            LookUp
        }
        Code::ServerError | Code::BadGateway | Code::Unavailable | Code::Timeout => Retry(Soon),
        Code::UnknownError if create => LookUp,
        Code::UnknownError => Retry(Soon),
        Code::RobotUnavailable => Retry(Soon),
        // "Contact support."
        Code::ResourceLocked => Operator,
        Code::PlacementError if create => NextCandidate(NO_STOCK),
        Code::PlacementError => Bug,
        Code::PrimaryIpAssigned => Bug,
        Code::PrimaryIpDatacenterMismatch => Bug,
        Code::PrimaryIpVersionMismatch => Bug,
        Code::InvalidServerType if create => Operator,
        Code::InvalidServerType => Bug,
        Code::ServerNotStopped => Bug,
        Code::ServerAlreadyAttached => Bug,
        Code::IpNotAvailable => Bug,
        Code::NoSubnetAvailable => Bug,
        Code::NetworksOverlap => Bug,
        Code::ServerAlreadyAdded => Done,
        Code::IncompatibleNetworkType => Bug,
        // The server to protect is not there any more.
        Code::FirewallResourceNotFound => Done,
        Code::FirewallAlreadyApplied => Done,
        Code::PrivateNetOnlyServer => Bug,
        Code::FirewallManagedByLabelSelector => Bug,
        Code::ResourceInUse => Retry(Locked),
        Code::MustBeUnassigned => Retry(Locked),
        Code::Other => gateway(operation, status),
    }
}

/// Whether the call is about one server that is there, or was.
fn on_server(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::GetServer | Operation::PowerOn | Operation::Relabel
    )
}

/// What a status alone says: the body was a gateway's, or its code is new.
fn gateway(operation: Operation, status: u16) -> Disposition {
    match (operation, status) {
        (_, 401) => Disposition::Operator,
        (_, 429) => Disposition::Retry(Pace::Soon),
        (Operation::CreateServer, 408 | 500..) => Disposition::LookUp,
        (_, 408 | 423 | 500..) => Disposition::Retry(Pace::Locked),
        // A redirect or a page of a captive portal: whatever answers is not the API.
        (Operation::CreateServer, ..=399) => Disposition::LookUp,
        (_, ..=399) => Disposition::Retry(Pace::Slow),
        // The proof that a server is gone is Hetzner's `not_found`, not anybody's 404.
        (_, 404) => Disposition::Retry(Pace::Locked),
        _ => Disposition::Operator,
    }
}

/// Whether a refused input is really a pair that is not offered (8.4 of the fact sheet): seen for
/// types that are merely withheld, while the API called them available.
fn is_stock(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "unsupported location",
        "location disabled",
        "unable to provision servers for this location",
    ]
    .iter()
    .any(|words| message.contains(words))
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

/// Takes our token, and whatever looks like one, out of other people's sentences.
pub(super) struct Redactor {
    token: Vec<char>,
}

/// Shorter parts of the token than this are words by chance.
const MIN_TOKEN_PART: usize = 6;
/// Nothing that a message needs is one run of so many letters and digits: a ULID has 26, a digest
/// or a token 32 and more.
const MAX_PLAIN_RUN: usize = 30;
/// What is looked at of a message; the rest is dropped before the search.
const MAX_SEARCHED: usize = 2_000;
const REDACTED: &str = "[redacted]";

impl Redactor {
    pub(super) fn new(token: &str) -> Self {
        Self {
            token: token.chars().collect(),
        }
    }

    /// A message, fit to be shown and kept.
    pub(super) fn clean(&self, message: &str) -> String {
        let text: Vec<char> = message.chars().take(MAX_SEARCHED).collect();
        let mut out = String::new();
        let mut at = 0;
        while at < text.len() {
            let secret = self.part_at(&text[at..]).max(opaque_at(&text, at));
            if secret > 0 {
                if !out.ends_with(REDACTED) {
                    out.push_str(REDACTED);
                }
                at += secret;
            } else {
                out.push(text[at]);
                at += 1;
            }
        }
        let escaped = untrusted::escape(out.trim());
        let mut chars = escaped.chars();
        let mut short: String = chars.by_ref().take(MAX_MESSAGE).collect();
        if chars.next().is_some() {
            short.push('…');
        }
        short
    }

    /// How many characters at the beginning are also somewhere in the token.
    fn part_at(&self, text: &[char]) -> usize {
        let longest = (0..self.token.len())
            .map(|start| {
                self.token[start..]
                    .iter()
                    .zip(text)
                    .take_while(|(a, b)| a == b)
                    .count()
            })
            .max()
            .unwrap_or(0);
        if longest >= MIN_TOKEN_PART.min(self.token.len().max(1)) {
            longest
        } else {
            0
        }
    }
}

/// The length of an overlong run of letters and digits that begins here.
fn opaque_at(text: &[char], at: usize) -> usize {
    if at > 0 && text[at - 1].is_ascii_alphanumeric() {
        return 0;
    }
    let run = text[at..]
        .iter()
        .take_while(|c| c.is_ascii_alphanumeric())
        .count();
    if run > MAX_PLAIN_RUN { run } else { 0 }
}
