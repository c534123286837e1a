//! `GET /v1/cattle/{name}/logs`: what a run's task printed, byte for byte.
//!
//! The bytes are the guest's and untrusted; whoever shows them to a person escapes them. Looking
//! changes nothing.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use cattle_core::{ledger::Run, names::RunId};
use cattle_schemas::{api::LogsQuery, problem::ErrorCode};
use futures_util::stream;
use tokio::sync::watch;

use super::{
    Api, apply,
    extract::{Named, Strict},
    peer::Peer,
    problem::ApiError,
    resolve,
};
use crate::world::Handle;

/// Read and sent at a time.
const CHUNK: usize = 64 * 1024;
/// How often a follower looks for more where nobody tells it: soon enough for a person to watch.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// `GET /v1/cattle/{name}/logs`.
pub(super) async fn get(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
    Strict(query): Strict<LogsQuery>,
) -> Result<Response, ApiError> {
    if query.offset.is_some() && query.tail_bytes.is_some() {
        let detail = "either `offset` or `tailBytes`, not both";
        return Err(ApiError::new(ErrorCode::BadRequest, detail));
    }
    let target = resolve::resolve(&api, &peer, &name).await?;
    let run = match &query.run {
        None => resolve::run_of(&api, &peer, &target).await?,
        Some(text) => {
            let other = resolve::resolve(&api, &peer, text).await?;
            if other.run.is_none() || other.cattle != target.cattle {
                return Err(ApiError::not_found(
                    &format!("run of `{}`", target.cattle),
                    text,
                ));
            }
            resolve::run_of(&api, &peer, &other).await?
        }
    };
    let Some(run) = run else {
        let detail = format!("`{}` has no run yet", target.cattle);
        return Err(ApiError::new(ErrorCode::NotFound, detail));
    };
    let length = length(&api, run.id).await?;
    let offset = match (query.offset, query.tail_bytes) {
        (Some(offset), _) => offset,
        (None, Some(tail)) => length.saturating_sub(tail),
        (None, None) => 0,
    };
    let growth = if query.follow {
        let (logs, run) = (Arc::clone(&api.logs), run.id);
        apply::blocking(move || logs.follow(run)).await?
    } else {
        None
    };
    let reader = Reader {
        handle: api.handle.clone(),
        growth,
        api,
        run: run.id,
        offset,
        // What is there now is all, unless more is waited for.
        end: (!query.follow).then_some(length),
    };
    let mut response = Body::from_stream(stream::unfold(reader, Reader::chunk)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert("clf-run", value(&run));
    headers.insert("clf-log-offset", HeaderValue::from(offset));
    headers.insert("clf-log-stored", HeaderValue::from(length));
    if let Some(written) = run.log_written().filter(|_| !grows(&run)) {
        // The last word about its length.
        headers.insert("clf-log-written", HeaderValue::from(written));
    }
    Ok(response)
}

/// Whether more may come.
fn grows(run: &Run) -> bool {
    run.is_live() || run.handover_until().is_some()
}

fn value(run: &Run) -> HeaderValue {
    HeaderValue::from_str(&run.id.to_string()).unwrap_or(HeaderValue::from_static(""))
}

async fn length(api: &Api, run: RunId) -> Result<u64, ApiError> {
    let logs = Arc::clone(&api.logs);
    Ok(apply::blocking(move || logs.length(run))
        .await?
        .unwrap_or(0))
}

struct Reader {
    api: Api,
    handle: Handle,
    growth: Option<watch::Receiver<u64>>,
    run: RunId,
    offset: u64,
    end: Option<u64>,
}

impl Reader {
    async fn chunk(mut self) -> Option<(Result<Bytes, ApiStreamError>, Self)> {
        loop {
            // Asked before the log is read: after the hand-over of a run nothing is added to its log.
            let over = match self.end {
                Some(end) if self.offset >= end => return None,
                Some(_) => true,
                None => self.over().await,
            };
            let want = self.end.map_or(CHUNK, |end| {
                usize::try_from(end - self.offset)
                    .unwrap_or(CHUNK)
                    .min(CHUNK)
            });
            if let Some(growth) = &mut self.growth {
                // What grows from here on wakes us below.
                growth.mark_unchanged();
            }
            match self.read(want).await {
                Err(_) => {
                    return Some((
                        Err(ApiStreamError),
                        Self {
                            end: Some(0),
                            ..self
                        },
                    ));
                }
                Ok(bytes) if !bytes.is_empty() => {
                    self.offset += bytes.len() as u64;
                    return Some((Ok(bytes.into()), self));
                }
                Ok(_) if over => return None,
                Ok(_) => self.more().await?,
            }
        }
    }

    /// Waits until the log may have grown or its run be over; `None` when the controller stops.
    async fn more(&mut self) -> Option<()> {
        let growth = &mut self.growth;
        let grown = async {
            match growth {
                None => tokio::time::sleep(LOOK_AGAIN).await,
                Some(length) => {
                    if length.changed().await.is_err() {
                        // Deleted: there is nothing to tell any more.
                        *growth = None;
                    }
                }
            }
        };
        tokio::select! {
            () = self.api.shutdown.cancelled() => None,
            changed = self.handle.changed() => changed.ok().map(drop),
            () = grown => Some(()),
        }
    }

    async fn read(&self, want: usize) -> Result<Vec<u8>, ApiError> {
        let (logs, run, offset) = (Arc::clone(&self.api.logs), self.run, self.offset);
        apply::blocking(move || logs.read(run, offset, want)).await
    }

    /// Whether the run is over and has handed over, or is not to be found any more.
    async fn over(&self) -> bool {
        let world = self.api.handle.world();
        if let Some(run) = world.ledger.runs.get(&self.run) {
            return !grows(run);
        }
        match self.api.store.run(self.run).await {
            Ok(run) => run.is_none_or(|run| !grows(&run)),
            Err(_) => true,
        }
    }
}

/// The stream broke off; the log says why.
#[derive(Debug, thiserror::Error)]
#[error("the log could not be read on")]
struct ApiStreamError;
