//! `DELETE /v1/cattle/{name}`: the live run ends, or a pending cattle before it starts.
//!
//! Idempotent. A spec that the socket wrote goes with it; one in another directory stays, ended:
//! that (name, hash) starts again only by `rerun` or an edit.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use cattle_core::{
    identity::Project,
    ledger::Run,
    lifecycle::{self, Ending, deadlines::HANDOVER},
};
use cattle_schemas::{
    Timestamp,
    api::{DestroyQuery, DestroyReply},
    status::EndReason,
};

use super::{
    Api, apply,
    extract::{Named, Strict},
    peer::Peer,
    problem::ApiError,
    resolve::{self, Target, is_there},
    spec,
};
use crate::edit;
use crate::store::Edit;

/// `DELETE /v1/cattle/{name}`.
pub(super) async fn delete(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
    Strict(query): Strict<DestroyQuery>,
) -> Result<Json<DestroyReply>, ApiError> {
    let target = resolve::resolve(&api, &peer, &name).await?;
    destroy(&api, &peer, &target, query.now).await.map(Json)
}

/// Ends what goes by a name; of a run that was named and is over, only its kept server and its
/// hand-over. `at_once` leaves no time for that.
pub(super) async fn destroy(
    api: &Api,
    peer: &Peer,
    target: &Target,
    at_once: bool,
) -> Result<DestroyReply, ApiError> {
    let wait = if at_once { Duration::ZERO } else { HANDOVER };
    let name = &target.cattle;
    let now = (api.now)();
    let turn = api.writes.lock().await;
    let world = api.handle.world();
    let run = resolve::run_of(api, peer, target).await?;
    let live = run.as_ref().filter(|run| run.is_live());
    let kept = run.as_ref().filter(|run| run.is_kept(now));
    let hurried = run
        .as_ref()
        .filter(|run| run.handover_until().is_some_and(|until| until > now + wait));
    let project = world.limits.project;
    let given_up = run
        .as_ref()
        .filter(|run| lifecycle::can_be_given_up(run, project, now));
    let whole = target.run.is_none() || live.is_some();
    // A run may be the caller's although its name's spec is somebody else's by now.
    let owned = |requester: &str| whole && peer.owns(requester);
    let entry = world
        .desired
        .specs
        .get(name)
        .filter(|entry| is_there(entry) && owned(&entry.origin.requester.0));
    let records = api.store.socket_specs().await?;
    let record = records.iter().find(|record| record.cattle == *name);
    let removable = record.map_or(whole, |record| owned(&record.requester.0));
    let mut edits = Vec::new();
    if let Some(run) = &run {
        edits.extend(end(run, peer, project, wait, now));
    }
    if let Some(cattle) = entry.and_then(spec::valid) {
        // Whatever the spec asks for is over too: also what was never queued, and what an edit put
        // behind the live run.
        let requester = entry.map(|entry| entry.origin.requester.clone());
        let requester = requester.unwrap_or_else(|| peer.requester());
        let message = format!("by {peer}");
        let substance = cattle.substance.clone();
        edits.push(edit::of_assignment(name, &cattle.hash, move |assignment| {
            if assignment.is_none() {
                (*assignment, _) = lifecycle::enqueue(None, &requester, now);
                if let Some(assignment) = assignment {
                    let _ = lifecycle::made_of(assignment, &substance);
                }
            }
            Some(lifecycle::close(
                assignment.as_mut()?,
                EndReason::Destroyed,
                &message,
                now,
            ))
        }));
    }
    let applied = api.store.commit(edits, now).await?;
    let mut changed = applied.contains(&true);
    let written = {
        let (specs, name) = (Arc::clone(&api.specs), name.clone());
        if removable {
            apply::blocking(move || specs.remove(&name)).await?
        } else {
            false
        }
    };
    if written {
        api.store.put_socket_spec(name.clone(), None).await?;
        changed = true;
    }
    drop(turn);
    if changed {
        api.handle.clone().next_pass().await?;
        tracing::info!(cattle = %name, requester = %peer.requester().0, "destroyed");
    }
    let hand_over_until = match &run {
        Some(run) => api.store.run(run.id).await?,
        None => None,
    }
    .and_then(|run| run.handover_until().filter(|until| *until > now));
    let remains = entry.filter(|entry| !entry.origin.from_socket);
    Ok(DestroyReply {
        name: name.to_string(),
        run: live
            .or(kept)
            .or(given_up)
            .or(hurried)
            .map(|run| run.id.to_string()),
        released: kept.or(hurried).is_some(),
        given_up: given_up.is_some(),
        hand_over_until,
        changed,
        spec_removed: written,
        spec_remains: remains.map(|entry| entry.origin.path.clone()),
    })
}

/// The end of a run; or of the time for which its server is kept, and of its hand-over after so long;
/// or of the wait for what is not to be had.
fn end(run: &Run, peer: &Peer, project: Project, wait: Duration, now: Timestamp) -> Vec<Edit> {
    if run.is_live() {
        let mut ending = Ending::new(EndReason::Destroyed, format!("by {peer}"));
        ending.at_once = wait.is_zero();
        return vec![edit::of_run(run.id, move |run, assignment| {
            lifecycle::end(run, assignment, &ending, now)
        })];
    }
    let mut edits = Vec::new();
    if run.is_kept(now) {
        let message = format!("no longer kept: destroyed by {peer}");
        edits.push(edit::of_run(run.id, move |run, _| {
            lifecycle::release(run, &message)
        }));
    }
    if run.handover_until().is_some() {
        edits.push(edit::of_run(run.id, move |run, _| {
            lifecycle::hurry(run, wait, now)
        }));
    }
    if lifecycle::can_be_given_up(run, project, now) {
        let message = format!("destroyed by {peer}");
        edits.push(edit::of_run(run.id, move |run, _| {
            lifecycle::give_up(run, project, &message, now)
        }));
    }
    edits
}
