//! Every key of a reply taken away, made null, and made something else, at every depth.

use cattle_core::names::ServerId;
use serde_json::{Value, json};

use super::{
    super::CreateOutcome,
    TTL, client,
    create::new_server,
    fake::{Answer, Fake},
    fleet, labels, page, server,
};

/// A server with everything that the API has in one.
fn full(id: u64) -> Value {
    let price = json!({
        "location": "nbg1",
        "price_hourly": { "net": "0.0088000000", "gross": "0.0104720000000000" },
        "price_monthly": { "net": "5.4900000000", "gross": "6.5331000000000000" },
        "included_traffic": 21_990_232_555_520_u64,
        "price_per_tb_traffic": { "net": "1.0000000000", "gross": "1.1900000000000000" },
    });
    json!({
        "id": id,
        "name": format!("cattle-rex-{id}"),
        "status": "running",
        "created": "2026-11-22T10:00:00+00:00",
        "public_net": {
            "ipv4": { "id": 600_000_000_000_003_u64, "ip": "203.0.113.7", "blocked": false, "dns_ptr": "a.example" },
            "ipv6": { "id": 5, "ip": "2001:db8::/64", "blocked": false, "dns_ptr": [{ "ip": "2001:db8::1", "dns_ptr": "a.example" }] },
            "floating_ips": [478],
            "firewalls": [{ "id": 38, "status": "applied" }],
        },
        "private_net": [{ "network": 4711, "ip": "10.0.0.2", "alias_ips": ["10.0.0.3"], "mac_address": "86:00:ff:2a:7d:e1" }],
        "server_type": {
            "id": 114, "name": "cx23", "description": "CX 23", "category": "cost_optimized", "cores": 2,
            "memory": 4, "disk": 40, "cpu_type": "shared", "architecture": "x86", "storage_type": "local",
            "prices": [price],
            "locations": [{ "id": 2, "name": "nbg1", "available": true, "recommended": true, "deprecation": null }],
        },
        "location": {
            "id": 2, "name": "nbg1", "description": "Nuremberg DC Park 1", "country": "DE", "city": "Nuremberg",
            "latitude": 49.452102, "longitude": 11.076665, "network_zone": "eu-central",
        },
        "image": {
            "id": 430_000_000_000_u64, "type": "snapshot", "status": "available", "name": null, "description": "cattle",
            "image_size": 2.3, "disk_size": 40, "created": "2026-11-01T00:00:00Z", "created_from": { "id": 1, "name": "builder" },
            "bound_to": null, "os_flavor": "debian", "os_version": "13", "rapid_deploy": false,
            "protection": { "delete": false }, "deprecation": null, "labels": { "role": "cattle-image" },
            "deleted": null, "architecture": "x86",
        },
        "iso": { "id": 4711, "name": "x.iso", "description": "x", "type": "public", "deprecation": null },
        "rescue_enabled": false,
        "locked": false,
        "backup_window": "22-02",
        "outgoing_traffic": 123_456,
        "ingoing_traffic": 123_456,
        "included_traffic": 654_321,
        "protection": { "delete": false, "rebuild": false },
        "labels": labels(),
        "volumes": [1],
        "load_balancers": [2],
        "primary_disk_size": 40,
        "placement_group": { "id": 897, "name": "x", "labels": {}, "type": "spread", "created": "2026-11-01T00:00:00Z", "servers": [42] },
    })
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(at.clone());
        pointers(value, &at, found);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                below(&place.to_string(), value);
            }
        }
        _ => {}
    }
}

fn remove(root: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match root.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(key)),
        Value::Array(list) => drop(list.remove(key.parse().unwrap())),
        _ => unreachable!("a pointer leads through objects and arrays"),
    }
}

/// Everything that can be done to one place of a reply, and what was done.
fn mutations(root: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    pointers(root, "", &mut all);
    let mut mutated = Vec::new();
    for pointer in all {
        let mut without = root.clone();
        remove(&mut without, &pointer);
        mutated.push((format!("{pointer} removed"), without));
        let was = &root.pointer(&pointer).unwrap();
        let mut others = vec![Value::Null];
        // Of another kind, and of the same with an unexpected value.
        others.extend(
            [
                json!("?"),
                json!(-7.5),
                json!(true),
                json!([[]]),
                json!({ "new": { "key": [1] } }),
            ]
            .into_iter()
            .filter(|other| other != *was),
        );
        for other in others {
            let mut changed = root.clone();
            let said = format!("{pointer} = {other}");
            *changed.pointer_mut(&pointer).unwrap() = other;
            mutated.push((said, changed));
        }
    }
    let mut more = root.clone();
    more["a_key_of_2027"] = json!({ "x": [null] });
    mutated.push(("a new key".to_owned(), more));
    mutated
}

#[tokio::test]
async fn one_odd_server_hides_no_other_whatever_is_odd_about_it() {
    let mutations = mutations(&full(2));
    assert!(mutations.len() > 600, "{}", mutations.len());
    let answers = mutations.iter().map(|(_, odd)| {
        let entries = vec![full(1), odd.clone(), full(3)];
        Answer::Json(200, page("servers", entries, None))
    });
    let fake = Fake::start(answers.collect()).await;
    let client = client(&fake.url);
    for (what, odd) in &mutations {
        let listed = client.list_servers(&fleet(), TTL).await.unwrap();
        let has = |id| {
            listed
                .servers
                .iter()
                .any(|server| server.id == ServerId(id))
        };
        assert!(has(1) && has(3), "{what}");
        let set_aside = listed.odd.iter().any(|one| one.id.is_none_or(|id| id == 2));
        assert!(has(2) || set_aside, "{what}: it vanished: {odd}");
    }
}

#[tokio::test]
async fn one_odd_server_does_not_look_gone() {
    let mutations = mutations(&full(42));
    let answers = |mutations: &[(String, Value)]| {
        let answer = |(_, odd): &(String, Value)| Answer::Json(200, json!({ "server": odd }));
        mutations.iter().map(answer).collect::<Vec<_>>()
    };
    let fake = Fake::start(answers(&mutations)).await;
    let client = client(&fake.url);
    for (what, _) in &mutations {
        if let Ok(got) = client.get_server(ServerId(42), TTL).await {
            assert_eq!(got.map(|server| server.id), Some(ServerId(42)), "{what}");
        }
    }
}

#[tokio::test]
async fn a_create_keeps_the_id_as_long_as_there_is_one() {
    let reply = json!({
        "server": full(42),
        "action": { "id": 600_000_000_000_001_u64, "command": "create_server", "status": "running", "progress": 0,
            "started": "2026-11-22T10:00:00Z", "finished": null, "resources": [{ "id": 42, "type": "server" }], "error": null },
        "next_actions": [{ "id": 600_000_000_000_002_u64, "command": "start_server", "status": "running" }],
        "root_password": null,
    });
    let mutations = mutations(&reply);
    let answers = mutations
        .iter()
        .map(|(_, odd)| Answer::Json(201, odd.clone()))
        .collect();
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let mut unread = Vec::new();
    for (what, odd) in &mutations {
        match client.create_server(&new_server(), TTL).await {
            Ok(created) => {
                assert_eq!(created.server.id, ServerId(42), "{what}");
                let there = odd.pointer("/action/id") == Some(&json!(600_000_000_000_001_u64));
                assert_eq!(
                    created.actions.contains(&600_000_000_000_001),
                    there,
                    "{what}"
                );
            }
            Err(error) => {
                assert_eq!(error.outcome(), CreateOutcome::MayExist, "{what}");
                unread.push(what);
            }
        }
    }
    assert!(
        unread
            .iter()
            .all(|what| what.starts_with("/server ") || what.starts_with("/server/id ")),
        "{unread:?}"
    );
    assert_eq!(unread.len(), 14, "{unread:?}");
}

#[tokio::test]
async fn the_retired_key_may_be_there_or_not() {
    for deprecated in [
        None,
        Some(json!(null)),
        Some(json!("2026-01-01T00:00:00Z")),
        Some(json!(true)),
    ] {
        let mut one = server(1);
        if let Some(deprecated) = deprecated {
            one["image"]["deprecated"] = deprecated.clone();
            one["server_type"]["deprecated"] = deprecated;
        }
        let fake = Fake::start(vec![Answer::Json(200, page("servers", vec![one], None))]).await;
        let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
        assert_eq!((listed.servers.len(), listed.odd.len()), (1, 0));
    }
}
