//! `Idempotency-Key`: the same request of the same user is carried out once and answered twice.
//!
//! Keys are per uid, operators' too. Remembered are answers that a repetition would get again;
//! what may turn out differently later (429, 5xx) is not. While the first is under way, a second
//! with its key is told to come back.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cattle_schemas::problem::{ErrorCode, PROBLEM_JSON};
use sha2::{Digest, Sha256};

use super::{Api, extract::read_body, peer::Peer, problem::ApiError, routes::MAX_JSON_BYTES};
use crate::store::IdempotentReply;

/// The header.
pub(super) const HEADER: &str = "idempotency-key";
/// The longest key: a UUID or 128 random bits in hex fit several times.
const MAX_KEY: usize = 128;
/// The longest answer that is remembered; answers to POST are a few hundred bytes, a reap's more.
const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// The key of a request, for handlers that derive names from it.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) String);

/// Keys of requests under way.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<(u32, String)>>>);

struct Turn {
    under_way: UnderWay,
    key: (u32, String),
}

impl UnderWay {
    fn begin(&self, uid: u32, key: &str) -> Option<Turn> {
        let key = (uid, key.to_owned());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone()).then(|| Turn {
            under_way: self.clone(),
            key,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut keys = self
            .under_way
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.key);
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(Some(key.to_owned())),
        _ => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("`Idempotency-Key` has 1 to {MAX_KEY} visible characters"),
        )),
    }
}

/// Carries a request out, unless its key was answered before.
pub(super) async fn once(
    api: &Api,
    peer: &Peer,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(key) = key_of(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let requester = format!("uid:{}", peer.uid);
    let (mut parts, body) = request.into_parts();
    let bytes = read_body(body, MAX_JSON_BYTES).await?;
    let digest = digest(parts.method.as_str(), &parts.uri.to_string(), &bytes);
    let Some(_turn) = api.under_way.begin(peer.uid, &key) else {
        return Err(ApiError::new(
            ErrorCode::Unavailable,
            "the first request with this idempotency key is still being carried out",
        )
        .retry_after(1));
    };
    if let Some(known) = api.store.recall(requester.clone(), key.clone()).await? {
        return replay(known, &digest);
    }
    parts.extensions.insert(Key(key.clone()));
    let response = next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let bytes = read_body(body, MAX_REPLY_BYTES).await.map_err(|_| {
        ApiError::new(
            ErrorCode::Internal,
            "the answer is too long to be remembered",
        )
    })?;
    let reply = IdempotentReply {
        requester,
        key,
        request: digest,
        status: status.as_u16(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    // Done is done: a ledger that cannot remember the answer must not turn it into a failure.
    if let Err(error) = api.store.remember(reply, (api.now)()).await {
        tracing::warn!(error = %super::problem::chain(&error), "an answer is not remembered");
    }
    Ok(Response::from_parts(head, Body::from(bytes)))
}

fn digest(method: &str, target: &str, body: &[u8]) -> String {
    let digest = Sha256::new()
        .chain_update(method)
        .chain_update([0])
        .chain_update(target)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    hex(&digest)
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn replay(known: IdempotentReply, digest: &str) -> Result<Response, ApiError> {
    if known.request != digest {
        return Err(ApiError::new(
            ErrorCode::IdempotencyConflict,
            "this idempotency key was used with another request; draw a new one",
        ));
    }
    let status = StatusCode::from_u16(known.status).unwrap_or(StatusCode::OK);
    let media_type = if status.is_success() {
        "application/json"
    } else {
        PROBLEM_JSON
    };
    let mut response = (status, known.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    Ok(response)
}
