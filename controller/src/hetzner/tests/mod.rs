//! The client against a server that answers by script: byte for byte what it is told, nothing, or
//! half of it.

#![allow(clippy::unwrap_used)]

mod calls;
mod create;
mod facts;
mod failures;
pub(crate) mod fake;
mod images;
mod lists;
mod odd_creates;
mod offer;
mod remembered;
mod rendered;
mod sentences;
mod table;
mod token;
mod tolerant;

use std::{collections::BTreeMap, time::Duration};

use cattle_core::{expiry::Lifetimes, names::FleetName};
use serde_json::{Value, json};

use super::{Client, Endpoint};

/// What a real token looks like.
const TOKEN: &str = "jEheVytlAoFl7F8MqUQ7jAo2hOXASztX4jEheVytlAoFl7F8MqUQ7jAo2hOXASzt";
pub(crate) const TTL: Lifetimes = Lifetimes {
    default_ttl: Duration::from_secs(7200),
    max_ttl: Duration::from_secs(86_400),
};

pub(crate) fn fleet() -> FleetName {
    "prod".parse().unwrap()
}

pub(crate) fn client(url: &str) -> Client {
    Client::new(&Endpoint {
        url: url.to_owned(),
        token: TOKEN.to_owned().into(),
    })
    .unwrap()
}

/// A server as the API shows one in late 2026: no `deprecated`, no `datacenter`.
pub(crate) fn server(id: u64) -> Value {
    json!({
        "id": id,
        "name": format!("cattle-rex-{id}"),
        "status": "running",
        "created": "2026-11-22T10:00:00+00:00",
        "public_net": {
            "ipv4": { "id": 1, "ip": "203.0.113.7", "blocked": false, "dns_ptr": "x" },
            "ipv6": null,
            "firewalls": [{ "id": 38, "status": "applied" }],
        },
        "server_type": { "id": 114, "name": "cx23", "locations": [{ "name": "nbg1", "available": true }] },
        "location": { "id": 2, "name": "nbg1" },
        "image": { "id": 430_000_000_000_u64, "type": "snapshot", "name": null, "deprecation": null },
        "labels": labels(),
        "locked": false,
        "protection": { "delete": false, "rebuild": false },
    })
}

pub(crate) fn labels() -> BTreeMap<String, String> {
    [
        ("managed-by", "clawdlets"),
        ("cattle", "true"),
        ("fleet", "prod"),
        ("cattle-name", "rex"),
        ("run", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("spec-hash", "0123456789ab"),
        ("created-at", "1795341600"),
        ("expires-at", "1795348800"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

pub(crate) fn page(key: &str, entries: Vec<Value>, next: Option<u64>) -> Value {
    json!({ key: entries, "meta": { "pagination": { "page": 1, "next_page": next } } })
}

pub(crate) fn refusal(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message, "details": null } })
}
