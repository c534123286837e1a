//! A controller that does as section 8 of the design says, and, where a test asks for it, worse.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cattle_schemas::guest::{
    EnvReply, IDEMPOTENCY_KEY_HEADER, LogsReply, Outcome, Report, ReportKind, ReportReply, Stop,
};
use chrono::Utc;
use tokio::sync::{oneshot, watch};

/// Nothing on loopback takes this long; a test that waits longer has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const TOKEN: &str = "b00757ab0075e7";
pub(crate) const RUN: &str = "01J00000000000000000000000";
pub(crate) const SECRET: &str = "sk-do-not-write-me-down";

/// What can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    Env,
    Persona,
    Ready,
    Heartbeat,
    Finished,
    Logs,
}

/// How one call goes wrong.
pub(crate) enum Fault {
    /// Answered with this status; without effect.
    Status(u16),
    /// It takes effect, and the connection closes without an answer.
    LostAfter,
    /// It takes effect, and half the answer comes.
    CutAfter,
    /// It takes effect, and is answered when the sender is used or dropped.
    HeldAfter(oneshot::Receiver<()>),
}

/// What a controller saw and keeps.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every call that came, in order, faulty ones too.
    pub(crate) calls: Vec<Call>,
    pub(crate) idempotency_keys: Vec<String>,
    /// The finished reports, repeated ones too.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) log: Vec<u8>,
    /// Offset and length of every log call that came.
    pub(crate) log_calls: Vec<(u64, usize)>,
}

impl Seen {
    pub(crate) fn count(&self, call: Call) -> usize {
        self.calls.iter().filter(|seen| **seen == call).count()
    }

    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
    }
}

#[derive(Default)]
struct Inner {
    faults: BTreeMap<Call, VecDeque<Fault>>,
    seen: Seen,
    /// Counts env replies: each brings a new session token that voids the last.
    sessions: u32,
    ready: bool,
    stop: Option<Stop>,
    gone: bool,
    stay: bool,
    persona: Option<Vec<u8>>,
    persona_digest: Option<String>,
    env: BTreeMap<String, String>,
    expires_in: Option<chrono::TimeDelta>,
}

struct Shared {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

pub(crate) struct Controller {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Controller {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                env: BTreeMap::from([("ZAI_API_KEY".to_owned(), SECRET.to_owned())]),
                ..Inner::default()
            }),
            changed: watch::Sender::new(0),
        });
        let app = Router::new()
            .route("/v1/cattle/env", get(env))
            .route("/v1/cattle/persona", get(persona))
            .route("/v1/cattle/report", post(report))
            .route("/v1/cattle/logs", post(logs))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap()
    }

    pub(crate) fn fault(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.inner().faults.entry(call).or_default().extend(faults);
    }

    /// Holds the next answer to `call` until the sender is used.
    pub(crate) fn hold(&self, call: Call) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        self.fault(call, [Fault::HeldAfter(receiver)]);
        sender
    }

    pub(crate) fn stop(&self, reason: &str, grace_seconds: u64) {
        self.inner().stop = Some(Stop {
            reason: reason.to_owned(),
            grace_seconds,
        });
    }

    /// The guest is to stay on after its task.
    pub(crate) fn keep(&self) {
        self.inner().stay = true;
    }

    /// From now on the run is over: 410 to everything.
    pub(crate) fn end_run(&self) {
        self.inner().gone = true;
    }

    pub(crate) fn set_env(&self, name: &str, value: &str) {
        self.inner().env.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn set_persona(&self, archive: Vec<u8>, digest: String) {
        let mut inner = self.inner();
        inner.persona = Some(archive);
        inner.persona_digest = Some(digest);
    }

    /// What replies say about the end of the TTL, from the moment of each reply.
    pub(crate) fn expires_in(&self, delta: chrono::TimeDelta) {
        self.inner().expires_in = Some(delta);
    }

    /// Loses the end of the stored log, as a controller that fell does.
    pub(crate) fn truncate_log(&self, length: usize) {
        self.inner().seen.log.truncate(length);
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.inner().seen)
    }

    /// Waits until what was seen is as asked.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waited = tokio::time::timeout(DEADLINE, async {
            while !self.seen(&condition) {
                changed.changed().await.unwrap();
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}");
    }

    /// The outcome, which must have come exactly once or repeated unchanged.
    pub(crate) fn outcome(&self) -> Outcome {
        self.seen(|seen| {
            let first = seen.outcomes.first().expect("an outcome").clone();
            assert!(seen.outcomes.iter().all(|outcome| *outcome == first));
            first
        })
    }
}

impl Shared {
    fn note(&self, change: impl FnOnce(&mut Inner) -> Response) -> Response {
        let response = change(&mut self.inner.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        response
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut inner = self.inner.lock().unwrap();
        inner.seen.calls.push(call);
        let fault = inner.faults.get_mut(&call).and_then(VecDeque::pop_front);
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
        fault
    }

    /// Runs `effect` for one call, with whatever fault is due.
    async fn answer(&self, call: Call, effect: impl FnOnce(&mut Inner) -> Response) -> Response {
        match self.fault(call) {
            Some(Fault::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
            Some(Fault::LostAfter) => {
                self.note(effect);
                // Ends the connection's task without the panic hook's noise.
                std::panic::resume_unwind(Box::new(()));
            }
            Some(Fault::CutAfter) => {
                let response = self.note(effect);
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
                let body = body.unwrap();
                body.slice(..body.len() / 2).into_response()
            }
            Some(Fault::HeldAfter(release)) => {
                let response = self.note(effect);
                let _ = release.await;
                response
            }
            None => self.note(effect),
        }
    }
}

fn bearer(headers: &HeaderMap) -> &str {
    headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
}

impl Inner {
    fn session(&self) -> String {
        format!("5e5510-{}", self.sessions)
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        if self.gone {
            return Some(StatusCode::GONE.into_response());
        }
        if bearer(headers) != self.session() {
            return Some(StatusCode::UNAUTHORIZED.into_response());
        }
        None
    }
}

async fn env(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let key = headers
        .get(IDEMPOTENCY_KEY_HEADER)
        .map(|key| key.to_str().unwrap().to_owned())
        .unwrap_or_default();
    shared
        .inner
        .lock()
        .unwrap()
        .seen
        .idempotency_keys
        .push(key.clone());
    let effect = |inner: &mut Inner| {
        let first = &inner.seen.idempotency_keys[0];
        if inner.ready || inner.gone || bearer(&headers) != TOKEN || *first != key {
            return StatusCode::GONE.into_response();
        }
        inner.sessions += 1;
        Json(EnvReply {
            run: RUN.to_owned(),
            env: inner
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect(),
            session_token: inner.session().into(),
            persona_digest: inner.persona_digest.clone(),
            model: "zai/glm-4.7".to_owned(),
        })
        .into_response()
    };
    shared.answer(Call::Env, effect).await
}

async fn persona(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let effect = |inner: &mut Inner| match inner.refusal(&headers) {
        Some(refusal) => refusal,
        None => inner.persona.clone().unwrap_or_default().into_response(),
    };
    shared.answer(Call::Persona, effect).await
}

async fn report(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(report): Json<Report>,
) -> Response {
    let call = match report.kind {
        ReportKind::Ready => Call::Ready,
        ReportKind::Heartbeat => Call::Heartbeat,
        ReportKind::Finished => Call::Finished,
    };
    let effect = |inner: &mut Inner| {
        if let Some(refusal) = inner.refusal(&headers) {
            return refusal;
        }
        inner.ready = true;
        inner.seen.outcomes.extend(report.outcome);
        let expires_in = inner.expires_in.unwrap_or(chrono::TimeDelta::minutes(5));
        Json(ReportReply {
            stop: inner.stop.clone(),
            stay: inner.stay && !inner.seen.outcomes.is_empty(),
            expires_at: Utc::now() + expires_in,
        })
        .into_response()
    };
    shared.answer(call, effect).await
}

async fn logs(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, u64>>,
    body: Bytes,
) -> Response {
    let offset = query["offset"];
    shared
        .inner
        .lock()
        .unwrap()
        .seen
        .log_calls
        .push((offset, body.len()));
    let effect = |inner: &mut Inner| {
        if let Some(refusal) = inner.refusal(&headers) {
            return refusal;
        }
        let stored = inner.seen.log.len();
        let offset = usize::try_from(offset).unwrap();
        if offset > stored {
            return StatusCode::CONFLICT.into_response();
        }
        // Overlap is discarded.
        let known = (stored - offset).min(body.len());
        inner.seen.log.extend_from_slice(&body[known..]);
        Json(LogsReply {
            next_offset: inner.seen.log.len() as u64,
            full: false,
        })
        .into_response()
    };
    shared.answer(Call::Logs, effect).await
}
