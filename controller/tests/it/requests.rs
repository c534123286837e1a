//! The `hcloud` crate's request models against the imitated API: every field of them arrives as it
//! was meant. And what our client sends against the crate's models: every key of it is one of
//! theirs. A key that either side renames fails here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use cattle_controller::hetzner::{Client, Endpoint, NewServer};
use cattle_core::names::{FleetName, ServerId};
use hcloud::models::{
    CreateFirewallRequest, CreateServerRequest, CreateServerRequestFirewalls,
    CreateServerRequestPublicNet, CreateSshKeyRequest, FirewallResource, LabelSelector,
    ReplaceFirewallRequest, ReplaceServerRequest, Rule, SetRulesRequest,
    firewall_resource::Type as ResourceType,
    rule::{Direction, Protocol},
};
use hetzner_sim::{Config, Sim};
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const TOKEN: &str = "request-models-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1wTmQp1ghjWqVBFxZ2k3Z8mY1lqkS7o0mNQ0K6yZ1v rex";
/// The x86 snapshot that is there from the start.
const SNAPSHOT: u64 = 123_456;

struct Account {
    sim: Sim,
    http: reqwest::Client,
}

impl Account {
    async fn open() -> Self {
        let config = Config::default().create_ms(1).boot_ms(1).token(TOKEN);
        Self {
            sim: Sim::start(config).await.unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Value {
        let url = format!("{}{path}", self.sim.url());
        let mut request = self.http.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await.unwrap();
        let status = reply.status();
        let body = reply.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {body}");
        if status == StatusCode::NO_CONTENT {
            return Value::Null;
        }
        serde_json::from_str(&body).unwrap()
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Value {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None::<&Value>).await
    }
}

fn labels() -> HashMap<String, String> {
    [("team", "docs"), ("empty", "")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Everything that a rule has, in and out.
fn rules() -> Vec<Rule> {
    vec![
        Rule {
            description: Some(Some("in".to_owned())),
            destination_ips: Some(Vec::new()),
            direction: Direction::In,
            port: Some(Some("1024-5000".to_owned())),
            protocol: Protocol::Udp,
            source_ips: Some(vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()]),
        },
        Rule {
            description: Some(None),
            destination_ips: Some(vec!["192.0.2.0/24".to_owned()]),
            direction: Direction::Out,
            port: None,
            protocol: Protocol::Icmp,
            source_ips: Some(Vec::new()),
        },
    ]
}

/// The same, as the API shows it.
fn shown_rules() -> Value {
    json!([
        { "direction": "in", "protocol": "udp", "port": "1024-5000", "description": "in",
          "source_ips": ["0.0.0.0/0", "::/0"], "destination_ips": [] },
        { "direction": "out", "protocol": "icmp", "port": null, "description": null,
          "source_ips": [], "destination_ips": ["192.0.2.0/24"] },
    ])
}

async fn firewall(account: &Account) -> (i64, Value) {
    let request = CreateFirewallRequest {
        apply_to: Some(vec![FirewallResource {
            label_selector: Some(Box::new(LabelSelector::new("team=docs".to_owned()))),
            ..FirewallResource::new(ResourceType::LabelSelector)
        }]),
        labels: Some(labels()),
        rules: Some(rules()),
        ..CreateFirewallRequest::new("guarded".to_owned())
    };
    let made = account.post("/firewalls", &request).await;
    let id = made["firewall"]["id"].as_i64().unwrap();
    let seen = account.get(&format!("/firewalls/{id}")).await["firewall"].take();
    (id, seen)
}

#[tokio::test]
async fn a_firewall_arrives_as_it_was_meant() {
    let account = Account::open().await;
    let (id, seen) = firewall(&account).await;
    assert_eq!(seen["name"], "guarded");
    assert_eq!(seen["labels"], json!(labels()));
    assert_eq!(seen["rules"], shown_rules());
    assert_eq!(seen["applied_to"][0]["type"], "label_selector");
    assert_eq!(
        seen["applied_to"][0]["label_selector"]["selector"],
        "team=docs"
    );

    let one = SetRulesRequest::new(rules().split_off(1));
    account
        .post(&format!("/firewalls/{id}/actions/set_rules"), &one)
        .await;
    let renamed = ReplaceFirewallRequest {
        labels: Some(HashMap::from([("team".to_owned(), "code".to_owned())])),
        name: Some("renamed".to_owned()),
    };
    let path = format!("/firewalls/{id}");
    account.send(Method::PUT, &path, Some(&renamed)).await;
    let seen = account.get(&path).await["firewall"].take();
    assert_eq!(seen["rules"], json!([shown_rules()[1]]));
    assert_eq!(
        (&seen["name"], &seen["labels"]),
        (&json!("renamed"), &json!({ "team": "code" }))
    );
}

#[tokio::test]
async fn an_ssh_key_arrives_as_it_was_meant() {
    let account = Account::open().await;
    let request = CreateSshKeyRequest {
        labels: Some(labels()),
        name: "rex's laptop".to_owned(),
        public_key: KEY.to_owned(),
    };
    let made = account.post("/ssh_keys", &request).await;
    let seen = account
        .get(&format!("/ssh_keys/{}", made["ssh_key"]["id"]))
        .await;
    let seen = &seen["ssh_key"];
    assert_eq!(seen["name"], "rex's laptop");
    assert_eq!(seen["public_key"], KEY);
    assert_eq!(seen["labels"], json!(labels()));
}

#[tokio::test]
async fn a_server_arrives_as_it_was_meant() {
    let account = Account::open().await;
    let (firewall, _) = firewall(&account).await;
    account
        .post(
            "/ssh_keys",
            &CreateSshKeyRequest::new("rex".to_owned(), KEY.to_owned()),
        )
        .await;
    let group = account
        .post(
            "/placement_groups",
            &json!({ "name": "apart", "type": "spread" }),
        )
        .await;
    let group = group["placement_group"]["id"].as_i64().unwrap();
    let request = CreateServerRequest {
        automount: Some(false),
        firewalls: Some(vec![CreateServerRequestFirewalls::new(firewall)]),
        image: SNAPSHOT.to_string(),
        labels: Some(labels()),
        location: Some("hel1".to_owned()),
        name: "as-meant".to_owned(),
        // Neither networks nor volumes are among what the imitation has.
        networks: Some(Vec::new()),
        placement_group: Some(group),
        public_net: Some(Box::new(CreateServerRequestPublicNet {
            enable_ipv4: Some(false),
            enable_ipv6: Some(true),
            ipv4: None,
            ipv6: None,
        })),
        server_type: "cpx22".to_owned(),
        ssh_keys: Some(vec!["rex".to_owned()]),
        start_after_create: Some(false),
        user_data: Some("#cloud-config\nhostname: as-meant\n".to_owned()),
        volumes: Some(Vec::new()),
    };
    let made = account.post("/servers", &request).await;
    assert_eq!(made["root_password"], Value::Null, "a key was given");
    let follow = made["next_actions"].to_string();
    assert!(
        !follow.contains("start_server"),
        "it is not started: {follow}"
    );
    let path = format!("/servers/{}", made["server"]["id"]);
    let by = Instant::now() + Duration::from_secs(10);
    let seen = loop {
        let seen = account.get(&path).await["server"].take();
        if seen["status"] == "off" {
            break seen;
        }
        assert!(Instant::now() < by, "it does not come to rest: {seen}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(seen["name"], "as-meant");
    assert_eq!(seen["labels"], json!(labels()));
    assert_eq!(seen["location"]["name"], "hel1");
    assert_eq!(seen["server_type"]["name"], "cpx22");
    assert_eq!(seen["image"]["id"], SNAPSHOT);
    assert_eq!(seen["placement_group"]["id"], group);
    assert_eq!(seen["public_net"]["ipv4"], Value::Null);
    assert!(seen["public_net"]["ipv6"].is_object());
    let firewalls = seen["public_net"]["firewalls"].as_array().unwrap();
    assert!(
        firewalls.iter().any(|one| one["id"] == firewall),
        "{firewalls:?}"
    );
    let inside = account.sim.snapshot()["servers"][0].take();
    assert_eq!(inside["user_data"], "#cloud-config\nhostname: as-meant\n");

    let replaced = ReplaceServerRequest {
        labels: Some(HashMap::from([("team".to_owned(), "code".to_owned())])),
        name: Some("renamed".to_owned()),
    };
    account.send(Method::PUT, &path, Some(&replaced)).await;
    let seen = account.get(&path).await["server"].take();
    assert_eq!(
        (&seen["name"], &seen["labels"]),
        (&json!("renamed"), &json!({ "team": "code" }))
    );
}

/// What was sent is one of the crate's models and nothing more: decoded and written again it is the
/// same.
fn is_a<Model: DeserializeOwned + Serialize>(sent: &Value) {
    let model: Model =
        serde_json::from_value(sent.clone()).unwrap_or_else(|error| panic!("{error}: {sent:#}"));
    assert_eq!(serde_json::to_value(&model).unwrap(), *sent);
}

/// A server that takes everything and keeps the bodies.
struct Recorder {
    url: String,
    seen: std::sync::Arc<std::sync::Mutex<Vec<(String, Value)>>>,
}

impl Recorder {
    async fn start() -> Self {
        use axum::{Json, Router, body::Bytes, http, routing::any};
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let record = seen.clone();
        let answer = move |method: http::Method, uri: http::Uri, body: Bytes| {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let line = format!("{method} {}", uri.path());
            record.lock().unwrap().push((line, body));
            let reply = json!({
                "server": { "id": 1 }, "firewall": { "id": 1 }, "ssh_key": { "id": 1 },
                "action": { "id": 1 }, "ssh_keys": [],
                "firewalls": [{ "id": 1, "name": "clawdlets-cattle-old", "rules": [],
                    "labels": { "managed-by": "clawdlets" } }],
                "meta": { "pagination": { "next_page": null } },
            });
            async move { Json(reply) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen }
    }
}

#[tokio::test]
async fn whatever_is_sent_is_one_of_the_crates_models() {
    let recorder = Recorder::start().await;
    let client = Client::new(&Endpoint {
        url: recorder.url.clone(),
        token: TOKEN.to_owned().into(),
    })
    .unwrap();
    let labels: BTreeMap<String, String> = labels().into_iter().collect();
    // One firewall is made, the other one's rules and labels are mended.
    for fleet in ["new", "old"] {
        let fleet: FleetName = fleet.parse().unwrap();
        client.ensure_firewall(&fleet, &labels).await.unwrap();
        client
            .ensure_ssh_keys(&fleet, &[KEY.to_owned()])
            .await
            .unwrap();
    }
    let new = NewServer {
        name: "cattle-rex-000001".to_owned(),
        server_type: "cx23".to_owned(),
        location: "nbg1".to_owned(),
        image: SNAPSHOT.to_string(),
        labels: labels.clone(),
        user_data: "#cloud-config\n".to_owned().into(),
        ssh_keys: vec!["rex".to_owned()],
        firewall: 1,
    };
    client
        .create_server(&new, crate::hetzner::TTL)
        .await
        .unwrap();
    client.relabel(ServerId(1), &labels).await.unwrap();
    client.power_on(ServerId(1)).await.unwrap();

    let mut known = BTreeSet::new();
    for (line, body) in recorder.seen.lock().unwrap().iter() {
        match line.as_str() {
            "POST /servers" => is_a::<CreateServerRequest>(body),
            "PUT /servers/1" => is_a::<ReplaceServerRequest>(body),
            "POST /firewalls" => is_a::<CreateFirewallRequest>(body),
            "PUT /firewalls/1" => is_a::<ReplaceFirewallRequest>(body),
            "POST /firewalls/1/actions/set_rules" => is_a::<SetRulesRequest>(body),
            "POST /ssh_keys" => is_a::<CreateSshKeyRequest>(body),
            other => {
                assert_eq!(*body, Value::Null, "{other} has a body");
                continue;
            }
        }
        known.insert(line.clone());
    }
    assert_eq!(known.len(), 6, "{known:?}");
}
