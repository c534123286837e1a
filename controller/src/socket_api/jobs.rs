//! Jobs: recorded requests, for `clf`.
//!
//! A job keeps who asked and which cattle it made; where it stands is read off that cattle each time
//! it is asked about, until it is over, which is then recorded. Nothing runs for a job itself.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{Extensions, HeaderMap},
};
use cattle_core::{
    ledger::Run,
    names::{CattleName, MAX_NAME, RunId},
};
use cattle_schemas::{
    Timestamp,
    api::{ApplyQuery, PageQuery, WaitQuery},
    job::{Job, JobKind, JobList, JobRequest, JobState},
    problem::ErrorCode,
    status::EndReason,
};
use sha2::{Digest, Sha256};

use super::{
    Api, apply, destroy,
    extract::{Named, Strict, json, read_body},
    idempotency::Key,
    peer::Peer,
    poll,
    problem::ApiError,
    reap,
    resolve::Target,
    routes::MAX_JSON_BYTES,
};
use crate::store::RunFilter;

/// A page, unless the query says.
const DEFAULT_PAGE: u32 = 50;
/// The longest page: each job's state is read off its cattle.
const MAX_PAGE: u32 = 500;
/// Runs of its cattle among which a job's own is looked for: the latest but for those of whoever took
/// the name over, which are few before somebody asks.
const RUNS_LOOKED_AT: u32 = 20;
/// Random characters of a name that nobody chose: 36^6, two thousand million.
const SUFFIX: usize = 6;

/// `POST /v1/jobs`.
pub(super) async fn enqueue(
    State(api): State<Api>,
    peer: Peer,
    extensions: Extensions,
    body: Body,
) -> Result<Json<Job>, ApiError> {
    let request: JobRequest = json(&read_body(body, MAX_JSON_BYTES).await?)?;
    let key = extensions.get::<Key>().map(|key| key.0.clone());
    let seed = seed(&peer, key.as_deref())?;
    let now = (api.now)();
    let job = Job {
        id: RunId::from_parts(millis(now), seed).to_string(),
        kind: request.kind,
        state: JobState::Queued,
        requester: peer.requester().0,
        created_at: now,
        finished_at: None,
        cattle: None,
        run: None,
        end_reason: None,
        message: None,
    };
    match request.kind {
        JobKind::CattleSpawn => spawn(&api, &peer, job, request, seed, key.is_some()).await,
        JobKind::CattleReap => reap_now(&api, &peer, job, request).await,
    }
    .map(Json)
}

/// 128 bits: of the idempotency key where there is one, so that a request repeated after a crash
/// makes the same name again and not a second cattle.
fn seed(peer: &Peer, key: Option<&str>) -> Result<u128, ApiError> {
    let mut bytes = [0_u8; 16];
    match key {
        Some(key) => {
            let digest = Sha256::digest(format!("job\n{}\n{key}", peer.uid));
            bytes.copy_from_slice(&digest[..16]);
        }
        None => getrandom::fill(&mut bytes)
            .map_err(|error| ApiError::internal("the system gives no randomness", &error))?,
    }
    Ok(u128::from_le_bytes(bytes))
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}

/// `<persona>-<6 random>`, within the longest name.
fn name_for(persona: &str, mut seed: u128) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name: String = persona.chars().take(MAX_NAME - SUFFIX - 1).collect();
    while name.ends_with('-') {
        name.pop();
    }
    name.push('-');
    for _ in 0..SUFFIX {
        // The remainder is below 36.
        let index = usize::try_from(seed % 36).unwrap_or(0);
        name.push(char::from(ALPHABET[index]));
        seed /= 36;
    }
    name
}

async fn spawn(
    api: &Api,
    peer: &Peer,
    mut job: Job,
    request: JobRequest,
    seed: u128,
    repeatable: bool,
) -> Result<Job, ApiError> {
    let bad = |detail: &str| ApiError::new(ErrorCode::BadRequest, detail);
    let Some(mut file) = request.file else {
        return Err(bad("a `cattle.spawn` job needs `file`, the spec"));
    };
    if request.dry_run {
        return Err(bad(
            "`dryRun` is for `cattle.reap`; ask `/v1/plan` or PUT with `dryRun=true`",
        ));
    }
    let chosen = request
        .name
        .or_else(|| file.metadata.as_ref().and_then(|it| it.name.clone()));
    let drawn = chosen.is_none();
    let name = chosen.unwrap_or_else(|| name_for(&file.spec.persona, seed));
    let name: CattleName = name.parse().map_err(|error| bad(&format!("{error}")))?;
    file.metadata.get_or_insert_default().name = Some(name.to_string());
    let bytes = serde_json::to_vec_pretty(&file)
        .map_err(|error| ApiError::internal("the spec does not serialize", &error))?;
    let query = ApplyQuery {
        refuse_at_limit: !request.queue,
        // A name drawn from the key is met again only by the same request.
        create_only: !(drawn && repeatable),
        ..ApplyQuery::default()
    };
    job.cattle = Some(name.to_string());
    // Recorded first: a crash after this leaves a job that says that nothing came of it.
    api.store.put_job(job.clone()).await?;
    match apply::apply(api, peer, name, &bytes, &query, &HeaderMap::new()).await {
        Ok(_) => observe(api, job).await,
        Err(error) => {
            job.state = JobState::Failed;
            job.cattle = None;
            job.finished_at = Some((api.now)());
            job.message = Some(error.problem().detail.clone());
            note(api, &job).await;
            Err(error)
        }
    }
}

async fn reap_now(
    api: &Api,
    peer: &Peer,
    mut job: Job,
    request: JobRequest,
) -> Result<Job, ApiError> {
    if !peer.is_operator() {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "`cattle.reap` is for operators",
        ));
    }
    if request.file.is_some() || request.name.is_some() {
        let detail = "`name` and `file` are for `cattle.spawn`";
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    job.state = JobState::Running;
    api.store.put_job(job.clone()).await?;
    let reaped = reap::reap(api, peer, request.dry_run).await;
    job.finished_at = Some((api.now)());
    (job.state, job.message) = match &reaped {
        Ok(reply) => {
            let found = reply.servers.len();
            let deleted = reply.servers.iter().filter(|server| server.deleted).count();
            let failed = reply.servers.iter().any(|server| server.error.is_some());
            let state = if failed {
                JobState::Failed
            } else {
                JobState::Done
            };
            (
                state,
                Some(format!("{deleted} of {found} expired servers deleted")),
            )
        }
        Err(error) => (JobState::Failed, Some(error.problem().detail.clone())),
    };
    note(api, &job).await;
    reaped.map(|_| job)
}

/// `GET /v1/jobs`.
pub(super) async fn list(
    State(api): State<Api>,
    peer: Peer,
    Strict(query): Strict<PageQuery>,
) -> Result<Json<JobList>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if limit == 0 {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "`limit` is at least 1",
        ));
    }
    let limit = limit.min(MAX_PAGE);
    let requester = (!peer.is_operator()).then(|| peer.requester().0);
    let mut jobs = api.store.jobs(requester, query.cursor, limit + 1).await?;
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let mut items = Vec::with_capacity(jobs.len());
    for job in jobs {
        items.push(observe(&api, job).await?);
    }
    let next = items.last().filter(|_| more).map(|job| job.id.clone());
    Ok(Json(JobList { items, next }))
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn one(
    State(api): State<Api>,
    peer: Peer,
    Named(id): Named,
    Strict(query): Strict<WaitQuery>,
) -> Result<Json<Job>, ApiError> {
    let wait = poll::duration(&query)?;
    let look = || async { observe(&api, find(&api, &peer, &id).await?).await };
    if query.wait_for.is_none() {
        return look().await.map(Json);
    }
    let holds = |job: &Job| match query.wait_for {
        Some(cattle_schemas::api::WaitFor::Running) => job.state != JobState::Queued,
        _ => job.state.is_final(),
    };
    poll::until(&api, wait, look, holds).await.map(Json)
}

/// `POST /v1/jobs/{id}/cancel`.
pub(super) async fn cancel(
    State(api): State<Api>,
    peer: Peer,
    Named(id): Named,
) -> Result<Json<Job>, ApiError> {
    let job = observe(&api, find(&api, &peer, &id).await?).await?;
    if job.state.is_final() {
        return Ok(Json(job));
    }
    let Some(name) = job.cattle.as_deref().and_then(|name| name.parse().ok()) else {
        let detail = "only a job with a cattle can be canceled";
        return Err(ApiError::new(ErrorCode::WrongPhase, detail));
    };
    destroy::destroy(
        &api,
        &peer,
        &Target {
            cattle: name,
            run: None,
        },
        false,
    )
    .await?;
    let mut job = observe(&api, job).await?;
    if !job.state.is_final() {
        job.state = JobState::Canceled;
        job.end_reason = Some(EndReason::Destroyed);
        job.finished_at = Some((api.now)());
        note(&api, &job).await;
    }
    Ok(Json(job))
}

/// Records where a job stands. Done is done: a ledger without room for it makes no failure of what
/// was carried out, or only looked at; it is recorded when the job is next asked about.
async fn note(api: &Api, job: &Job) {
    if let Err(error) = api.store.put_job(job.clone()).await {
        tracing::warn!(job = job.id, error = %super::problem::chain(&error), "where a job stands is not recorded");
    }
}

async fn find(api: &Api, peer: &Peer, id: &str) -> Result<Job, ApiError> {
    let job = api.store.job(id.to_ascii_uppercase()).await?;
    job.filter(|job| peer.owns(&job.requester))
        .ok_or_else(|| ApiError::not_found("job", id))
}

/// The job as its cattle stands now; its end is recorded once it is seen.
async fn observe(api: &Api, mut job: Job) -> Result<Job, ApiError> {
    if job.state.is_final() || job.kind != JobKind::CattleSpawn {
        return Ok(job);
    }
    let Some(name) = job
        .cattle
        .as_deref()
        .and_then(|name| name.parse::<CattleName>().ok())
    else {
        return Ok(job);
    };
    let filter = RunFilter {
        cattle: Some(name.clone()),
        limit: Some(RUNS_LOOKED_AT),
        ..RunFilter::default()
    };
    // Somebody else may have taken the name over since: their runs are not this job's, and whoever
    // asks for it may not even know of them.
    let run = api
        .store
        .runs(filter)
        .await?
        .into_iter()
        .find(|run| run.created_at >= job.created_at && run.requester.0 == job.requester);
    job.run = run.as_ref().map(|run| run.id.to_string());
    if run.as_ref().is_some_and(Run::is_live) {
        job.state = JobState::Running;
        return Ok(job);
    }
    job.state = JobState::Queued;
    let assignments = api.store.assignments(name.clone()).await?;
    let assignment = assignments
        .into_iter()
        .filter(|(_, assignment)| assignment.requester.0 == job.requester)
        .max_by_key(|(_, assignment)| assignment.queued_at);
    // A run that failed before its task began is tried again; until then the job waits.
    let Some(end) = assignment.and_then(|(_, assignment)| assignment.ended) else {
        if taken_over(api, &name, &job) {
            job.state = JobState::Canceled;
            job.message = Some(format!("another requester took the name `{name}` over"));
            job.finished_at = Some((api.now)());
            api.store.put_job(job.clone()).await?;
        }
        return Ok(job);
    };
    job.state = match end.reason {
        EndReason::Completed => JobState::Done,
        EndReason::Destroyed | EndReason::SpecRemoved | EndReason::SpecChanged => {
            JobState::Canceled
        }
        _ => JobState::Failed,
    };
    job.end_reason = Some(end.reason);
    job.message = Some(end.message);
    job.finished_at = Some(end.at);
    note(api, &job).await;
    Ok(job)
}

/// Whether the spec of this name is now somebody else's, so that nothing of the job's own can start.
fn taken_over(api: &Api, name: &CattleName, job: &Job) -> bool {
    let world = api.handle.world();
    let entry = world.desired.specs.get(name);
    entry.is_some_and(|entry| entry.origin.requester.0 != job.requester)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_drawn_name_is_a_name(persona in "[a-z]([a-z0-9-]{0,38}[a-z0-9])?", seed: u128) {
            let name = name_for(&persona, seed);
            proptest::prop_assert!(name.parse::<CattleName>().is_ok(), "{}", name);
            proptest::prop_assert_eq!(&name, &name_for(&persona, seed));
        }
    }
}
