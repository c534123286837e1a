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
    ($($variant:ident = $word:literal $statuses:tt,)*) => {
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

            /// The statuses it is documented or was seen with; empty where nobody says.
            #[must_use]
            pub fn statuses(self) -> &'static [u16] {
                match self {
                    $(Self::$variant => &$statuses,)*
                    Self::Other => &[],
                }
            }
        }
    };
}

codes! {
    JsonError = "json_error" [400],
    Unauthorized = "unauthorized" [401],
    // 403 in older material.
    TokenReadonly = "token_readonly" [401, 403],
    Forbidden = "forbidden" [403],
    Maintenance = "maintenance" [403],
    ResourceLimitExceeded = "resource_limit_exceeded" [403],
    NotFound = "not_found" [404],
    MethodNotAllowed = "method_not_allowed" [405],
    UniquenessError = "uniqueness_error" [409],
    Conflict = "conflict" [409],
    DeprecatedApiEndpoint = "deprecated_api_endpoint" [410],
    ResourceUnavailable = "resource_unavailable" [412],
    InvalidInput = "invalid_input" [422],
    ServiceError = "service_error" [422],
    UnsupportedError = "unsupported_error" [422],
    Locked = "locked" [423],
    Protected = "protected" [423],
    RateLimitExceeded = "rate_limit_exceeded" [429],
    ServerError = "server_error" [500],
    BadGateway = "bad_gateway" [502],
    Unavailable = "unavailable" [503],
    Timeout = "timeout" [504],
    UnknownError = "unknown_error" [],
    RobotUnavailable = "robot_unavailable" [],
    ResourceLocked = "resource_locked" [],
    PlacementError = "placement_error" [],
    PrimaryIpAssigned = "primary_ip_assigned" [],
    PrimaryIpDatacenterMismatch = "primary_ip_datacenter_mismatch" [],
    PrimaryIpVersionMismatch = "primary_ip_version_mismatch" [],
    InvalidServerType = "invalid_server_type" [],
    ServerNotStopped = "server_not_stopped" [422],
    ServerAlreadyAttached = "server_already_attached" [422],
    IpNotAvailable = "ip_not_available" [422],
    NoSubnetAvailable = "no_subnet_available" [422],
    NetworksOverlap = "networks_overlap" [422],
    ServerAlreadyAdded = "server_already_added" [422],
    IncompatibleNetworkType = "incompatible_network_type" [422],
    FirewallResourceNotFound = "firewall_resource_not_found" [404, 422],
    FirewallAlreadyApplied = "firewall_already_applied" [422],
    PrivateNetOnlyServer = "private_net_only_server" [422],
    FirewallManagedByLabelSelector = "firewall_managed_by_label_selector" [422],
    ResourceInUse = "resource_in_use" [422],
    MustBeUnassigned = "must_be_unassigned" [422],
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

/// The table: every code, in the order of the API's documentation, and what it leads to. Rendered,
/// with everything that has no code, in `docs/hetzner-errors.md`.
#[must_use]
pub fn disposition(operation: Operation, status: u16, code: Code, message: &str) -> Disposition {
    use Disposition::{Adopt, Bug, Done, LookUp, NextCandidate, Operator, Retry};
    use Pace::{Locked, Slow, Soon};
    let create = operation == Operation::CreateServer;
    let delete = operation == Operation::DeleteServer;
    if status >= 500 && is_refusal(code) {
        // A refusal on a status that says that they failed: one of the two is wrong, and nobody
        // knows what was done.
        return gateway(operation, status);
    }
    match code {
        Code::JsonError => Bug,
        Code::Unauthorized => Operator,
        Code::TokenReadonly => Operator,
        // On create also the face of Hetzner's restriction of new customers.
        Code::Forbidden => Operator,
        Code::Maintenance => Retry(Slow),
        Code::ResourceLimitExceeded => Operator,
        // The code of a thing that is gone on another status is no proof of it.
        Code::NotFound if status != 404 => gateway(operation, status),
        // The server is gone: nothing to delete, to label or to power on.
        Code::NotFound if delete => Done,
        Code::NotFound if on_server(operation) => Done,
        // A firewall or key that was deleted under us, or an image that is gone.
        Code::NotFound if create => Operator,
        // There is always a list, if only an empty one: what answers knows other paths.
        Code::NotFound if knows_no_such_path(operation) => Operator,
        // The firewall was deleted under us: the next look finds or makes another.
        Code::NotFound => Retry(Soon),
        Code::MethodNotAllowed => Bug,
        Code::UniquenessError if makes(operation) => Adopt,
        Code::UniquenessError => Bug,
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
        Code::RobotUnavailable if create => LookUp,
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
        // A firewall is only ever named in the create.
        Code::ServerAlreadyAdded => Bug,
        Code::IncompatibleNetworkType => Bug,
        // It was deleted meanwhile: it is read again before the next create.
        Code::FirewallResourceNotFound if create => Operator,
        Code::FirewallResourceNotFound => Bug,
        Code::FirewallAlreadyApplied => Bug,
        Code::PrivateNetOnlyServer => Bug,
        Code::FirewallManagedByLabelSelector => Bug,
        Code::ResourceInUse => Retry(Locked),
        Code::MustBeUnassigned => Retry(Locked),
        Code::Other => gateway(operation, status),
    }
}

/// Whether the code says that nothing was done, and not that they failed.
fn is_refusal(code: Code) -> bool {
    !matches!(
        code,
        Code::ServiceError
            | Code::RateLimitExceeded
            | Code::ServerError
            | Code::BadGateway
            | Code::Unavailable
            | Code::Timeout
            | Code::UnknownError
            | Code::RobotUnavailable
            | Code::Other
    )
}

/// Whether the call is about one server that is there, or was.
fn on_server(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::GetServer | Operation::PowerOn | Operation::Relabel
    )
}

/// Whether the call makes something that has a name.
fn makes(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::CreateServer | Operation::CreateFirewall | Operation::CreateSshKey
    )
}

/// Whether a call that is `not_found` went to a path that is always there, so that what answers is
/// not the API, or not at its base.
pub(super) fn knows_no_such_path(operation: Operation) -> bool {
    match operation {
        Operation::ListServers
        | Operation::FindServer
        | Operation::FindFirewall
        | Operation::CreateFirewall
        | Operation::ListSshKeys
        | Operation::CreateSshKey
        | Operation::ListServerTypes
        | Operation::Prices
        | Operation::ListImages => true,
        Operation::GetServer
        | Operation::GetImage
        | Operation::Actions
        | Operation::CreateServer
        | Operation::DeleteServer
        | Operation::PowerOn
        | Operation::Relabel
        | Operation::RepairFirewall
        | Operation::RelabelFirewall => false,
    }
}

/// What a status alone says: the body was a gateway's, or its code is new.
pub(super) fn gateway(operation: Operation, status: u16) -> Disposition {
    match (operation, status) {
        (_, 401) => Disposition::Operator,
        (_, 429) => Disposition::Retry(Pace::Soon),
        (Operation::CreateServer, 408 | 500..) => Disposition::LookUp,
        (_, 408 | 423 | 500..) => Disposition::Retry(Pace::Locked),
        // Whatever the word for it: not here, not now.
        (Operation::CreateServer, 412) => Disposition::NextCandidate(NO_STOCK),
        // A redirect or a page of a captive portal: whatever answers is not the API.
        (Operation::CreateServer, ..=399) => Disposition::LookUp,
        (_, ..=399) => Disposition::Retry(Pace::Slow),
        // The proof that a server is gone is Hetzner's `not_found`, not anybody's 404.
        (Operation::DeleteServer, 404) => Disposition::Retry(Pace::Locked),
        (operation, 404) if on_server(operation) => Disposition::Retry(Pace::Locked),
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
