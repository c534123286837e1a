//! The spec hash, which names what a spec asks for. What it asks for is compared by
//! [`crate::substance`]: two ways to write the same have two hashes.

use cattle_schemas::task::Task;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::names::{PersonaName, SpecHash};

/// In front of what is hashed; another one whenever the hash of an unchanged spec would change.
const VERSION: &str = "clawdlets-spec-v1\n";
/// Likewise, for what the ledger compares. A ledger has these, so it has to know the old one too then.
const CONTENT_VERSION: &str = "clawdlets-content-v1\n";
const SPARE_VERSION: &str = "clawdlets-spare-v1\n";

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
    digest(VERSION, &hashed)
}

/// Of what has no default: persona and task.
pub(crate) fn content_hash(persona: &PersonaName, task: &Task) -> SpecHash {
    digest(CONTENT_VERSION, &(persona.as_str(), task))
}

/// For a spec whose own hash names something else by now.
pub(crate) fn spare_hash(own: &SpecHash, model: &str, auto_shutdown: bool) -> SpecHash {
    digest(SPARE_VERSION, &(own.as_str(), model, auto_shutdown))
}

fn digest<T: Serialize>(version: &str, hashed: &T) -> SpecHash {
    let json = serde_json::to_vec(hashed).expect("strings, booleans and numbers are JSON");
    let digest = Sha256::new()
        .chain_update(version)
        .chain_update(json)
        .finalize();
    SpecHash::from_digest(&digest.into())
}
