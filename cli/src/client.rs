//! HTTP over the controller's Unix socket.
//!
//! One client for one process. It knows no TLS and no proxy: a socket needs neither, and a proxy
//! from the environment would only break it. Absent on purpose: retries. A call either has a key
//! that makes repeating it harmless, and then the person may repeat it, or it must not be repeated.

mod calls;
mod key;
pub(crate) mod sse;

use std::{
    error::Error as _,
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cattle_core::untrusted::escape;
use cattle_schemas::{Timestamp, problem::Problem};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::de::DeserializeOwned;

pub(crate) use self::{
    calls::SpecBody,
    key::{SUFFIX_LENGTH, name_suffix},
};
use crate::{exit::Failure, socket_path::ConnectError};

/// A call that waits for nothing but the controller's own work; that includes a whole pass when the
/// disk is slow.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Connecting to a local socket is immediate unless its backlog is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later than it promised a long poll may answer.
const LONG_POLL_GRACE: Duration = Duration::from_secs(15);
/// The longest JSON reply: 5,000 cattle (the largest page) with some kilobytes each.
const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;
/// What is shown of a reply that is not ours.
const MAX_SHOWN_BYTES: usize = 200;

/// Why an exchange with a controller that listens came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// It ended the connection, or talks something else.
    #[error("{call} broke off")]
    Broken {
        /// Method and path.
        call: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// It did not answer in time.
    #[error("{call} got no answer within {} s", .after.as_secs())]
    TimedOut {
        /// Method and path.
        call: String,
        /// The time it had.
        after: Duration,
    },
    /// It answered what we cannot read.
    #[error("the answer to {call} cannot be read (client {})", env!("CARGO_PKG_VERSION"))]
    Unreadable {
        /// Method and path.
        call: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// It answered an error that is not a problem document.
    #[error("{call} was answered {status}, not by a clawdlets controller: {excerpt}")]
    Foreign {
        /// Method and path.
        call: String,
        /// The HTTP status.
        status: u16,
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// It sent more than any answer has.
    #[error("the answer to {call} is larger than {} MiB", MAX_REPLY_BYTES / 1024 / 1024)]
    TooLarge {
        /// Method and path.
        call: String,
    },
}

/// The API, as one process uses it.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    socket: PathBuf,
    /// Whether each call is told on stderr.
    trace: bool,
    /// What time it was for the controller when it last answered.
    told: Mutex<Option<Told>>,
}

/// Dates are of whole seconds: a clock that is so close is the same, and tells more.
const SAME_CLOCK: TimeDelta = TimeDelta::seconds(3);

/// What time it was for the controller, and when it said so.
#[derive(Clone, Copy, Debug)]
struct Told {
    then: Timestamp,
    heard: Instant,
}

impl Told {
    fn now(date: Timestamp) -> Self {
        let ours = Utc::now();
        let same = (date - ours).abs() <= SAME_CLOCK;
        Self {
            then: if same { ours } else { date },
            heard: Instant::now(),
        }
    }

    fn carried_on(self) -> Timestamp {
        self.then + self.heard.elapsed()
    }
}

/// One call on its way.
struct Call {
    request: RequestBuilder,
    /// Method and path, for messages.
    label: String,
    timeout: Option<Duration>,
}

impl Client {
    /// A client of this socket. Nothing is sent yet.
    pub(crate) fn new(socket: PathBuf, trace: bool) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("clawdlets/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Failure::Other(anyhow::Error::new(error).context("cannot set up the HTTP client"))
            })?;
        Ok(Self {
            http,
            socket,
            trace,
            told: Mutex::default(),
        })
    }

    fn call(&self, method: Method, segments: &[&str]) -> Call {
        let mut url = Url::parse("http://controller/v1").expect("a constant URL");
        url.path_segments_mut()
            .expect("an http URL has a path")
            .extend(segments);
        let label = format!("{method} {}", url.path());
        Call {
            request: self.http.request(method, url),
            label,
            timeout: Some(CALL_TIMEOUT),
        }
    }

    /// Sends, and turns every status but 2xx into a failure.
    async fn send(&self, call: Call) -> Result<(String, Response), Failure> {
        let Call {
            mut request,
            label,
            timeout,
        } = call;
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        let began = Instant::now();
        let sent = request.send().await;
        if self.trace {
            let outcome = match &sent {
                Ok(response) => response.status().to_string(),
                Err(error) => error.to_string(),
            };
            crate::output::stderr_line(&format!(
                "{label}: {outcome} ({} ms)",
                began.elapsed().as_millis()
            ));
        }
        let response = sent.map_err(|error| self.failed(&label, timeout, error))?;
        self.hear_the_time(&response);
        if response.status().is_success() {
            return Ok((label, response));
        }
        Err(self.refused(label, response).await)
    }

    fn hear_the_time(&self, response: &Response) {
        let date = response.headers().get(header::DATE);
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
        if let Some(date) = date {
            let told = Some(Told::now(date.with_timezone(&Utc)));
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }

    /// What time it is for the controller; `None` before it answered.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map(Told::carried_on)
    }

    /// Sends, and reads the JSON answer.
    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Failure> {
        let (label, response) = self.send(call).await?;
        self.read_json(label, response).await
    }

    async fn read_json<T: DeserializeOwned>(
        &self,
        label: String,
        response: Response,
    ) -> Result<T, Failure> {
        let body = self.body(&label, response).await?;
        serde_json::from_slice(&body).map_err(|source| {
            TransportError::Unreadable {
                call: label,
                source,
            }
            .into()
        })
    }

    async fn body(&self, label: &str, response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.failed(label, None, error))?;
            if body.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(TransportError::TooLarge {
                    call: label.to_owned(),
                }
                .into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn refused(&self, label: String, response: Response) -> Failure {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let body = match self.body(&label, response).await {
            Ok(body) => body,
            Err(failure) => return failure,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(mut problem) => {
                problem.retry_after_seconds = problem.retry_after_seconds.or(retry_after);
                Failure::Problem(Box::new(problem))
            }
            Err(_) => TransportError::Foreign {
                call: label,
                status,
                excerpt: excerpt(&body),
            }
            .into(),
        }
    }

    /// What a failed exchange means: nobody there, or somebody who fell silent.
    fn failed(&self, label: &str, timeout: Option<Duration>, error: reqwest::Error) -> Failure {
        if error.is_connect() {
            let cause = io_cause(&error)
                .unwrap_or_else(|| io::Error::other("the connection was not accepted in time"));
            return ConnectError::from_io(&self.socket, cause).into();
        }
        let call = label.to_owned();
        match timeout {
            Some(after) if error.is_timeout() => TransportError::TimedOut { call, after },
            _ => TransportError::Broken {
                call,
                source: error.without_url(),
            },
        }
        .into()
    }
}

/// The system's own error beneath the layers of HTTP.
fn io_cause(error: &reqwest::Error) -> Option<io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io.kind(), io.to_string()),
            });
        }
        source = cause.source();
    }
    None
}

fn excerpt(body: &[u8]) -> String {
    let shown = &body[..body.len().min(MAX_SHOWN_BYTES)];
    match String::from_utf8_lossy(shown).trim() {
        "" => "(empty)".to_owned(),
        text => escape(text).replace('\n', " "),
    }
}
