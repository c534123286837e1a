//! The spec hash: what of a spec, when it changes, makes it another task.

use cattle_schemas::task::Task;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::names::{PersonaName, SpecHash};

/// In front of what is hashed; another one whenever the hash of an unchanged spec would change.
const VERSION: &str = "clawdlets-spec-v1\n";

/// Serialized as it is declared: the order of these fields is part of the hash.
#[derive(Serialize)]
struct Hashed<'a> {
    persona: &'a str,
    task: &'a Task,
    model: Option<&'a str>,
    with_github_token: Option<bool>,
    auto_shutdown: Option<bool>,
}

/// Model and the two switches enter as they are written, so that a changed default replaces nothing.
pub(crate) fn spec_hash(
    persona: &PersonaName,
    task: &Task,
    model: Option<&str>,
    with_github_token: Option<bool>,
    auto_shutdown: Option<bool>,
) -> SpecHash {
    let hashed = Hashed {
        persona: persona.as_str(),
        task,
        model,
        with_github_token,
        auto_shutdown,
    };
    let json = serde_json::to_vec(&hashed).expect("strings, booleans and numbers are JSON");
    let digest = Sha256::new()
        .chain_update(VERSION)
        .chain_update(json)
        .finalize();
    SpecHash::from_digest(&digest.into())
}
