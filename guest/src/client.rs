//! The controller's guest API as the guest calls it: timeouts, capped replies, no proxy, no
//! redirects; what may be repeated and what may not.
//!
//! Absent on purpose: anything from a reply's body in an error but a short, escaped detail. The
//! env reply carries secrets.

use std::time::Duration;

use cattle_schemas::Timestamp;
use cattle_schemas::guest::{
    EnvReply, IDEMPOTENCY_KEY_HEADER, LogsReply, MAX_PERSONA_BYTES, Report, ReportReply,
};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;
use zeroize::Zeroizing;

use crate::backoff::Backoff;
use crate::input::place_of;

/// Connecting within a tailnet takes milliseconds, a first DERP handshake a second or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One attempt at a small call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// One attempt at a log chunk: 256 KiB over a relayed path.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);
/// One attempt at the persona archive: 32 MiB over a relayed path.
const PERSONA_TIMEOUT: Duration = Duration::from_secs(180);
/// Replies are small; an env is a handful of keys.
const MAX_REPLY_BYTES: u64 = 1024 * 1024;
/// What is shown of an error reply's body.
const MAX_DETAIL_CHARS: usize = 200;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{call}: no answer from the controller")]
    Unanswered {
        call: &'static str,
        #[source]
        source: reqwest::Error,
    },
    #[error("{call}: the controller answered {status}{detail}")]
    Status {
        call: &'static str,
        status: StatusCode,
        detail: String,
        retry_after: Option<Duration>,
    },
    #[error("{call}: the controller's answer is longer than {limit} bytes")]
    TooLong { call: &'static str, limit: u64 },
    #[error("{call}: the controller's answer is {problem}")]
    Malformed { call: &'static str, problem: String },
}

impl CallError {
    /// The controller heard us and means it: 401, 403 and 410 do not change by asking again.
    pub(crate) fn refused(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403 | 410))
    }

    /// The run is over for the controller.
    pub(crate) fn gone(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::GONE)
    }

    /// The controller did not take this request as it is (400, 404, 409, 413, …).
    pub(crate) fn rejected(&self) -> bool {
        matches!(self, Self::Status { status, .. }
            if status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 410 | 425 | 429))
    }

    /// What the controller asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// How one guest speaks to its controller.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    pub(crate) fn new(base: Url) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            // A proxy from the environment must never see a token, and would break loopback.
            .no_proxy()
            // A redirect could carry the bearer elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("clf-cattle/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, base })
    }

    fn request(&self, method: Method, path: &str, token: &SecretString) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        self.http
            .request(method, url)
            .bearer_auth(token.expose_secret())
    }

    /// One attempt at the env, which spends `token`.
    pub(crate) async fn env(
        &self,
        token: &SecretString,
        idempotency_key: &str,
    ) -> Result<EnvReply, CallError> {
        const CALL: &str = "fetching the env";
        let request = self
            .request(Method::GET, "/v1/cattle/env", token)
            .header(IDEMPOTENCY_KEY_HEADER, idempotency_key)
            .timeout(CALL_TIMEOUT);
        json(CALL, &send(CALL, request, MAX_REPLY_BYTES).await?)
    }

    /// One attempt at a report.
    pub(crate) async fn report(
        &self,
        session: &SecretString,
        report: &Report,
    ) -> Result<ReportReply, CallError> {
        const CALL: &str = "reporting";
        let request = self
            .request(Method::POST, "/v1/cattle/report", session)
            .json(report)
            .timeout(CALL_TIMEOUT);
        json(CALL, &send(CALL, request, MAX_REPLY_BYTES).await?)
    }

    /// One attempt at the persona archive.
    pub(crate) async fn persona(
        &self,
        session: &SecretString,
    ) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let request = self
            .request(Method::GET, "/v1/cattle/persona", session)
            .timeout(PERSONA_TIMEOUT);
        send("fetching the persona archive", request, MAX_PERSONA_BYTES).await
    }

    /// One attempt at a piece of the log.
    pub(crate) async fn logs(
        &self,
        session: &SecretString,
        offset: u64,
        chunk: Vec<u8>,
    ) -> Result<LogsReply, CallError> {
        const CALL: &str = "sending the log";
        let request = self
            .request(Method::POST, "/v1/cattle/logs", session)
            .query(&[("offset", offset)])
            .header("content-type", "application/octet-stream")
            .body(chunk)
            .timeout(LOG_TIMEOUT);
        json(CALL, &send(CALL, request, MAX_REPLY_BYTES).await?)
    }
}

/// Repeats `attempt` until it succeeds, is refused, or `deadline` passes; then the last error.
/// At least one attempt is made. An attempt that runs into the deadline is cut off there.
pub(crate) async fn until<T, Attempt, Call>(
    deadline: Instant,
    mut attempt: Attempt,
) -> Result<T, CallError>
where
    Attempt: FnMut() -> Call,
    Call: Future<Output = Result<T, CallError>>,
{
    let mut backoff = Backoff::new();
    loop {
        let error = match attempt().await {
            Ok(reply) => return Ok(reply),
            Err(error) if error.refused() => return Err(error),
            Err(error) => error,
        };
        let wait = backoff.next(error.retry_after());
        if Instant::now() + wait >= deadline {
            return Err(error);
        }
        warn!(
            error = &error as &dyn std::error::Error,
            wait_ms = wait.as_millis(),
            "will try again"
        );
        tokio::time::sleep(wait).await;
    }
}

/// The moment of our own clock at which `expires_at` is reached; now if it has passed.
pub(crate) fn instant_of(expires_at: Timestamp, now: Timestamp) -> Instant {
    /// Far enough to mean never, near enough to be added to any instant.
    const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    Instant::now() + (expires_at - now).to_std().unwrap_or_default().min(NEVER)
}

/// Sends a request; the body of a 2xx answer, of at most `limit` bytes. It may be an env, and is zeroed
/// when it is dropped.
pub(crate) async fn send(
    call: &'static str,
    request: RequestBuilder,
    limit: u64,
) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let unanswered = |source: reqwest::Error| CallError::Unanswered {
        call,
        source: source.without_url(),
    };
    let mut response = request.send().await.map_err(unanswered)?;
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // As long as it says that it is, where it does: growing would leave copies behind.
    let announced = response.content_length().unwrap_or_default().min(limit);
    let room = usize::try_from(announced).unwrap_or_default();
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(CallError::TooLong { call, limit });
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    Err(CallError::Status {
        call,
        status,
        detail: detail(&body),
        retry_after,
    })
}

/// Decodes an answer. What it holds is not quoted.
pub(crate) fn json<T: DeserializeOwned>(call: &'static str, body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Malformed {
        call,
        problem: place_of(&error),
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// The sentence in an RFC 9457 problem, or the start of whatever else came.
fn detail(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(body).ok();
    let field = |name| problem.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let text = field("detail")
        .or_else(|| field("title"))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    let shown: String = text.chars().take(MAX_DETAIL_CHARS).collect();
    format!(": {}", shown.escape_debug())
}
