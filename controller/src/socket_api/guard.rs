//! What stands in front of every route: who calls, whether it may, how many at once, how long.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cattle_schemas::problem::ErrorCode;
use futures_util::StreamExt as _;
use tracing::Instrument as _;

use super::{
    Api, idempotency,
    peer::{Caller, Peer},
    problem::ApiError,
    routes::{Access, Route, Verb, Waits},
};

/// Requests at once, streams and long polls included: each may hold a page of 5,000 cattle.
pub(super) const MAX_REQUESTS: usize = 256;
/// Requests of one bot at once, so that no bot can shut out the others or an operator.
pub(super) const MAX_REQUESTS_PER_BOT: usize = 64;
/// For a call that waits for nothing but a pass: passes take well under a second.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For a call that waits for Hetzner: as many deletes as a fleet has, within the client's 300 s.
pub(super) const HETZNER_TIMEOUT: Duration = Duration::from_secs(280);

/// How many requests each user has under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<u32, usize>>>);

/// One of them; given back when dropped.
pub(super) struct Place {
    places: Places,
    uid: u32,
}

impl Places {
    fn take(&self, peer: &Peer) -> Result<Place, ApiError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(peer.uid).or_default();
        if all >= MAX_REQUESTS || (!peer.is_operator() && *own >= MAX_REQUESTS_PER_BOT) {
            if *own == 0 {
                taken.remove(&peer.uid);
            }
            return Err(ApiError::new(
                ErrorCode::TooManyRequests,
                "too many requests are under way; try again when some have ended",
            )
            .retry_after(1));
        }
        *own += 1;
        Ok(Place {
            places: self.clone(),
            uid: peer.uid,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

/// The middleware of one route.
pub(super) async fn guard(
    State((api, route)): State<(Api, &'static Route)>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let Some(peer) = caller.0.map(|credentials| (api.identify)(credentials)) else {
        return ApiError::new(
            ErrorCode::Forbidden,
            "the system does not say who is calling",
        )
        .into_response();
    };
    let span = tracing::info_span!(
        "socket",
        method = route.verb.as_str(),
        route = route.path,
        path = request.uri().path(),
        uid = peer.uid,
    );
    let began = Instant::now();
    async move {
        let response = admit(api, route, peer, request, next).await.into_response();
        let (status, seconds) = (response.status().as_u16(), began.elapsed().as_secs_f64());
        metrics::histogram!(
            "clf_socket_request_seconds",
            "route" => route.path, "method" => route.verb.as_str(), "status" => status.to_string()
        )
        .record(seconds);
        tracing::debug!(status, seconds, "answered");
        response
    }
    .instrument(span)
    .await
}

async fn admit(
    api: Api,
    route: &'static Route,
    peer: Peer,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if route.access == Access::Operators && !peer.is_operator() {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            format!("{} {} is for operators", route.verb.as_str(), route.path),
        ));
    }
    let place = api.places.take(&peer)?;
    request.extensions_mut().insert(peer);
    let answer = async {
        if route.verb == Verb::Post && route.once {
            idempotency::once(&api, &peer, request, next).await
        } else {
            Ok(next.run(request).await)
        }
    };
    let limit = match route.waits {
        Waits::Pass => REQUEST_TIMEOUT,
        Waits::Hetzner => HETZNER_TIMEOUT,
        // These bound themselves.
        Waits::Poll | Waits::Stream => super::poll::MAX_WAIT + REQUEST_TIMEOUT,
    };
    let response = tokio::time::timeout(limit, answer).await.map_err(|_| {
        ApiError::new(
            ErrorCode::Unavailable,
            format!(
                "not done within {} s; what was recorded goes on",
                limit.as_secs()
            ),
        )
        .retry_after(5)
    })??;
    Ok(if route.waits == Waits::Stream {
        keep_until_sent(response, place)
    } else {
        response
    })
}

/// A stream holds its place until its last byte.
fn keep_until_sent(response: Response, place: Place) -> Response {
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |chunk| {
            let _held = &place;
            chunk
        }))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use cattle_core::desired::Authority;

    use super::*;

    #[test]
    fn one_bot_cannot_take_the_places_of_others() {
        let places = Places::default();
        let greedy = Peer {
            uid: 1001,
            authority: Authority::Bot,
        };
        let other = Peer {
            uid: 1002,
            authority: Authority::Bot,
        };
        let held: Vec<_> = (0..MAX_REQUESTS_PER_BOT)
            .map(|_| places.take(&greedy).ok().unwrap())
            .collect();
        let refused = places.take(&greedy).err().unwrap();
        assert_eq!(refused.problem().code, ErrorCode::TooManyRequests);
        let kept = places.take(&other).ok().unwrap();
        drop(held);
        assert!(places.take(&greedy).is_ok());
        drop(kept);
        assert!(places.0.lock().unwrap().is_empty(), "places are given back");
    }
}
