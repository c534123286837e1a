//! Where guests get their env, report, and leave their logs: design section 8.
//!
//! Invariants: a bootstrap token buys one env, for one caller; what decides that is a commit of the
//! ledger, not anything in here, so a restart in the middle changes nothing. A session token feeds
//! its own live run and nothing else. Whatever a guest sends is bounded before it is read, and none
//! of it makes the controller do more than ring for a pass. Absent on purpose: every call that would
//! let a guest name a run, a path or another guest.

mod auth;
pub(crate) mod env;
mod listen;
mod logs;
mod persona;
mod problem;
mod pulse;
mod rate;
mod report;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cattle_core::{fleet::Fleet, ledger::Run, lifecycle::Transition, names::RunId};
use cattle_schemas::{
    event::{EventReason, NewEvent},
    guest::{MAX_LOG_CHUNK_BYTES, MAX_RESULT_BYTES},
    problem::ErrorCode,
};
use tokio::{net::TcpListener, sync::watch};

pub use self::pulse::Pulse;
use self::{auth::Peers, problem::Refusal, rate::Rates};
use crate::{
    clock::Clock,
    edit,
    logs::Logs,
    persona_archive::PersonaArchives,
    secrets::Secrets,
    sessions::Sessions,
    settings::PeerCheck,
    store::{Edit, Store},
    world::Bell,
};

/// A report is a result as JSON within JSON, and a few numbers.
const MAX_REPORT_BYTES: usize = MAX_RESULT_BYTES + 64 * 1024;

/// From a request's header to its answer, its body included: 256 KiB over a relayed tailnet path
/// take seconds. The guest gives a call up after a similar time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the guest API stands on.
pub struct GuestApi {
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// Logs of runs.
    pub logs: Logs,
    /// Where API keys come from.
    pub secrets: Arc<Secrets>,
    /// Rung when something was said that a pass may act on.
    pub bell: Bell,
    /// Now.
    pub clock: Clock,
    /// What was heard, for the loop too.
    pub pulse: Arc<Pulse>,
    /// The fleet's configuration, as it is.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The archives of personas, shared with who makes servers.
    pub archives: Arc<PersonaArchives>,
    /// How guests are told apart.
    pub peer_check: PeerCheck,
    /// Whether the Hetzner endpoint is on loopback: without it [`PeerCheck::Off`] lets nobody in.
    pub hetzner_is_loopback: bool,
    /// Session tokens until they are handed out.
    pub sessions: Sessions,
    /// Whether it is known which runs there are: a ledger that was lost learns it from the first list.
    pub knows_its_runs: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What every call works with.
struct Desk {
    store: Arc<dyn Store>,
    logs: Logs,
    secrets: Arc<Secrets>,
    bell: Bell,
    clock: Clock,
    fleet: watch::Receiver<Arc<Fleet>>,
    archives: Arc<PersonaArchives>,
    peers: Peers,
    rates: Rates,
    pulse: Arc<Pulse>,
    sessions: Sessions,
    knows_its_runs: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The accepted socket's other end.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// Serves guests until `shutdown`, then lets calls that are under way end. What was heard but not
/// yet written is written before this returns.
///
/// # Errors
/// The listener fails for good.
pub async fn serve(
    listener: TcpListener,
    api: GuestApi,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let desk = Arc::new(Desk {
        store: api.store,
        logs: api.logs,
        secrets: api.secrets,
        bell: api.bell,
        clock: api.clock,
        fleet: api.fleet,
        archives: api.archives,
        peers: Peers {
            check: api.peer_check,
            hetzner_is_loopback: api.hetzner_is_loopback,
        },
        rates: Rates::default(),
        pulse: api.pulse,
        sessions: api.sessions,
        knows_its_runs: api.knows_its_runs,
    });
    let writer = tokio::spawn(pulse::write(desk.clone()));
    let served = listen::accept(listener, router(desk.clone()), shutdown).await;
    desk.pulse.close();
    if let Err(error) = writer.await {
        tracing::error!(%error, "the writer of signs of life failed");
    }
    served
}

fn router(desk: Arc<Desk>) -> Router {
    let calls = Router::new()
        .route("/v1/cattle/env", get(env::get))
        .route(
            "/v1/cattle/report",
            post(report::post).layer(DefaultBodyLimit::max(MAX_REPORT_BYTES)),
        )
        .route("/v1/cattle/persona", get(persona::get))
        .route(
            "/v1/cattle/logs",
            post(logs::post).layer(DefaultBodyLimit::max(MAX_LOG_CHUNK_BYTES)),
        )
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(
            desk.clone(),
            auth::check_peer,
        ))
        .with_state(desk);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(calls)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(|| async { Refusal::new(ErrorCode::NoSuchRoute, "there is no such path") })
        .layer(middleware::from_fn(bound))
}

async fn method_not_allowed() -> Refusal {
    Refusal::new(
        ErrorCode::MethodNotAllowed,
        "this path is called with another method",
    )
}

/// Every call has an end, and no answer is kept by anything between.
async fn bound(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| {
        let late = Refusal::new(ErrorCode::Unavailable, "the call took too long");
        let mut response = late.into_response();
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        response
    });
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Desk {
    /// Something an operator must mend, said at most now and then for each run: a guest must not
    /// fill the ledger with it.
    async fn alert(&self, run: &Run, message: String) {
        if !self.rates.may_alert(run.id) {
            return;
        }
        tracing::warn!(cattle = %run.cattle, run = %run.id, "{message}");
        let event = NewEvent {
            cattle: Some(run.cattle.to_string()),
            run: Some(run.id.to_string()),
            reason: EventReason::Alert,
            message,
        };
        let written = self
            .store
            .commit(vec![Edit::Event(event)], self.clock.now())
            .await;
        if let Err(error) = written {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an alert was not recorded"
            );
        }
    }
}

/// One transition of a run alone.
fn transition(id: RunId, change: impl FnOnce(&mut Run) -> Transition + Send + 'static) -> Edit {
    edit::of_run(id, move |run, _| change(run))
}

#[cfg(test)]
mod tests;
