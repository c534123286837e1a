//! A server and how the API shows it.

use std::{collections::BTreeSet, net::Ipv4Addr};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::World;
use crate::{
    catalogue::{Location, ServerType},
    labels::Labels,
};

/// The statuses a server can have. The API has three more that nothing here leads to; the
/// control API can set any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Initializing,
    Starting,
    Running,
    Stopping,
    Off,
    Deleting,
    Rebuilding,
    /// Whatever a test wants its client to see.
    Forced(String),
}

impl Status {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Initializing => "initializing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Off => "off",
            Self::Deleting => "deleting",
            Self::Rebuilding => "rebuilding",
            Self::Forced(text) => text,
        }
    }

    /// Whether the API has no such status.
    pub(crate) fn is_odd(&self) -> bool {
        matches!(self, Self::Forced(text) if text != "migrating" && text != "unknown")
    }
}

/// What a fault has planned for a server's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Fine,
    /// Stays `initializing` until deleted.
    Stuck,
    /// Is created, but its first start leaves it `off`.
    StaysOff,
}

/// A firewall on a server.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) firewall: u64,
    pub(crate) applied: bool,
    /// Applied by hand, which takes precedence over a selector.
    pub(crate) direct: bool,
}

/// A server, from its accepted POST until it is gone, and after that as a record.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) fate: Fate,
    pub(crate) created: DateTime<Utc>,
    /// When creation ended: billing starts here.
    pub(crate) billed_from: Option<DateTime<Utc>>,
    pub(crate) deleted: Option<DateTime<Utc>>,
    pub(crate) kind: &'static ServerType,
    pub(crate) location: &'static Location,
    pub(crate) image: Option<u64>,
    pub(crate) labels: Labels,
    pub(crate) user_data: Option<String>,
    pub(crate) ssh_keys: Vec<u64>,
    pub(crate) ipv4: Option<(u64, Ipv4Addr)>,
    pub(crate) ipv6: Option<(u64, String)>,
    pub(crate) firewalls: Vec<Attachment>,
    pub(crate) placement_group: Option<u64>,
    pub(crate) start_after_create: bool,
    pub(crate) protect_delete: bool,
    pub(crate) protect_rebuild: bool,
    pub(crate) rescue: bool,
    /// `22-02`, in hours of UTC; none without backups.
    pub(crate) backup_window: Option<&'static str>,
    /// The running actions that hold its lock.
    pub(crate) locks: BTreeSet<u64>,
    /// Until when the control API holds the lock.
    pub(crate) locked_until: Option<DateTime<Utc>>,
    /// How often something was started in it; tells a guest of an earlier boot from this one's.
    pub(crate) boots: u64,
}

impl Server {
    pub(crate) fn locked(&self, now: DateTime<Utc>) -> bool {
        !self.locks.is_empty() || self.locked_until.is_some_and(|until| until > now)
    }
}

impl World {
    /// The server object with every key the API has; null where there is nothing.
    pub(crate) fn render_server(&self, server: &Server) -> Value {
        let image = server
            .image
            .and_then(|id| self.images.iter().find(|image| image.id == id))
            .map(|image| self.render_image(image));
        let ipv4 = server.ipv4.map(|(id, ip)| {
            json!({"id": id, "ip": ip, "blocked": false,
                "dns_ptr": format!("static.{}.clients.your-server.de",
                    ip.to_string().split('.').rev().collect::<Vec<_>>().join("."))})
        });
        let ipv6 = server
            .ipv6
            .as_ref()
            .map(|(id, ip)| json!({"id": id, "ip": ip, "blocked": false, "dns_ptr": []}));
        let firewalls: Vec<Value> = server
            .firewalls
            .iter()
            .map(|a| {
                let status = if a.applied { "applied" } else { "pending" };
                json!({"id": a.firewall, "status": status})
            })
            .collect();
        let placement_group = server
            .placement_group
            .and_then(|id| self.placement_groups.get(id).ok())
            .map(|group| self.render_placement_group(group));
        json!({
            "id": server.id,
            "name": server.name,
            "status": server.status.text(),
            "created": self.stamp(server.created),
            "server_type": self.render_server_type(server.kind),
            "location": crate::world::offers::render_location(server.location),
            "image": image,
            "iso": null,
            "public_net": {
                "ipv4": ipv4,
                "ipv6": ipv6,
                "floating_ips": [],
                "firewalls": firewalls,
            },
            "private_net": [],
            "placement_group": placement_group,
            "volumes": [],
            "load_balancers": [],
            "labels": server.labels,
            "locked": server.locked(self.now),
            "rescue_enabled": server.rescue,
            "backup_window": server.backup_window,
            "protection": {"delete": server.protect_delete, "rebuild": server.protect_rebuild},
            "primary_disk_size": server.kind.disk_gb,
            "included_traffic": crate::catalogue::included_traffic(server.location.name),
            "ingoing_traffic": 0,
            "outgoing_traffic": 0,
        })
    }
}
