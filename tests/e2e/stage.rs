//! A simulator and a controller within this process, and a project on disk: forty of them fit side
//! by side where forty pairs of processes would not, and hours go by when somebody turns their
//! clocks. Guests are processes, as ever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cattle_controller::{
    clock::Hands,
    daemon::{self, Daemon},
    hetzner::Endpoint,
    patience::{Again, Answers, Follow, Pace, Patience},
    settings::{PeerCheck, Settings, SpecDir},
    world::World,
};
use cattle_core::desired::Authority;
use cattle_tests::{Project, TOKEN, binary};
use hetzner_sim::{Config, Guests, Request, Sim};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What goes by between two passes when time goes by quickly; more, and the controller would rightly
/// say that it could not hear its guests.
pub(super) const STEP: Duration = Duration::from_secs(30);

/// What a controller among forty on two cores waits: long enough that no healthy answer is late,
/// short enough that three hundred cells are a minute's work. Deadlines that the ledger dates are
/// production's: for those the stage turns the clocks, Hetzner's and the controller's.
pub(super) fn patience() -> Patience {
    Patience {
        answers: Answers {
            connect: Duration::from_secs(4),
            usual: Duration::from_secs(3),
            create: Duration::from_secs(4),
        },
        lists: Pace {
            idle: Duration::from_millis(1_000),
            busy: Duration::from_millis(400),
            page: Duration::from_millis(100),
        },
        follow: Follow {
            first: Duration::from_millis(200),
            longest: Duration::from_millis(800),
            give_up: Duration::from_secs(6),
        },
        again: Again {
            orphan: Duration::from_secs(2),
            survey: Duration::from_secs(1),
        },
    }
}

/// An account at Hetzner where everything is quick; without guests, servers are only entries in it.
pub(super) async fn account(project: &Project, guests: bool) -> Sim {
    let guests = if guests {
        Guests::Process {
            command: vec![binary("clf-cattle").to_string_lossy().into_owned()],
            runners: Some(project.runners()),
            root: project.guests(),
        }
    } else {
        Guests::None
    };
    let config = Config::default()
        .token(TOKEN)
        .rate_limit(3_600_000)
        .create_ms(20)
        .boot_ms(20)
        .power_ms(20)
        .delete_ms(20)
        .firewall_lag_ms(0)
        .guests(guests);
    Sim::start(config).await.unwrap()
}

/// All of it.
pub(super) struct Stage {
    pub(super) project: Project,
    pub(super) sim: Sim,
    daemon: Daemon,
    stop: CancellationToken,
    /// How much time was let go by.
    ahead: Duration,
    /// Of the controller's clocks.
    hands: Hands,
}

impl Stage {
    /// Starts the controller.
    pub(super) async fn set(project: Project, sim: Sim, patience: Patience) -> Self {
        let hands = Hands::default();
        let settings = Settings {
            project: project.path(),
            state_dir: project.state(),
            spec_dirs: vec![SpecDir {
                path: project.specs(),
                authority: Authority::Operator,
            }],
            secrets_dir: Some(project.secrets()),
            socket: project.socket(),
            guest_listen: ([127, 0, 0, 1], 0).into(),
            guest_url: None,
            retention: Duration::from_secs(24 * 3_600),
            peer_check: PeerCheck::Off,
            patience,
            time: hands.source(),
        };
        let endpoint = Endpoint {
            url: sim.url(),
            token: SecretString::from(TOKEN),
        };
        let stop = CancellationToken::new();
        let daemon = daemon::start(settings, &endpoint, None, stop.clone())
            .await
            .unwrap();
        Self {
            project,
            sim,
            daemon,
            stop,
            ahead: Duration::ZERO,
            hands,
        }
    }

    /// What the last pass saw and decided.
    pub(super) fn world(&self) -> Arc<World> {
        self.daemon.handle.world()
    }

    /// Asks for a pass and gives its world.
    pub(super) async fn next_pass(&self) -> Arc<World> {
        self.daemon.handle.clone().next_pass().await.unwrap()
    }

    /// The simulator's account.
    pub(super) fn account(&self) -> Value {
        self.sim.snapshot()
    }

    /// A call of the control API.
    pub(super) fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        control(&self.sim, method, path, body)
    }

    /// How often each fault rule struck, oldest rule first.
    pub(super) fn struck(&self) -> Vec<u64> {
        let rules = self.control("GET", "/_sim/faults", &Value::Null);
        let rules = rules["faults"].as_array().unwrap();
        rules
            .iter()
            .map(|rule| rule["struck"].as_u64().unwrap())
            .collect()
    }

    /// From now on everything works.
    pub(super) fn lift(&self) {
        self.control("DELETE", "/_sim/faults", &Value::Null);
    }

    /// What the socket answers.
    pub(super) async fn get(&self, path: &str) -> Value {
        self.ask(reqwest::Method::GET, path, &Value::Null).await
    }

    /// Likewise.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Value {
        self.ask(reqwest::Method::POST, path, body).await
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let socket = reqwest::Client::builder()
            .no_proxy()
            .unix_socket(self.project.socket())
            .build()
            .unwrap();
        let mut call = socket.request(method, format!("http://controller{path}"));
        if !body.is_null() {
            call = call.json(body);
        }
        match call.send().await {
            Ok(reply) => reply.json().await.unwrap_or(Value::Null),
            Err(error) => Value::String(error.to_string()),
        }
    }

    /// Lets time go by, at Hetzner and for the controller alike; at most [`STEP`] from pass to pass.
    pub(super) fn turn_clock_by(&mut self, step: Duration) {
        self.ahead += step;
        let offset = u64::try_from(self.ahead.as_millis()).unwrap();
        self.control("PUT", "/_sim/clock", &json!({ "offsetMs": offset }));
        self.hands.pass(step);
    }

    /// Lets it go by with passes as often as ever, so that what is due at `at` is due then. Never
    /// backwards.
    pub(super) async fn turn_clock_to(&mut self, at: chrono::DateTime<chrono::Utc>) {
        // Dates are cut to whole seconds, and a small difference counts as none.
        let ahead = at - chrono::Utc::now() + chrono::TimeDelta::seconds(4);
        let ahead = ahead.to_std().unwrap_or_default();
        while self.ahead < ahead {
            self.turn_clock_by((ahead - self.ahead).min(STEP));
            self.next_pass().await;
        }
    }

    /// Stops the controller, then the simulator with its guests.
    pub(super) async fn strike(self) -> Duration {
        let began = Instant::now();
        self.stop.cancel();
        self.daemon.join().await;
        self.sim.shutdown().await;
        began.elapsed()
    }
}

/// A call of a simulator's control API.
pub(super) fn control(sim: &Sim, method: &str, path: &str, body: &Value) -> Value {
    let mut request = Request::new(method, path);
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = sim.control(&request);
    assert!(answer.status < 300, "{method} {path}: {}", answer.value());
    answer.value().clone()
}
