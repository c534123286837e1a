//! Replies, decoded as tolerantly as is safe: one server at a time, from JSON as it came.
//!
//! A server needs an id and nothing else: whatever is missing, null or of a new kind is guessed or
//! left out, and the server says so ([`ObservedServer::odd`]), because one that is not seen is not
//! deleted either. What cannot be acted on, for it has no id or is not ours, is set aside in words and
//! spoils nothing. A word that is not known is `Unknown`, never an error. Numbers are 64 bits: action
//! ids have had 15 digits.

use std::collections::BTreeMap;

pub use cattle_core::observed::{ActionState, ActionStatus};
use cattle_core::{
    catalogue::ImageKind,
    expiry::Lifetimes,
    labels,
    names::ServerId,
    observed::{MadeOf, ObservedServer, ServerState},
};
use cattle_schemas::Timestamp;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// The most that is repeated of a word or a name that is not understood.
const MAX_SHOWN: usize = 80;

/// Something in a list that is no server to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its id, where that could be read.
    pub id: Option<u64>,
    /// Its name, likewise.
    pub name: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

impl Odd {
    /// It in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let name = self.name.as_deref().map(shown);
        match (self.id, name) {
            (Some(id), Some(name)) => format!("server {name} ({id}): {}", self.why),
            (Some(id), None) => format!("server {id}: {}", self.why),
            (None, Some(name)) => format!("an entry named `{name}`: {}", self.why),
            (None, None) => format!("an entry without a name: {}", self.why),
        }
    }
}

/// Others' text as it may stand in a sentence of ours.
fn shown(text: &str) -> String {
    text.chars()
        .take(MAX_SHOWN)
        .collect::<String>()
        .escape_default()
        .to_string()
}

/// A server; an error only without an id, for without one nothing can be asked or done about it.
pub(super) fn server(value: &Value, mut lifetimes: Lifetimes) -> Result<ObservedServer, Odd> {
    let name = string(value, &["name"]).filter(|name| !name.is_empty());
    let Some(id) = id(value) else {
        return Err(Odd {
            id: None,
            name,
            why: "it has no id that can be read".to_owned(),
        });
    };
    let mut odd = Vec::new();
    let raw = labels(value);
    if !has_labels(value) {
        odd.push("its labels are missing".to_owned());
    }
    let name = name.unwrap_or_else(|| {
        odd.push("its name is missing".to_owned());
        format!("server-{id}")
    });
    let created = timestamp(value, &["created"]).unwrap_or_else(|| {
        let (guess, from) = guessed_creation(&raw);
        odd.push(format!(
            "it does not say when it was created; taken from {from}"
        ));
        if labels::created_at(&raw).is_none() {
            // It may be younger than that, and a bound from there would cut its time short.
            lifetimes = lifetimes.unbounded();
        }
        guess
    });
    let status = match string(value, &["status"]) {
        None => {
            odd.push("its status is missing".to_owned());
            ServerState::Unknown
        }
        Some(word) => {
            let status = ServerState::from_word(&word);
            if status.as_str() != word {
                odd.push(format!("its status `{}` is not known", shown(&word)));
            }
            status
        }
    };
    Ok(ObservedServer {
        id: ServerId(id),
        name,
        status,
        created,
        labels: labels::decode(&raw, created, lifetimes),
        ipv4: string(value, &["public_net", "ipv4", "ip"]),
        server_type: string(value, &["server_type", "name"]),
        location: string(value, &["location", "name"]),
        image: value.get("image").and_then(image),
        locked: boolean(value, &["locked"]),
        protected: boolean(value, &["protection", "delete"]),
        odd,
    })
}

fn image(value: &Value) -> Option<MadeOf> {
    let kind = string(value, &["type"]);
    Some(MadeOf {
        id: id(value)?,
        kind: kind.map_or(ImageKind::Other, |word| ImageKind::from_word(&word)),
    })
}

/// When a server was made that does not say so, by what we wrote on it. Where that is lost too it
/// counts as made long ago: from here only the expiry of a server without its own follows, and then
/// the choice is between deleting it now, after one more look that may say more, and never.
fn guessed_creation(raw: &BTreeMap<String, String>) -> (Timestamp, &'static str) {
    let of_label = || Some((labels::created_at(raw)?, "its label `created-at`"));
    let of_run = || Some((labels::run(raw)?.drawn_at()?, "its label `run`"));
    of_label()
        .or_else(of_run)
        .unwrap_or((DateTime::UNIX_EPOCH, "nothing: it counts as long past"))
}

/// The server of an accepted create, of which only the id must be readable: it exists and bills.
/// What the reply leaves out is as it was asked for.
pub(super) fn created_server(
    value: &Value,
    name: &str,
    asked: &BTreeMap<String, String>,
    now: Timestamp,
    lifetimes: Lifetimes,
) -> Option<ObservedServer> {
    // What is no object has no id, and cannot be given a name either.
    let mut value = Value::Object(value.as_object()?.clone());
    if string(&value, &["name"]).is_none() {
        value["name"] = json!(name);
    }
    if timestamp(&value, &["created"]).is_none() {
        value["created"] = json!(now.to_rfc3339());
    }
    if labels(&value).is_empty() {
        value["labels"] = json!(asked);
    }
    server(&value, lifetimes).ok()
}

/// An id wherever the API has one.
pub(super) fn id(value: &Value) -> Option<u64> {
    value.get("id")?.as_u64()
}

/// Whether there is a label map that could be read, be it empty.
pub(super) fn has_labels(value: &Value) -> bool {
    match value.get("labels") {
        Some(Value::Object(map)) => map.values().all(Value::is_string),
        // How some write an empty map.
        Some(Value::Array(list)) => list.is_empty(),
        _ => false,
    }
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
            code: string(value, &["error", "code"])
                .map_or_else(|| "unknown_error".to_owned(), |code| shown(&code)),
        },
        _ => ActionStatus::Unknown,
    };
    Some(ActionState {
        id: id(value)?,
        command: string(value, &["command"])
            .map(|command| shown(&command))
            .unwrap_or_default(),
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
