//! Replies, decoded as tolerantly as is safe: one server at a time, from JSON as it came.
//!
//! What a decision needs must be there; everything else may be missing, null, or of a new kind. A
//! server that cannot be decoded is set aside by its id and spoils nothing. A word that is not known
//! is `Unknown`, never an error. Numbers are 64 bits: action ids have had 15 digits.

use std::{collections::BTreeMap, time::Duration};

use cattle_core::{
    labels,
    names::ServerId,
    observed::{ObservedServer, ServerState},
};
use cattle_schemas::Timestamp;
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Something in a list that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its id, where even that could be read.
    pub id: Option<u64>,
    /// What is wrong with it.
    pub why: String,
}

/// An action of Hetzner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionState {
    /// Hetzner's number; 15 digits and more.
    pub id: u64,
    /// `create_server`, `delete_server`, …
    pub command: String,
    /// How far it is.
    pub status: ActionStatus,
}

/// How far an action is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionStatus {
    /// Under way.
    Running,
    /// Done.
    Success,
    /// Failed, with Hetzner's code.
    Error {
        /// An open set: `action_failed`, `server_does_not_exist_anymore`, …
        code: String,
    },
    /// A word that is not known.
    Unknown,
}

/// The fields of a server that are the same whatever they are decoded for.
pub(super) fn server(value: &Value, default_ttl: Duration) -> Result<ObservedServer, Odd> {
    let id = id(value);
    let odd = |why: &str| Odd {
        id,
        why: why.to_owned(),
    };
    let number = id.ok_or_else(|| odd("it has no id"))?;
    let raw = labels(value);
    let name = string(value, &["name"]).ok_or_else(|| odd("it has no name"))?;
    // Without `created` the label that we wrote says nearly the same.
    let created = timestamp(value, &["created"])
        .or_else(|| DateTime::from_timestamp(raw.get("created-at")?.parse().ok()?, 0))
        .ok_or_else(|| odd("it does not say when it was created"))?;
    Ok(observed(
        ServerId(number),
        name,
        created,
        value,
        &raw,
        default_ttl,
    ))
}

/// The server of an accepted create, of which only the id must be readable: it exists and bills.
pub(super) fn created_server(
    value: &Value,
    name: &str,
    asked: &BTreeMap<String, String>,
    now: Timestamp,
    default_ttl: Duration,
) -> Option<ObservedServer> {
    if let Ok(server) = server(value, default_ttl) {
        return Some(server);
    }
    Some(observed(
        ServerId(id(value)?),
        name.to_owned(),
        now,
        value,
        asked,
        default_ttl,
    ))
}

fn observed(
    id: ServerId,
    name: String,
    created: Timestamp,
    value: &Value,
    raw: &BTreeMap<String, String>,
    default_ttl: Duration,
) -> ObservedServer {
    ObservedServer {
        id,
        name,
        status: string(value, &["status"])
            .map_or(ServerState::Unknown, |word| ServerState::from_word(&word)),
        created,
        labels: labels::decode(raw, created, default_ttl),
        ipv4: string(value, &["public_net", "ipv4", "ip"]),
        server_type: string(value, &["server_type", "name"]),
        location: string(value, &["location", "name"]),
        locked: boolean(value, &["locked"]),
        protected: boolean(value, &["protection", "delete"]),
        odd: Vec::new(),
    }
}

/// An id wherever the API has one.
pub(super) fn id(value: &Value) -> Option<u64> {
    value.get("id")?.as_u64()
}

/// A label map. What is not a map of texts is no label: `[]` for an empty map, a null value.
pub(super) fn labels(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.get("labels").and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    map.iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// An action; `None` without an id.
pub(super) fn action(value: &Value) -> Option<ActionState> {
    let status = match string(value, &["status"]).as_deref() {
        Some("running") => ActionStatus::Running,
        Some("success") => ActionStatus::Success,
        Some("error") => ActionStatus::Error {
            code: string(value, &["error", "code"]).unwrap_or_else(|| "unknown_error".to_owned()),
        },
        _ => ActionStatus::Unknown,
    };
    Some(ActionState {
        id: id(value)?,
        command: string(value, &["command"]).unwrap_or_default(),
        status,
    })
}

/// Where a list goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextPage {
    /// This was the last.
    None,
    /// There.
    Page(u64),
    /// It does not say.
    Missing,
}

/// What `meta.pagination` says.
pub(super) fn next_page(body: &Value) -> NextPage {
    match body.pointer("/meta/pagination/next_page") {
        Some(Value::Null) => NextPage::None,
        Some(page) => page.as_u64().map_or(NextPage::Missing, NextPage::Page),
        None => NextPage::Missing,
    }
}

/// A text at a path; `None` when anything on the way is missing, null or of another kind.
pub(super) fn string(value: &Value, path: &[&str]) -> Option<String> {
    Some(at(value, path)?.as_str()?.to_owned())
}

/// Whether there is a `true` at a path.
pub(super) fn boolean(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// A number at a path, whole or not.
pub(super) fn number(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path)?.as_f64()
}

/// An instant at a path; both `Z` and `+00:00` have been seen.
pub(super) fn timestamp(value: &Value, path: &[&str]) -> Option<Timestamp> {
    let at = DateTime::parse_from_rfc3339(&string(value, path)?).ok()?;
    Some(at.with_timezone(&Utc))
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}
