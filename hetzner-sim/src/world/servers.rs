//! Reading, changing and deleting servers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Effect, World,
    action::Deed,
    create::check_hostname,
    route::Kind,
    server::{Server, Status},
    twist::Twist,
};
use crate::{
    error::ApiError,
    labels::{self, Labels, Selector},
    message::{Answer, Request},
    paging::{self, SortField},
};

const SORT: &[SortField<Server>] = &[
    ("id", |a, b| a.id.cmp(&b.id)),
    ("name", |a, b| a.name.cmp(&b.name)),
    ("created", |a, b| a.created.cmp(&b.created)),
];

impl World {
    pub(crate) fn server(&self, id: u64) -> Result<&Server, ApiError> {
        self.servers
            .get(&id)
            .ok_or_else(|| ApiError::not_found("server", id))
    }

    pub(crate) fn server_mut(&mut self, id: u64) -> Result<&mut Server, ApiError> {
        self.servers
            .get_mut(&id)
            .ok_or_else(|| ApiError::not_found("server", id))
    }

    pub(crate) fn list_servers(&self, request: &Request) -> Result<Answer, ApiError> {
        let selector = Selector::parse(request.param("label_selector").unwrap_or(""))?;
        let name = request.param("name");
        let statuses: Vec<&str> = request.params("status").collect();
        let found = self
            .servers
            .values()
            .filter(|s| name.is_none_or(|name| s.name == name))
            .filter(|s| statuses.is_empty() || statuses.contains(&s.status.text()))
            .filter(|s| selector.matches(&s.labels))
            .collect();
        paging::list(request, "servers", found, SORT, |s| self.render_server(s))
    }

    pub(crate) fn get_server(&self, id: u64) -> Result<Answer, ApiError> {
        let server = self.server(id)?;
        Ok(Answer::ok(json!({"server": self.render_server(server)})))
    }

    /// `PUT`: needs no lock; `labels` replaces the whole map, and leaving it out changes none.
    pub(crate) fn update_server(&mut self, request: &Request, id: u64) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            name: Option<String>,
            labels: Option<Labels>,
        }
        self.server(id)?;
        let body: Body = request.parse()?;
        if let Some(name) = &body.name {
            check_hostname(name)?;
            if self.names.get(name).is_some_and(|other| *other != id) {
                return Err(ApiError::name_taken("server name is already used"));
            }
        }
        if let Some(labels) = &body.labels {
            labels::check(labels)?;
        }
        let server = self.server_mut(id)?;
        let old_name = server.name.clone();
        if let Some(labels) = body.labels {
            server.labels = labels;
        }
        if let Some(name) = body.name {
            server.name.clone_from(&name);
            self.names.remove(&old_name);
            self.names.insert(name, id);
        }
        self.firewalls_lag_behind();
        self.get_server(id)
    }

    pub(crate) fn delete_server(&mut self, id: u64, twist: Twist) -> Result<Answer, ApiError> {
        let now = self.now;
        let server = self.server_mut(id)?;
        if server.protect_delete {
            return Err(ApiError::protected("server"));
        }
        if server.locked(now) {
            return Err(ApiError::locked());
        }
        server.status = Status::Deleting;
        self.planned_error = twist.error();
        let due = twist.due(now + self.delays.delete);
        let action = self.begin(Deed::DeleteServer, vec![(id, Kind::Server.singular())], due);
        self.server_mut(id)?.locks.insert(action);
        self.effect(Effect::Destroy { server: id });
        Ok(Answer::ok(json!({"action": self.action_json(action)})))
    }

    /// Takes a server out of the world: its name is free, its addresses are released.
    pub(crate) fn remove_server(&mut self, id: u64) {
        let Some(mut server) = self.servers.remove(&id) else {
            return;
        };
        self.names.remove(&server.name);
        self.images.retain(|image| image.bound_to != Some(id));
        server.deleted = Some(self.now);
        server.locks.clear();
        server.firewalls.clear();
        self.gone.push_back(server);
        while self.gone.len() > self.gone_kept {
            if let Some(forgotten) = self.gone.pop_front() {
                self.forget_cost(&forgotten);
            }
        }
        self.fail_actions_of(id);
        self.effect(Effect::Forget { server: id });
    }

    pub(crate) fn render_state(&self, server: &Server) -> Value {
        let mut value = self.render_server(server);
        value["user_data"] = json!(server.user_data);
        value["ssh_keys"] = json!(server.ssh_keys);
        value["billed_from"] = json!(server.billed_from.map(|at| self.stamp(at)));
        value["deleted"] = json!(server.deleted.map(|at| self.stamp(at)));
        value["boots"] = json!(server.boots);
        value
    }
}
