//! Firewalls: rules, and membership that follows labels with a delay.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Event, World,
    action::{Action, Deed},
    firewall_rules::{Rule, check_rules},
    route::Kind,
    server::Attachment,
    shelf::{Entry, Shelf},
};
use crate::{
    error::ApiError,
    labels::{Labels, Selector},
    message::{Answer, Request},
    paging,
};

/// The reference: at most this many characters.
const NAME_MAX: usize = 128;

/// What only a firewall has.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    pub(crate) rules: Vec<Rule>,
    pub(crate) selectors: Vec<Selector>,
}

#[derive(Clone, Debug, Deserialize)]
struct Resource {
    #[serde(rename = "type")]
    kind: String,
    server: Option<ServerId>,
    label_selector: Option<SelectorText>,
}

#[derive(Clone, Debug, Deserialize)]
struct ServerId {
    id: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct SelectorText {
    selector: String,
}

/// What a firewall is applied to, or taken from.
enum Target {
    Server(u64),
    Selector(Selector),
}

impl Resource {
    fn target(&self) -> Result<Target, ApiError> {
        match (self.kind.as_str(), &self.server, &self.label_selector) {
            ("server", Some(server), _) => Ok(Target::Server(server.id)),
            ("label_selector", _, Some(s)) => Selector::parse(&s.selector).map(Target::Selector),
            _ => Err(ApiError::invalid(
                "type",
                "must be 'server' or 'label_selector'",
            )),
        }
    }
}

pub(crate) fn shelf() -> Shelf<Firewall> {
    Shelf::new("firewall", NAME_MAX)
}

impl World {
    fn attached(&self, firewall: u64, direct: bool) -> impl Iterator<Item = (u64, &Labels)> {
        self.servers
            .values()
            .filter(move |server| {
                server
                    .firewalls
                    .iter()
                    .any(|a| a.firewall == firewall && a.direct == direct)
            })
            .map(|server| (server.id, &server.labels))
    }

    fn render_firewall(&self, firewall: &Entry<Firewall>) -> Value {
        let server = |id: u64| json!({"type": "server", "server": {"id": id}});
        let mut applied_to: Vec<Value> = self
            .attached(firewall.id, true)
            .map(|(id, _)| server(id))
            .collect();
        for selector in &firewall.is.selectors {
            let members: Vec<Value> = self
                .attached(firewall.id, false)
                .filter(|(_, labels)| selector.matches(labels))
                .map(|(id, _)| server(id))
                .collect();
            applied_to.push(json!({
                "type": "label_selector",
                "label_selector": {"selector": selector.text},
                "applied_to_resources": members,
            }));
        }
        json!({
            "id": firewall.id,
            "name": firewall.name,
            "labels": firewall.labels,
            "created": self.stamp(firewall.created),
            "rules": firewall.is.rules,
            "applied_to": applied_to,
        })
    }

    pub(crate) fn list_firewalls(&self, request: &Request) -> Result<Answer, ApiError> {
        let found = self.firewalls.asked_for(request)?;
        paging::list(request, "firewalls", found, Entry::SORT, |f| {
            self.render_firewall(f)
        })
    }

    pub(crate) fn get_firewall(&self, id: u64) -> Result<Answer, ApiError> {
        let firewall = self.firewalls.get(id)?;
        Ok(Answer::ok(
            json!({"firewall": self.render_firewall(firewall)}),
        ))
    }

    pub(crate) fn create_firewall(&mut self, request: &Request) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            name: String,
            #[serde(default)]
            labels: Labels,
            #[serde(default)]
            rules: Vec<Rule>,
            #[serde(default)]
            apply_to: Vec<Resource>,
        }
        let body: Body = request.parse()?;
        self.firewalls.check(&body.name, &body.labels)?;
        check_rules(&body.rules)?;
        let targets = self.targets(&body.apply_to)?;
        let id = self.next_small_id();
        let ruled = !body.rules.is_empty();
        self.firewalls.put(Entry {
            id,
            name: body.name,
            labels: body.labels,
            created: self.now,
            is: Firewall {
                rules: body.rules,
                selectors: Vec::new(),
            },
        });
        let mut actions = Vec::new();
        if ruled {
            actions.push(self.begin(
                Deed::Plain("set_firewall_rules"),
                vec![(id, Kind::Firewall.singular())],
                Some(self.now),
            ));
        }
        actions.extend(self.apply(id, targets)?);
        let firewall = self.firewalls.get(id).map(|f| self.render_firewall(f))?;
        Ok(Answer::created(json!({
            "firewall": firewall,
            "actions": self.actions_json(&actions),
        })))
    }

    pub(crate) fn update_firewall(
        &mut self,
        request: &Request,
        id: u64,
    ) -> Result<Answer, ApiError> {
        self.firewalls.update(request, id)?;
        self.get_firewall(id)
    }

    pub(crate) fn delete_firewall(&mut self, id: u64) -> Result<Answer, ApiError> {
        let firewall = self.firewalls.get(id)?;
        let used = self.attached(id, true).next().is_some() || !firewall.is.selectors.is_empty();
        if used {
            return Err(ApiError::new(
                422,
                "resource_in_use",
                "firewall is still in use",
            ));
        }
        self.firewalls.remove(id)?;
        for server in self.servers.values_mut() {
            server.firewalls.retain(|a| a.firewall != id);
        }
        Ok(Answer::empty())
    }

    pub(crate) fn act_on_firewall(
        &mut self,
        request: &Request,
        id: u64,
        verb: &str,
    ) -> Result<Answer, ApiError> {
        self.firewalls.get(id)?;
        let actions = match verb {
            "set_rules" => {
                #[derive(Deserialize)]
                struct Body {
                    rules: Vec<Rule>,
                }
                let body: Body = request.parse()?;
                check_rules(&body.rules)?;
                self.firewalls.get_mut(id)?.is.rules = body.rules;
                vec![self.begin(
                    Deed::Plain("set_firewall_rules"),
                    vec![(id, Kind::Firewall.singular())],
                    Some(self.now + self.delays.firewall / 2),
                )]
            }
            "apply_to_resources" => {
                #[derive(Deserialize)]
                struct Body {
                    apply_to: Vec<Resource>,
                }
                let body: Body = request.parse()?;
                let targets = self.targets(&body.apply_to)?;
                self.apply(id, targets)?
            }
            "remove_from_resources" => {
                #[derive(Deserialize)]
                struct Body {
                    remove_from: Vec<Resource>,
                }
                let body: Body = request.parse()?;
                self.take_away(id, &body.remove_from)?
            }
            _ => return Err(ApiError::no_route()),
        };
        Ok(Answer::created(
            json!({"actions": self.actions_json(&actions)}),
        ))
    }

    fn actions_json(&self, actions: &[u64]) -> Vec<Value> {
        actions.iter().map(|id| self.action_json(*id)).collect()
    }

    fn targets(&self, resources: &[Resource]) -> Result<Vec<Target>, ApiError> {
        resources
            .iter()
            .map(|resource| {
                let target = resource.target()?;
                match &target {
                    Target::Server(id) if !self.servers.contains_key(id) => Err(ApiError::new(
                        404,
                        "firewall_resource_not_found",
                        format!("server with ID '{id}' not found"),
                    )),
                    _ => Ok(target),
                }
            })
            .collect()
    }

    fn apply(&mut self, id: u64, targets: Vec<Target>) -> Result<Vec<u64>, ApiError> {
        let already = || {
            ApiError::new(
                422,
                "firewall_already_applied",
                "firewall was already applied to the resource",
            )
        };
        let mut actions = Vec::new();
        for target in targets {
            let mut resources = vec![(id, Kind::Firewall.singular())];
            match target {
                Target::Server(server) => {
                    let attachments = &mut self.server_mut(server)?.firewalls;
                    if attachments.iter().any(|a| a.firewall == id && a.direct) {
                        return Err(already());
                    }
                    attachments.retain(|a| a.firewall != id);
                    attachments.push(Attachment {
                        firewall: id,
                        applied: false,
                        direct: true,
                    });
                    resources.push((server, Kind::Server.singular()));
                }
                Target::Selector(selector) => {
                    let selectors = &mut self.firewalls.get_mut(id)?.is.selectors;
                    if selectors.iter().any(|s| s.text == selector.text) {
                        return Err(already());
                    }
                    selectors.push(selector);
                    self.firewalls_lag_behind();
                }
            }
            let due = Some(self.now + self.delays.firewall / 2);
            actions.push(self.begin(Deed::ApplyFirewall, resources, due));
        }
        Ok(actions)
    }

    fn take_away(&mut self, id: u64, resources: &[Resource]) -> Result<Vec<u64>, ApiError> {
        let missing = || {
            ApiError::new(
                422,
                "firewall_resource_not_found",
                "firewall is not applied to the resource",
            )
        };
        let mut actions = Vec::new();
        for resource in resources {
            let mut concerned = vec![(id, Kind::Firewall.singular())];
            match resource.target()? {
                Target::Server(server) => {
                    let attachments = &mut self.server_mut(server)?.firewalls;
                    match attachments.iter().find(|a| a.firewall == id) {
                        None => return Err(missing()),
                        Some(a) if !a.direct => {
                            return Err(ApiError::new(
                                422,
                                "firewall_managed_by_label_selector",
                                "firewall is applied by a label selector",
                            ));
                        }
                        Some(_) => attachments.retain(|a| a.firewall != id),
                    }
                    concerned.push((server, Kind::Server.singular()));
                }
                Target::Selector(selector) => {
                    let selectors = &mut self.firewalls.get_mut(id)?.is.selectors;
                    let before = selectors.len();
                    selectors.retain(|s| s.text != selector.text);
                    if selectors.len() == before {
                        return Err(missing());
                    }
                }
            }
            let due = Some(self.now + self.delays.firewall / 2);
            actions.push(self.begin(Deed::Plain("remove_firewall"), concerned, due));
        }
        self.firewalls_lag_behind();
        Ok(actions)
    }

    /// Something changed that selectors look at: membership follows later.
    pub(crate) fn firewalls_lag_behind(&mut self) {
        if self.firewalls.iter().any(|f| !f.is.selectors.is_empty())
            || self
                .servers
                .values()
                .any(|s| s.firewalls.iter().any(|a| !a.direct))
        {
            let half = self.delays.firewall / 2;
            self.schedule(self.now + half, Event::FirewallsFollow);
        }
    }

    /// Membership as the labels are now: new members are pending for the second half of the lag.
    pub(crate) fn firewalls_follow(&mut self) {
        let mut joined: Vec<(u64, u64)> = Vec::new();
        let selectors: BTreeMap<u64, Vec<Selector>> = self
            .firewalls
            .iter()
            .map(|f| (f.id, f.is.selectors.clone()))
            .collect();
        for server in self.servers.values_mut() {
            let labels = &server.labels;
            let selected = |firewall: u64| {
                selectors
                    .get(&firewall)
                    .is_some_and(|all| all.iter().any(|s| s.matches(labels)))
            };
            server
                .firewalls
                .retain(|a| a.direct || selected(a.firewall));
            for firewall in selectors.keys().copied().filter(|f| selected(*f)) {
                if server.firewalls.iter().all(|a| a.firewall != firewall) {
                    joined.push((server.id, firewall));
                    server.firewalls.push(Attachment {
                        firewall,
                        applied: false,
                        direct: false,
                    });
                }
            }
        }
        let at = self.now + self.delays.firewall / 2;
        for (server, firewall) in joined {
            self.schedule(at, Event::FirewallApplied { server, firewall });
        }
    }

    pub(crate) fn firewall_applied(&mut self, action: &Action) {
        if let (Some(server), Some(firewall)) = (
            action.resource(Kind::Server),
            action.resource(Kind::Firewall),
        ) {
            self.mark_applied(server, firewall);
        }
    }

    pub(crate) fn mark_applied(&mut self, server: u64, firewall: u64) {
        if let Some(server) = self.servers.get_mut(&server) {
            for attachment in &mut server.firewalls {
                attachment.applied |= attachment.firewall == firewall;
            }
        }
    }
}
