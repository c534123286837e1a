//! What the controller does about each failure: one table over every code that Hetzner documents or
//! its own clients know, so that a new code cannot be forgotten.

use std::time::Duration;

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
    ListServerTypes,
    Prices,
    ListImages,
    GetImage,
}

impl Operation {
    /// All, for documentation and tests.
    pub const ALL: [Self; 18] = [
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
        Self::ListServerTypes,
        Self::Prices,
        Self::ListImages,
        Self::GetImage,
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
            Self::ListServerTypes => "list-server-types",
            Self::Prices => "prices",
            Self::ListImages => "list-images",
            Self::GetImage => "get-image",
        }
    }

    /// For sentences: "cannot … `subject`".
    pub(super) fn phrase(self) -> &'static str {
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
            Self::ListSshKeys | Self::ListServerTypes => "list",
            Self::Prices | Self::GetImage => "read",
            Self::ListImages => "look for",
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

            pub(super) fn from_word(word: &str) -> Self {
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
pub(super) fn gateway(operation: Operation, status: u16) -> Disposition {
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
