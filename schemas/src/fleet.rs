//! `fleet/clawdlets.json`, schema version 8: the part that concerns cattle.
//!
//! Keys outside `cattle` belong to other tools and are left alone; keys inside it are ours, so an
//! unknown one there is an error.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::SpecDuration;

/// The only `schemaVersion`.
pub const FLEET_SCHEMA_VERSION: u32 = 8;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetFile {
    /// Always [`FLEET_SCHEMA_VERSION`].
    #[schemars(range(min = 8, max = 8))]
    pub schema_version: u32,
    /// The host whose settings are used when several are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_host: Option<String>,
    /// Hosts by name.
    #[serde(default)]
    pub hosts: BTreeMap<String, HostConfig>,
    /// What all hosts share.
    #[serde(default)]
    pub fleet: SharedConfig,
    /// Cattle.
    pub cattle: CattleConfig,
}

/// `hosts.<host>`: only what cattle need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostConfig {
    /// The model when neither spec nor persona names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_model_primary: Option<String>,
    /// Where administrators come from, CIDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_cidr: Option<String>,
}

/// `fleet`: only what cattle need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedConfig {
    /// OpenSSH public keys that get onto every server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Provider to the name of the secret file that holds its API key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub model_secrets: BTreeMap<String, String>,
    /// Further environment variables per provider: `[A-Z][A-Z0-9_]*_(KEY|TOKEN)`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub model_env: BTreeMap<String, Vec<String>>,
}

/// `cattle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CattleConfig {
    /// `false` starts nothing and still ends runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The label `fleet`; two fleets share a project without touching each other.
    pub fleet: String,
    /// Servers.
    pub hetzner: HetznerConfig,
    /// What a spec gets when it is silent.
    #[serde(default)]
    pub defaults: DefaultsConfig,
    /// What a spec may choose.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What may be spent.
    #[serde(default)]
    pub budget: BudgetConfig,
}

fn yes() -> bool {
    true
}

/// `cattle.hetzner`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [
    { "oneOf": [{ "required": ["serverType"] }, { "required": ["serverTypes"] }] },
    { "oneOf": [{ "required": ["location"] }, { "required": ["locations"] }] },
]))]
pub struct HetznerConfig {
    /// Image id, name, or selector of labels as `role=cattle-image`.
    pub image: String,
    /// One candidate; the short form of `serverTypes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_type: Option<String>,
    /// Candidates, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_types: Option<Vec<String>>,
    /// One candidate; the short form of `locations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Candidates, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locations: Option<Vec<String>>,
    /// Servers of this fleet at once, creates in flight and ended ones not yet gone included.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 10000))]
    pub max_instances: u32,
    /// The TTL of a spec that has none.
    #[serde(default = "two_hours")]
    pub default_ttl: SpecDuration,
    /// Labels on every server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn ten() -> u32 {
    10
}

fn two_hours() -> SpecDuration {
    "2h".parse().expect("`2h` is a duration")
}

/// `cattle.defaults`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultsConfig {
    /// `true` unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_shutdown: Option<bool>,
    /// Must be empty: guests call nobody back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 0))]
    pub callback_url: Option<String>,
}

/// `cattle.limits`; what is absent is the fleet's own choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsConfig {
    /// Images a spec may name; else only the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
    /// Server types a spec may name; else only the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_types: Option<Vec<String>>,
    /// Locations a spec may name; else only the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locations: Option<Vec<String>>,
    /// The longest life of a server, extensions included. 24h unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<SpecDuration>,
    /// Live runs of one requester; `maxInstances` unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_runs_per_requester: Option<u32>,
    /// Servers created within an hour. 60 unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates_per_hour: Option<u32>,
    /// Servers at once of an image that no guest has reported from yet: what a broken image may cost
    /// before it is noticed. `maxInstances` unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub unproven_image: Option<u32>,
}

/// `cattle.budget`, in the account's currency, net.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetConfig {
    /// The sum of the hourly prices of all servers at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hourly: Option<f64>,
    /// What the started hours of one UTC day may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_daily: Option<f64>,
}
