//! How long one plan takes with a thousand cattle: it runs at every trigger, so it must be small
//! against the 20 ms that a dropped file may take to become a `POST`.

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::Duration,
};

use cattle_core::{
    action::{Budget, Calls, Limits},
    catalogue::{Catalogue, ImageAnswer},
    clock::{Clocks, Trust},
    desired::{
        Authority, Cattle, Desired, Origin, Placement, Requester, RootState, SpecEntry, SpecState,
    },
    expiry::Lifetimes,
    guard::{self, Inputs},
    labels,
    ledger::{Assignment, Ledger, RunServer},
    lifecycle,
    names::{RunId, ServerId, SpecHash},
    observed::{Observed, ObservedServer, ServerState},
    plan::plan,
    substance::Substance,
};
use cattle_schemas::{Timestamp, spec_file::OnFailure, task::Task};
use criterion::{Criterion, criterion_group, criterion_main};

const CATTLE: u64 = 1000;

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_790_000_000, 0).expect("a time of this century")
}

fn cattle(n: u64) -> Cattle {
    Cattle {
        name: format!("rex-{n}").parse().expect("a valid name"),
        labels: BTreeMap::new(),
        persona: "rex".parse().expect("a valid name"),
        task: Task {
            schema_version: 1,
            task_id: format!("issue-{n}"),
            kind: "clawdbot.gateway.agent".to_owned(),
            message: "Fix the flaky test".to_owned(),
            callback_url: String::new(),
        },
        ttl: Duration::from_secs(7200),
        start_within: Duration::from_secs(86_400),
        model: "zai/glm-4.7".to_owned(),
        with_github_token: false,
        auto_shutdown: true,
        on_failure: OnFailure::Destroy,
        placement: Placement {
            image: "123456".to_owned(),
            server_types: vec!["cx23".to_owned()],
            locations: vec!["nbg1".to_owned()],
        },
        hash: SpecHash::from_digest(&[7; 32]),
        substance: Substance::default(),
    }
}

/// A thousand specs, the first `running` of them with a running guest.
fn world(running: u64) -> (Desired, Observed, Ledger, Limits) {
    let unread = ImageAnswer::Unread {
        message: String::new(),
    };
    let limits = Limits {
        enabled: true,
        max_instances: 1000,
        live_runs_per_requester: 1000,
        creates_per_hour: 1000,
        unproven_image: None,
        max_ttl: Duration::from_secs(86_400),
        default_ttl: Duration::from_secs(7200),
        own: None,
        project: cattle_core::identity::Project::Ours,
        in_flight: BTreeSet::new(),
        guests_heard_since: Some(now()),
        clocks: Clocks {
            trust: Trust::Agreed,
            ..Clocks::default()
        },
        catalogue: Arc::new(Catalogue {
            images: [("123456".to_owned(), unread)].into(),
            ..Catalogue::default()
        }),
        cold: Arc::default(),
        unequipped: BTreeMap::new(),
        budget: Budget::default(),
        server_gone_at: None,
        token: Default::default(),
        ledger: Default::default(),
        calls: Calls::default(),
        fleet_labels: BTreeMap::new(),
        fleet: "bench".parse().expect("a valid name"),
    };
    let origin = Origin {
        root: "/specs".to_owned(),
        path: "rex.yaml".to_owned(),
        requester: Requester::operator(),
        authority: Authority::Operator,
        from_socket: false,
    };
    let mut desired = Desired {
        roots: BTreeMap::from([("/specs".to_owned(), RootState::Readable)]),
        unreadable_since: BTreeMap::new(),
        since: Some(now()),
        ..Desired::default()
    };
    let mut observed = Observed {
        listed_at: Some(now()),
        ..Observed::default()
    };
    let mut ledger = Ledger::default();
    let lifetimes = Lifetimes {
        default_ttl: limits.default_ttl,
        max_ttl: limits.max_ttl,
    };
    for n in 0..CATTLE {
        let cattle = cattle(n);
        let assignment = Assignment {
            queued_at: now(),
            requester: origin.requester.clone(),
            ended: None,
            failed_starts: 0,
            not_before: None,
            substance: None,
        };
        ledger
            .assignments
            .insert((cattle.name.clone(), cattle.hash.clone()), assignment);
        if n < running {
            let id = RunId::from_parts(1_790_000_000_000, u128::from(n));
            let (mut run, _) = lifecycle::begin(id, &cattle, &origin, limits.max_ttl, now());
            let raw = labels::of_run(&run, &limits.fleet, &limits.fleet_labels);
            let server = RunServer {
                id: ServerId(n),
                name: run.server_name(),
                ipv4: None,
                server_type: None,
                location: None,
                created: Some(now()),
                price: None,
                made_of: None,
                image: None,
                actions: Vec::new(),
            };
            observed.servers.push(ObservedServer {
                id: server.id,
                name: server.name.clone(),
                status: ServerState::Running,
                created: now(),
                labels: labels::decode(&raw, now(), lifetimes),
                ipv4: None,
                server_type: None,
                location: None,
                image: None,
                locked: false,
                protected: false,
                odd: Vec::new(),
            });
            let _ = lifecycle::accept_create(&mut run, server);
            let _ = lifecycle::mark_booted(&mut run, now());
            let _ = lifecycle::env_handed_out(&mut run, now());
            let _ = lifecycle::ready(&mut run, now());
            ledger.runs.insert(id, run);
        }
        let entry = SpecEntry {
            origin: origin.clone(),
            state: SpecState::Valid(Arc::new(cattle.clone())),
        };
        desired.specs.insert(cattle.name, entry);
    }
    (desired, observed, ledger, limits)
}

fn plans(criterion: &mut Criterion) {
    for (name, running) in [
        ("plan/1000 running", 1000),
        ("plan/500 running, 500 to start", 500),
    ] {
        let (desired, observed, ledger, limits) = world(running);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(plan(&desired, &observed, &ledger, &limits, now())));
        });
        let inputs = Inputs {
            desired: &desired,
            observed: &observed,
            ledger: &ledger,
            limits: &limits,
            now: now(),
        };
        let made = plan(&desired, &observed, &ledger, &limits, now());
        criterion.bench_function(&name.replace("plan", "guard"), |bencher| {
            bencher.iter(|| black_box(guard::guard(made.clone(), &inputs)));
        });
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
