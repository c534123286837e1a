//! From method and path to the operation that is meant.

use crate::{error::ApiError, message::Request};

/// The resource collections that answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Image,
    ServerType,
    Location,
    Firewall,
    SshKey,
    PlacementGroup,
    PrimaryIp,
    /// Collections that exist in the API and are always empty here.
    Empty(&'static str),
}

/// `(path segment, singular)`; collections the simulator knows only as empty come last.
const COLLECTIONS: [(&str, Kind); 15] = [
    ("servers", Kind::Server),
    ("images", Kind::Image),
    ("server_types", Kind::ServerType),
    ("locations", Kind::Location),
    ("firewalls", Kind::Firewall),
    ("ssh_keys", Kind::SshKey),
    ("placement_groups", Kind::PlacementGroup),
    ("primary_ips", Kind::PrimaryIp),
    ("networks", Kind::Empty("networks")),
    ("volumes", Kind::Empty("volumes")),
    ("floating_ips", Kind::Empty("floating_ips")),
    ("isos", Kind::Empty("isos")),
    ("load_balancers", Kind::Empty("load_balancers")),
    ("load_balancer_types", Kind::Empty("load_balancer_types")),
    ("certificates", Kind::Empty("certificates")),
];

impl Kind {
    /// As in the path and in list replies.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Empty(plural) => plural,
            _ => COLLECTIONS
                .iter()
                .find(|(_, kind)| *kind == self)
                .map_or("", |(plural, _)| plural),
        }
    }

    /// As in action resources and single replies.
    pub(crate) fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }
}

/// One operation of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    List(Kind),
    Create(Kind),
    Get(Kind, u64),
    Update(Kind, u64),
    Delete(Kind, u64),
    /// `POST /servers/{id}/actions/{verb}`
    Act(Kind, u64, String),
    /// `GET /servers/{id}/actions`
    ActionsOf(Kind, u64),
    /// `GET /servers/actions`
    ActionsOfAll(Kind),
    /// `GET /actions/{id}` and its per-resource forms
    Action(u64),
    /// `GET /actions?id=`
    ActionsByIds,
    Prices,
    /// `/datacenters`
    Removed,
}

impl Route {
    /// The name that faults match on and the call log shows: `create_server`, `list_images`,
    /// `poweron_server`, `get_action`, …
    pub(crate) fn operation(&self) -> String {
        match self {
            Self::List(kind) => format!("list_{}", kind.plural()),
            Self::Create(kind) => format!("create_{}", kind.singular()),
            Self::Get(kind, _) => format!("get_{}", kind.singular()),
            Self::Update(kind, _) => format!("update_{}", kind.singular()),
            Self::Delete(kind, _) => format!("delete_{}", kind.singular()),
            Self::Act(kind, _, verb) => format!("{verb}_{}", kind.singular()),
            Self::ActionsOf(kind, _) | Self::ActionsOfAll(kind) => {
                format!("list_{}_actions", kind.singular())
            }
            Self::Action(_) => "get_action".to_owned(),
            Self::ActionsByIds => "list_actions".to_owned(),
            Self::Prices => "list_prices".to_owned(),
            Self::Removed => "list_datacenters".to_owned(),
        }
    }

    /// The server that is meant, where the path says so.
    pub(crate) fn server(&self) -> Option<u64> {
        match self {
            Self::Get(Kind::Server, id)
            | Self::Update(Kind::Server, id)
            | Self::Delete(Kind::Server, id)
            | Self::Act(Kind::Server, id, _)
            | Self::ActionsOf(Kind::Server, id) => Some(*id),
            _ => None,
        }
    }

    /// # Errors
    /// 404 for a path that is none of the API's, 405 for a method it does not have.
    pub(crate) fn of(request: &Request) -> Result<Self, ApiError> {
        let path = request
            .path
            .strip_prefix("/v1/")
            .ok_or_else(ApiError::no_route)?;
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let method = request.method.as_str();
        let get = |route: Self| match method {
            "GET" => Ok(route),
            _ => Err(ApiError::method_not_allowed()),
        };
        let id = |text: &str| text.parse::<u64>().map_err(|_| ApiError::no_route());
        match parts.as_slice() {
            ["pricing"] => return get(Self::Prices),
            ["actions"] => return get(Self::ActionsByIds),
            ["actions", action] => return get(Self::Action(id(action)?)),
            ["datacenters"] | ["datacenters", _] => return Ok(Self::Removed),
            _ => {}
        }
        let kind = COLLECTIONS
            .iter()
            .find(|(plural, _)| parts.first() == Some(plural))
            .map(|(_, kind)| *kind)
            .ok_or_else(ApiError::no_route)?;
        match &parts[1..] {
            [] => match method {
                "GET" => Ok(Self::List(kind)),
                "POST" => Ok(Self::Create(kind)),
                _ => Err(ApiError::method_not_allowed()),
            },
            ["actions"] => get(Self::ActionsOfAll(kind)),
            ["actions", action] => get(Self::Action(id(action)?)),
            [item] => {
                let item = id(item)?;
                match method {
                    "GET" => Ok(Self::Get(kind, item)),
                    "PUT" => Ok(Self::Update(kind, item)),
                    "DELETE" => Ok(Self::Delete(kind, item)),
                    _ => Err(ApiError::method_not_allowed()),
                }
            }
            [item, "actions"] => get(Self::ActionsOf(kind, id(item)?)),
            [item, "actions", verb] => {
                let item = id(item)?;
                match (method, verb.parse()) {
                    ("GET", Ok(action)) => Ok(Self::Action(action)),
                    ("POST", Err(_)) => Ok(Self::Act(kind, item, (*verb).to_owned())),
                    _ => Err(ApiError::method_not_allowed()),
                }
            }
            _ => Err(ApiError::no_route()),
        }
    }
}
