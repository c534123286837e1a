//! The persona's archive, for the run it was announced to.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Extension, State},
    http::{HeaderMap, HeaderName, header::CONTENT_TYPE},
};
use cattle_core::ledger::Run;
use cattle_schemas::problem::ErrorCode;

use super::{
    Desk, Peer, auth,
    problem::{Answer, Refusal},
};
use crate::persona_archive::Archive;

pub(super) async fn get(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Answer<([(HeaderName, &'static str); 1], Bytes)> {
    let caller = auth::session(&desk, &headers, peer).await?;
    match archive(&desk, &caller.run).await {
        Ok(Some(archive)) => Ok(([(CONTENT_TYPE, "application/x-tar")], archive.bytes.clone())),
        Ok(None) => Err(Refusal::new(
            ErrorCode::NotFound,
            "the persona has no archive",
        )),
        Err(message) => {
            desk.alert(&caller.run, message).await;
            Err(Refusal::new(
                ErrorCode::Unavailable,
                "the persona's archive is not to be had yet",
            ))
        }
    }
}

/// What was announced. Errors are for operators.
async fn archive(desk: &Arc<Desk>, run: &Run) -> Result<Option<Arc<Archive>>, String> {
    let (id, persona, desk) = (run.id, run.spec.persona.clone(), desk.clone());
    let read = tokio::task::spawn_blocking(move || {
        desk.archives
            .of_run(id, &persona, &desk.secrets)
            .map_err(|error| crate::report(&*error))
    });
    read.await
        .unwrap_or_else(|error| Err(format!("a defect: {error}")))
}
