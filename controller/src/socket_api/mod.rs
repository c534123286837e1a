//! The operators' and bots' API: HTTP on a Unix socket.
//!
//! Everything that is answered comes from the latest [`World`](crate::world::World) and the ledger;
//! everything that is changed goes into the ledger or the socket's own spec directory, and then the
//! bell rings. Absent on purpose: calls to Hetzner (but for `reap`), and any decision that a pass
//! would make.
//!
//! Invariants:
//! - who calls is known from the socket alone ([`peer`]); a bot sees and changes only what its own
//!   uid asked for, and what is somebody else's answers as if it did not exist;
//! - one table ([`routes`]) makes both the router and the OpenAPI document;
//! - every error is problem+json ([`problem`]), every body, page, wait and number of requests has
//!   a limit with a reason.

mod apply;
mod cost;
mod destroy;
mod events;
mod extract;
mod guard;
mod health;
mod idempotency;
mod jobs;
mod limits;
pub mod listen;
mod logs;
mod openapi;
mod overlay;
mod pauses;
pub mod peer;
mod plan;
mod poll;
pub mod ports;
mod present;
mod problem;
mod prune;
mod read;
mod reap;
mod rerun;
mod resolve;
mod result;
mod retry;
mod routes;
mod selector;
mod spec;
#[cfg(test)]
mod tests;

use std::{future::Future, io, sync::Arc, time::Duration};

use cattle_schemas::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::UnixListener, sync::Mutex};
use tokio_util::sync::CancellationToken;

use self::{
    guard::Places,
    idempotency::UnderWay,
    peer::{Caller, Identify},
    ports::{Looks, Personas, Reaper, RunLogs, SpecDir},
};
pub use self::{
    listen::{BindError, bind, inherited},
    openapi::openapi,
    problem::ApiError,
};
use crate::{store::Store, world::Handle};

/// How long answers under way may take after shutdown was asked for; the process has 5 s in all.
const DRAIN: Duration = Duration::from_secs(3);

/// Hetzner's time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the API is made of.
pub struct SocketApi {
    /// The latest world, and the bell.
    pub handle: Handle,
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// The socket's own spec directory.
    pub specs: Arc<dyn SpecDir>,
    /// The project's personas.
    pub personas: Arc<dyn Personas>,
    /// The runs' logs.
    pub logs: Arc<dyn RunLogs>,
    /// Deletes expired servers.
    pub reaper: Arc<dyn Reaper>,
    /// Looks at once at what a start waits for.
    pub looks: Arc<dyn Looks>,
    /// Turns a peer's credentials into who it is: [`peer::Users`], but in tests.
    pub identify: Identify,
    /// The clock.
    pub now: Now,
    /// What `/metrics` answers; `None` when no metrics are recorded.
    pub metrics: Option<PrometheusHandle>,
}

/// What handlers share.
pub(crate) struct Shared {
    handle: Handle,
    store: Arc<dyn Store>,
    specs: Arc<dyn SpecDir>,
    personas: Arc<dyn Personas>,
    logs: Arc<dyn RunLogs>,
    reaper: Arc<dyn Reaper>,
    looks: Arc<dyn Looks>,
    identify: Identify,
    now: Now,
    metrics: Option<PrometheusHandle>,
    places: Places,
    under_way: UnderWay,
    looked: retry::Looked,
    /// Held from looking whether a change is allowed until it is recorded.
    writes: Mutex<()>,
    shutdown: CancellationToken,
}

pub(crate) type Api = Arc<Shared>;

/// Answers until `shutdown`, then ends streams and waits a moment for the answers under way.
///
/// # Errors
/// The listener fails for good.
pub async fn serve(
    listener: UnixListener,
    api: SocketApi,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stop = CancellationToken::new();
    let SocketApi {
        handle,
        store,
        specs,
        personas,
        logs,
        reaper,
        looks,
        identify,
        now,
        metrics,
    } = api;
    let shared = Arc::new(Shared {
        handle,
        store,
        specs,
        personas,
        logs,
        reaper,
        looks,
        identify,
        now,
        metrics,
        places: Places::default(),
        under_way: UnderWay::default(),
        looked: retry::Looked::default(),
        writes: Mutex::new(()),
        shutdown: stop.clone(),
    });
    let service = routes::router(shared).into_make_service_with_connect_info::<Caller>();
    let drained = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        }
    };
    let server =
        axum::serve(listen::Socket::new(listener), service).with_graceful_shutdown(async move {
            shutdown.await;
            stop.cancel();
        });
    tokio::select! {
        done = server.into_future() => done,
        // A client that keeps its connection open does not keep us.
        () = drained => Ok(()),
    }
}
