//! One HTTP exchange with the API: let through by the [`Gate`], authenticated, bounded in time and
//! size, measured.
//!
//! Absent on purpose: retries (the plan decides, not the transport), redirects (they would carry the
//! token elsewhere), proxies from the environment (`HTTP_PROXY` breaks loopback, and nobody but
//! Hetzner is to see the token).

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use axum::body::Bytes;
use cattle_core::{
    account::Token,
    rate::{Class, Told},
    user_data,
};
use cattle_schemas::Timestamp;
use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::watch;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::{
    error::{ApiError, Kind},
    gate::{DELETES_HOLD, Gate, Permit, class_of},
    redact::Redactor,
    standing,
    table::Operation,
};
use crate::{clock::Clock, patience::Answers};

/// The real one.
pub const DEFAULT_ENDPOINT: &str = "https://api.hetzner.cloud/v1";
/// A page of 50 servers is about 400 KB, the price list about 300 KB.
pub(super) const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// The longest body: a `user_data`, whose quotes are escaped once more, and labels.
const BODY_ROOM: usize = 2 * user_data::MAX_BYTES + 16 * 1024;
/// An error body is a few hundred bytes; a gateway's HTML page may be more and is not read further.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The longest `Retry-After` that is believed; none was ever seen from Hetzner.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// 128 bits in hex or a UUID, with room.
const MAX_CORRELATION_ID: usize = 64;

/// Where the API is and who we are.
#[derive(Clone)]
pub struct Endpoint {
    /// Base URL, with or without a slash at its end.
    pub url: String,
    /// The project's token, read and write.
    pub token: SecretString,
}

impl Endpoint {
    /// Whether it is on this machine: then it is an imitation.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        reqwest::Url::parse(&self.url).is_ok_and(|url| on_loopback(&url))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL.
    #[error("the Hetzner endpoint is not a URL like `https://api.hetzner.cloud/v1`")]
    NotAUrl,
    /// The token would travel in the clear.
    #[error("the Hetzner endpoint `{url}` must be https (http only on loopback)")]
    Insecure {
        /// As given.
        url: String,
    },
    /// It has a user, a query or a fragment.
    #[error("the Hetzner endpoint must be a plain base URL, without user, query or fragment")]
    NotABase,
    /// No token, or one that no header can carry.
    #[error("the Hetzner token is empty or not plain text (HCLOUD_TOKEN)")]
    Token,
    /// TLS or the resolver could not be set up.
    #[error("cannot set up the HTTP client for Hetzner")]
    Client(#[source] reqwest::Error),
}

/// One call.
pub(super) struct Call {
    pub(super) operation: Operation,
    /// What it is about, for messages: `server 42`. Never a secret.
    pub(super) subject: String,
    pub(super) method: Method,
    /// Beneath the base, beginning with a slash.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    /// JSON, already written; may hold secrets, and is zeroed when the last holder drops it.
    pub(super) body: Option<Bytes>,
}

impl Call {
    pub(super) fn new(
        operation: Operation,
        subject: impl Into<String>,
        method: Method,
        path: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            subject: subject.into(),
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
        }
    }

    pub(super) fn get(
        operation: Operation,
        subject: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self::new(operation, subject, Method::GET, path)
    }

    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn json(mut self, body: &impl serde::Serialize) -> Self {
        // Room for the longest at once: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(BODY_ROOM));
        serde_json::to_writer(&mut *bytes, body).expect("request models have string keys only");
        self.body = Some(Bytes::from_owner(bytes));
        self
    }
}

/// A reply of success.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its JSON; `Null` where there was no body.
    pub(super) body: Value,
    /// For errors about what it says.
    pub(super) status: u16,
    pub(super) correlation_id: Option<String>,
    pub(super) endpoint: Arc<str>,
}

/// Looks for secrets in what is about to be sent: a sentence about the one that is in it, or about
/// why it could not be searched. Blocks on the file system.
pub type Search = Arc<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// The one HTTP client.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    answers: Answers,
    base: Arc<str>,
    redactor: Arc<Redactor>,
    clock: Clock,
    token: watch::Sender<Token>,
    gate: Gate,
    /// What this clone's calls are for, where that is not what they are usually for.
    class: Option<Class>,
    /// Every body passes it.
    search: Option<Search>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Transport {
    pub(super) fn new(
        endpoint: &Endpoint,
        answers: Answers,
        clock: Clock,
    ) -> Result<Self, EndpointError> {
        let base = checked_base(&endpoint.url)?;
        let token = endpoint.token.expose_secret();
        if token.trim().is_empty() {
            return Err(EndpointError::Token);
        }
        let mut bearer = Zeroizing::new(Vec::with_capacity("Bearer ".len() + token.len()));
        bearer.extend_from_slice(b"Bearer ");
        bearer.extend_from_slice(token.trim().as_bytes());
        let mut bearer = HeaderValue::from_maybe_shared(Bytes::from_owner(bearer))
            .map_err(|_| EndpointError::Token)?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let http = reqwest::Client::builder()
            .user_agent(concat!("clawdlets-cattle/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(answers.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .https_only(base.starts_with("https:"))
            .build()
            .map_err(EndpointError::Client)?;
        Ok(Self {
            http,
            answers,
            base: base.into(),
            redactor: Arc::new(Redactor::new(token.trim())),
            clock,
            token: watch::Sender::new(Token::Unknown),
            gate: Gate::open(),
            class: None,
            search: None,
        })
    }

    /// The same one, but nothing is sent that this finds a secret in.
    pub(super) fn searching(self, search: Search) -> Self {
        Self {
            search: Some(search),
            ..self
        }
    }

    /// Whatever is written to Hetzner is kept there and shown to whoever may look: names, labels,
    /// keys. Reads and deletes have no body, and are never held back.
    async fn refuse_secrets(&self, call: &Call) -> Result<(), ApiError> {
        let (Some(search), Some(body)) = (&self.search, &call.body) else {
            return Ok(());
        };
        let (search, body) = (search.clone(), body.clone());
        let searched = tokio::task::spawn_blocking(move || search(&body)).await;
        searched
            .unwrap_or_else(|defect| Err(format!("a defect: {defect}")))
            .map_err(|why| {
                let subject = call.subject.clone();
                ApiError::new(call.operation, subject, Kind::Withheld(why)).at(&self.base)
            })
    }

    /// The same one, for calls that are as important as this class.
    pub(super) fn as_class(&self, class: Class) -> Self {
        Self {
            class: Some(class),
            ..self.clone()
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The clock that every reply's date goes to.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What answers said of the token.
    pub(super) fn token(&self) -> watch::Receiver<Token> {
        self.token.subscribe()
    }

    fn hear(&self, writes: bool, result: &Result<Reply, ApiError>) {
        let Some(heard) = standing::heard(writes, result) else {
            return;
        };
        let now = self.clock.now();
        self.token.send_if_modified(|token| {
            let known = std::mem::take(token);
            *token = known.after(heard, now);
            *token != known
        });
    }

    /// One exchange, as soon as the rate limit has room for it. Any status outside 200–299 is an
    /// error.
    pub(super) async fn send(&self, call: Call) -> Result<Reply, ApiError> {
        self.refuse_secrets(&call).await?;
        let class = self.class.unwrap_or_else(|| class_of(call.operation));
        let permit = match self.gate.enter(class).await {
            Ok(permit) => permit,
            Err(no_room) => {
                let mut error =
                    ApiError::new(call.operation, call.subject, Kind::NoRoom(no_room.class));
                error.retry_after = Some(no_room.retry_in.max(DELETES_HOLD));
                return Err(error);
            }
        };
        let span = tracing::debug_span!(
            "hetzner",
            operation = call.operation.as_str(),
            subject = %call.subject,
            status = tracing::field::Empty,
            correlation_id = tracing::field::Empty,
        );
        let operation = call.operation;
        let writes = call.method != Method::GET;
        let result = self
            .exchange(call, permit, class)
            .instrument(span.clone())
            .await
            .map_err(|error| error.at(&self.base));
        self.hear(writes, &result);
        let (status, correlation) = match &result {
            Ok(reply) => (reply.status.to_string(), reply.correlation_id.as_deref()),
            Err(error) => (
                error.status.map_or_else(
                    || error.kind.as_str().to_owned(),
                    |status| status.to_string(),
                ),
                error.correlation_id.as_deref(),
            ),
        };
        span.record("status", status.as_str());
        if let Some(correlation) = correlation {
            span.record("correlation_id", correlation);
        }
        metrics::counter!("hetzner_requests_total", "operation" => operation.as_str(), "status" => status)
            .increment(1);
        result
    }

    async fn exchange(&self, call: Call, permit: Permit, class: Class) -> Result<Reply, ApiError> {
        let Call {
            operation,
            subject,
            method,
            path,
            query,
            body,
        } = call;
        let fail = |kind: Kind| ApiError::new(operation, subject.clone(), kind);
        let timeout = if operation == Operation::CreateServer {
            self.answers.create
        } else {
            self.answers.usual
        };
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(timeout);
        if !query.is_empty() {
            request = request.query(&query);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let sent = self.clock.reading();
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let kind = if error.is_connect() || error.is_builder() {
                    permit.unsent();
                    Kind::NotSent
                } else if error.is_timeout() {
                    Kind::Timeout
                } else {
                    Kind::Cut
                };
                return Err(fail(kind).caused_by(error));
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let date = header_date(&headers);
        match date {
            Some(date) => self.clock.hear(sent, date),
            None => self.clock.hear_undated(),
        }
        // The header's other date is by the same clock, whatever that is worth.
        let told = header_told(&headers, date.unwrap_or_else(|| self.clock.now()));
        let hold = if status.as_u16() == 429 {
            Some(permit.refused(told, |refill| retry_after(&headers, refill)))
        } else {
            permit.answered(told);
            None
        };
        let correlation_id = correlation_id(&headers).filter(|id| !self.redactor.knows(id));
        let describe = |mut error: ApiError| {
            error.status = Some(status.as_u16());
            error.correlation_id.clone_from(&correlation_id);
            error
        };
        let cap = if status.is_success() {
            MAX_REPLY_BYTES
        } else {
            MAX_ERROR_BYTES
        };
        let mut bytes = Vec::new();
        let read = loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > cap => {
                    break Some(fail(Kind::TooLarge));
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break None,
                Err(error) => break Some(fail(Kind::Cut).caused_by(error)),
            }
        };
        if !status.is_success() {
            // Whatever could be read of it: the status says most.
            let mut error = ApiError::from_reply(
                operation,
                subject.clone(),
                status.as_u16(),
                &bytes,
                &self.redactor,
            );
            error.retry_after = match class {
                Class::Delete => hold.map(|_| DELETES_HOLD),
                Class::List | Class::Create | Class::Read => hold,
            };
            return Err(describe(error));
        }
        if let Some(error) = read {
            return Err(describe(error));
        }
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            match serde_json::from_slice(&bytes) {
                Ok(body) => body,
                // Its message may quote the body, which may hold a secret: dropped.
                Err(_) => return Err(describe(fail(Kind::Unreadable("not JSON".to_owned())))),
            }
        };
        Ok(Reply {
            body,
            status: status.as_u16(),
            correlation_id,
            endpoint: self.base.clone(),
        })
    }
}

fn checked_base(text: &str) -> Result<String, EndpointError> {
    let url = reqwest::Url::parse(text.trim()).map_err(|_| EndpointError::NotAUrl)?;
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(EndpointError::NotABase);
    }
    let loopback = on_loopback(&url);
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => {
            return Err(EndpointError::Insecure {
                url: text.to_owned(),
            });
        }
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn on_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn correlation_id(headers: &HeaderMap) -> Option<String> {
    let id = text(headers, "x-correlation-id")?;
    let plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && !id.is_empty() && id.len() <= MAX_CORRELATION_ID).then(|| id.to_owned())
}

fn header_date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|date| date.with_timezone(&Utc))
}

/// What the headers say of the rate limit; `at` is when, by Hetzner's clock.
fn header_told(headers: &HeaderMap, at: Timestamp) -> Option<Told> {
    let number = |name| text(headers, name)?.parse::<u32>().ok();
    let reset = text(headers, "ratelimit-reset").and_then(|text| text.parse::<i64>().ok());
    let full_in = reset.map(|full_at| full_at.saturating_sub(at.timestamp()).max(0));
    Some(Told {
        limit: number("ratelimit-limit").filter(|limit| *limit > 0)?,
        remaining: number("ratelimit-remaining")?,
        full_in: full_in.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
    })
}

/// How long to wait after a 429: until the next call is refilled (`refill` of them a second), and
/// everybody who waits must not come back at the same moment.
fn retry_after(headers: &HeaderMap, refill: f64) -> Duration {
    let told = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
        .map(Duration::from_secs);
    let base = told
        .or_else(|| Duration::try_from_secs_f64(1.0 / refill).ok())
        .unwrap_or(MAX_RETRY_AFTER)
        .clamp(Duration::from_secs(1), MAX_RETRY_AFTER);
    base + jitter(base.max(Duration::from_secs(2)))
}

/// Anything below `most`. Where there is no randomness there is none to spread.
fn jitter(most: Duration) -> Duration {
    let mut bytes = [0; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => most.mul_f64(f64::from(u16::from_le_bytes(bytes)) / 65536.0),
        Err(_) => Duration::ZERO,
    }
}
