//! The client against the imitated API, which shares no code with it: what one of them misreads
//! does not agree with the other.

use std::{collections::BTreeMap, time::Duration};

use cattle_controller::{
    hetzner::{ActionStatus, Client, CreateOutcome, Created, Deleted, Endpoint, NewServer, Scope},
    reap::{Asking, reap},
};
use cattle_core::{
    expiry::Lifetimes,
    labels::{self, LabelSet},
    ledger::Ledger,
    names::{CattleName, FleetName, RunId, ServerId, server_name},
    observed::ServerState,
};
use chrono::{TimeDelta, Utc};
use hetzner_sim::{Config, Request, Sim};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) const TTL: Lifetimes = Lifetimes {
    default_ttl: Duration::from_secs(7200),
    max_ttl: Duration::from_secs(86_400),
};
const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1wTmQp1ghjWqVBFxZ2k3Z8mY1lqkS7o0mNQ0K6yZ1v rex";

pub(crate) struct Account {
    pub(crate) sim: Sim,
    pub(crate) client: Client,
    fleet: FleetName,
}

impl Account {
    pub(crate) async fn open(config: Config) -> Self {
        let config = config
            .create_ms(20)
            .boot_ms(20)
            .power_ms(20)
            .delete_ms(100)
            .token(TOKEN);
        let sim = Sim::start(config).await.unwrap();
        let endpoint = Endpoint {
            url: sim.url(),
            token: TOKEN.to_owned().into(),
        };
        let client = Client::new(&endpoint).unwrap();
        Self {
            sim,
            client,
            fleet: "prod".parse().unwrap(),
        }
    }

    fn fault(&self, rule: &Value) {
        let answer = self
            .sim
            .control(&Request::new("POST", "/_sim/faults").json(rule));
        assert!(answer.status < 300, "{answer:?}");
    }

    /// A server of a run of its own that expires so many seconds from now.
    pub(crate) async fn new_server(&self, seed: u128, expires_in: i64) -> NewServer {
        let cattle: CattleName = "rex".parse().unwrap();
        let run = RunId::from_parts(1_795_341_600_000, seed);
        let now = Utc::now();
        let none = BTreeMap::new();
        let labels = labels::encode(&LabelSet {
            session: None,
            fleet: &self.fleet,
            run,
            cattle: &cattle,
            persona: &"rex".parse().unwrap(),
            task_id: "issue 42",
            created_at: now,
            expires_at: now + TimeDelta::seconds(expires_in),
            hash: &"0123456789ab".parse().unwrap(),
            spec_labels: &none,
            fleet_labels: &none,
        });
        NewServer {
            name: server_name(&cattle, run),
            server_type: "cx23".to_owned(),
            location: "nbg1".to_owned(),
            image: "ubuntu-24.04".to_owned(),
            labels,
            user_data: "#cloud-config\n".to_owned().into(),
            ssh_keys: self
                .client
                .ensure_ssh_keys(&self.fleet, &[KEY.to_owned()])
                .await
                .unwrap(),
            firewall: self
                .client
                .ensure_firewall(&self.fleet, &none)
                .await
                .unwrap(),
        }
    }

    async fn create(&self, seed: u128, expires_in: i64) -> Created {
        let new = self.new_server(seed, expires_in).await;
        self.client.create_server(&new, TTL).await.unwrap()
    }

    async fn until_gone(&self, id: ServerId) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.client.get_server(id, TTL).await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "server {id} stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// From the firewall to the proof that the server is gone.
async fn a_whole_life(config: Config) {
    let account = Account::open(config).await;
    let client = &account.client;
    let created = account.create(1, 7200).await;
    let id = created.server.id;
    assert_eq!(created.server.status, ServerState::Initializing);
    assert_eq!(created.server.labels.problems, Vec::<String>::new());

    let deadline = Instant::now() + Duration::from_secs(20);
    let running = |status: &ActionStatus| *status == ActionStatus::Running;
    loop {
        let actions = client.actions(&created.actions).await.unwrap();
        assert_eq!(actions.len(), created.actions.len());
        if !actions.iter().any(|action| running(&action.status)) {
            assert!(
                actions
                    .iter()
                    .all(|action| action.status == ActionStatus::Success),
                "{actions:?}"
            );
            break;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let listed = client.list_servers(&account.fleet, TTL).await.unwrap();
    assert!(listed.odd.is_empty() && account.client.clock().judges());
    let server = &listed.servers[0];
    assert_eq!((server.id, server.status), (id, ServerState::Running));
    assert_eq!(
        (server.server_type.as_deref(), server.location.as_deref()),
        (Some("cx23"), Some("nbg1"))
    );
    assert!(server.ipv4.is_some());
    assert_eq!(
        client
            .find_server(&server.name, TTL)
            .await
            .unwrap()
            .as_ref(),
        Some(server)
    );

    let mut labels = server.labels.raw.clone();
    labels.insert("spec.team".to_owned(), "docs".to_owned());
    client.relabel(id, &labels).await.unwrap();
    assert_eq!(
        client
            .get_server(id, TTL)
            .await
            .unwrap()
            .unwrap()
            .labels
            .raw,
        labels
    );

    assert!(matches!(
        client.delete_server(id).await.unwrap(),
        Deleted::Accepted { action: Some(_) }
    ));
    account.until_gone(id).await;
    assert_eq!(
        client.delete_server(id).await.unwrap(),
        Deleted::AlreadyGone
    );
    assert!(client.calls().unwrap().used_last_hour > 8);
}

#[tokio::test]
async fn a_server_lives_and_dies_with_the_api_of_today() {
    a_whole_life(Config::default()).await;
}

#[tokio::test]
async fn a_server_lives_and_dies_with_the_api_of_last_year() {
    a_whole_life(Config::default().legacy_deprecated(true)).await;
}

#[tokio::test]
async fn a_lost_reply_ends_in_the_same_server() {
    let account = Account::open(Config::default()).await;
    let new = account.new_server(1, 7200).await;
    account.fault(&json!({
        "match": { "operation": "create_server" }, "fault": { "kind": "drop_reply" },
    }));
    let lost = account.client.create_server(&new, TTL).await.unwrap_err();
    assert_eq!(lost.outcome(), CreateOutcome::MayExist);
    let again = account.client.create_server(&new, TTL).await.unwrap_err();
    assert_eq!(again.outcome(), CreateOutcome::Uniqueness);
    let found = account
        .client
        .find_server(&new.name, TTL)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.labels.raw, new.labels);
    assert_eq!(
        account
            .client
            .list_servers(&account.fleet, TTL)
            .await
            .unwrap()
            .servers
            .len(),
        1
    );
}

#[tokio::test]
async fn no_reply_that_says_success_costs_a_server() {
    let account = Account::open(Config::default()).await;
    for (seed, fault) in (1..).zip([
        json!({ "kind": "truncated" }),
        json!({ "kind": "html" }),
        json!({ "kind": "odd_json", "body": { "server": {} } }),
        json!({ "kind": "missing_keys", "keys": ["id"] }),
    ]) {
        let new = account.new_server(seed, 7200).await;
        account.fault(
            &json!({ "match": { "operation": "create_server" }, "when": "after", "fault": fault }),
        );
        let error = account.client.create_server(&new, TTL).await.unwrap_err();
        assert_eq!(error.outcome(), CreateOutcome::MayExist, "{error}");
        assert!(
            account
                .client
                .find_server(&new.name, TTL)
                .await
                .unwrap()
                .is_some(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn sixty_servers_are_two_pages() {
    let account = Account::open(Config::default()).await;
    for seed in 0..60 {
        account.create(seed, 7200).await;
    }
    let listed = account
        .client
        .list_servers(&account.fleet, TTL)
        .await
        .unwrap();
    assert_eq!(listed.servers.len(), 60);
    assert!(listed.servers.is_sorted_by_key(|server| server.id));
}

#[tokio::test]
async fn the_leaking_wording_of_the_rate_limit_leaks_nothing() {
    let account = Account::open(Config::default()).await;
    account.fault(&json!({
        "match": { "operation": "list_servers" }, "fault": { "kind": "rate_limited", "leakToken": true },
    }));
    let error = account
        .client
        .list_servers(&account.fleet, TTL)
        .await
        .unwrap_err();
    let seen = format!("{error} {error:?}");
    assert!(seen.contains("[redacted]"), "{seen}");
    for start in 0..TOKEN.len() - 8 {
        assert!(!seen.contains(&TOKEN[start..start + 8]), "{seen}");
    }
    assert!(error.retry_in().unwrap() >= Duration::from_secs(1));
}

#[tokio::test]
async fn the_firewall_and_the_keys_are_made_once_by_any_number_of_controllers() {
    let account = Account::open(Config::default()).await;
    let mut firewalls = Vec::new();
    let mut names = Vec::new();
    for _ in 0..3 {
        let endpoint = Endpoint {
            url: account.sim.url(),
            token: TOKEN.to_owned().into(),
        };
        let client = Client::new(&endpoint).unwrap();
        firewalls.push(
            client
                .ensure_firewall(&account.fleet, &BTreeMap::new())
                .await
                .unwrap(),
        );
        names.push(
            client
                .ensure_ssh_keys(&account.fleet, &[KEY.to_owned()])
                .await
                .unwrap(),
        );
    }
    assert!(
        firewalls.iter().all(|id| *id == firewalls[0]),
        "{firewalls:?}"
    );
    assert!(
        names
            .iter()
            .all(|name| *name == names[0] && name.len() == 1),
        "{names:?}"
    );
    let firewall = account
        .client
        .find_firewall(&account.fleet)
        .await
        .unwrap()
        .unwrap();
    assert!(firewall.in_order);
}

#[tokio::test]
async fn the_reaper_takes_what_is_overdue_and_nothing_else() {
    let account = Account::open(Config::default()).await;
    let overdue = account.create(1, -300).await.server;
    let young = account.create(2, 7200).await.server;
    let scope = Scope::Fleet(account.fleet.clone());
    let other = Scope::Fleet("test".parse().unwrap());
    assert!(
        reap(
            &account.client,
            &other,
            TTL,
            &Ledger::default(),
            false,
            Asking::ONCE
        )
        .await
        .unwrap()
        .servers
        .is_empty()
    );
    let seen = reap(
        &account.client,
        &scope,
        TTL,
        &Ledger::default(),
        true,
        Asking::ONCE,
    )
    .await
    .unwrap();
    assert_eq!((seen.servers.len(), seen.servers[0].deleted), (1, false));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = reap(
            &account.client,
            &Scope::AllFleets,
            TTL,
            &Ledger::default(),
            false,
            Asking::ONCE,
        )
        .await
        .unwrap();
        // A fresh server is locked for a moment; the next round takes it.
        if reply.servers.iter().all(|server| server.error.is_none()) {
            break;
        }
        assert!(Instant::now() < deadline, "{reply:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    account.until_gone(overdue.id).await;
    assert!(
        account
            .client
            .get_server(young.id, TTL)
            .await
            .unwrap()
            .is_some()
    );
}
