//! `/etc/clawdlets/cattle/runners.json`: what the guest runs for which task type.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the guest looks, beneath its root.
pub const RUNNERS_PATH: &str = "/etc/clawdlets/cattle/runners.json";

/// Task type to command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunnersFile {
    /// Always 1.
    pub schema_version: u32,
    /// The command for each task type.
    pub runners: BTreeMap<String, Runner>,
}

/// One runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Runner {
    /// Program and arguments; not a shell line. The program is an absolute path or found in `PATH`.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// The user the command runs as; the guest's own unless written, which is only let pass while the
    /// controller is on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}
