//! What makes the controller make each of its calls, and how the simulator knows them.

use cattle_controller::hetzner::Operation;
use serde_json::{Value, json};

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
