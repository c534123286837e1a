//! Placement groups (of the one kind, `spread`) and Primary IPs.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    World,
    server::{Server, Status},
    shelf::{Entry, Shelf},
};
use crate::{
    error::ApiError,
    labels::{Labels, Selector},
    message::{Answer, Request},
    paging::{self, SortField},
};

/// A `spread` group holds ten servers.
const SPREAD_MAX: usize = 10;

/// No limit is documented; a name is there to be read.
const NAME_MAX: usize = 255;

/// The one kind of group. Its members know it, not it them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread;

pub(crate) fn shelf() -> Shelf<Spread> {
    Shelf::new("placement group", NAME_MAX)
}

/// A Primary IP as far as the simulator knows any: it comes and goes with its server.
struct Address<'a> {
    id: u64,
    kind: &'static str,
    ip: String,
    server: &'a Server,
}

impl World {
    pub(crate) fn members_of(&self, group: u64) -> Vec<u64> {
        self.servers
            .values()
            .filter(|s| s.placement_group == Some(group))
            .map(|s| s.id)
            .collect()
    }

    pub(crate) fn render_placement_group(&self, group: &Entry<Spread>) -> Value {
        json!({
            "id": group.id,
            "name": group.name,
            "type": "spread",
            "labels": group.labels,
            "servers": self.members_of(group.id),
            "created": self.stamp(group.created),
        })
    }

    pub(crate) fn list_placement_groups(&self, request: &Request) -> Result<Answer, ApiError> {
        let mut found = self.placement_groups.asked_for(request)?;
        if request.param("type").is_some_and(|kind| kind != "spread") {
            found.clear();
        }
        paging::list(request, "placement_groups", found, Entry::SORT, |g| {
            self.render_placement_group(g)
        })
    }

    pub(crate) fn get_placement_group(&self, id: u64) -> Result<Answer, ApiError> {
        let group = self.placement_groups.get(id)?;
        Ok(Answer::ok(
            json!({"placement_group": self.render_placement_group(group)}),
        ))
    }

    pub(crate) fn create_placement_group(&mut self, request: &Request) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            name: String,
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            labels: Labels,
        }
        let body: Body = request.parse()?;
        self.placement_groups.check(&body.name, &body.labels)?;
        if body.kind != "spread" {
            return Err(ApiError::invalid("type", "must be 'spread'"));
        }
        let id = self.next_small_id();
        self.placement_groups.put(Entry {
            id,
            name: body.name,
            labels: body.labels,
            created: self.now,
            is: Spread,
        });
        let group = self.get_placement_group(id)?;
        Ok(Answer::created(json!({
            "placement_group": group.value()["placement_group"],
            "action": null,
        })))
    }

    pub(crate) fn update_placement_group(
        &mut self,
        request: &Request,
        id: u64,
    ) -> Result<Answer, ApiError> {
        self.placement_groups.update(request, id)?;
        self.get_placement_group(id)
    }

    pub(crate) fn delete_placement_group(&mut self, id: u64) -> Result<Answer, ApiError> {
        self.placement_groups.remove(id)?;
        for server in self.servers.values_mut() {
            server.placement_group = server.placement_group.filter(|group| *group != id);
        }
        Ok(Answer::empty())
    }

    /// `add_to_placement_group`: only of a server that is off.
    pub(crate) fn join_group(&mut self, request: &Request, id: u64) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            placement_group: u64,
        }
        let body: Body = request.parse()?;
        self.check_group(body.placement_group)?;
        let server = self.server_mut(id)?;
        if server.status != Status::Off {
            return Err(ApiError::not_stopped());
        }
        server.placement_group = Some(body.placement_group);
        self.plain(id, "add_to_placement_group", json!({}))
    }

    /// Whether the group is there and has room.
    pub(crate) fn check_group(&self, group: u64) -> Result<(), ApiError> {
        self.placement_groups.get(group)?;
        if self.members_of(group).len() >= SPREAD_MAX {
            // The status of this code is not documented; 412 is that of its siblings.
            return Err(ApiError::new(
                412,
                "placement_error",
                "error during placement",
            ));
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<Address<'_>> {
        let mut all = Vec::new();
        for server in self.servers.values() {
            if let Some((id, ip)) = server.ipv4 {
                let ip = ip.to_string();
                all.push(Address {
                    id,
                    kind: "ipv4",
                    ip,
                    server,
                });
            }
            if let Some((id, ip)) = &server.ipv6 {
                all.push(Address {
                    id: *id,
                    kind: "ipv6",
                    ip: ip.clone(),
                    server,
                });
            }
        }
        all
    }

    fn render_address(&self, address: &Address<'_>) -> Value {
        json!({
            "id": address.id,
            "name": format!("primary_ip-{}", address.id),
            "type": address.kind,
            "ip": address.ip,
            "assignee_id": address.server.id,
            "assignee_type": "server",
            "auto_delete": true,
            "blocked": false,
            "dns_ptr": [],
            "labels": {},
            "protection": {"delete": false},
            "location": super::offers::render_location(address.server.location),
            "created": self.stamp(address.server.created),
        })
    }

    pub(crate) fn list_primary_ips(&self, request: &Request) -> Result<Answer, ApiError> {
        let selector = Selector::parse(request.param("label_selector").unwrap_or(""))?;
        let all = self.addresses();
        let found = all
            .iter()
            .filter(|a| request.param("ip").is_none_or(|ip| a.ip == ip))
            .filter(|a| {
                let name = format!("primary_ip-{}", a.id);
                request.param("name").is_none_or(|wanted| wanted == name)
            })
            .filter(|_| selector.matches(&Labels::new()))
            .collect();
        let fields: &[SortField<Address<'_>>] = &[
            ("id", |a, b| a.id.cmp(&b.id)),
            ("created", |a, b| a.server.created.cmp(&b.server.created)),
        ];
        paging::list(request, "primary_ips", found, fields, |a| {
            self.render_address(a)
        })
    }

    pub(crate) fn get_primary_ip(&self, id: u64) -> Result<Answer, ApiError> {
        self.addresses()
            .iter()
            .find(|a| a.id == id)
            .map(|a| Answer::ok(json!({"primary_ip": self.render_address(a)})))
            .ok_or_else(|| ApiError::not_found("primary IP", id))
    }
}
