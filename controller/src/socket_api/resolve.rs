//! What a caller means by a name: a cattle, a run or its prefix, a server's id or name.

use cattle_core::{
    desired::{SpecEntry, SpecState},
    ledger::Run,
    names::{CattleName, RunId},
};
use cattle_schemas::problem::ErrorCode;

use super::{Api, peer::Peer, problem::ApiError, read};
use crate::store::RunFilter;

/// Shorter beginnings of a run say nothing: the first characters are the time.
const MIN_PREFIX: usize = 4;
/// The most runs that are looked through for a prefix or a server, newest first.
const MAX_LOOKED_THROUGH: u32 = 5_000;
/// The most that an ambiguity lists.
const MAX_LISTED: usize = 5;

/// What was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) cattle: CattleName,
    /// Set when a run or its server was named.
    pub(super) run: Option<RunId>,
}

/// Whether the spec is there, readable or not.
pub(super) fn is_there(entry: &SpecEntry) -> bool {
    !matches!(entry.state, SpecState::Absent { .. })
}

/// Finds what is meant, among what the caller may see. A cattle's name goes before everything.
pub(super) async fn resolve(api: &Api, peer: &Peer, text: &str) -> Result<Target, ApiError> {
    if let Ok(name) = text.parse::<CattleName>()
        && owner(api, &name)
            .await?
            .is_some_and(|owner| peer.owns(&owner))
    {
        return Ok(Target {
            cattle: name,
            run: None,
        });
    }
    if let Ok(id) = text.parse::<RunId>() {
        let run = api
            .store
            .run(id)
            .await?
            .filter(|run| peer.owns(&run.requester.0));
        return run.map(of_run).ok_or_else(|| unknown(api, peer, text));
    }
    let upper = text.to_ascii_uppercase();
    let server = text.parse::<u64>().ok();
    let means = |run: &Run| {
        let (id, name) = match &run.server {
            Some(found) => (server == Some(found.id.0), found.name == text),
            None => (false, run.server_name() == text),
        };
        id || name || (text.len() >= MIN_PREFIX && run.id.to_string().starts_with(&upper))
    };
    let filter = RunFilter {
        limit: Some(MAX_LOOKED_THROUGH),
        ..RunFilter::default()
    };
    let mut found: Vec<Run> = api.store.runs(filter).await?;
    found.retain(|run| peer.owns(&run.requester.0) && means(run));
    match found.len() {
        0 => Err(unknown(api, peer, text)),
        1 => Ok(of_run(found.remove(0))),
        many => {
            let mut listed: Vec<String> = found
                .iter()
                .take(MAX_LISTED)
                .map(|run| format!("{} ({})", run.id, run.cattle))
                .collect();
            if many > MAX_LISTED {
                listed.push("…".to_owned());
            }
            Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("`{text}` fits {many} runs: {}", listed.join(", ")),
            ))
        }
    }
}

/// Nothing of the ledger goes by that. A server that the list shows all the same is not denied.
fn unknown(api: &Api, peer: &Peer, text: &str) -> ApiError {
    match read::stray(api, peer, text).and_then(|stray| stray.message) {
        Some(message) => ApiError::new(
            ErrorCode::NotFound,
            format!("`{text}` is no run of this ledger, and can only be looked at: {message}"),
        ),
        None => ApiError::not_found("cattle, run or server", text),
    }
}

fn of_run(run: Run) -> Target {
    Target {
        cattle: run.cattle,
        run: Some(run.id),
    }
}

/// Who asked for what goes by this name: the spec that is there, else the latest run, else whoever
/// had it queued; `None` when nobody ever did.
pub(super) async fn owner(api: &Api, name: &CattleName) -> Result<Option<String>, ApiError> {
    let world = api.handle.world();
    if let Some(entry) = world
        .desired
        .specs
        .get(name)
        .filter(|entry| is_there(entry))
    {
        return Ok(Some(entry.origin.requester.0.clone()));
    }
    if let Some(run) = latest(api, name).await? {
        return Ok(Some(run.requester.0));
    }
    let assignments = api.store.assignments(name.clone()).await?;
    let last = assignments
        .into_iter()
        .max_by_key(|(_, assignment)| assignment.queued_at);
    Ok(last.map(|(_, assignment)| assignment.requester.0))
}

/// Whether what goes by this name is the caller's.
pub(super) async fn owns_name(api: &Api, peer: &Peer, name: &CattleName) -> Result<bool, ApiError> {
    Ok(peer.is_operator()
        || owner(api, name)
            .await?
            .is_some_and(|owner| peer.owns(&owner)))
}

/// The latest run of a name.
pub(super) async fn latest(api: &Api, name: &CattleName) -> Result<Option<Run>, ApiError> {
    let filter = RunFilter {
        cattle: Some(name.clone()),
        limit: Some(1),
        ..RunFilter::default()
    };
    Ok(api.store.runs(filter).await?.into_iter().next())
}

/// The run that was named, else the latest; only what the caller may see.
pub(super) async fn run_of(
    api: &Api,
    peer: &Peer,
    target: &Target,
) -> Result<Option<Run>, ApiError> {
    let run = match target.run {
        Some(id) => api.store.run(id).await?,
        None => latest(api, &target.cattle).await?,
    };
    Ok(run.filter(|run| peer.owns(&run.requester.0)))
}
