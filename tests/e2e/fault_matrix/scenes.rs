//! What makes the controller make each of its calls, and how the simulator knows them.

use cattle_controller::hetzner::Operation;
use cattle_tests::{Project, SSH_KEY, TOKEN};
use hetzner_sim::Sim;
use serde_json::{Value, json};

use crate::stage::{self, Stage};

/// The one cattle of each scene, which is also its task's id.
pub(super) const COW: &str = "cow";

/// The trace that lets a waiting task end.
pub(super) const GO: &str = "go";

/// What one cattle goes through, so that a certain call is made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// A short task, from its spec to the end of its server.
    Plain,
    /// Its server is created, and does not come up.
    BornOff,
    /// The reply to its create is lost, and lists lag behind.
    LostCreate,
    /// Its ttl is edited while the task runs.
    NewTtl,
    /// Its server is deleted by somebody else while the task runs.
    Vanished,
    /// The fleet's firewall is there, with other rules.
    OtherRules,
    /// The fleet's firewall is there, without the fleet's labels.
    OtherLabels,
    /// The fleet has an operator with an SSH key.
    SshKey,
    /// The fleet names its image by labels.
    Labels,
}

impl Scene {
    /// For the table's reader.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Plain => "a short task, from its spec to the end of its server",
            Self::BornOff => "the server is created and stays off",
            Self::LostCreate => {
                "the reply to the create is lost, and lists do not show the server yet"
            }
            Self::NewTtl => "the spec's ttl is edited while the task runs",
            Self::Vanished => "somebody deletes the server while the task runs",
            Self::OtherRules => "the fleet's firewall has other rules",
            Self::OtherLabels => "the fleet's firewall lacks the fleet's labels",
            Self::SshKey => "the fleet has an operator's SSH key",
            Self::Labels => "the fleet names its image by labels",
        }
    }
}

/// One of the controller's calls.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) scene: Scene,
    /// The simulator's `match`.
    pub(super) matches: Value,
    /// Whether it changes anything at Hetzner.
    pub(super) changes: bool,
}

/// Exhaustive: a new operation has no cell until it is known how it comes about.
pub(super) fn asked(operation: Operation) -> Asked {
    let reads = |scene, matches| Asked {
        scene,
        matches,
        changes: false,
    };
    let changes = |scene, matches| Asked {
        scene,
        matches,
        changes: true,
    };
    match operation {
        Operation::ListServers => reads(
            Scene::Plain,
            json!({"operation": "list_servers", "query": "label_selector=*"}),
        ),
        Operation::GetServer => reads(Scene::Vanished, json!({"operation": "get_server"})),
        Operation::FindServer => reads(
            Scene::LostCreate,
            json!({"operation": "list_servers", "query": "name=*"}),
        ),
        Operation::CreateServer => changes(Scene::Plain, json!({"operation": "create_server"})),
        Operation::DeleteServer => changes(Scene::Plain, json!({"operation": "delete_server"})),
        Operation::PowerOn => changes(Scene::BornOff, json!({"operation": "poweron_server"})),
        Operation::Relabel => changes(Scene::NewTtl, json!({"operation": "update_server"})),
        Operation::Actions => reads(Scene::Plain, json!({"operation": "list_actions"})),
        Operation::FindFirewall => reads(Scene::Plain, json!({"operation": "list_firewalls"})),
        Operation::CreateFirewall => changes(Scene::Plain, json!({"operation": "create_firewall"})),
        Operation::RepairFirewall => changes(
            Scene::OtherRules,
            json!({"operation": "set_rules_firewall"}),
        ),
        Operation::RelabelFirewall => {
            changes(Scene::OtherLabels, json!({"operation": "update_firewall"}))
        }
        Operation::ListSshKeys => reads(Scene::SshKey, json!({"operation": "list_ssh_keys"})),
        Operation::CreateSshKey => changes(Scene::SshKey, json!({"operation": "create_ssh_key"})),
        Operation::ListServerTypes => {
            reads(Scene::Plain, json!({"operation": "list_server_types"}))
        }
        Operation::Prices => reads(Scene::Plain, json!({"operation": "list_prices"})),
        Operation::ListImages => reads(Scene::Labels, json!({"operation": "list_images"})),
        Operation::GetImage => reads(Scene::Plain, json!({"operation": "get_image"})),
    }
}

/// Sets a scene up. `rules` are the simulator's faults, in force before the first call.
pub(super) async fn set(scene: Scene, rules: &[Value]) -> Stage {
    let project = Project::new();
    let sim = stage::account(&project, true).await;
    prepare(scene, &project, &sim).await;
    for rule in rules {
        stage::control(&sim, "POST", "/_sim/faults", rule);
    }
    Stage::set(project, sim, stage::patience()).await
}

/// What a scene needs before the controller starts.
async fn prepare(scene: Scene, project: &Project, sim: &Sim) {
    let rule = json!({"direction": "in", "protocol": "tcp", "port": "22",
        "source_ips": ["0.0.0.0/0", "::/0"]});
    let ours = json!({"direction": "in", "protocol": "udp", "port": "41641",
        "source_ips": ["0.0.0.0/0", "::/0"], "description": "Tailscale"});
    let firewall = |rule: &Value, labels: Value| json!({"name": "clawdlets-cattle-example", "rules": [rule], "labels": labels});
    match scene {
        Scene::Labels => project.configure(|fleet| {
            fleet["cattle"]["hetzner"]["image"] = json!("role=cattle-image");
        }),
        Scene::SshKey => project.configure(|fleet| {
            fleet["fleet"]["sshAuthorizedKeys"] = json!([SSH_KEY]);
        }),
        Scene::OtherRules => {
            let labels = json!({"managed-by": "clawdlets", "fleet": "example", "env": "example"});
            post(sim, "/firewalls", &firewall(&rule, labels)).await;
        }
        Scene::OtherLabels => {
            let labels = json!({"managed-by": "clawdlets", "fleet": "example"});
            post(sim, "/firewalls", &firewall(&ours, labels)).await;
        }
        Scene::Plain | Scene::BornOff | Scene::LostCreate | Scene::NewTtl | Scene::Vanished => {}
    }
}

/// A call that somebody else makes of the API.
async fn post(sim: &Sim, path: &str, body: &Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = client
        .post(format!("{}{path}", sim.url()))
        .bearer_auth(TOKEN)
        .json(body);
    let reply = call.send().await.unwrap();
    let status = reply.status();
    assert!(
        status.is_success(),
        "{status} {}",
        reply.text().await.unwrap()
    );
}
