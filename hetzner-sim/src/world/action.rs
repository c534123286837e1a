//! Actions: what takes time in the API, and where its progress is asked for.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Event, World, route::Kind, time::rfc3339};
use crate::{
    error::ApiError,
    message::{Answer, Request},
    paging::{self, SortField},
};

/// What an action does when it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    CreateServer,
    StartServer,
    StopServer,
    ShutdownServer,
    RebootServer,
    ResetServer,
    RebuildServer,
    DeleteServer,
    /// Takes no part in the server's state: the command alone is recorded.
    Plain(&'static str),
    /// Also turns the server's firewall from pending to applied.
    ApplyFirewall,
}

impl Deed {
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::CreateServer => "create_server",
            Self::StartServer => "start_server",
            Self::StopServer => "stop_server",
            Self::ShutdownServer => "shutdown_server",
            Self::RebootServer => "reboot_server",
            Self::ResetServer => "reset_server",
            Self::RebuildServer => "rebuild_server",
            Self::DeleteServer => "delete_server",
            Self::ApplyFirewall => "apply_firewall",
            Self::Plain(command) => command,
        }
    }
}

/// One action. It stays readable after its server is gone.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) id: u64,
    pub(crate) deed: Deed,
    pub(crate) started: DateTime<Utc>,
    /// When it will finish; none for one that is stuck.
    pub(crate) due: Option<DateTime<Utc>>,
    pub(crate) finished: Option<DateTime<Utc>>,
    /// Once finished: what went wrong. Before: what will.
    pub(crate) error: Option<(String, String)>,
    pub(crate) resources: Vec<(u64, &'static str)>,
}

impl Action {
    pub(crate) fn resource(&self, kind: Kind) -> Option<u64> {
        self.resources
            .iter()
            .find(|(_, k)| *k == kind.singular())
            .map(|(id, _)| *id)
    }

    fn status(&self) -> &'static str {
        match (self.finished, &self.error) {
            (None, _) => "running",
            (Some(_), None) => "success",
            (Some(_), Some(_)) => "error",
        }
    }

    fn progress(&self, now: DateTime<Utc>) -> i64 {
        if self.finished.is_some() {
            return 100;
        }
        let Some(due) = self.due else { return 50 };
        let whole = (due - self.started).num_milliseconds().max(1);
        ((now - self.started).num_milliseconds() * 100 / whole).clamp(0, 99)
    }
}

/// Finished actions that are kept for asking; the API keeps them "for a time". Bounds memory in
/// a simulator that runs for weeks.
const FINISHED_KEPT: usize = 20_000;

const SORT: &[SortField<Action>] = &[
    ("id", |a, b| a.id.cmp(&b.id)),
    ("command", |a, b| a.deed.command().cmp(b.deed.command())),
    ("status", |a, b| a.status().cmp(b.status())),
    ("started", |a, b| a.started.cmp(&b.started)),
    ("finished", |a, b| a.finished.cmp(&b.finished)),
];

impl World {
    /// Starts an action that will complete at `due`, or never.
    pub(crate) fn begin(
        &mut self,
        deed: Deed,
        resources: Vec<(u64, &'static str)>,
        due: Option<DateTime<Utc>>,
    ) -> u64 {
        let id = self.next_action;
        self.next_action += 1;
        let error = self.planned_error.take();
        self.actions.insert(
            id,
            Action {
                id,
                deed,
                started: self.now,
                due,
                finished: None,
                error,
                resources,
            },
        );
        self.running_actions.insert(id);
        if let Some(due) = due {
            self.schedule(due, Event::ActionDue(id));
        }
        id
    }

    /// Marks an action finished and forgets the oldest finished ones beyond the limit.
    pub(crate) fn finish_action(&mut self, id: u64) -> Option<Action> {
        let action = self.actions.get_mut(&id)?;
        if action.finished.is_some() {
            return None;
        }
        action.finished = Some(self.now);
        self.running_actions.remove(&id);
        let action = action.clone();
        self.finished_actions.push_back(id);
        if self.finished_actions.len() > FINISHED_KEPT
            && let Some(oldest) = self.finished_actions.pop_front()
        {
            self.actions.remove(&oldest);
        }
        Some(action)
    }

    /// Ends every running action of a server that is no more.
    pub(crate) fn fail_actions_of(&mut self, server: u64) {
        let running: Vec<u64> = self
            .running_actions
            .iter()
            .filter_map(|id| self.actions.get(id))
            .filter(|action| action.resource(Kind::Server) == Some(server))
            .map(|action| action.id)
            .collect();
        for id in running {
            if let Some(action) = self.actions.get_mut(&id) {
                action.error.get_or_insert_with(|| {
                    (
                        "server_does_not_exist_anymore".to_owned(),
                        "server does not exist anymore".to_owned(),
                    )
                });
            }
            self.finish_action(id);
        }
    }

    pub(crate) fn render_action(&self, action: &Action) -> Value {
        let error = match (action.finished, &action.error) {
            (Some(_), Some((code, message))) => json!({"code": code, "message": message}),
            _ => Value::Null,
        };
        json!({
            "id": action.id,
            "command": action.deed.command(),
            "status": action.status(),
            "progress": action.progress(self.now),
            "started": self.stamp(action.started),
            "finished": action.finished.map(|at| self.stamp(at)),
            "resources": action.resources.iter()
                .map(|(id, kind)| json!({"id": id, "type": kind}))
                .collect::<Vec<_>>(),
            "error": error,
        })
    }

    pub(crate) fn action_json(&self, id: u64) -> Value {
        self.actions
            .get(&id)
            .map_or(Value::Null, |action| self.render_action(action))
    }

    pub(crate) fn get_action(&self, id: u64) -> Result<Answer, ApiError> {
        let action = self
            .actions
            .get(&id)
            .ok_or_else(|| ApiError::not_found("action", id))?;
        Ok(Answer::ok(json!({"action": self.render_action(action)})))
    }

    /// `GET /actions?id=…`: those that exist. Without an id it has not listed anything since
    /// 2025-01-30; which error it answers is not established.
    pub(crate) fn actions_by_ids(&self, request: &Request) -> Result<Answer, ApiError> {
        let ids = ids(request)?;
        if ids.is_empty() {
            return Err(ApiError::invalid("id", "missing data for required field"));
        }
        let found: Vec<Value> = ids
            .iter()
            .filter_map(|id| self.actions.get(id))
            .map(|action| self.render_action(action))
            .collect();
        Ok(Answer::ok(json!({"actions": found})))
    }

    /// The actions of one resource, or of all of a kind.
    pub(crate) fn list_actions(
        &self,
        request: &Request,
        kind: Kind,
        of: Option<u64>,
    ) -> Result<Answer, ApiError> {
        match (kind, of) {
            (Kind::Server, Some(id)) => {
                self.server(id)?;
            }
            (Kind::Firewall, Some(id)) => {
                self.firewalls.get(id)?;
            }
            _ => {}
        }
        let ids = ids(request)?;
        let wanted: Vec<&str> = request.params("status").collect();
        let found = self
            .actions
            .values()
            .filter(|a| match of {
                Some(id) => a.resources.contains(&(id, kind.singular())),
                None => a.resource(kind).is_some(),
            })
            .filter(|a| ids.is_empty() || ids.contains(&a.id))
            .filter(|a| wanted.is_empty() || wanted.contains(&a.status()))
            .collect();
        paging::list(request, "actions", found, SORT, |a| self.render_action(a))
    }

    /// A moment as the API writes it, by its own clock.
    pub(crate) fn stamp(&self, at: DateTime<Utc>) -> String {
        rfc3339(at + self.clock_offset)
    }
}

fn ids(request: &Request) -> Result<Vec<u64>, ApiError> {
    request
        .params("id")
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::invalid("id", "must be a number"))
        })
        .collect()
}
