//! Log bytes, by offset.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{
        Extension, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::HeaderMap,
};
use cattle_core::names::RunId;
use cattle_schemas::{guest::LogsReply, problem::ErrorCode};
use serde::Deserialize;

use super::{
    Desk, Peer, auth,
    problem::{Answer, Refusal},
};
use crate::logs::{LogError, Logs, Stored};

/// Where the bytes begin.
#[derive(Deserialize)]
pub(super) struct Place {
    offset: u64,
}

pub(super) async fn post(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    place: Result<Query<Place>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<LogsReply>> {
    let caller = auth::session_or_handover(&desk, &headers, peer).await?;
    let Query(Place { offset }) = place
        .map_err(|_| Refusal::new(ErrorCode::BadRequest, "`offset` must be a number of bytes"))?;
    let bytes = body?;
    let run = caller.run.id;
    let stored = match append(&desk.logs, run, offset, bytes.clone()).await {
        Err(LogError::NoRoom) => {
            desk.logs.make_room(desk.store.as_ref()).await?;
            append(&desk.logs, run, offset, bytes).await
        }
        other => other,
    };
    match stored {
        Ok(Stored { next_offset, full }) => {
            if caller.run.is_live() {
                desk.pulse.beat(run, desk.clock.now());
            } else if caller
                .run
                .log_written()
                .is_some_and(|written| next_offset >= written)
            {
                // That was all: its server need not wait.
                desk.bell.ring();
            }
            Ok(Json(LogsReply { next_offset, full }))
        }
        Err(error @ LogError::Gap { .. }) => {
            Err(Refusal::new(ErrorCode::WrongPhase, error.to_string()))
        }
        Err(LogError::NoRoom) => {
            desk.alert(&caller.run, "there is no room for its log".to_owned())
                .await;
            Err(Refusal::new(
                ErrorCode::StorageFull,
                "there is no room for logs",
            ))
        }
        Err(error @ LogError::Io(_)) => {
            tracing::error!(%run, error = &error as &dyn std::error::Error, "log not stored");
            Err(Refusal::new(
                ErrorCode::Unavailable,
                "the log cannot be stored right now",
            ))
        }
    }
}

async fn append(logs: &Logs, run: RunId, offset: u64, bytes: Bytes) -> Result<Stored, LogError> {
    let logs = logs.clone();
    let stored = tokio::task::spawn_blocking(move || logs.append(run, offset, &bytes)).await;
    stored.unwrap_or_else(|error| Err(LogError::Io(std::io::Error::other(error))))
}
