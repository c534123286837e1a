//! One valid world; each test deviates from it in a line.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cattle_core::{
    account::{Heard, Refusal, Token},
    action::{Budget, Calls, Limits, Plan},
    catalogue::{Architecture, Catalogue, Image, ImageAnswer, ImageKind},
    clock::{Clocks, Trust},
    cost::{Price, ServerPrice},
    desired::{
        Authority, Cattle, Desired, Origin, Placement, Requester, RootState, SpecEntry, SpecState,
    },
    expiry::Lifetimes,
    fleet::Fleet,
    guard, labels,
    ledger::{Assignment, Ledger, Run, RunServer},
    lifecycle,
    names::{CattleName, RunId, ServerId, SpecHash},
    observed::{ActionState, ActionStatus, FirewallView, Observed, ObservedServer, ServerState},
    pause::Pause,
    plan,
    spec::{self, Inputs, PersonaFiles},
    substance::Substance,
    writable::Writable,
};
use cattle_schemas::{
    Timestamp, guest::Outcome, problem::Diagnostic, spec_file::OnFailure, status::PauseReason,
    task::Task,
};

/// The specs' directory.
pub(crate) const ROOT: &str = "/specs";

/// The actions that the create of `rex` began.
pub(crate) const CREATE: u64 = 600_000_000_000_021;
pub(crate) const START: u64 = CREATE + 1;

/// What Hetzner answers about one of them.
pub(crate) fn action(id: u64, status: ActionStatus) -> ActionState {
    let command = if id == CREATE {
        "create_server"
    } else {
        "start_server"
    };
    ActionState {
        id,
        command: command.to_owned(),
        status,
    }
}

pub(crate) fn failed(id: u64) -> ActionState {
    let code = "action_failed".to_owned();
    action(id, ActionStatus::Error { code })
}

/// Seconds after the beginning of the test's time.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_timestamp(1_790_000_000, 0).unwrap() + Duration::from_secs(seconds)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// With so many seconds for servers that do not say, and a day for any.
pub(crate) fn lifetimes(default_ttl: u64) -> Lifetimes {
    Lifetimes {
        default_ttl: secs(default_ttl),
        max_ttl: secs(86_400),
    }
}

pub(crate) fn name(text: &str) -> CattleName {
    text.parse().unwrap()
}

/// A hash for each small number.
pub(crate) fn hash(n: u8) -> SpecHash {
    SpecHash::from_digest(&[n; 32])
}

pub(crate) fn run_id(n: u128) -> RunId {
    RunId::from_parts(1_790_000_000_000, n)
}

pub(crate) fn cattle(text: &str) -> Cattle {
    Cattle {
        name: name(text),
        labels: BTreeMap::new(),
        persona: "rex".parse().unwrap(),
        task: Task {
            schema_version: 1,
            task_id: text.to_owned(),
            kind: "clawdbot.gateway.agent".to_owned(),
            message: "Fix the flaky test".to_owned(),
            callback_url: String::new(),
        },
        ttl: secs(7200),
        start_within: secs(86_400),
        model: "zai/glm-4.7".to_owned(),
        with_github_token: false,
        auto_shutdown: true,
        on_failure: OnFailure::Destroy,
        placement: Placement {
            image: "123456".to_owned(),
            server_types: vec!["cx23".to_owned()],
            locations: vec!["nbg1".to_owned()],
        },
        hash: hash(1),
        substance: Substance::default(),
    }
}

/// A spec file's text, completed with a fleet that has a key for `zai`.
pub(crate) fn read_spec(stem: &str, text: &str) -> Cattle {
    let fleet = Fleet::load(
        "fleet/clawdlets.json",
        br#"{
          "schemaVersion": 8,
          "defaultHost": "here",
          "hosts": { "here": { "agentModelPrimary": "zai/glm-4.7" } },
          "fleet": { "modelSecrets": { "zai": "zai_api_key" } },
          "cattle": {
            "fleet": "test",
            "hetzner": { "image": "123456", "serverType": "cx23", "location": "nbg1" }
          }
        }"#,
    );
    let persona = PersonaFiles::parse(b"I am Rex.", b"{}").unwrap();
    let spec = spec::parse(&format!("{stem}.yaml"), stem, text.as_bytes()).unwrap();
    spec.complete(Inputs {
        fleet: &fleet.unwrap(),
        authority: Authority::Operator,
        task_file: None,
        persona: Ok(&persona),
    })
    .unwrap()
}

pub(crate) fn origin(requester: Requester) -> Origin {
    Origin {
        root: ROOT.to_owned(),
        path: "rex.yaml".to_owned(),
        requester,
        authority: Authority::Bot,
        from_socket: false,
    }
}

pub(crate) fn broken() -> SpecState {
    SpecState::Broken(vec![Diagnostic {
        path: "rex.yaml".to_owned(),
        line: 5,
        column: 3,
        message: "unknown field `presona`".to_owned(),
        hint: None,
    }])
}

pub(crate) fn outcome(exit_code: i32) -> Outcome {
    Outcome {
        exit_code: Some(exit_code),
        signal: None,
        cause: None,
        message: None,
        result: None,
        log_bytes: 0,
    }
}

pub(crate) fn assignment(queued_at: Timestamp) -> Assignment {
    Assignment {
        queued_at,
        requester: Requester::directory(ROOT),
        ended: None,
        failed_starts: 0,
        not_before: None,
        substance: None,
    }
}

/// A world in which nothing is desired and nothing exists; listed just now.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) ledger: Ledger,
    pub(crate) limits: Limits,
    pub(crate) now: Timestamp,
}

impl World {
    pub(crate) fn empty() -> Self {
        Self {
            desired: Desired {
                specs: BTreeMap::new(),
                roots: BTreeMap::from([(ROOT.to_owned(), RootState::Readable)]),
                unreadable_since: BTreeMap::new(),
                since: Some(at(0)),
                strays: Vec::new(),
            },
            observed: Observed {
                listed_at: Some(at(100)),
                unreachable: None,
                servers: Vec::new(),
                odd: Vec::new(),
                firewall: FirewallView::Absent,
            },
            ledger: Ledger::default(),
            limits: Limits {
                enabled: true,
                max_instances: 10,
                live_runs_per_requester: 10,
                creates_per_hour: 60,
                unproven_image: None,
                max_ttl: secs(86_400),
                default_ttl: secs(7200),
                own: None,
                project: cattle_core::identity::Project::Ours,
                in_flight: std::collections::BTreeSet::new(),
                guests_heard_since: Some(at(0)),
                clocks: Clocks {
                    trust: Trust::Agreed,
                    ..Clocks::default()
                },
                catalogue: Arc::new(catalogue()),
                cold: Arc::default(),
                unequipped: BTreeMap::new(),
                budget: Budget::default(),
                calls: Calls::default(),
                server_gone_at: None,
                token: Token::default(),
                ledger: Writable::Yes,
                fleet_labels: BTreeMap::new(),
                fleet: "test".parse().unwrap(),
            },
            now: at(100),
        }
    }

    /// Hetzner refuses the token, for the first time now.
    pub(crate) fn refuse_token(&mut self, why: Refusal) {
        let message = "Hetzner refuses the token".to_owned();
        self.limits.token = self
            .limits
            .token
            .after(Heard::Refused(why, message), self.now);
    }

    /// An operator pauses starts, ends or both.
    pub(crate) fn pause(&mut self, starts: bool, ends: bool) {
        self.ledger.pauses.push(Pause {
            by: "operator (uid 0)".to_owned(),
            starts,
            ends,
            ..Pause::by_controller(PauseReason::Paused, "a look at it", self.now)
        });
    }

    /// Changes the pause of a reason and subject that holds, if one does, as the store would.
    pub(crate) fn change_pause(
        &mut self,
        reason: PauseReason,
        subject: &str,
        change: impl FnOnce(&mut Option<Pause>),
    ) {
        let pauses = &mut self.ledger.pauses;
        let held = pauses
            .iter()
            .position(|it| it.holds() && it.reason == reason && it.subject == subject);
        let mut pause = held.map(|index| pauses.remove(index));
        change(&mut pause);
        let at = held.unwrap_or(pauses.len());
        pauses.splice(at..at, pause);
    }

    /// An operator confirms every list, and asks for a probe of every image that does not boot.
    pub(crate) fn resume(&mut self) {
        let held: Vec<Pause> = self.ledger.holding().cloned().collect();
        let now = self.now;
        for pause in held.iter().filter(|it| it.reason != PauseReason::Breaker) {
            self.change_pause(pause.reason, &pause.subject, |held| {
                let _ = lifecycle::resume(held, "operator (uid 0)", "confirmed", true, now);
            });
        }
        for record in self.ledger.images.values_mut() {
            record.released_at = Some(now);
        }
    }

    /// One spec, `rex`, just dropped.
    pub(crate) fn dropped() -> Self {
        Self::empty().with_spec(cattle("rex"))
    }

    /// Its run is recorded, its create not settled.
    pub(crate) fn intended() -> Self {
        Self::dropped().with_run("rex", 1)
    }

    /// Hetzner accepted its create: a server from an image of its own, listed as initializing.
    pub(crate) fn created() -> Self {
        let mut world = Self::intended();
        world.bind(run_id(1), ServerId(7));
        world.listed().status = ServerState::Initializing;
        let server = world.rex().server.as_mut().unwrap();
        server.image = Some(ImageKind::System);
        server.actions = vec![CREATE, START];
        world
    }

    /// Hetzner answers how far the actions of `rex` are.
    pub(crate) fn follow(&mut self, answers: &[ActionState]) -> lifecycle::Transition {
        let now = self.now;
        let key = (name("rex"), hash(1));
        let run = self.ledger.runs.get_mut(&run_id(1)).unwrap();
        lifecycle::followed(run, self.ledger.assignments.get_mut(&key), answers, now)
    }

    /// Its server exists and is listed as running; its guest has not called.
    pub(crate) fn booting() -> Self {
        let mut world = Self::intended();
        world.bind(run_id(1), ServerId(7));
        let _ = lifecycle::mark_booted(world.rex(), at(100));
        world
    }

    /// Its guest has its env and has reported in.
    pub(crate) fn running() -> Self {
        let mut world = Self::booting();
        let _ = lifecycle::env_handed_out(world.rex(), at(100));
        let _ = lifecycle::ready(world.rex(), at(100));
        world
    }

    /// Its guest has handed over.
    pub(crate) fn handed_over(exit_code: i32) -> Self {
        let mut world = Self::running();
        let _ = lifecycle::outcome(world.rex(), outcome(exit_code), at(100));
        world
    }

    /// It has ended, as the plan says; its server is still there.
    pub(crate) fn ended() -> Self {
        let mut world = Self::handed_over(0);
        let ending = lifecycle::Ending::new(cattle_schemas::status::EndReason::Completed, "done");
        let key = (name("rex"), hash(1));
        let run = world.ledger.runs.get_mut(&run_id(1)).unwrap();
        let _ = lifecycle::end(
            run,
            world.ledger.assignments.get_mut(&key),
            &ending,
            at(100),
        );
        world
    }

    /// With prices, and a budget.
    pub(crate) fn with_budget(mut self, max_hourly: Option<&str>, max_daily: Option<&str>) -> Self {
        add_prices(Arc::make_mut(&mut self.limits.catalogue));
        self.limits.budget = Budget {
            max_hourly: max_hourly.map(|amount| amount.parse().unwrap()),
            max_daily: max_daily.map(|amount| amount.parse().unwrap()),
        };
        self
    }

    pub(crate) fn with_spec(mut self, cattle: Cattle) -> Self {
        self.set_spec(SpecState::Valid(Arc::new(cattle.clone())), &cattle.name);
        self
    }

    pub(crate) fn set_spec(&mut self, state: SpecState, name: &CattleName) {
        let entry = SpecEntry {
            origin: origin(Requester::directory(ROOT)),
            state,
        };
        self.desired.specs.insert(name.clone(), entry);
    }

    /// Changes the valid spec of `rex`.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Cattle)) {
        let entry = self.desired.specs.get_mut(&name("rex")).unwrap();
        if let SpecState::Valid(cattle) = &mut entry.state {
            change(Arc::make_mut(cattle));
        }
    }

    /// A run of a spec that is there, with its assignment.
    pub(crate) fn with_run(mut self, text: &str, id: u128) -> Self {
        let entry = &self.desired.specs[&name(text)];
        let SpecState::Valid(cattle) = &entry.state else {
            panic!("{text} has no valid spec");
        };
        let (run, _) = lifecycle::begin(
            run_id(id),
            cattle,
            &entry.origin,
            self.limits.max_ttl,
            self.now,
        );
        let key = (run.cattle.clone(), run.hash.clone());
        self.ledger
            .assignments
            .entry(key)
            .or_insert_with(|| assignment(at(100)));
        self.ledger.runs.insert(run.id, run);
        self
    }

    /// Binds a server to a run and lists it.
    pub(crate) fn bind(&mut self, run: RunId, server: ServerId) {
        let listed = self.server_of(run, server);
        let run = self.ledger.runs.get_mut(&run).unwrap();
        let _ = lifecycle::accept_create(run, run_server(&listed));
        self.observed.servers.push(listed);
    }

    /// A running server with the labels that a run's server has.
    pub(crate) fn server_of(&self, run: RunId, server: ServerId) -> ObservedServer {
        let run = &self.ledger.runs[&run];
        let raw = labels::of_run(run, &self.limits.fleet, &self.limits.fleet_labels);
        ObservedServer {
            id: server,
            name: run.server_name(),
            status: ServerState::Running,
            created: run.posted_at,
            labels: labels::decode(&raw, run.posted_at, lifetimes(7200)),
            ipv4: Some("192.0.2.1".to_owned()),
            server_type: Some("cx23".to_owned()),
            location: Some("nbg1".to_owned()),
            image: None,
            locked: false,
            protected: false,
            odd: Vec::new(),
        }
    }

    /// The run of `rex`.
    pub(crate) fn rex(&mut self) -> &mut Run {
        self.ledger.runs.get_mut(&run_id(1)).unwrap()
    }

    /// The assignment of `rex`.
    pub(crate) fn task(&mut self) -> &mut Assignment {
        self.ledger
            .assignments
            .get_mut(&(name("rex"), hash(1)))
            .unwrap()
    }

    /// The server of `rex`, as listed.
    pub(crate) fn listed(&mut self) -> &mut ObservedServer {
        &mut self.observed.servers[0]
    }

    /// Lets time pass; a list is made at its end, and running guests are heard.
    pub(crate) fn later(&mut self, seconds: u64) {
        self.now += secs(seconds);
        self.observed.listed_at = Some(self.now);
        for run in self.ledger.runs.values_mut() {
            let _ = lifecycle::heartbeat(run, self.now - secs(1));
        }
    }

    pub(crate) fn inputs(&self) -> guard::Inputs<'_> {
        guard::Inputs {
            desired: &self.desired,
            observed: &self.observed,
            ledger: &self.ledger,
            limits: &self.limits,
            now: self.now,
        }
    }

    /// The plan, which the guard has nothing to say about.
    pub(crate) fn plan(&self) -> Plan {
        let plan = plan::plan(
            &self.desired,
            &self.observed,
            &self.ledger,
            &self.limits,
            self.now,
        );
        let (guarded, violations) = guard::guard(plan.clone(), &self.inputs());
        assert!(violations.is_empty(), "{violations:#?}");
        assert_eq!(guarded, plan);
        plan
    }

    /// The plan's actions in words.
    pub(crate) fn actions(&self) -> Vec<String> {
        self.plan()
            .actions
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// The plan's actions in one word each.
    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        self.plan()
            .actions
            .iter()
            .map(cattle_core::action::Action::verb)
            .collect()
    }

    /// What each waiting cattle waits for.
    pub(crate) fn waits(&self) -> Vec<(String, String)> {
        self.plan()
            .waiting
            .iter()
            .map(|w| (w.cattle.to_string(), w.reason.to_string()))
            .collect()
    }
}

pub(crate) fn run_server(listed: &ObservedServer) -> RunServer {
    RunServer {
        id: listed.id,
        name: listed.name.clone(),
        ipv4: listed.ipv4.clone(),
        server_type: listed.server_type.clone(),
        location: listed.location.clone(),
        created: Some(listed.created),
        price: Some(price()),
        made_of: None,
        image: None,
        actions: Vec::new(),
    }
}

/// Nothing is known but the image that specs name.
pub(crate) fn catalogue() -> Catalogue {
    let image = Image {
        id: 123_456,
        title: "cattle image".to_owned(),
        kind: ImageKind::Snapshot,
        architecture: Some(Architecture::X86),
        disk_gb: Some(40),
        created: Some(at(0)),
        unavailable_after: None,
    };
    Catalogue {
        images: [("123456".to_owned(), ImageAnswer::Found(vec![image]))].into(),
        ..Catalogue::default()
    }
}

/// Prices of a cx23 and a cpx22, in two places, IPv4 addresses apart: 0.0096 and 0.0320 an hour.
pub(crate) fn add_prices(catalogue: &mut Catalogue) {
    let price = |amount: &str| Price {
        hourly: amount.parse().unwrap(),
        monthly: None,
    };
    let everywhere =
        |amount: &str| ["nbg1", "fsn1"].map(|location| (location.to_owned(), price(amount)));
    catalogue.currency = "EUR".to_owned();
    catalogue.ipv4.extend(everywhere("0.0008"));
    for (name, amount) in [("cx23", "0.0088"), ("cpx22", "0.0312")] {
        let server_type = catalogue.server_types.entry(name.to_owned()).or_default();
        server_type.prices.extend(everywhere(amount));
    }
}

/// A cx23 in Nuremberg.
pub(crate) fn price() -> ServerPrice {
    let price = |hourly: &str, monthly: &str| Price {
        hourly: hourly.parse().unwrap(),
        monthly: Some(monthly.parse().unwrap()),
    };
    ServerPrice {
        server: price("0.0088", "5.49"),
        ipv4: price("0.0008", "0.50"),
    }
}
