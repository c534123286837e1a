//! `DELETE /v1/cattle/{name}`: the live run ends, or a pending cattle before it starts.
//!
//! Idempotent. A spec that the socket wrote goes with it; one in another directory stays, ended:
//! that (name, hash) starts again only by `rerun` or an edit.

use std::sync::Arc;

use axum::{Json, extract::State};
use cattle_core::{
    ledger::Run,
    lifecycle::{self, Ending},
};
use cattle_schemas::{api::DestroyReply, status::EndReason};

use super::{
    Api, apply,
    extract::Named,
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
) -> Result<Json<DestroyReply>, ApiError> {
    let target = resolve::resolve(&api, &peer, &name).await?;
    destroy(&api, &peer, &target).await.map(Json)
}

/// Ends what goes by a name; of a run that was named and is over, only its kept server.
pub(super) async fn destroy(
    api: &Api,
    peer: &Peer,
    target: &Target,
) -> Result<DestroyReply, ApiError> {
    let name = &target.cattle;
    let now = (api.now)();
    let turn = api.writes.lock().await;
    let world = api.handle.world();
    let run = resolve::run_of(api, peer, target).await?;
    let live = run.as_ref().filter(|run| run.is_live());
    let kept = run.as_ref().filter(|run| run.is_kept(now));
    let given_up = run.as_ref().filter(|run| is_anothers(run, now));
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
        edits.extend(end(run, peer, now));
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
    let remains = entry.filter(|entry| !entry.origin.from_socket);
    Ok(DestroyReply {
        name: name.to_string(),
        run: live.or(kept).or(given_up).map(|run| run.id.to_string()),
        released: kept.is_some(),
        given_up: given_up.is_some(),
        changed,
        spec_removed: written,
        spec_remains: remains.map(|entry| entry.origin.path.clone()),
    })
}

/// Whether all that keeps a run from being gone is that another owner has marked its server.
fn is_anothers(run: &Run, now: cattle_schemas::Timestamp) -> bool {
    !run.is_live() && !run.is_kept(now) && run.taken.is_some() && run.gone_at.is_none()
}

/// The end of a run, with its tokens; or of the time for which its server is kept; or of
/// the wait for what another owner has marked.
fn end(run: &Run, peer: &Peer, now: cattle_schemas::Timestamp) -> Vec<Edit> {
    if run.is_live() {
        let ending = Ending::new(EndReason::Destroyed, format!("by {peer}"));
        let end = edit::of_run(run.id, move |run, assignment| {
            lifecycle::end(run, assignment, &ending, now)
        });
        vec![
            end,
            Edit::VoidTokens {
                run: run.id,
                except: None,
            },
        ]
    } else if run.is_kept(now) {
        let message = format!("no longer kept: destroyed by {peer}");
        vec![edit::of_run(run.id, move |run, _| {
            lifecycle::release(run, &message)
        })]
    } else if is_anothers(run, now) {
        let message = format!("destroyed by {peer}");
        vec![edit::of_run(run.id, move |run, _| {
            lifecycle::give_up(run, &message, now)
        })]
    } else {
        Vec::new()
    }
}
