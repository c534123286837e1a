//! Spec files that come over the socket: validated, versioned.

use std::sync::Arc;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cattle_core::{
    desired::{Authority, Cattle, SpecEntry, SpecState},
    names::CattleName,
    spec::{Inputs, ParsedSpec, parse_for},
};
use cattle_schemas::{
    problem::{Diagnostic, ErrorCode},
    spec_file::CattleFile,
    status::CattleStatus,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Api, idempotency::hex, problem::ApiError};
use crate::world::World;

/// A spec that would be taken.
pub(super) struct Read {
    /// As it was written.
    pub(super) document: CattleFile,
    /// As it is meant.
    pub(super) cattle: Arc<Cattle>,
}

/// The valid spec of an entry.
pub(super) fn valid(entry: &SpecEntry) -> Option<&Arc<Cattle>> {
    match &entry.state {
        SpecState::Valid(cattle) => Some(cattle),
        SpecState::Broken(_) | SpecState::Absent { .. } => None,
    }
}

/// Reads a spec file as the socket takes it: complete in itself, within what its source may do.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) async fn read(
    api: &Api,
    world: &World,
    name: &CattleName,
    bytes: &[u8],
    authority: Authority,
) -> Result<Read, Vec<Diagnostic>> {
    let path = format!("{name}.yaml");
    let parsed = parse_for(&path, name.as_str(), bytes, &world.fleet, authority)?;
    let personas = Arc::clone(&api.personas);
    let persona = parsed.persona.clone();
    let persona = tokio::task::spawn_blocking(move || personas.read(&persona))
        .await
        .unwrap_or_else(|_| Err("cannot be read".to_owned()));
    let cattle = complete(&parsed, world, authority, persona.as_ref())?;
    Ok(Read {
        document: parsed.to_document(None),
        cattle: Arc::new(cattle),
    })
}

fn complete(
    parsed: &ParsedSpec,
    world: &World,
    authority: Authority,
    persona: Result<&cattle_core::spec::PersonaFiles, &String>,
) -> Result<Cattle, Vec<Diagnostic>> {
    parsed.complete(Inputs {
        fleet: &world.fleet,
        authority,
        // Files of the caller's project are not ours to open: the caller puts the task inline.
        task_file: None,
        persona: persona.map_err(Clone::clone),
    })
}

/// As a problem.
pub(super) fn invalid(errors: Vec<Diagnostic>) -> ApiError {
    let detail = match errors.as_slice() {
        [one] => format!(
            "the spec has an error in line {}: {}",
            one.line, one.message
        ),
        all => format!("the spec has {} errors", all.len()),
    };
    ApiError::new(ErrorCode::SpecInvalid, detail).with_errors(errors)
}

/// What of a spec is compared: what it amounts to, defaults applied.
#[derive(Serialize)]
struct Versioned<'a> {
    persona: &'a str,
    task: &'a cattle_schemas::task::Task,
    with_github_token: bool,
    auto_shutdown: bool,
    labels: &'a std::collections::BTreeMap<String, String>,
    ttl: u64,
    start_within: u64,
    model: &'a str,
    on_failure: &'a cattle_schemas::spec_file::OnFailure,
    placement: &'a cattle_core::desired::Placement,
}

/// The version of a spec, as `ETag` and `If-Match` have it: it changes when what the spec asks for
/// does, wherever its file is and however it is written.
pub(super) fn version(cattle: &Cattle) -> String {
    let versioned = Versioned {
        persona: cattle.persona.as_str(),
        task: &cattle.task,
        with_github_token: cattle.with_github_token,
        auto_shutdown: cattle.auto_shutdown,
        labels: &cattle.labels,
        ttl: cattle.ttl.as_secs(),
        start_within: cattle.start_within.as_secs(),
        model: &cattle.model,
        on_failure: &cattle.on_failure,
        placement: &cattle.placement,
    };
    // Texts and numbers always serialize.
    let json = serde_json::to_vec(&versioned).unwrap_or_default();
    format!("\"{}\"", &hex(&Sha256::digest(json))[..16])
}

/// The header.
pub(super) fn etag(version: &str) -> HeaderValue {
    HeaderValue::from_str(version).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether `If-Match` allows a change of what has this version (`None`: there is nothing).
pub(super) fn check_if_match(headers: &HeaderMap, version: Option<&str>) -> Result<(), ApiError> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Ok(());
    };
    let wanted = wanted.to_str().unwrap_or_default();
    let holds = version.is_some_and(|version| {
        wanted
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag == version)
    });
    if holds {
        return Ok(());
    }
    let detail = match version {
        Some(version) => format!("the spec's version is {version}; read it again and decide anew"),
        None => "there is no valid spec of this name".to_owned(),
    };
    Err(ApiError::new(ErrorCode::PreconditionFailed, detail))
}

/// A status with the version of its spec.
pub(super) fn with_version(version: Option<String>, status: &CattleStatus) -> Response {
    let mut response = (StatusCode::OK, Json(status)).into_response();
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, etag(&version));
    }
    response
}
