//! `POST /v1/prune`: specs that the caller applied from a directory and that this has no longer.
//!
//! Only the specs go. Their runs end as those of any removed spec do: after its absence, counted for
//! who asked, and held back when they are too many at once. So a directory that was emptied by
//! mistake costs what a watched one does, and applying it again brings all of it back.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use cattle_core::names::CattleName;
use cattle_schemas::api::{PruneReply, PruneRequest, Pruned};

use super::{
    Api, apply,
    extract::{json, read_body},
    peer::Peer,
    problem::ApiError,
    resolve,
    routes::MAX_JSON_BYTES,
};

/// `POST /v1/prune`.
pub(super) async fn post(
    State(api): State<Api>,
    peer: Peer,
    body: Body,
) -> Result<Json<PruneReply>, ApiError> {
    let request: PruneRequest = json(&read_body(body, MAX_JSON_BYTES).await?)?;
    let mut items = Vec::new();
    let turn = api.writes.lock().await;
    let records = api.store.socket_specs().await?;
    for name in &request.names {
        let applied = records.iter().find(|spec| {
            spec.cattle.as_str() == name
                && spec.requester == peer.requester()
                && spec.apply_set.as_ref() == Some(&request.apply_set)
        });
        // What was taken over, or applied from elsewhere since, is not this directory's to remove.
        let Some(spec) = applied else { continue };
        items.push(remove(&api, &peer, &spec.cattle).await?);
    }
    drop(turn);
    if !items.is_empty() {
        api.handle.clone().next_pass().await?;
        tracing::info!(count = items.len(), requester = %peer.requester().0, "pruned");
    }
    Ok(Json(PruneReply { items }))
}

async fn remove(api: &Api, peer: &Peer, name: &CattleName) -> Result<Pruned, ApiError> {
    let run = resolve::latest(api, name).await?;
    let live = run.filter(|run| run.is_live() && peer.owns(&run.requester.0));
    let (specs, file) = (Arc::clone(&api.specs), name.clone());
    apply::blocking(move || specs.remove(&file)).await?;
    api.store.put_socket_spec(name.clone(), None).await?;
    Ok(Pruned {
        name: name.to_string(),
        run: live.map(|run| run.id.to_string()),
    })
}
