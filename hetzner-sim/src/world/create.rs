//! `POST /servers`: every check the API makes, then a server that is initializing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Event, World,
    action::Deed,
    route::Kind,
    server::{Attachment, Fate, Server, Status},
    twist::Twist,
};
use crate::{
    catalogue::{self, Image, ImageStatus, Location, RETIRED_TYPES, ServerType},
    error::ApiError,
    labels::{self, Labels},
    message::{Answer, Request},
};

/// "Length must be between 0 and 32768." Whether the API counts characters or bytes is not
/// established; bytes is the stricter reading.
const USER_DATA_MAX: usize = 32_768;

/// At most five firewalls on a server.
const FIREWALLS_MAX: usize = 5;

/// A reference by id or name: clients send ids as numbers and as strings.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reference {
    Id(u64),
    Name(String),
}

impl Reference {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Name(name) => name.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    name: String,
    server_type: Reference,
    image: Reference,
    location: Option<Reference>,
    datacenter: Option<Reference>,
    #[serde(default)]
    ssh_keys: Vec<Reference>,
    #[serde(default)]
    labels: Labels,
    user_data: Option<String>,
    #[serde(default)]
    firewalls: Vec<FirewallReference>,
    #[serde(default)]
    networks: Vec<u64>,
    #[serde(default)]
    volumes: Vec<u64>,
    placement_group: Option<u64>,
    #[serde(default)]
    public_net: PublicNet,
    start_after_create: Option<bool>,
}

#[derive(Deserialize)]
struct FirewallReference {
    firewall: u64,
}

#[derive(Default, Deserialize)]
struct PublicNet {
    enable_ipv4: Option<bool>,
    enable_ipv6: Option<bool>,
    ipv4: Option<u64>,
    ipv6: Option<u64>,
}

/// The order, with every reference resolved.
struct Order {
    body: Body,
    kind: &'static ServerType,
    location: &'static Location,
    image: u64,
    ssh_keys: Vec<u64>,
}

impl World {
    pub(crate) fn create_server(
        &mut self,
        request: &Request,
        twist: Twist,
    ) -> Result<Answer, ApiError> {
        let body: Body = request.parse()?;
        self.subject = Some((None, body.name.clone()));
        let order = self.check_order(body)?;
        let id = self.next_server_id();
        self.subject = Some((Some(id), order.body.name.clone()));
        let (action, next_actions) = self.start_creation(id, &order, &twist);
        // Without a key the API makes up a password, and mails it as well.
        let root_password = order
            .ssh_keys
            .is_empty()
            .then(|| format!("{:016x}", self.rng.next()));
        self.servers_at_once_max = self.servers_at_once_max.max(self.servers.len());
        self.firewalls_lag_behind();
        let server = self.servers.get(&id).map(|s| self.render_server(s));
        let next_actions: Vec<Value> = next_actions
            .into_iter()
            .map(|action| self.action_json(action))
            .collect();
        let answer = Answer::created(json!({
            "server": server,
            "action": self.action_json(action),
            "next_actions": next_actions,
            "root_password": root_password,
        }));
        match twist {
            Twist::Vanishes => self.remove_server(id),
            Twist::LosesLabels(keys) => self.lose_labels(id, keys.as_deref())?,
            _ => {}
        }
        Ok(answer)
    }

    fn check_order(&self, body: Body) -> Result<Order, ApiError> {
        check_hostname(&body.name)?;
        labels::check(&body.labels)?;
        if body
            .user_data
            .as_ref()
            .is_some_and(|d| d.len() > USER_DATA_MAX)
        {
            return Err(ApiError::invalid(
                "user_data",
                format!("Length must be between 0 and {USER_DATA_MAX}."),
            ));
        }
        if body.datacenter.is_some() {
            return Err(ApiError::invalid("datacenter", "Unknown field."));
        }
        let kind = server_type_to_order(&body.server_type)?;
        let image = self.image_to_order(&body.image, kind)?;
        let ssh_keys = self.ssh_keys_to_order(&body.ssh_keys)?;
        self.check_attachments(&body)?;
        if self.names.contains_key(&body.name) {
            return Err(ApiError::name_taken("server name is already used"));
        }
        if self.restricted {
            return Err(ApiError::forbidden());
        }
        let public = &body.public_net;
        let addresses = usize::from(public.enable_ipv4 != Some(false))
            + usize::from(public.enable_ipv6 != Some(false));
        self.check_quota(kind, addresses)?;
        let location = self.place(kind, body.location.as_ref())?;
        Ok(Order {
            kind,
            location,
            image,
            ssh_keys,
            body,
        })
    }

    fn image_to_order(&self, wanted: &Reference, kind: &ServerType) -> Result<u64, ApiError> {
        let wanted = wanted.text();
        // A name stands for one image per architecture, and the type chooses; an id is exact.
        let by_id: Option<u64> = wanted.parse().ok();
        let image = self
            .images
            .iter()
            .find(|i| match by_id {
                Some(id) => i.id == id,
                None => i.name == Some(&wanted) && i.architecture == kind.architecture(),
            })
            .ok_or_else(|| ApiError::invalid("image", "image not found"))?;
        self.check_image(image, kind)?;
        Ok(image.id)
    }

    pub(crate) fn check_image(&self, image: &Image, kind: &ServerType) -> Result<(), ApiError> {
        if image.status != ImageStatus::Available {
            return Err(ApiError::refused("image is not available"));
        }
        if image.architecture != kind.architecture() {
            return Err(ApiError::refused("image has incompatible architecture"));
        }
        if image.disk_gb > kind.disk_gb {
            return Err(ApiError::refused(
                "image disk is bigger than server type disk",
            ));
        }
        if image
            .deprecation
            .is_some_and(|(_, after)| after <= self.now)
        {
            return Err(ApiError::refused(format!(
                "image {} is deprecated",
                image.id
            )));
        }
        Ok(())
    }

    fn ssh_keys_to_order(&self, wanted: &[Reference]) -> Result<Vec<u64>, ApiError> {
        wanted
            .iter()
            .map(|key| {
                let text = key.text();
                self.ssh_keys
                    .iter()
                    .find(|k| k.name == text || text.parse() == Ok(k.id))
                    .map(|k| k.id)
                    .ok_or_else(|| ApiError::not_found("SSH key", text))
            })
            .collect()
    }

    fn check_attachments(&self, body: &Body) -> Result<(), ApiError> {
        if body.firewalls.len() > FIREWALLS_MAX {
            return Err(ApiError::invalid("firewalls", "at most 5 firewalls"));
        }
        for wanted in &body.firewalls {
            self.firewalls.get(wanted.firewall)?;
        }
        if let Some(network) = body.networks.first() {
            return Err(ApiError::not_found("network", network));
        }
        if let Some(volume) = body.volumes.first() {
            return Err(ApiError::not_found("volume", volume));
        }
        if let Some(ip) = body.public_net.ipv4.or(body.public_net.ipv6) {
            return Err(ApiError::not_found("primary IP", ip));
        }
        body.placement_group
            .map_or(Ok(()), |group| self.check_group(group))
    }

    /// The location asked for, or the first that has the type in stock.
    fn place(
        &self,
        kind: &'static ServerType,
        wanted: Option<&Reference>,
    ) -> Result<&'static Location, ApiError> {
        let Some(wanted) = wanted else {
            return kind
                .sold_in
                .iter()
                .find(|place| self.stock.supply(kind, place).check().is_ok())
                .and_then(|place| catalogue::location(place))
                .ok_or_else(|| ApiError::unavailable("error during placement"));
        };
        let location = catalogue::location(&wanted.text())
            .ok_or_else(|| ApiError::invalid("location", "location not found"))?;
        if !kind.sold_in.contains(&location.name) {
            return Err(ApiError::refused("unsupported location for server type"));
        }
        self.stock.supply(kind, location.name).check()?;
        Ok(location)
    }

    /// Records the server and starts its actions; gives the create action and those after it.
    fn start_creation(&mut self, id: u64, order: &Order, twist: &Twist) -> (u64, Vec<u64>) {
        let created_at = self.now + self.delays.create;
        let running_at = created_at + self.delays.boot;
        let fate = twist.fate();
        let stuck = fate == Fate::Stuck;
        let me = (id, Kind::Server.singular());
        let start = order.body.start_after_create.unwrap_or(true);

        self.planned_error = twist.error();
        let action = self.begin(
            Deed::CreateServer,
            vec![me, (order.image, Kind::Image.singular())],
            (!stuck).then_some(created_at),
        );
        let mut locks = BTreeSet::from([action]);
        let mut next_actions = Vec::new();
        if start {
            let due = (!stuck).then_some(running_at);
            next_actions.push(self.begin(Deed::StartServer, vec![me], due));
        }
        for wanted in &order.body.firewalls {
            let target = (wanted.firewall, Kind::Firewall.singular());
            next_actions.push(self.begin(Deed::ApplyFirewall, vec![me, target], Some(created_at)));
        }
        locks.extend(next_actions.iter().copied());
        if stuck {
            // It never boots, but its lock ends, so that it can be deleted.
            locks.clear();
        }

        let public = &order.body.public_net;
        let ipv4 = (public.enable_ipv4 != Some(false)).then(|| self.next_ipv4());
        let ipv6 = (public.enable_ipv6 != Some(false)).then(|| self.next_ipv6());
        let server = Server {
            id,
            name: order.body.name.clone(),
            status: Status::Initializing,
            fate,
            created: self.now,
            billed_from: None,
            deleted: None,
            kind: order.kind,
            location: order.location,
            image: Some(order.image),
            labels: order.body.labels.clone(),
            user_data: order.body.user_data.clone().filter(|d| !d.is_empty()),
            ssh_keys: order.ssh_keys.clone(),
            ipv4,
            ipv6,
            firewalls: order
                .body
                .firewalls
                .iter()
                .map(|f| Attachment {
                    firewall: f.firewall,
                    applied: false,
                    direct: true,
                })
                .collect(),
            placement_group: order.body.placement_group,
            start_after_create: start,
            protect_delete: false,
            protect_rebuild: false,
            rescue: false,
            backup_window: None,
            locks,
            locked_until: stuck.then_some(running_at),
            boots: 0,
        };
        self.names.insert(server.name.clone(), id);
        self.servers.insert(id, server);
        if stuck {
            self.schedule(running_at, Event::BillingStarts(id));
        }
        (action, next_actions)
    }
}

fn server_type_to_order(wanted: &Reference) -> Result<&'static ServerType, ApiError> {
    let wanted = wanted.text();
    if let Some((id, _)) = RETIRED_TYPES
        .iter()
        .find(|(id, name)| *name == wanted || wanted.parse() == Ok(*id))
    {
        return Err(ApiError::refused(format!("server type {id} is deprecated")));
    }
    catalogue::server_type(&wanted)
        .ok_or_else(|| ApiError::invalid("server_type", "server type not found"))
}

/// RFC 1123: labels of letters, digits and inner hyphens.
pub(crate) fn check_hostname(name: &str) -> Result<(), ApiError> {
    let valid = name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if valid {
        Ok(())
    } else {
        Err(ApiError::invalid("name", "is not a valid hostname"))
    }
}
