//! `PUT /v1/cattle/{name}`: what is sent becomes a spec file in the socket's own directory.
//!
//! Order: validated, allowed, the requester recorded, the file written, a pass waited for. A crash
//! in between leaves the old file with a new requester on record, or the whole change.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use cattle_core::{
    action::Action,
    desired::{SpecEntry, SpecState},
    expiry,
    ledger::Run,
    names::CattleName,
};
use cattle_schemas::{
    api::{ApplyQuery, ApplyReply, Change, MAX_SPEC_BYTES},
    problem::ErrorCode,
    status::Phase,
};

use super::{
    Api,
    extract::{Named, Strict, read_body},
    overlay::Overlay,
    peer::Peer,
    present::Present,
    problem::ApiError,
    read,
    resolve::{self, Target, is_there},
    spec,
};
use crate::{store::SocketSpec, world::World};

/// The longest `applySet`, a path.
const MAX_APPLY_SET: usize = 4_096;
/// A persona or task file that nobody saw being closed counts after a second of quiet; this is that
/// and a slow pass.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// `PUT /v1/cattle/{name}`.
pub(super) async fn put(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
    Strict(query): Strict<ApplyQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name: CattleName = name
        .parse()
        .map_err(|error| ApiError::new(ErrorCode::BadRequest, format!("{error}")))?;
    let bytes = read_body(body, MAX_SPEC_BYTES).await?;
    let (reply, version) = apply(&api, &peer, name, &bytes, &query, &headers).await?;
    let mut response = Json(reply).into_response();
    response
        .headers_mut()
        .insert(header::ETAG, spec::etag(&version));
    Ok(response)
}

/// Applies one spec. Answers also with its version.
pub(super) async fn apply(
    api: &Api,
    peer: &Peer,
    name: CattleName,
    bytes: &[u8],
    query: &ApplyQuery,
    headers: &HeaderMap,
) -> Result<(ApplyReply, String), ApiError> {
    if query
        .apply_set
        .as_ref()
        .is_some_and(|set| set.len() > MAX_APPLY_SET)
    {
        let detail = format!("`applySet` has at most {MAX_APPLY_SET} bytes");
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    let world = api.handle.world();
    if world.pass == 0 {
        // Before the first pass it is not known which names other directories have.
        let detail = "the controller has not read its spec directories yet";
        return Err(ApiError::new(ErrorCode::Unavailable, detail).retry_after(1));
    }
    let wanted = spec::read(api, &world, &name, bytes, peer.authority)
        .await
        .map_err(spec::invalid)?;
    let version = spec::version(&wanted.cattle);

    let turn = api.writes.lock().await;
    let world = if query.refuse_at_limit {
        // Whoever came just before may have taken the last place.
        api.handle.clone().next_pass().await?
    } else {
        api.handle.world()
    };
    if says_the_same(&world, &name, &version) && peer.is_operator() && !query.create_only {
        drop(turn);
        return unchanged(api, peer, name, version, query).await;
    }
    let records = api.store.socket_specs().await?;
    check_name(api, peer, &world, &name, &records).await?;
    let present = Present::look(api, &world, &name, records).await?;
    let wanted = present.recognise(wanted);
    spec::check_if_match(headers, present.version.as_deref())?;
    if query.create_only && (present.there || present.run.as_ref().is_some_and(Run::is_live)) {
        return Err(taken(&name, "is there already"));
    }
    let change = present.change(&wanted, &version);
    let mut warnings = warnings(api, &world, &present, &wanted, change).await?;
    let takes_over = present
        .owner
        .as_ref()
        .is_some_and(|owner| *owner != peer.requester());
    if takes_over && change != Change::Unchanged {
        let owner = present.owner.as_ref().map_or("", |owner| owner.0.as_str());
        warnings.push(format!("taken over from {owner}"));
    }
    if query.refuse_at_limit && change != Change::Unchanged {
        refuse_at_limit(api, peer, &world, &wanted).await?;
    }
    let reply = |run: Option<String>, phase, warnings| ApplyReply {
        name: name.to_string(),
        change,
        run,
        phase,
        warnings,
        dry_run: query.dry_run,
    };
    let target = Target {
        cattle: name.clone(),
        run: None,
    };
    if query.dry_run {
        drop(turn);
        let live = present.run.as_ref().filter(|run| run.is_live());
        let phase = match (change, live) {
            (Change::Unchanged, _) | (Change::Configured, Some(_)) => {
                read::status(api, peer, &target).await?.phase
            }
            _ => Phase::Pending,
        };
        return Ok((
            reply(live.map(|run| run.id.to_string()), phase, warnings),
            version,
        ));
    }
    if change != Change::Unchanged {
        let record = SocketSpec {
            cattle: name.clone(),
            requester: peer.requester(),
            authority: peer.authority,
            apply_set: query.apply_set.clone(),
        };
        write(api, record, present.record.clone(), bytes).await?;
    } else if let Some(record) = &present.record
        && query.apply_set.is_some()
        && record.apply_set != query.apply_set
        && record.requester == peer.requester()
    {
        // The same content from another directory: that one prunes it from now on.
        let record = SocketSpec {
            apply_set: query.apply_set.clone(),
            ..record.clone()
        };
        api.store
            .put_socket_spec(name.clone(), Some(record))
            .await?;
    }
    drop(turn);
    if change != Change::Unchanged {
        until_known(api, &name).await?;
        tracing::info!(cattle = %name, ?change, requester = %peer.requester().0, "applied");
    }
    let status = read::status(api, peer, &target).await?;
    let live = status.run.as_ref().filter(|run| run.ended_at.is_none());
    Ok((
        reply(live.map(|run| run.run.clone()), status.phase, warnings),
        version,
    ))
}

/// Whether a file in another directory already says what was sent: then there is nothing to refuse.
fn says_the_same(world: &World, name: &CattleName, version: &str) -> bool {
    let entry = world
        .desired
        .specs
        .get(name)
        .filter(|entry| is_there(entry));
    entry
        .filter(|entry| !entry.origin.from_socket)
        .and_then(spec::valid)
        .is_some_and(|cattle| spec::version(cattle) == version)
}

async fn unchanged(
    api: &Api,
    peer: &Peer,
    name: CattleName,
    version: String,
    query: &ApplyQuery,
) -> Result<(ApplyReply, String), ApiError> {
    let target = Target {
        cattle: name.clone(),
        run: None,
    };
    let status = read::status(api, peer, &target).await?;
    let live = status.run.as_ref().filter(|run| run.ended_at.is_none());
    let reply = ApplyReply {
        name: name.to_string(),
        change: Change::Unchanged,
        run: live.map(|run| run.run.clone()),
        phase: status.phase,
        warnings: Vec::new(),
        dry_run: query.dry_run,
    };
    Ok((reply, version))
}

/// Waits for a pass that has seen the spec, so that whoever was answered can ask for it. That is
/// the next one, unless a file around the spec was written just now and does not count yet.
async fn until_known(api: &Api, name: &CattleName) -> Result<(), ApiError> {
    let mut handle = api.handle.clone();
    let mut world = handle.next_pass().await?;
    let known = async {
        while !world.desired.specs.contains_key(name) {
            world = handle.changed().await?;
        }
        Ok(())
    };
    // Not even then: the status says what there is to say.
    tokio::time::timeout(KNOWN_WITHIN, known)
        .await
        .unwrap_or(Ok(()))
}

fn taken(name: &CattleName, why: &str) -> ApiError {
    ApiError::new(ErrorCode::NameTaken, format!("`{name}` {why}"))
}

/// Whether the caller may put a spec of this name at all. What belongs to somebody else is taken,
/// and by whom is not said to a bot.
pub(super) async fn check_name(
    api: &Api,
    peer: &Peer,
    world: &World,
    name: &CattleName,
    records: &[SocketSpec],
) -> Result<(), ApiError> {
    let elsewhere = |entry: &&SpecEntry| is_there(entry) && !entry.origin.from_socket;
    if let Some(entry) = world.desired.specs.get(name).filter(elsewhere) {
        return Err(if peer.is_operator() {
            taken(
                name,
                &format!("is defined by {}; change it there", entry.origin.path),
            )
        } else {
            taken(name, "is taken; choose another name")
        });
    }
    if peer.is_operator() {
        return Ok(());
    }
    let record = records.iter().find(|spec| spec.cattle == *name);
    let run = resolve::latest(api, name).await?;
    let assignments = api.store.assignments(name.clone()).await?;
    let own = record.is_none_or(|record| peer.owns(&record.requester.0))
        && run.is_none_or(|run| peer.owns(&run.requester.0))
        && assignments
            .iter()
            .all(|(_, assignment)| peer.owns(&assignment.requester.0));
    if own {
        Ok(())
    } else {
        Err(taken(name, "is taken; choose another name"))
    }
}

async fn warnings(
    api: &Api,
    world: &World,
    present: &Present,
    wanted: &spec::Read,
    change: Change,
) -> Result<Vec<String>, ApiError> {
    let cattle = &wanted.cattle;
    let mut warnings = Vec::new();
    let ended = present
        .assignments
        .iter()
        .find(|(hash, _)| *hash == cattle.hash)
        .and_then(|(_, assignment)| assignment.ended.as_ref())
        .filter(|end| !end.reopens);
    if let Some(end) = ended {
        warnings.push(format!("ended as {}; `rerun` starts it again", end.reason));
    }
    let Some(run) = present.run.as_ref().filter(|run| run.is_live()) else {
        return Ok(warnings);
    };
    if run.hash != cattle.hash {
        warnings.push(if run.started_at.is_some() {
            format!("run {} ends, and with it its running task", run.id)
        } else {
            format!("run {} ends before its task began", run.id)
        });
    } else if change != Change::Unchanged && run.spec.ttl != cattle.ttl {
        let now = (api.now)();
        let changed = expiry::expires_at(
            run.posted_at,
            cattle.ttl,
            run.extension,
            world.limits.max_ttl,
        );
        let expires_at = expiry::after_change(changed, run.expires_at, now);
        let at = expires_at.format("%Y-%m-%d %H:%M:%S UTC");
        warnings.push(if changed <= now {
            format!("the ttl, counted from the run's creation, is already over: it ends at {at}")
        } else {
            format!("the run expires at {at}")
        });
    }
    Ok(warnings)
}

/// Refuses what the next pass would leave waiting.
async fn refuse_at_limit(
    api: &Api,
    peer: &Peer,
    world: &World,
    wanted: &spec::Read,
) -> Result<(), ApiError> {
    let name = &wanted.cattle.name;
    let mut overlay = Overlay::of(world);
    overlay.put(api, peer, Arc::clone(&wanted.cattle));
    let outlook = overlay.outlook(api, world, (api.now)()).await?;
    let starts = outlook
        .plan
        .actions
        .iter()
        .any(|action| matches!(action, Action::Start { cattle, .. } if cattle.name == *name));
    let waits = outlook
        .plan
        .waiting
        .iter()
        .find(|waiting| waiting.cattle == *name);
    match waits {
        Some(waiting) if !starts => Err(ApiError::new(
            ErrorCode::LimitReached,
            format!("`{name}` would have to wait: {}", waiting.message),
        )),
        _ => Ok(()),
    }
}

/// The record first: a file without one would be nobody's.
async fn write(
    api: &Api,
    record: SocketSpec,
    before: Option<SocketSpec>,
    bytes: &[u8],
) -> Result<(), ApiError> {
    let name = record.cattle.clone();
    api.store
        .put_socket_spec(name.clone(), Some(record))
        .await?;
    let written = {
        let (specs, name, bytes) = (Arc::clone(&api.specs), name.clone(), bytes.to_vec());
        blocking(move || specs.write(&name, &bytes)).await
    };
    if written.is_err() {
        // What was there before still is, and so its record must be.
        api.store.put_socket_spec(name, before).await?;
    }
    written
}

/// A call of the file system, off the reactor.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(call)
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the call panicked")));
    done.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::error!(%error, "the state directory is full");
            ApiError::full()
        }
        _ => ApiError::internal("the state directory failed", &error),
    })
}

/// Whether a spec is broken, and how.
pub(super) fn broken(entry: &SpecEntry) -> Option<&[cattle_schemas::problem::Diagnostic]> {
    match &entry.state {
        SpecState::Broken(errors) => Some(errors),
        SpecState::Valid(_) | SpecState::Absent { .. } => None,
    }
}
