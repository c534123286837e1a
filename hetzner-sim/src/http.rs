//! The thin layer between sockets and the state machine.
//!
//! With real guest processes, whoever can `POST /servers` can start programs. So then: a bearer
//! token, a loopback `Host` (against DNS rebinding) and no `Origin` (against web pages), for the
//! control API as well.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body as HttpBody, Bytes, to_bytes},
    extract::{ConnectInfo, Query, Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use futures_util::{StreamExt, stream};

use crate::{
    connection::Shears,
    error::ApiError,
    message::{Answer, Body, Delivery, Request},
    shared::Shared,
};

/// A create with full `user_data` is under 100 KiB even when every character is escaped.
const BODY_MAX: usize = 1024 * 1024;

/// Between the half of a reply that arrives and the end of its connection.
const FLUSH: Duration = Duration::from_millis(20);

const CONTROL: &str = "/_sim";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(shears): ConnectInfo<Shears>,
    request: HttpRequest,
) -> Response {
    if let Err(refusal) = shared.allows(request.headers()) {
        return whole(refusal.into());
    }
    let request = match read(request).await {
        Ok(request) => request,
        Err(refusal) => return whole(refusal.into()),
    };
    let answer = if request.path.starts_with(CONTROL) {
        control(&shared, &request)
    } else {
        shared.call(&request)
    };
    deliver(&shared, &shears, answer).await
}

fn control(shared: &Shared, request: &Request) -> Answer {
    if shared.needs_token_everywhere() && !shared.may_write(request.bearer.as_deref()) {
        return ApiError::unauthorized().into();
    }
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    if let ("GET", ["_sim", "servers", id, "console"]) = (request.method.as_str(), &parts[..]) {
        let console = id.parse().ok().and_then(|id| shared.console(id));
        return match console {
            Some(text) => Answer::raw(200, "text/plain; charset=utf-8", text),
            None => ApiError::not_found("console of server", id).into(),
        };
    }
    shared.with(|world| world.control(Utc::now(), request))
}

async fn read(request: HttpRequest) -> Result<Request, ApiError> {
    let (head, body) = request.into_parts();
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&head.uri)
        .map_err(|error| ApiError::refused(error.to_string()))?;
    let bearer = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(|token| token.trim().to_owned());
    let body = to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| ApiError::json_error(format!("body is larger than {BODY_MAX} bytes")))?;
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query,
        bearer,
        body: body.to_vec(),
    })
}

async fn deliver(shared: &Shared, shears: &Shears, answer: Answer) -> Response {
    match answer.delivery {
        Delivery::Whole => whole(answer),
        Delivery::Late(wait) => {
            shared.unless_stopping(tokio::time::sleep(wait)).await;
            whole(answer)
        }
        Delivery::Hang(wait) => {
            shared.unless_stopping(tokio::time::sleep(wait)).await;
            shears.cut();
            whole(answer)
        }
        Delivery::Cut => {
            shears.cut();
            whole(answer)
        }
        Delivery::Half => half(answer),
    }
}

fn whole(answer: Answer) -> Response {
    let (head, bytes) = render(answer);
    (head.0, head.1, bytes).into_response()
}

/// Announces the whole body, sends half of it, and breaks off.
fn half(answer: Answer) -> Response {
    let ((status, mut headers), bytes) = render(answer);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let first = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    let body = stream::once(async { Ok(first) }).chain(stream::once(async {
        // Only a body that waits is flushed; without this, not even the head would arrive.
        tokio::time::sleep(FLUSH).await;
        Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted))
    }));
    (status, headers, HttpBody::from_stream(body)).into_response()
}

fn render(answer: Answer) -> ((StatusCode, HeaderMap), Vec<u8>) {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    let (content_type, bytes) = match answer.body {
        Body::Empty => return ((status, headers), Vec::new()),
        Body::Json(value) => ("application/json", value.to_string().into_bytes()),
        Body::Raw {
            content_type,
            bytes,
        } => (content_type, bytes),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    ((status, headers), bytes)
}

/// Whether a `Host` header names this machine.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_loopback_host;

    #[rstest]
    #[case("127.0.0.1:8080", true)]
    #[case("127.0.0.1", true)]
    #[case("localhost:1", true)]
    #[case("[::1]:8080", true)]
    #[case("127.0.0.1.evil.example", false)]
    #[case("evil.example:8080", false)]
    #[case("10.0.0.1:8080", false)]
    #[case("", false)]
    fn only_this_machine_is_a_loopback_host(#[case] host: &str, #[case] loopback: bool) {
        assert_eq!(is_loopback_host(host), loopback);
    }
}
