//! A guest API on a real socket, and guests that call it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use cattle_core::{fleet::Fleet, ledger::Run, lifecycle, names::RunId};
use cattle_schemas::{
    event::{Event, EventReason},
    guest::{EnvReply, IDEMPOTENCY_KEY_HEADER, LogsReply, Report, ReportReply},
    problem::Problem,
};
use reqwest::{Method, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    guest_api::{GuestApi, serve},
    logs::Logs,
    persona_archive::PersonaArchives,
    secrets::Secrets,
    sessions::Sessions,
    settings::PeerCheck,
    store::{
        Edit, Store, TokenKind, TokenRecord,
        fixture::{self, insert, run_id},
    },
    token,
    world::Bell,
};

pub(super) const API_KEY: &str = "sk-live-0123456789abcdef";
pub(super) const GITHUB_TOKEN: &str = "ghp_0123456789abcdefghij";
pub(super) const KEY: &str = "00112233445566778899aabbccddeeff";
pub(super) const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100";

/// A condition that does not come true within this is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

const FLEET: &str = r#"{
    "schemaVersion": 8,
    "fleet": { "modelSecrets": { "zai": "zai_api_key" } },
    "cattle": {
        "fleet": "test",
        "hetzner": { "image": "1", "serverType": "cx23", "location": "nbg1" }
    }
}"#;

pub(super) struct Ranch {
    pub(super) store: Arc<dyn Store>,
    pub(super) logs: Logs,
    pub(super) clock: Clock,
    pub(super) bell: Bell,
    pub(super) dir: tempfile::TempDir,
    base: String,
    stop: CancellationToken,
    served: Option<JoinHandle<std::io::Result<()>>>,
}

/// A guest: its run, its bootstrap token, how it calls.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) run: RunId,
    pub(super) token: String,
    http: reqwest::Client,
    base: String,
}

impl Ranch {
    pub(super) async fn open(store: Arc<dyn Store>) -> Self {
        Self::with(store, true).await
    }

    pub(super) async fn with(store: Arc<dyn Store>, hetzner_is_loopback: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("secrets")).unwrap();
        fs::write(
            dir.path().join("secrets/zai_api_key"),
            format!("{API_KEY}\n"),
        )
        .unwrap();
        fs::write(dir.path().join("secrets/github_token"), GITHUB_TOKEN).unwrap();
        let fleet = Fleet::load("clawdlets.json", FLEET.as_bytes()).unwrap();
        let (_, fleet) = watch::channel(Arc::new(fleet));
        let logs = Logs::open(&dir.path().join("logs")).unwrap();
        let (clock, bell) = (Clock::default(), Bell::default());
        // Hetzner has told its time.
        clock.hear(clock.reading(), chrono::Utc::now());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let api = GuestApi {
            store: store.clone(),
            logs: logs.clone(),
            secrets: Arc::new(Secrets::open(None, Some(&dir.path().join("secrets"))).unwrap()),
            bell: bell.clone(),
            clock: clock.clone(),
            pulse: Arc::default(),
            fleet,
            archives: Arc::new(PersonaArchives::new(dir.path().join("personas"))),
            peer_check: PeerCheck::Off,
            hetzner_is_loopback,
            sessions: Sessions::default(),
            knows_its_runs: Arc::new(|| true),
        };
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let served = Some(tokio::spawn(serve(listener, api, shutdown)));
        Self {
            store,
            logs,
            clock,
            bell,
            dir,
            base,
            stop,
            served,
        }
    }

    pub(super) async fn close(&mut self) {
        self.stop.cancel();
        self.served.take().unwrap().await.unwrap().unwrap();
    }

    pub(super) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub(super) fn secret(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("secrets").join(name)
    }

    pub(super) fn persona_file(&self, path: &str, content: &str) {
        let path = self.dir.path().join("personas/rex").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A run that was started a moment ago, and its guest.
    pub(super) async fn start(&self, name: &str, nth: u64) -> Guest {
        self.start_with(name, nth, |_| {}).await
    }

    pub(super) async fn start_with(
        &self,
        name: &str,
        nth: u64,
        change: impl FnOnce(&mut Run),
    ) -> Guest {
        let (mut run, _) = lifecycle::begin(
            run_id(nth),
            &fixture::cattle(name),
            &fixture::origin(),
            fixture::MAX_TTL,
            self.clock.now(),
        );
        change(&mut run);
        self.commit(vec![insert(run)]).await;
        let token = self.token(nth, 1).await;
        self.guest(nth, token, "127.0.0.1")
    }

    /// A bootstrap token of another attempt.
    pub(super) async fn token(&self, nth: u64, attempt: u32) -> String {
        let (token, digest) = token::draw().unwrap();
        let record = TokenRecord {
            digest,
            run: run_id(nth),
            attempt,
            kind: TokenKind::Bootstrap,
            idempotency: None,
            peer: None,
            voided: false,
        };
        self.commit(vec![Edit::InsertToken(record)]).await;
        token.expose_secret().to_owned()
    }

    pub(super) fn guest(&self, nth: u64, token: String, address: &str) -> Guest {
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(Some(address.parse().unwrap()))
            .build()
            .unwrap();
        Guest {
            run: run_id(nth),
            token,
            http,
            base: self.base.clone(),
        }
    }

    pub(super) async fn commit(&self, edits: Vec<Edit>) {
        let applied = self.store.commit(edits, self.clock.now()).await.unwrap();
        assert!(applied.iter().all(|applied| *applied), "{applied:?}");
    }

    pub(super) async fn run(&self, guest: &Guest) -> Run {
        self.store.run(guest.run).await.unwrap().unwrap()
    }

    pub(super) async fn events(&self, reason: EventReason) -> Vec<Event> {
        let events = self.store.events(0, None, 1_000).await.unwrap();
        events
            .into_iter()
            .filter(|event| event.reason == reason)
            .collect()
    }

    /// Whether somebody rang since the last time.
    pub(super) async fn rung(&self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.bell.rung())
            .await
            .is_ok()
    }
}

pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn json<T: DeserializeOwned>(response: Response) -> T {
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// A refusal: its status, and that it is a problem.
pub(super) async fn refused(response: Response) -> (u16, Problem) {
    let status = response.status().as_u16();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["cache-control"], "no-store");
    let problem: Problem = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(problem.status, status);
    (status, problem)
}

pub(super) async fn status(response: Response) -> u16 {
    refused(response).await.0
}

impl Guest {
    pub(super) fn call(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token)
    }

    pub(super) async fn env(&self, key: &str) -> Response {
        self.call(Method::GET, "/v1/cattle/env", &self.token)
            .header(IDEMPOTENCY_KEY_HEADER, key)
            .send()
            .await
            .unwrap()
    }

    /// The session after the env was fetched.
    pub(super) async fn session(&self) -> String {
        let reply = json::<EnvReply>(self.env(KEY).await).await;
        reply.session_token.to_string()
    }

    /// The session of a guest that reported in.
    pub(super) async fn started(&self) -> String {
        let session = self.session().await;
        let _: ReportReply = json(self.report(&session, r#"{"kind":"ready"}"#).await).await;
        session
    }

    pub(super) async fn report(&self, session: &str, body: impl Into<reqwest::Body>) -> Response {
        self.call(Method::POST, "/v1/cattle/report", session)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub(super) async fn say(&self, session: &str, report: &Report) -> Response {
        self.report(session, serde_json::to_vec(report).unwrap())
            .await
    }

    pub(super) async fn send_log(&self, session: &str, offset: u64, bytes: &[u8]) -> Response {
        self.call(
            Method::POST,
            &format!("/v1/cattle/logs?offset={offset}"),
            session,
        )
        .body(bytes.to_vec())
        .send()
        .await
        .unwrap()
    }

    pub(super) async fn log(&self, session: &str, offset: u64, bytes: &[u8]) -> LogsReply {
        json(self.send_log(session, offset, bytes).await).await
    }

    pub(super) async fn persona(&self, session: &str) -> Response {
        self.call(Method::GET, "/v1/cattle/persona", session)
            .send()
            .await
            .unwrap()
    }
}

/// Whether one of these texts is in any file beneath the directory.
pub(super) fn find_in_files(dir: &Path, texts: &[&str]) -> Option<String> {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = find_in_files(&path, texts) {
                return Some(found);
            }
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for text in texts {
            if bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                return Some(format!("{text} in {}", path.display()));
            }
        }
    }
    None
}
