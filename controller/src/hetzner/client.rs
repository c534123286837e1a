//! What the controller asks Hetzner for, in its own words.
//!
//! Every call is one attempt: when to try again is the plan's decision, with what
//! [`ApiError::disposition`] says. Nothing here decides that a server is ours to delete: who deletes
//! reads it first and asks `cattle_core::ownership`.

use std::{collections::BTreeMap, sync::Arc};

use cattle_core::{
    account::Token,
    action::Calls,
    expiry::Lifetimes,
    labels,
    names::{FleetName, ServerId},
    observed::ObservedServer,
    rate::Class,
};
use cattle_schemas::{Timestamp, status::CallBudget};
use hcloud::models::ReplaceServerRequest;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use zeroize::Zeroize as _;

use super::{
    error::{ApiError, Kind},
    firewall,
    servers::{Created, Deleted, Listed, NewServer, Scope, hash_map, request},
    ssh_keys,
    table::{Code, Operation},
    transport::{Call, Endpoint, EndpointError, Reply, Search, Transport},
    wire::{self, ActionState, NextPage, Odd},
};
use crate::{clock::Clock, patience::Answers};

/// The most that the API gives on one page.
const PER_PAGE: usize = 50;
/// 5,000 entries: far beyond any project, and the end of a list that never ends.
const MAX_PAGES: u64 = 100;
/// What the official client sends at most.
const MAX_ACTION_IDS: usize = 25;

/// The API, as one project's token sees it. Clones share connections, what headers taught, and what
/// is remembered.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    memory: Arc<Memory>,
}

/// What rarely changes. Each is locked while it is read anew, so that a hundred starts ask once.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) firewalls: Mutex<firewall::Remembered>,
    pub(super) ssh_keys: Mutex<ssh_keys::Remembered>,
}

impl Client {
    /// A client for one project.
    ///
    /// # Errors
    /// The endpoint is not https (nor loopback), or the token cannot be sent.
    pub fn new(endpoint: &Endpoint) -> Result<Self, EndpointError> {
        Self::patient(endpoint, Answers::default(), Clock::default())
    }

    /// The same, with another patience and a clock of others, which hears every reply's date.
    ///
    /// # Errors
    /// As above.
    pub fn patient(
        endpoint: &Endpoint,
        answers: Answers,
        clock: Clock,
    ) -> Result<Self, EndpointError> {
        Ok(Self {
            transport: Transport::new(endpoint, answers, clock)?,
            memory: Arc::default(),
        })
    }

    /// The same client, but nothing is sent that this finds a secret in.
    #[must_use]
    pub fn searching(self, search: Search) -> Self {
        Self {
            transport: self.transport.searching(search),
            ..self
        }
    }

    /// A client whose calls are as important as this class, whatever they are usually for. It
    /// shares everything else with this one.
    #[must_use]
    pub fn as_class(&self, class: Class) -> Self {
        Self {
            transport: self.transport.as_class(class),
            memory: self.memory.clone(),
        }
    }

    /// What the rate limit has left; `None` before the first reply that said.
    #[must_use]
    pub fn calls(&self) -> Option<CallBudget> {
        self.transport.gate().status()
    }

    /// Calls that the rate limit refills a second.
    #[must_use]
    pub fn refill(&self) -> f64 {
        self.transport.gate().refill()
    }

    /// Creates that may be begun now; `begun` is how many were, without having come to their `POST`
    /// yet.
    #[must_use]
    pub fn creates(&self, begun: u32, now: Timestamp) -> Calls {
        self.transport.gate().creates(begun, now)
    }

    /// Hetzner's clock, as its replies tell it.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.transport.clock()
    }

    /// What the API's answers say of the token, from call to call.
    #[must_use]
    pub fn token(&self) -> watch::Receiver<Token> {
        self.transport.token()
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// All servers of a fleet. `lifetimes` give the expiry of a server whose label does not, and bound it.
    ///
    /// # Errors
    /// Any page failed: half a list is no list.
    pub async fn list_servers(
        &self,
        fleet: &FleetName,
        lifetimes: Lifetimes,
    ) -> Result<Listed, ApiError> {
        self.list_scope(&Scope::Fleet(fleet.clone()), lifetimes)
            .await
    }

    /// All servers of a scope; see [`Client::list_servers`].
    ///
    /// # Errors
    /// Any page failed.
    pub async fn list_scope(
        &self,
        scope: &Scope,
        lifetimes: Lifetimes,
    ) -> Result<Listed, ApiError> {
        let call = || {
            Call::get(Operation::ListServers, "the servers", "/servers")
                .query("label_selector", scope.selector())
                .query("sort", "id:asc")
        };
        let entries = self.pages(call, "servers").await?;
        // An entry that moved to the next page while we read is there twice.
        let mut servers = BTreeMap::new();
        let mut odd = Vec::new();
        for entry in &entries {
            let raw = wire::labels(entry);
            if labels::is_foreign(&raw) {
                continue;
            }
            match wire::server(entry, lifetimes) {
                // A selector that the API misread must not put others' servers before us.
                Ok(server) if !scope.contains(&server.labels.raw) => odd.push(Odd {
                    id: Some(server.id.0),
                    why: if wire::has_labels(entry) {
                        "the list has it, but its labels are not of this fleet".to_owned()
                    } else {
                        "its labels cannot be read".to_owned()
                    },
                    name: Some(server.name),
                }),
                Ok(server) => drop(servers.insert(server.id, server)),
                Err(entry) => odd.push(entry),
            }
        }
        Ok(Listed {
            servers: servers.into_values().collect(),
            odd,
        })
    }

    /// One server, whoever it belongs to; `None` is the proof that it is gone.
    ///
    /// # Errors
    /// The call failed, or its answer has no readable server: that proves nothing.
    pub async fn get_server(
        &self,
        id: ServerId,
        lifetimes: Lifetimes,
    ) -> Result<Option<ObservedServer>, ApiError> {
        let (operation, subject) = (Operation::GetServer, format!("server {id}"));
        let reply = match self
            .transport
            .send(Call::get(operation, &subject, format!("/servers/{id}")))
            .await
        {
            Ok(reply) => reply,
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let unreadable = |why: &str| {
            ApiError::about(
                &reply,
                operation,
                &subject,
                Kind::Unreadable(why.to_owned()),
            )
        };
        let entry = reply
            .body
            .get("server")
            .filter(|server| server.is_object())
            .ok_or_else(|| unreadable("no server in it"))?;
        let server = wire::server(entry, lifetimes).map_err(|odd| unreadable(&odd.why))?;
        if server.id != id {
            return Err(unreadable("another server in it"));
        }
        Ok(Some(server))
    }

    /// The server of exactly this name, whoever it belongs to.
    ///
    /// # Errors
    /// The call failed, or the server of this name is unreadable.
    ///
    /// # Panics
    /// The name is empty: the API would then give any server.
    pub async fn find_server(
        &self,
        name: &str,
        lifetimes: Lifetimes,
    ) -> Result<Option<ObservedServer>, ApiError> {
        assert!(
            !name.is_empty(),
            "a server is never looked for by an empty name"
        );
        let (operation, subject) = (Operation::FindServer, format!("server `{name}`"));
        let call = Call::get(operation, &subject, "/servers").query("name", name);
        let reply = self.transport.send(call).await?;
        let unreadable = |why: &str| {
            ApiError::about(
                &reply,
                operation,
                &subject,
                Kind::Unreadable(why.to_owned()),
            )
        };
        let entries = reply
            .body
            .get("servers")
            .and_then(Value::as_array)
            .ok_or_else(|| unreadable("no servers in it"))?;
        let named = |entry: &&Value| wire::string(entry, &["name"]).as_deref() == Some(name);
        let Some(entry) = entries.iter().find(named) else {
            // One whose name cannot be read may be the one that is looked for.
            return match entries
                .iter()
                .all(|entry| wire::string(entry, &["name"]).is_some())
            {
                true => Ok(None),
                false => Err(unreadable("a server without a name in it")),
            };
        };
        wire::server(entry, lifetimes)
            .map(Some)
            .map_err(|odd| unreadable(&odd.why))
    }

    /// Creates a server and does not wait for it.
    ///
    /// # Errors
    /// [`ApiError::outcome`] says what is certain.
    pub async fn create_server(
        &self,
        new: &NewServer,
        lifetimes: Lifetimes,
    ) -> Result<Created, ApiError> {
        let (operation, subject) = (Operation::CreateServer, format!("server `{}`", new.name));
        let mut body = request(new);
        let call = Call::new(operation, &subject, Method::POST, "/servers").json(&body);
        // The request models are others' and do not zero what they hold.
        body.user_data.zeroize();
        let reply = match self.transport.send(call).await {
            Ok(reply) => reply,
            Err(error) => {
                // The firewall or a key may be what is not found: read them again before the next.
                if matches!(
                    error.code(),
                    Some(Code::NotFound | Code::InvalidInput | Code::FirewallResourceNotFound)
                ) {
                    self.forget_references().await;
                }
                return Err(error);
            }
        };
        let now = self.clock().now();
        let server = reply
            .body
            .get("server")
            .and_then(|entry| wire::created_server(entry, &new.name, &new.labels, now, lifetimes))
            .ok_or_else(|| {
                ApiError::about(
                    &reply,
                    operation,
                    &subject,
                    Kind::Unreadable("no server id in it".to_owned()),
                )
            })?;
        let following = reply
            .body
            .get("next_actions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let actions = reply
            .body
            .get("action")
            .into_iter()
            .chain(following)
            .filter_map(wire::id)
            .collect();
        Ok(Created { server, actions })
    }

    pub(crate) async fn forget_references(&self) {
        self.memory.firewalls.lock().await.clear();
        *self.memory.ssh_keys.lock().await = None;
    }

    /// Deletes a server. The caller has read it just before, and asked `cattle_core::ownership`.
    ///
    /// # Errors
    /// Refused or lost; [`ApiError::disposition`] says what then.
    pub async fn delete_server(&self, id: ServerId) -> Result<Deleted, ApiError> {
        let call = Call::new(
            Operation::DeleteServer,
            format!("server {id}"),
            Method::DELETE,
            format!("/servers/{id}"),
        );
        match self.transport.send(call).await {
            Ok(reply) => Ok(Deleted::Accepted {
                action: reply.body.get("action").and_then(wire::id),
            }),
            // Accepted, though what was said about it is lost: GET will tell.
            Err(error)
                if error
                    .status
                    .is_some_and(|status| (200..300).contains(&status)) =>
            {
                Ok(Deleted::Accepted { action: None })
            }
            Err(error) if is_not_found(&error) => Ok(Deleted::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// Powers a server on. Answers with the action's id where one was given.
    ///
    /// # Errors
    /// Refused or lost.
    pub async fn power_on(&self, id: ServerId) -> Result<Option<u64>, ApiError> {
        let path = format!("/servers/{id}/actions/poweron");
        let call = Call::new(
            Operation::PowerOn,
            format!("server {id}"),
            Method::POST,
            path,
        );
        let reply = self.transport.send(call).await?;
        Ok(reply.body.get("action").and_then(wire::id))
    }

    /// Replaces all labels of a server.
    ///
    /// # Errors
    /// Refused or lost.
    pub async fn relabel(
        &self,
        id: ServerId,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        let body = ReplaceServerRequest {
            labels: Some(hash_map(labels)),
            ..ReplaceServerRequest::new()
        };
        let call = Call::new(
            Operation::Relabel,
            format!("server {id}"),
            Method::PUT,
            format!("/servers/{id}"),
        )
        .json(&body);
        self.transport.send(call).await.map(drop)
    }

    /// The actions that still exist of those asked for.
    ///
    /// # Errors
    /// Any of the calls failed.
    pub async fn actions(&self, ids: &[u64]) -> Result<Vec<ActionState>, ApiError> {
        let operation = Operation::Actions;
        let mut actions = Vec::new();
        for ids in ids.chunks(MAX_ACTION_IDS) {
            let call = ids
                .iter()
                .fold(Call::get(operation, "actions", "/actions"), |call, id| {
                    call.query("id", id.to_string())
                });
            let reply = self.transport.send(call).await?;
            let entries = reply
                .body
                .get("actions")
                .and_then(Value::as_array)
                .ok_or_else(|| {
                    ApiError::about(
                        &reply,
                        operation,
                        "actions",
                        Kind::Unreadable("no actions in it".to_owned()),
                    )
                })?;
            actions.extend(entries.iter().filter_map(wire::action));
        }
        Ok(actions)
    }

    /// All entries of a list, and Hetzner's clock at its first page.
    pub(super) async fn pages(
        &self,
        call: impl Fn() -> Call,
        key: &'static str,
    ) -> Result<Vec<Value>, ApiError> {
        let mut entries = Vec::new();
        let mut page = 1;
        loop {
            let call = call()
                .query("page", page.to_string())
                .query("per_page", PER_PAGE.to_string());
            let (operation, subject) = (call.operation, call.subject.clone());
            let mut reply = self.transport.send(call).await?;
            let unreadable = |reply: &Reply, why: &str| {
                let kind = Kind::Unreadable(why.to_owned());
                ApiError::about(reply, operation, subject.clone(), kind)
            };
            let next = wire::next_page(&reply.body);
            let Some(Value::Array(mut found)) = reply.body.get_mut(key).map(Value::take) else {
                return Err(unreadable(&reply, &format!("no `{key}` in it")));
            };
            let full = found.len() >= PER_PAGE;
            entries.append(&mut found);
            match next {
                NextPage::None => return Ok(entries),
                NextPage::Missing if !full => return Ok(entries),
                NextPage::Missing => {
                    return Err(unreadable(&reply, "it does not say whether there is more"));
                }
                NextPage::Page(next) if next <= page || next > MAX_PAGES => {
                    return Err(unreadable(&reply, "its pages do not end"));
                }
                NextPage::Page(next) => page = next,
            }
        }
    }
}

/// Hetzner's own word that there is no such thing; a gateway's 404 is none.
pub(super) fn is_not_found(error: &ApiError) -> bool {
    error.status == Some(404) && error.code() == Some(Code::NotFound)
}
