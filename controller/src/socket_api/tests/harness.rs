//! A controller without Hetzner.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use cattle_core::{
    action::{Action, Limits},
    catalogue::Catalogue,
    desired::{Authority, Desired, Origin, Placement, Requester, RootState, SpecEntry, SpecState},
    fleet::Fleet,
    ledger::{Run, RunServer},
    lifecycle::{self, Ending},
    names::{CattleName, PersonaName, RunId, ServerId},
    observed::Observed,
    plan::plan,
    spec::{Inputs, PersonaFiles, parse},
    substance,
};
use cattle_schemas::{
    Timestamp,
    api::{ReapReply, Reaped},
    guest::Outcome,
    status::{CallBudget, EndReason},
};
use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::{
    SocketApi, bind,
    peer::Peer,
    ports::{Looks, Personas, PortFuture, Reaper, RunLogs, SpecDir},
    serve,
};
use crate::{
    edit,
    store::{Edit, MemoryStore, Store, Wanted},
    world::{Bell, Handle, World},
};

pub(super) const FLEET: &str = r#"{
  "schemaVersion": 8,
  "defaultHost": "here",
  "hosts": { "here": { "agentModelPrimary": "zai/glm-4.7" } },
  "fleet": { "modelSecrets": { "zai": "zai_api_key" } },
  "cattle": {
    "fleet": "test",
    "hetzner": {
      "image": "debian-13", "serverType": "cx23", "location": "nbg1", "maxInstances": 3
    },
    "limits": { "maxTtl": "24h" }
  }
}"#;

/// A spec that is right; tests deviate from it by one line.
pub(super) const SPEC: &str = "apiVersion: clawdlets.dev/v1
kind: Cattle
metadata:
  labels: { team: docs }
spec:
  persona: rex
  task: { message: Fix the flaky test }
  ttl: 2h
";

/// How long anything in these tests may take that is not waited for on purpose.
const PATIENCE: Duration = Duration::from_secs(20);

/// The socket's spec directory, in memory.
#[derive(Default)]
pub(super) struct Files {
    pub(super) files: Mutex<BTreeMap<CattleName, Vec<u8>>>,
    pub(super) full: AtomicBool,
}

impl SpecDir for Files {
    fn write(&self, name: &CattleName, bytes: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.files
            .lock()
            .unwrap()
            .insert(name.clone(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &CattleName) -> io::Result<bool> {
        Ok(self.files.lock().unwrap().remove(name).is_some())
    }

    fn read(&self, name: &CattleName) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.lock().unwrap().get(name).cloned())
    }

    fn path(&self, name: &CattleName) -> PathBuf {
        format!("/state/specs/{name}.yaml").into()
    }
}

struct OnePersona;

impl Personas for OnePersona {
    fn read(&self, name: &PersonaName) -> Result<PersonaFiles, String> {
        match name.as_str() {
            "rex" => PersonaFiles::parse(b"I am Rex.", b"{}"),
            _ => Err("there is no such directory".to_owned()),
        }
    }
}

/// Logs, in memory.
#[derive(Default)]
pub(super) struct Logs(
    pub(super) Mutex<BTreeMap<RunId, Vec<u8>>>,
    Mutex<BTreeMap<RunId, watch::Sender<u64>>>,
);

impl Logs {
    /// Appends, and tells followers.
    pub(super) fn append(&self, run: RunId, text: &str) {
        let mut logs = self.0.lock().unwrap();
        let log = logs.entry(run).or_default();
        log.extend(text.as_bytes());
        if let Some(growth) = self.1.lock().unwrap().get(&run) {
            growth.send_replace(log.len() as u64);
        }
    }
}

impl RunLogs for Logs {
    fn length(&self, run: RunId) -> io::Result<Option<u64>> {
        Ok(self.0.lock().unwrap().get(&run).map(|log| log.len() as u64))
    }

    fn read(&self, run: RunId, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let logs = self.0.lock().unwrap();
        let log = logs.get(&run).map(Vec::as_slice).unwrap_or_default();
        let start = usize::try_from(offset).unwrap().min(log.len());
        Ok(log[start..(start + max).min(log.len())].to_vec())
    }

    fn follow(&self, run: RunId) -> io::Result<Option<watch::Receiver<u64>>> {
        let mut growth = self.1.lock().unwrap();
        Ok(Some(
            growth
                .entry(run)
                .or_insert_with(|| watch::Sender::new(0))
                .subscribe(),
        ))
    }
}

/// Finds one expired server, and counts how often it was asked.
#[derive(Default)]
pub(super) struct CountingReaper(pub(super) AtomicU32);

impl Reaper for CountingReaper {
    fn reap(&self, dry_run: bool) -> PortFuture<'_, Result<ReapReply, String>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let server = Reaped {
            server: 7,
            name: "cattle-old-abcdef".to_owned(),
            expired_at: start(),
            deleted: !dry_run,
            error: None,
        };
        Box::pin(async move {
            Ok(ReapReply {
                servers: vec![server],
                dry_run,
                unreadable: Vec::new(),
            })
        })
    }
}

/// Remembers what was to be looked at.
#[derive(Default)]
pub(super) struct Looked(pub(super) Mutex<Vec<Placement>>);

impl Looks for Looked {
    fn look_again(&self, placement: Placement) -> PortFuture<'_, ()> {
        self.0.lock().unwrap().push(placement);
        Box::pin(async {})
    }
}

/// The start of every test's time.
pub(super) fn start() -> Timestamp {
    "2026-01-10T12:00:00Z".parse().unwrap()
}

/// A controller on a socket of its own, and a client that is whoever the test says.
pub(super) struct Controller {
    pub(super) store: Arc<MemoryStore>,
    pub(super) files: Arc<Files>,
    pub(super) logs: Arc<Logs>,
    pub(super) reaper: Arc<CountingReaper>,
    pub(super) looks: Arc<Looked>,
    pub(super) handle: Handle,
    pub(super) stop: CancellationToken,
    /// Specs of an operator's directory.
    pub(super) directory: Arc<Mutex<BTreeMap<CattleName, String>>>,
    pub(super) observed: Arc<Mutex<Observed>>,
    now: Arc<Mutex<Timestamp>>,
    uid: Arc<AtomicU32>,
    http: reqwest::Client,
    runs: AtomicU32,
    served: Option<tokio::task::JoinHandle<io::Result<()>>>,
    _state: tempfile::TempDir,
}

impl Controller {
    /// After its first pass. The caller is an operator until [`Self::become_bot`].
    pub(super) async fn new() -> Self {
        let controller = Self::before_its_first_pass();
        controller.pass().await;
        controller
    }

    pub(super) fn before_its_first_pass() -> Self {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("orchestrator.sock");
        let store = Arc::new(MemoryStore::new());
        let files = Arc::new(Files::default());
        let logs = Arc::new(Logs::default());
        let reaper = Arc::new(CountingReaper::default());
        let looks = Arc::new(Looked::default());
        let directory: Arc<Mutex<BTreeMap<CattleName, String>>> = Arc::default();
        let observed = Arc::new(Mutex::new(Observed {
            listed_at: Some(start()),
            unreachable: None,
            servers: Vec::new(),
            odd: Vec::new(),
            firewall: Default::default(),
        }));
        let now = Arc::new(Mutex::new(start()));
        let uid = Arc::new(AtomicU32::new(0));
        let stop = CancellationToken::new();

        let fleet = Arc::new(Fleet::load("clawdlets.json", FLEET.as_bytes()).unwrap());
        let (sender, worlds) = watch::channel(Arc::new(World {
            pass: 0,
            at: start(),
            limits: Arc::new(Limits {
                catalogue: Arc::new(Catalogue::default().presuming(["debian-13"])),
                ..fleet.limits()
            }),
            fleet,
            desired: Arc::default(),
            observed: Arc::default(),
            ledger: Arc::default(),
            plan: Arc::default(),
            conditions: Vec::new(),
            calls: Some(CallBudget {
                limit: 3600,
                remaining: 3412,
                reserve: 360,
                used_last_hour: 188,
                others_last_hour: 12,
            }),
        }));
        let bell = Bell::default();
        let handle = Handle::new(worlds, bell.clone());
        let passes = Passes {
            store: Arc::clone(&store),
            files: Arc::clone(&files),
            directory: Arc::clone(&directory),
            observed: Arc::clone(&observed),
            now: Arc::clone(&now),
        };
        tokio::spawn(passes.run(sender, bell, stop.clone()));

        let clock = Arc::clone(&now);
        let caller = Arc::clone(&uid);
        let api = SocketApi {
            handle: handle.clone(),
            store: store.clone(),
            specs: files.clone(),
            personas: Arc::new(OnePersona),
            logs: logs.clone(),
            reaper: reaper.clone(),
            looks: looks.clone(),
            identify: Arc::new(move |_| {
                let uid = caller.load(Ordering::SeqCst);
                let authority = if uid == 0 {
                    Authority::Operator
                } else {
                    Authority::Bot
                };
                Peer { uid, authority }
            }),
            now: Arc::new(move || *clock.lock().unwrap()),
            metrics: None,
        };
        let listener = bind(&path).unwrap();
        let served = tokio::spawn(serve(listener, api, stop.clone().cancelled_owned()));
        let http = reqwest::Client::builder()
            .unix_socket(path.as_path())
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            store,
            files,
            logs,
            reaper,
            looks,
            handle,
            stop,
            directory,
            observed,
            now,
            uid,
            http,
            runs: AtomicU32::new(0),
            served: Some(served),
            _state: state,
        }
    }

    /// From here on requests come from this uid.
    pub(super) fn become_bot(&self, uid: u32) {
        self.uid.store(uid, Ordering::SeqCst);
    }

    pub(super) fn become_operator(&self) {
        self.uid.store(0, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    pub(super) fn wait(&self, seconds: i64) {
        *self.now.lock().unwrap() += TimeDelta::seconds(seconds);
    }

    /// A pass that has seen everything up to here.
    pub(super) async fn pass(&self) {
        self.handle.clone().next_pass().await.unwrap();
    }

    /// Asks the server to stop and waits until it has.
    pub(super) async fn shut_down(&mut self) {
        self.stop.cancel();
        let served = self.served.take().unwrap();
        tokio::time::timeout(PATIENCE, served)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    pub(super) fn request(&self, method: Method, target: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://controller{target}"))
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        Answer::of(self.request(Method::GET, target)).await
    }

    pub(super) async fn post(&self, target: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, target).json(&body)).await
    }

    pub(super) async fn delete(&self, target: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, target)).await
    }

    pub(super) async fn put(&self, target: &str, spec: &str) -> Answer {
        Answer::of(self.request(Method::PUT, target).body(spec.to_owned())).await
    }

    /// Puts a spec in the operator's directory.
    pub(super) async fn drop_file(&self, name: &str, spec: &str) {
        self.directory
            .lock()
            .unwrap()
            .insert(name.parse().unwrap(), spec.to_owned());
        self.pass().await;
    }

    /// What a pass would do for a queued cattle: its run, with a server, and its task begun.
    pub(super) async fn begin(&self, name: &str) -> RunId {
        let mut run = self.draw(name).await;
        let now = self.now();
        let server = RunServer {
            id: ServerId(99 + u64::from(self.runs.load(Ordering::SeqCst))),
            name: run.server_name(),
            ipv4: None,
            server_type: None,
            location: None,
            created: Some(now),
            price: None,
            made_of: None,
            image: None,
            actions: Vec::new(),
        };
        assert!(lifecycle::accept_create(&mut run, server).applied);
        assert!(lifecycle::env_handed_out(&mut run, now).applied);
        assert!(lifecycle::ready(&mut run, now).applied);
        let id = self.insert(run).await;
        self.pass().await;
        id
    }

    /// Likewise, but its server is not made yet.
    pub(super) async fn begin_unmade(&self, name: &str) -> RunId {
        let run = self.draw(name).await;
        self.insert(run).await
    }

    async fn draw(&self, name: &str) -> Run {
        self.pass().await;
        let world = self.handle.world();
        let entry = &world.desired.specs[&name.parse::<CattleName>().unwrap()];
        let SpecState::Valid(cattle) = &entry.state else {
            panic!("{name} is not valid")
        };
        let nth = u64::from(self.runs.fetch_add(1, Ordering::SeqCst));
        // Alike in the first ten characters, the time, and told apart by what follows.
        let id = RunId::from_parts(1_768_000_000_000, (u128::from(nth) + 1) << 70);
        let (now, day) = (self.now(), Duration::from_secs(86_400));
        lifecycle::begin(id, cattle, &entry.origin, day, now).0
    }

    async fn insert(&self, run: Run) -> RunId {
        let id = run.id;
        let insert = Edit::InsertRun {
            run: Box::new(run),
            events: Vec::new(),
        };
        let now = self.now();
        assert_eq!(self.store.commit(vec![insert], now).await.unwrap(), [true]);
        id
    }

    /// The task is over and its server gone.
    pub(super) async fn finish(&self, run: RunId, result: Value) {
        let now = self.now();
        let outcome = Outcome {
            exit_code: Some(0),
            signal: None,
            cause: None,
            message: None,
            result: Some(result),
            log_bytes: 0,
        };
        let edits = vec![
            edit::of_run(run, move |run, _| lifecycle::outcome(run, outcome, now)),
            edit::of_run(run, move |run, assignment| {
                let ending = Ending::new(EndReason::Completed, "exit code 0");
                lifecycle::end(run, assignment, &ending, now)
            }),
            edit::of_run(run, move |run, _| lifecycle::mark_gone(run, now)),
        ];
        assert_eq!(
            self.store.commit(edits, now).await.unwrap(),
            [true, true, true]
        );
        self.pass().await;
    }

    /// The task failed, and the server is kept for a look.
    pub(super) async fn keep(&self, run: RunId) {
        let now = self.now();
        let failed = Outcome {
            exit_code: Some(1),
            signal: None,
            cause: None,
            message: None,
            result: None,
            log_bytes: 0,
        };
        let edit = edit::of_run(run, move |run, assignment| {
            assert!(lifecycle::outcome(run, failed, now).applied);
            let mut ending = Ending::new(EndReason::TaskFailed, "exit code 1");
            ending.hold_until = Some(now + Duration::from_secs(600));
            lifecycle::end(run, assignment, &ending, now)
        });
        assert_eq!(self.store.commit(vec![edit], now).await.unwrap(), [true]);
        self.pass().await;
    }

    pub(super) async fn gone(&self, run: RunId) {
        let now = self.now();
        let edit = edit::of_run(run, move |run, _| lifecycle::mark_gone(run, now));
        assert_eq!(self.store.commit(vec![edit], now).await.unwrap(), [true]);
        self.pass().await;
    }

    pub(super) async fn run(&self, id: RunId) -> Run {
        self.store.run(id).await.unwrap().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// The body of an answer that must be 200.
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// The body of an answer that must be this problem.
    pub(super) fn problem(self, status: u16, code: &str) -> Value {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        assert_eq!(
            (self.status, body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(body["status"], status);
        body
    }

    pub(super) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }
}

/// The loop: reads, plans, queues, publishes.
struct Passes {
    store: Arc<MemoryStore>,
    files: Arc<Files>,
    directory: Arc<Mutex<BTreeMap<CattleName, String>>>,
    observed: Arc<Mutex<Observed>>,
    now: Arc<Mutex<Timestamp>>,
}

impl Passes {
    async fn run(self, sender: watch::Sender<Arc<World>>, bell: Bell, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = bell.rung() => {}
            }
            let last = Arc::clone(&sender.borrow());
            let next = self.pass(&last).await;
            sender.send_replace(Arc::new(next));
        }
    }

    async fn pass(&self, last: &World) -> World {
        let now = *self.now.lock().unwrap();
        let desired = self.desired(&last.fleet, now).await;
        let observed = self.observed.lock().unwrap().clone();
        let wanted: Vec<_> = desired
            .specs
            .values()
            .filter_map(|entry| match &entry.state {
                SpecState::Valid(cattle) => Some(Wanted::from(&**cattle)),
                _ => None,
            })
            .collect();
        let hour_ago = now - TimeDelta::hours(1);
        let ledger = self.store.ledger(wanted.clone(), hour_ago).await.unwrap();
        let desired = Arc::unwrap_or_clone(substance::settle(&Arc::new(desired), &ledger));
        let planned = plan(&desired, &observed, &ledger, &last.limits, now);
        let queued = planned
            .actions
            .iter()
            .filter_map(|action| match action.clone() {
                Action::Enqueue {
                    cattle,
                    hash,
                    requester,
                    substance,
                } => Some(edit::of_assignment(&cattle, &hash, move |assignment| {
                    let (fresh, told) = lifecycle::enqueue(assignment.as_ref(), &requester, now);
                    *assignment = fresh.or(assignment.take());
                    if let Some(assignment) = assignment {
                        let _ = lifecycle::made_of(assignment, &substance);
                    }
                    Some(told)
                })),
                _ => None,
            });
        self.store.commit(queued.collect(), now).await.unwrap();
        let ledger = self.store.ledger(wanted, hour_ago).await.unwrap();
        World {
            pass: last.pass + 1,
            at: now,
            desired: Arc::new(desired),
            observed: Arc::new(observed),
            ledger: Arc::new(ledger),
            plan: Arc::new(planned),
            ..last.clone()
        }
    }

    async fn desired(&self, fleet: &Fleet, now: Timestamp) -> Desired {
        let mut desired = Desired {
            since: Some(now),
            ..Desired::default()
        };
        let operator = (Requester::directory("/srv/specs"), Authority::Operator);
        let files = self.directory.lock().unwrap().clone();
        for (name, text) in files {
            add(
                &mut desired,
                fleet,
                &name,
                text.as_bytes(),
                "/srv/specs",
                operator.clone(),
                false,
            );
        }
        let records = self.store.socket_specs().await.unwrap();
        for (name, bytes) in self.files.files.lock().unwrap().iter() {
            let record = records
                .iter()
                .find(|record| record.cattle == *name)
                .unwrap();
            let by = (record.requester.clone(), record.authority);
            add(&mut desired, fleet, name, bytes, "/state/specs", by, true);
        }
        desired
    }
}

fn add(
    desired: &mut Desired,
    fleet: &Fleet,
    name: &CattleName,
    bytes: &[u8],
    root: &str,
    (requester, authority): (Requester, Authority),
    from_socket: bool,
) {
    let path = format!("{root}/{name}.yaml");
    let persona = OnePersona.read(&"rex".parse().unwrap()).unwrap();
    let read = parse(&path, name.as_str(), bytes).and_then(|parsed| {
        parsed.complete(Inputs {
            fleet,
            authority,
            task_file: None,
            persona: Ok(&persona),
        })
    });
    let state = match read {
        Ok(cattle) => SpecState::Valid(Arc::new(cattle)),
        Err(errors) => SpecState::Broken(errors),
    };
    desired.roots.insert(root.to_owned(), RootState::Readable);
    let origin = Origin {
        root: root.to_owned(),
        path,
        requester,
        authority,
        from_socket,
    };
    desired
        .specs
        .insert(name.clone(), SpecEntry { origin, state });
}
