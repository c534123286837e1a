//! Accepting connections, within bounds that `axum::serve` does not have.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Peer;

/// Connections at once; a guest keeps one or two. Further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4_096;

/// Connections of one address: one guest must not keep the others out. Not on loopback, where all
/// guests have one address.
const MAX_CONNECTIONS_PER_PEER: usize = 16;

/// From the accept, or the last answer, to the end of the next request's header. Longer than a
/// heartbeat's interval, so that a guest keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(40);

/// A request has a handful of short headers; the buffer also bounds each of them.
const MAX_HEADERS: usize = 32;
const MAX_BUFFER_BYTES: usize = 16 * 1024;

/// A connection's life: also the end of an answer that is never read. A guest connects anew.
const MAX_LIFE: Duration = Duration::from_secs(15 * 60);

/// After the shutdown, calls under way get this long.
const DRAIN: Duration = Duration::from_secs(2);

/// After an accept failed for want of descriptors or memory: what is open has to close first.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

pub(super) async fn accept(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let peers = Arc::new(PerPeer::default());
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // Never closed.
            let permit = connections.clone().acquire_owned().await.ok();
            listener.accept().await.map(|accepted| (permit, accepted))
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((permit, (stream, address))) => {
                let ip = address.ip().to_canonical();
                let Some(place) = PerPeer::enter(&peers, ip) else {
                    tracing::warn!(peer = %ip, "refused a connection: too many from this address");
                    continue;
                };
                let router = router.clone().layer(Extension(Peer(address)));
                let held = Held {
                    _permit: permit,
                    _place: place,
                };
                tasks.spawn(connection(stream, router, stop.clone(), held));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a guest's connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(
            left = tasks.len(),
            "guests' calls were cut off by the shutdown"
        );
    }
    Ok(())
}

/// What a connection holds while it is open.
struct Held {
    _permit: Option<OwnedSemaphorePermit>,
    _place: Place,
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, held: Held) {
    // Small answers, each waited for.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let life = tokio::time::sleep(MAX_LIFE);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = life => Ok(()),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a guest's connection ended");
    }
    drop(held);
}

/// Open connections by address.
#[derive(Default)]
struct PerPeer(Mutex<HashMap<IpAddr, usize>>);

/// One of an address's connections.
struct Place {
    peers: Arc<PerPeer>,
    ip: IpAddr,
}

impl PerPeer {
    fn enter(peers: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut open = peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(ip).or_default();
        if *count >= MAX_CONNECTIONS_PER_PEER && !ip.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place {
            peers: peers.clone(),
            ip,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_keep_the_others_out() {
        let peers = Arc::new(PerPeer::default());
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let mut held: Vec<Option<Place>> = (0..MAX_CONNECTIONS_PER_PEER)
            .map(|_| PerPeer::enter(&peers, ip("100.64.0.1")))
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(PerPeer::enter(&peers, ip("100.64.0.1")).is_none());
        assert!(PerPeer::enter(&peers, ip("100.64.0.2")).is_some());
        held.pop();
        assert!(PerPeer::enter(&peers, ip("100.64.0.1")).is_some());
        drop(held);
        assert!(peers.0.lock().is_ok_and(|open| open.is_empty()));
    }
}
