//! What happened: as a list, or as server-sent events while it happens.
//!
//! Ids are stored and monotonic, so a stream that broke off goes on after `Last-Event-ID` without a
//! gap. A stream without a starting point begins now. A bot hears of its own runs alone.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use cattle_core::names::{CattleName, RunId};
use cattle_schemas::{
    api::{EventList, EventsQuery},
    event::Event,
    problem::ErrorCode,
};
use futures_util::stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Api,
    extract::{Named, Strict},
    peer::Peer,
    problem::ApiError,
    resolve,
};

/// Unless the query says.
const DEFAULT_LIMIT: u32 = 1_000;
/// The longest list.
const MAX_LIMIT: u32 = 5_000;
/// Events read from the ledger at a time.
const PAGE: u32 = 500;
/// The most that one list looks through; the retention bounds what there is.
const MAX_SCANNED: u32 = 200_000;
/// A comment this often tells both ends that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many runs a stream remembers the owner of.
const MAX_OWNERS: usize = 10_000;

/// `GET /v1/cattle/{name}/events`.
pub(super) async fn of_one(
    State(api): State<Api>,
    peer: Peer,
    Named(name): Named,
    Strict(query): Strict<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let target = resolve::resolve(&api, &peer, &name).await?;
    answer(api, peer, Some(target.cattle), query, &headers).await
}

/// `GET /v1/events`.
pub(super) async fn of_all(
    State(api): State<Api>,
    peer: Peer,
    Strict(query): Strict<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(api, peer, None, query, &headers).await
}

async fn answer(
    api: Api,
    peer: Peer,
    cattle: Option<CattleName>,
    query: EventsQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("`limit` is between 1 and {MAX_LIMIT}"),
        ));
    }
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let filter = Filter {
        api,
        peer,
        cattle,
        owners: HashMap::new(),
    };
    if accepts.is_some_and(|accepts| accepts.contains("text/event-stream")) {
        let from = match last_event_id(headers)? {
            Some(id) => Some(id),
            None => query.after,
        };
        return Ok(follow(filter, from).into_response());
    }
    list(filter, query.after, limit)
        .await
        .map(|items| Json(EventList { items }).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let id = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| {
        ApiError::new(
            ErrorCode::BadRequest,
            "`Last-Event-ID` is the id of an event: a number",
        )
    })
}

/// After `after`, the first ones; without it, the last ones.
async fn list(mut filter: Filter, after: Option<u64>, limit: u32) -> Result<Vec<Event>, ApiError> {
    let limit = limit as usize;
    let mut found = VecDeque::new();
    let (mut last, mut scanned) = (after.unwrap_or(0), 0);
    while scanned < MAX_SCANNED {
        let page = filter.page(last).await?;
        let Some(end) = page.last().map(|event| event.id) else {
            break;
        };
        last = end;
        scanned += PAGE;
        for event in page {
            if after.is_some() && found.len() == limit {
                return Ok(found.into());
            }
            if filter.admits(&event).await? {
                found.push_back(event);
                if found.len() > limit {
                    found.pop_front();
                }
            }
        }
    }
    Ok(found.into())
}

/// What one caller may hear of.
struct Filter {
    api: Api,
    peer: Peer,
    cattle: Option<CattleName>,
    /// Whether a run is the caller's.
    owners: HashMap<RunId, bool>,
}

impl Filter {
    async fn page(&self, after: u64) -> Result<Vec<Event>, ApiError> {
        Ok(self
            .api
            .store
            .events(after, self.cattle.clone(), PAGE)
            .await?)
    }

    async fn admits(&mut self, event: &Event) -> Result<bool, ApiError> {
        if let Some(cattle) = &self.cattle
            && event.cattle.as_deref() != Some(cattle.as_str())
        {
            return Ok(false);
        }
        if self.peer.is_operator() {
            return Ok(true);
        }
        if let Some(run) = event
            .run
            .as_deref()
            .and_then(|run| run.parse::<RunId>().ok())
        {
            if let Some(own) = self.owners.get(&run) {
                return Ok(*own);
            }
            let run_record = self.api.store.run(run).await?;
            let own = run_record.is_some_and(|run| self.peer.owns(&run.requester.0));
            if self.owners.len() >= MAX_OWNERS {
                self.owners.clear();
            }
            self.owners.insert(run, own);
            return Ok(own);
        }
        match event.cattle.as_deref().and_then(|name| name.parse().ok()) {
            Some(name) => resolve::owns_name(&self.api, &self.peer, &name).await,
            None => Ok(false),
        }
    }
}

struct Follow {
    filter: Filter,
    live: Receiver<Event>,
    /// The last event that was looked at; `None` before the first of a stream that begins now.
    last: Option<u64>,
    ready: VecDeque<Event>,
    /// Whether the ledger may have events that `live` will not bring.
    behind: bool,
}

fn follow(filter: Filter, from: Option<u64>) -> Response {
    // Subscribed before the ledger is read: what is committed in between comes twice at most, and
    // the ids tell.
    let live = filter.api.store.subscribe();
    let state = Follow {
        filter,
        live,
        last: from,
        ready: VecDeque::new(),
        behind: from.is_some(),
    };
    let events = stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        let sent = sse::Event::default()
            .id(event.id.to_string())
            .event(event.reason.as_str())
            .json_data(&event);
        Some((sent, state))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

impl Follow {
    /// The next event, or the end of the stream: the client comes back with the last id.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.last = Some(event.id);
                match self.filter.admits(&event).await {
                    Ok(true) => return Some(event),
                    Ok(false) => {}
                    Err(error) => return ended(&error),
                }
            }
            if self.behind {
                match self.filter.page(self.last.unwrap_or(0)).await {
                    Ok(page) => {
                        self.behind = !page.is_empty();
                        self.ready.extend(page);
                        continue;
                    }
                    Err(error) => return ended(&error),
                }
            }
            tokio::select! {
                biased;
                () = self.filter.api.shutdown.cancelled() => return None,
                event = self.live.recv() => match event {
                    Ok(event) if self.last.is_none_or(|last| event.id > last) => {
                        self.ready.push_back(event);
                    }
                    Ok(_) => {}
                    // Without a last id nothing was seen yet, and the stream begins now anyway.
                    Err(RecvError::Lagged(_)) => self.behind = self.last.is_some(),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn ended(error: &ApiError) -> Option<Event> {
    tracing::warn!(detail = %error.problem().detail, "an event stream ends early");
    None
}
