//! How things are: all cattle in pages, or one.

use std::collections::BTreeMap;

use axum::{Json, extract::State, response::Response};
use cattle_core::{
    action::Waiting,
    desired::SpecEntry,
    ledger::Run,
    names::{CattleName, RunId, ServerId},
    observed::ObservedServer,
    ownership,
    status::{self, Known},
};
use cattle_schemas::{
    api::{CattleList, ListQuery, WaitFor, WaitQuery},
    problem::ErrorCode,
    status::CattleStatus,
};
use chrono::TimeDelta;

use super::{
    Api,
    extract::{Named, Strict},
    health,
    peer::Peer,
    poll,
    problem::ApiError,
    resolve::{self, Target, is_there},
    selector::Selector,
    spec,
};
use crate::{store::RunFilter, world::World};

/// A page, unless the query says.
const DEFAULT_PAGE: u32 = 500;
/// The longest page: some kilobytes for each.
const MAX_PAGE: u32 = 5_000;
/// Runs ended longer ago are only listed with `all`.
const RECENT: TimeDelta = TimeDelta::hours(24);
/// Runs told of one cattle.
const MAX_EARLIER_RUNS: u32 = 50;

/// What a pass knew, indexed for statuses.
struct View<'a> {
    peer: Peer,
    world: &'a World,
    waiting: BTreeMap<&'a CattleName, &'a Waiting>,
    servers: BTreeMap<ServerId, &'a ObservedServer>,
    duplicates: BTreeMap<RunId, Vec<&'a ObservedServer>>,
}

impl<'a> View<'a> {
    fn new(world: &'a World, peer: Peer) -> Self {
        Self {
            peer,
            world,
            waiting: world
                .plan
                .waiting
                .iter()
                .map(|it| (&it.cattle, it))
                .collect(),
            servers: world
                .observed
                .servers
                .iter()
                .map(|it| (it.id, it))
                .collect(),
            duplicates: ownership::duplicates(&world.observed, &world.ledger),
        }
    }

    /// `runs` newest first.
    fn status(&self, api: &Api, name: &CattleName, runs: &[&Run]) -> CattleStatus {
        let world = self.world;
        let own = |entry: &&SpecEntry| self.peer.owns(&entry.origin.requester.0);
        let entry = world.desired.specs.get(name).filter(own);
        let hash = entry
            .and_then(spec::valid)
            .map(|cattle| &cattle.hash)
            .or(runs.first().map(|run| &run.hash));
        let key = hash.map(|hash| (name.clone(), hash.clone()));
        let server = runs.first().and_then(|run| run.server.as_ref());
        status::cattle_status(&Known {
            name,
            entry,
            runs,
            assignment: key.and_then(|key| world.ledger.assignments.get(&key)),
            waiting: self.waiting.get(name).copied(),
            server: server.and_then(|server| self.servers.get(&server.id).copied()),
            duplicates: runs
                .first()
                .and_then(|run| self.duplicates.get(&run.id))
                .map_or(&[], Vec::as_slice),
            catalogue: &world.limits.catalogue,
            now: (api.now)(),
        })
    }
}

/// `GET /v1/cattle`.
pub(super) async fn list(
    State(api): State<Api>,
    peer: Peer,
    Strict(query): Strict<ListQuery>,
) -> Result<Json<CattleList>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if limit == 0 || limit > MAX_PAGE {
        let detail = format!("`limit` is between 1 and {MAX_PAGE}");
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    let selector = query.selector.as_deref().map(Selector::parse).transpose()?;
    let applied = match &query.apply_set {
        Some(set) => Some(applied_from(&api, &peer, set).await?),
        None => None,
    };
    let now = (api.now)();
    let filter = RunFilter {
        ended_after: (!query.all).then_some(now - RECENT),
        latest_only: true,
        ..RunFilter::default()
    };
    let stored = api.store.runs(filter).await?;
    let world = api.handle.world();
    let view = View::new(&world, peer);
    let runs = latest_runs(&world, &stored);
    let mut items: Vec<CattleStatus> = Vec::new();
    let mut names: Vec<&CattleName> = world
        .desired
        .specs
        .keys()
        .chain(runs.keys().copied())
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        let entry = world
            .desired
            .specs
            .get(name)
            .filter(|entry| is_there(entry));
        let run = runs.get(name).copied();
        let owner = match (entry, run) {
            (Some(entry), _) => &entry.origin.requester.0,
            (None, Some(run)) => &run.requester.0,
            // Gone before anything was done for it.
            (None, None) => continue,
        };
        let wanted = peer.owns(owner)
            && applied.as_ref().is_none_or(|names| names.contains(name))
            && (query.all || recent(run, entry.is_some(), now));
        if wanted {
            let runs: Vec<&Run> = run
                .into_iter()
                .filter(|run| peer.owns(&run.requester.0))
                .collect();
            items.push(view.status(&api, name, &runs));
        }
    }
    if peer.is_operator() && query.apply_set.is_none() {
        items.extend(orphans(&world, &items));
        items.extend(duplicates(&view));
        items.sort_by(|a, b| a.name.cmp(&b.name));
    }
    if let Some(selector) = &selector {
        items.retain(|item| selector.matches(&item.labels));
    }
    if let Some(cursor) = &query.cursor {
        items.retain(|item| item.name > *cursor);
    }
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Ok(Json(CattleList {
        next: items.last().filter(|_| more).map(|item| item.name.clone()),
        items,
        controller: health::controller(&api, &world),
        diagnostics: if peer.is_operator() {
            world.desired.strays.clone()
        } else {
            Vec::new()
        },
    }))
}

/// The latest run of each name. The ledger is newer than the world; the world also has the runs of
/// wanted names that ended long ago.
fn latest_runs<'a>(world: &'a World, stored: &'a [Run]) -> BTreeMap<&'a CattleName, &'a Run> {
    let mut runs: BTreeMap<&CattleName, &Run> = BTreeMap::new();
    for run in world.ledger.runs.values().chain(stored) {
        let known = runs.entry(&run.cattle).or_insert(run);
        if run.id >= known.id {
            *known = run;
        }
    }
    runs
}

/// Whether a list without `all` has it: not what was over more than a day ago.
fn recent(run: Option<&Run>, has_spec: bool, now: cattle_schemas::Timestamp) -> bool {
    match run {
        None => has_spec,
        Some(run) => {
            run.gone_at.is_none() || run.ended.as_ref().is_none_or(|end| end.at > now - RECENT)
        }
    }
}

/// Servers that no run stands behind.
fn orphans(world: &World, items: &[CattleStatus]) -> Vec<CattleStatus> {
    let runs: Vec<&Run> = world.ledger.runs.values().collect();
    let known = |server: &ObservedServer| {
        server
            .labels
            .run
            .is_some_and(|run| world.ledger.runs.contains_key(&run))
            || runs
                .iter()
                .any(|run| run.server.as_ref().is_some_and(|own| own.id == server.id))
    };
    world
        .observed
        .servers
        .iter()
        .filter(|server| !known(server))
        .map(|server| {
            let mut status = status::orphan_status(server);
            // A page is found by its last name, so two must not share one.
            if items.iter().any(|item| item.name == status.name) {
                status.name.clone_from(&server.name);
            }
            status
        })
        .collect()
}

/// The server without a run of its own that this names: as the list does, by the run of its label,
/// by its name or its id.
pub(super) fn stray(api: &Api, peer: &Peer, text: &str) -> Option<CattleStatus> {
    if !peer.is_operator() {
        return None;
    }
    let world = api.handle.world();
    let strays = orphans(&world, &[]);
    let strays = strays
        .into_iter()
        .chain(duplicates(&View::new(&world, *peer)));
    strays.into_iter().find(|stray| {
        let names_run = stray.run.as_ref().is_some_and(|run| {
            let server = run.server.as_ref();
            run.run == text
                || server.is_some_and(|own| own.name == text || own.id.to_string() == text)
        });
        stray.name == text || names_run
    })
}

/// Servers that carry the label of a run which has another one.
fn duplicates(view: &View<'_>) -> Vec<CattleStatus> {
    let runs = &view.world.ledger.runs;
    let of_run = |(run, servers): (&RunId, &Vec<&ObservedServer>)| {
        let run = runs.get(run);
        let status = |server: &&ObservedServer| Some(status::duplicate_status(server, run?));
        servers.iter().filter_map(status).collect::<Vec<_>>()
    };
    view.duplicates.iter().flat_map(of_run).collect()
}

async fn applied_from(api: &Api, peer: &Peer, set: &str) -> Result<Vec<CattleName>, ApiError> {
    let specs = api.store.socket_specs().await?;
    Ok(specs
        .into_iter()
        .filter(|spec| spec.requester == peer.requester() && spec.apply_set.as_deref() == Some(set))
        .map(|spec| spec.cattle)
        .collect())
}

/// `GET /v1/cattle/{name}`.
pub(super) async fn one(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
    Strict(query): Strict<WaitQuery>,
) -> Result<Response, ApiError> {
    let target = match resolve::resolve(&api, &peer, &name).await {
        Ok(target) => target,
        Err(error) => {
            let stray = stray(&api, &peer, &name).filter(|_| query.wait_for.is_none());
            let status = stray.ok_or(error)?;
            return Ok(spec::with_version(None, &status));
        }
    };
    let wait = poll::duration(&query)?;
    let status = match query.wait_for {
        None => status(&api, &peer, &target).await?,
        Some(state) => {
            let look = || status(&api, &peer, &target);
            poll::until(&api, wait, look, |status| holds(state, status, target.run)).await?
        }
    };
    let world = api.handle.world();
    let own = |entry: &&SpecEntry| peer.owns(&entry.origin.requester.0);
    let entry = world.desired.specs.get(&target.cattle).filter(own);
    let version = entry
        .and_then(spec::valid)
        .map(|cattle| spec::version(cattle));
    Ok(spec::with_version(version, &status))
}

/// The status of one cattle, with its earlier runs.
pub(super) async fn status(
    api: &Api,
    peer: &Peer,
    target: &Target,
) -> Result<CattleStatus, ApiError> {
    let filter = RunFilter {
        cattle: Some(target.cattle.clone()),
        limit: Some(MAX_EARLIER_RUNS),
        ..RunFilter::default()
    };
    let mut runs = api.store.runs(filter).await?;
    runs.retain(|run| peer.owns(&run.requester.0));
    let world = api.handle.world();
    let runs: Vec<&Run> = runs.iter().collect();
    let has_spec = world.desired.specs.contains_key(&target.cattle);
    if runs.is_empty() && !has_spec {
        return pending_or_gone(api, &world, &target.cattle).await;
    }
    Ok(View::new(&world, *peer).status(api, &target.cattle, &runs))
}

/// A name that only its assignments remember: ended without a run.
async fn pending_or_gone(
    api: &Api,
    world: &World,
    name: &CattleName,
) -> Result<CattleStatus, ApiError> {
    let assignments = api.store.assignments(name.clone()).await?;
    let last = assignments
        .iter()
        .max_by_key(|(_, assignment)| assignment.queued_at);
    let Some((_, assignment)) = last else {
        return Err(ApiError::not_found("cattle, run or server", name.as_str()));
    };
    Ok(status::cattle_status(&Known {
        name,
        entry: None,
        runs: &[],
        assignment: Some(assignment),
        waiting: None,
        server: None,
        duplicates: &[],
        catalogue: &world.limits.catalogue,
        now: (api.now)(),
    }))
}

/// Whether what is waited for holds; for a run that was named, of that run.
fn holds(state: WaitFor, status: &CattleStatus, run: Option<RunId>) -> bool {
    use cattle_schemas::status::Phase;
    let run = match run.map(|run| run.to_string()) {
        Some(id) => status
            .run
            .iter()
            .chain(&status.earlier_runs)
            .find(|run| run.run == id),
        // Pending again after a rerun: the latest run is not what is waited for.
        None if status.phase == Phase::Pending => return false,
        None => status.run.as_ref(),
    };
    match run {
        // Ended without a run.
        None => matches!(
            status.phase,
            Phase::Succeeded | Phase::Canceled | Phase::Failed
        ),
        Some(run) => match state {
            WaitFor::Running => run.started_at.is_some() || run.ended_at.is_some(),
            WaitFor::Ended => run.ended_at.is_some(),
            WaitFor::Gone => run.gone_at.is_some(),
        },
    }
}
