//! How long `GET /v1/cattle` takes with a thousand cattle, over the socket, from SQLite: the design
//! asks for less than 100 ms.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use cattle_controller::{
    socket_api::{
        SocketApi, bind,
        peer::Users,
        ports::{Looks, Personas, PortFuture, Reaper, RunLogs, SpecDir},
        serve,
    },
    store::{Edit, SqliteStore, Store, Wanted},
    world::{Bell, Handle, World},
};
use cattle_core::{
    desired::{Authority, Desired, Origin, Placement, Requester, RootState, SpecEntry, SpecState},
    fleet::Fleet,
    lifecycle,
    names::{CattleName, PersonaName, RunId},
    observed::Observed,
    plan::plan,
    spec::{Inputs, PersonaFiles, parse},
};
use cattle_schemas::{Timestamp, api::ReapReply};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::sync::watch;

const CATTLE: u32 = 1_000;

const FLEET: &str = r#"{
  "schemaVersion": 8,
  "defaultHost": "here",
  "hosts": { "here": { "agentModelPrimary": "zai/glm-4.7" } },
  "fleet": { "modelSecrets": { "zai": "zai_api_key" } },
  "cattle": {
    "fleet": "bench",
    "hetzner": {
      "image": "debian-13", "serverType": "cx23", "location": "nbg1", "maxInstances": 1000
    }
  }
}"#;

const SPEC: &str = "apiVersion: clawdlets.dev/v1
kind: Cattle
spec:
  persona: rex
  task: { message: Fix the flaky test }
";

/// A list needs none of these.
struct Nothing;

impl SpecDir for Nothing {
    fn write(&self, _: &CattleName, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &CattleName) -> io::Result<bool> {
        Ok(false)
    }

    fn read(&self, _: &CattleName) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn path(&self, name: &CattleName) -> PathBuf {
        format!("/specs/{name}.yaml").into()
    }
}

impl Personas for Nothing {
    fn read(&self, _: &PersonaName) -> Result<PersonaFiles, String> {
        Err("there are none".to_owned())
    }
}

impl RunLogs for Nothing {
    fn length(&self, _: RunId) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn read(&self, _: RunId, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

impl Looks for Nothing {
    fn look_again(&self, _: Placement) -> PortFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Reaper for Nothing {
    fn reap(&self, _: bool) -> PortFuture<'_, Result<ReapReply, String>> {
        Box::pin(async { Ok(ReapReply::default()) })
    }
}

/// A thousand specs, half of them with a live run.
async fn world(store: &SqliteStore, fleet: Arc<Fleet>, now: Timestamp) -> World {
    let persona = PersonaFiles::parse(b"I am Rex.", b"{}").expect("a persona");
    let mut desired = Desired {
        since: Some(now),
        ..Desired::default()
    };
    desired
        .roots
        .insert("/specs".to_owned(), RootState::Readable);
    let (mut edits, mut wanted) = (Vec::new(), Vec::new());
    for nth in 0..CATTLE {
        let name = format!("rex-issue-{nth}");
        let path = format!("/specs/{name}.yaml");
        let parsed = parse(&path, &name, SPEC.as_bytes()).expect("a spec");
        let cattle = parsed
            .complete(Inputs {
                fleet: &fleet,
                authority: Authority::Operator,
                task_file: None,
                persona: Ok(&persona),
            })
            .expect("complete");
        let origin = Origin {
            root: "/specs".to_owned(),
            path,
            requester: Requester::directory("/specs"),
            authority: Authority::Operator,
            from_socket: false,
        };
        if nth % 2 == 0 {
            let id = RunId::from_parts(1_768_000_000_000, u128::from(nth));
            let day = Duration::from_secs(86_400);
            let (run, _) = lifecycle::begin(id, &cattle, &origin, day, now);
            edits.push(Edit::InsertRun {
                run: Box::new(run),
                events: Vec::new(),
            });
        }
        wanted.push(Wanted::from(&cattle));
        let name = cattle.name.clone();
        let state = SpecState::Valid(Arc::new(cattle));
        desired.specs.insert(name, SpecEntry { origin, state });
    }
    store.commit(edits, now).await.expect("committed");
    let ledger = store.ledger(wanted, now).await.expect("a ledger");
    let limits = fleet.limits();
    let observed = Observed {
        listed_at: Some(now),
        ..Observed::default()
    };
    let plan = plan(&desired, &observed, &ledger, &limits, now);
    World {
        pass: 1,
        at: now,
        fleet,
        desired: Arc::new(desired),
        observed: Arc::new(observed),
        ledger: Arc::new(ledger),
        limits: Arc::new(limits),
        plan: Arc::new(plan),
        conditions: Vec::new(),
        calls: None,
    }
}

fn list(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let state = tempfile::tempdir().expect("a directory");
    let socket = state.path().join("orchestrator.sock");
    let now: Timestamp = "2026-01-10T12:00:00Z".parse().expect("a time");
    let (http, _worlds) = runtime.block_on(async {
        let store = SqliteStore::open(&state.path().join("state.sqlite"))
            .await
            .expect("a ledger");
        let fleet = Arc::new(Fleet::load("clawdlets.json", FLEET.as_bytes()).expect("a fleet"));
        let (worlds, seen) = watch::channel(Arc::new(world(&store, fleet, now).await));
        let api = SocketApi {
            handle: Handle::new(seen, Bell::default()),
            store: Arc::new(store),
            specs: Arc::new(Nothing),
            personas: Arc::new(Nothing),
            logs: Arc::new(Nothing),
            reaper: Arc::new(Nothing),
            looks: Arc::new(Nothing),
            identify: Users::default().into_identify(),
            now: Arc::new(move || now),
            metrics: None,
        };
        let listener = bind(&socket).expect("a socket");
        tokio::spawn(serve(listener, api, std::future::pending()));
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .build()
            .expect("a client");
        (http, worlds)
    });
    criterion.bench_function("list 1,000 cattle", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let url = "http://controller/v1/cattle?limit=1000";
                let response = http.get(url).send().await.expect("an answer");
                assert!(response.status().is_success());
                response.bytes().await.expect("a body").len()
            })
        });
    });
}

criterion_group!(benches, list);
criterion_main!(benches);
