//! `cattle/personas/<name>/config.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A persona's configuration. Keys that are not ours belong to the agent and are handed on as they
/// are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonaConfig {
    /// The model this persona prefers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PersonaModel>,
    /// Everything else, untouched.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// `model` of a persona.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonaModel {
    /// `provider/model`, used when the spec names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// Everything else, untouched.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
