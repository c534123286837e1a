//! The fleet's firewall: nothing comes in but WireGuard, and everything goes out.
//!
//! Its labels also say which ledger and which controller keep the fleet (`ledger…`, see
//! [`cattle_core::identity`]), so whoever changes them here adds and never removes; and those two are
//! written when it is made, or by [`Client::mark_firewall`] alone.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use cattle_core::{
    identity::{CONTROLLER_LABEL, ControllerMark, LEDGER_LABEL, LedgerMark, Marks},
    labels,
    names::FleetName,
};
use hcloud::models::{
    CreateFirewallRequest, ReplaceFirewallRequest, Rule, SetRulesRequest,
    rule::{Direction, Protocol},
};
use reqwest::Method;
use serde_json::Value;

use super::{
    client::Client,
    error::{ApiError, Kind},
    servers::hash_map,
    table::{Code, Operation},
    transport::{Call, Reply},
    wire::{self, string},
};

/// Tailscale's WireGuard port (nix-tailscale sheet; `tailscaled --port`).
const WIREGUARD_PORT: &str = "41641";
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// How long a firewall that was seen in order is taken to be so: short enough to mend what somebody
/// changed, long enough to cost nothing.
const FRESH: Duration = Duration::from_secs(600);

/// When each fleet's firewall was last seen in order.
pub(super) type Remembered = HashMap<FleetName, (Instant, u64)>;

/// A fleet's firewall as Hetzner has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Hetzner's number.
    pub id: u64,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its rules are ours exactly.
    pub in_order: bool,
}

impl Firewall {
    /// Which ledger and which controller keep its fleet.
    #[must_use]
    pub fn marks(&self) -> Marks {
        marks(&self.labels)
    }
}

fn marks(labels: &BTreeMap<String, String>) -> Marks {
    let text = |key: &str| labels.get(key).filter(|text| !text.is_empty());
    Marks {
        ledger: text(LEDGER_LABEL).map(|text| LedgerMark::read(text)),
        controller: text(CONTROLLER_LABEL).map(|text| ControllerMark::read(text)),
    }
}

/// The labels that say so.
#[must_use]
pub fn mark_labels(marks: &Marks) -> BTreeMap<String, String> {
    let ledger = marks.ledger.as_ref().map(ToString::to_string);
    let controller = marks.controller.as_ref().map(ToString::to_string);
    [(LEDGER_LABEL, ledger), (CONTROLLER_LABEL, controller)]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

fn name(fleet: &FleetName) -> String {
    format!("clawdlets-cattle-{fleet}")
}

fn subject(fleet: &FleetName) -> String {
    format!("firewall `{}`", name(fleet))
}

impl Client {
    /// The id of the fleet's firewall, made or mended where need be. `labels` are on it afterwards,
    /// beside what it has; marks among them only where it is made.
    ///
    /// # Errors
    /// A call failed, or a firewall of this name is not ours: somebody else's, or kept by another
    /// ledger than the one that `labels` name.
    pub async fn ensure_firewall(
        &self,
        fleet: &FleetName,
        labels: &BTreeMap<String, String>,
    ) -> Result<u64, ApiError> {
        let mut remembered = self.memory().firewalls.lock().await;
        if let Some((seen_at, id)) = remembered.get(fleet)
            && seen_at.elapsed() < FRESH
        {
            return Ok(*id);
        }
        let firewall = match self.find_firewall(fleet).await? {
            Some(firewall) => firewall,
            None => match self.create_firewall(fleet, labels).await {
                Ok(firewall) => firewall,
                // Another controller was faster, or our own reply was lost earlier.
                Err(error) if error.code() == Some(Code::UniquenessError) => {
                    self.find_firewall(fleet).await?.ok_or(error)?
                }
                Err(error) => return Err(error),
            },
        };
        let (found, own) = (firewall.marks().ledger, marks(labels).ledger);
        if let (Some(found), Some(own)) = (found, own)
            && found.id != own.id
        {
            let (operation, kind) = (Operation::FindFirewall, Kind::OtherLedger);
            return Err(ApiError::new(operation, subject(fleet), kind));
        }
        if !firewall.in_order {
            tracing::warn!(
                firewall = firewall.id,
                "the fleet's firewall had other rules; setting ours"
            );
            self.set_rules(fleet, firewall.id).await?;
        }
        let mut wanted = firewall.labels.clone();
        wanted.extend(
            labels
                .iter()
                .filter(|(key, _)| ![LEDGER_LABEL, CONTROLLER_LABEL].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        if wanted != firewall.labels {
            self.relabel_firewall(fleet, firewall.id, &wanted).await?;
        }
        remembered.insert(fleet.clone(), (Instant::now(), firewall.id));
        Ok(firewall.id)
    }

    /// The fleet's firewall as it is now. One that is gone is not remembered any longer.
    ///
    /// # Errors
    /// As [`Client::find_firewall`].
    pub async fn look_at_firewall(&self, fleet: &FleetName) -> Result<Option<Firewall>, ApiError> {
        let began = Instant::now();
        let found = self.find_firewall(fleet).await?;
        if found.is_none() {
            let mut remembered = self.memory().firewalls.lock().await;
            // One that was made while we looked is there.
            remembered.retain(|name, (seen_at, _)| name != fleet || *seen_at > began);
        }
        Ok(found)
    }

    /// Writes who keeps the fleet onto a firewall that was just read.
    ///
    /// # Errors
    /// Refused or lost.
    pub async fn mark_firewall(
        &self,
        fleet: &FleetName,
        firewall: &Firewall,
        marks: &Marks,
    ) -> Result<(), ApiError> {
        // Held meanwhile, so that nobody of this process writes labels that it read before.
        let mut remembered = self.memory().firewalls.lock().await;
        let mut labels = firewall.labels.clone();
        labels.extend(mark_labels(marks));
        self.relabel_firewall(fleet, firewall.id, &labels).await?;
        // What was mended since it was read may be undone by this.
        remembered.remove(fleet);
        Ok(())
    }

    /// The fleet's firewall, read now.
    ///
    /// # Errors
    /// The call failed, or a firewall of this name is not ours.
    pub async fn find_firewall(&self, fleet: &FleetName) -> Result<Option<Firewall>, ApiError> {
        let operation = Operation::FindFirewall;
        let call = Call::get(operation, subject(fleet), "/firewalls").query("name", name(fleet));
        let reply = self.transport().send(call).await?;
        let entries = reply.body.get("firewalls").and_then(Value::as_array);
        let entries =
            entries.ok_or_else(|| unreadable(&reply, operation, fleet, "no firewalls in it"))?;
        let named = |entry: &&Value| string(entry, &["name"]) == Some(name(fleet));
        let Some(entry) = entries.iter().find(named) else {
            return Ok(None);
        };
        let firewall =
            decode(entry).ok_or_else(|| unreadable(&reply, operation, fleet, "it has no id"))?;
        if firewall.labels.get("managed-by").map(String::as_str) != Some("clawdlets")
            || labels::is_foreign(&firewall.labels)
        {
            return Err(ApiError::about(
                &reply,
                operation,
                subject(fleet),
                Kind::NotOurs,
            ));
        }
        Ok(Some(firewall))
    }

    /// Replaces all labels of the fleet's firewall.
    ///
    /// # Errors
    /// Refused or lost.
    pub async fn relabel_firewall(
        &self,
        fleet: &FleetName,
        id: u64,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        let body = ReplaceFirewallRequest {
            labels: Some(hash_map(labels)),
            ..ReplaceFirewallRequest::new()
        };
        let call = Call::new(
            Operation::RelabelFirewall,
            subject(fleet),
            Method::PUT,
            format!("/firewalls/{id}"),
        )
        .json(&body);
        self.transport().send(call).await.map(drop)
    }

    async fn create_firewall(
        &self,
        fleet: &FleetName,
        labels: &BTreeMap<String, String>,
    ) -> Result<Firewall, ApiError> {
        let operation = Operation::CreateFirewall;
        let mut labels = labels.clone();
        // What makes it ours, whatever the caller adds.
        labels.insert("managed-by".to_owned(), "clawdlets".to_owned());
        labels.insert("fleet".to_owned(), fleet.to_string());
        let body = CreateFirewallRequest {
            labels: Some(hash_map(&labels)),
            rules: Some(vec![rule()]),
            ..CreateFirewallRequest::new(name(fleet))
        };
        let call = Call::new(operation, subject(fleet), Method::POST, "/firewalls").json(&body);
        let reply = self.transport().send(call).await?;
        let id = reply.body.get("firewall").and_then(wire::id);
        let id = id.ok_or_else(|| unreadable(&reply, operation, fleet, "it has no id"))?;
        Ok(Firewall {
            id,
            labels,
            in_order: true,
        })
    }

    async fn set_rules(&self, fleet: &FleetName, id: u64) -> Result<(), ApiError> {
        let path = format!("/firewalls/{id}/actions/set_rules");
        let call = Call::new(
            Operation::RepairFirewall,
            subject(fleet),
            Method::POST,
            path,
        )
        .json(&SetRulesRequest::new(vec![rule()]));
        self.transport().send(call).await.map(drop)
    }
}

fn unreadable(reply: &Reply, operation: Operation, fleet: &FleetName, why: &str) -> ApiError {
    ApiError::about(
        reply,
        operation,
        subject(fleet),
        Kind::Unreadable(why.to_owned()),
    )
}

/// Inbound WireGuard. With a firewall attached all else inbound is dropped, and without any outbound
/// rule all outbound is allowed (fact sheet 11).
fn rule() -> Rule {
    Rule {
        description: Some(Some("Tailscale".to_owned())),
        port: Some(Some(WIREGUARD_PORT.to_owned())),
        source_ips: Some(ANYWHERE.map(str::to_owned).to_vec()),
        ..Rule::new(Direction::In, Protocol::Udp)
    }
}

fn decode(entry: &Value) -> Option<Firewall> {
    let rules = entry.get("rules").and_then(Value::as_array);
    let in_order = rules.is_some_and(|rules| matches!(rules.as_slice(), [only] if is_ours(only)));
    Some(Firewall {
        id: wire::id(entry)?,
        labels: wire::labels(entry),
        in_order,
    })
}

fn is_ours(rule: &Value) -> bool {
    let word = |key: &str| string(rule, &[key]);
    let mut sources: Vec<_> = rule
        .get("source_ips")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    sources.sort_unstable();
    word("direction").as_deref() == Some("in")
        && word("protocol").as_deref() == Some("udp")
        && word("port").as_deref() == Some(WIREGUARD_PORT)
        && sources == ANYWHERE
}
