//! A simulator and a controller within this process, and a project on disk: forty of them fit side
//! by side where forty pairs of processes would not. Guests are processes, as ever.

use std::{
    fs,
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

use super::scenes::Scene;

/// The one cattle of each stage, which is also its task's id.
pub(super) const COW: &str = "cow";

/// The trace that lets a waiting task end.
pub(super) const GO: &str = "go";

/// An operator's key, of which no private half exists.
const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPfZx8gEr2tGSrRdwCNs0t6QFzW6Y6Y0B8M2m5m6p5y operator";

/// What goes by between two passes when time goes by quickly; more, and the controller would rightly
/// say that it could not hear its guests.
const STEP_MS: i64 = 30_000;

/// What a controller among forty on two cores waits: long enough that no healthy answer is late,
/// short enough that three hundred cells are a minute's work. Deadlines that the ledger dates are
/// production's: for those the stage turns the clocks, Hetzner's and the controller's.
fn patience() -> Patience {
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

/// Everything of one cell.
pub(super) struct Stage {
    pub(super) project: Project,
    pub(super) sim: Sim,
    daemon: Daemon,
    stop: CancellationToken,
    /// How much time was let go by, in milliseconds.
    ahead: i64,
    /// Of the controller's clocks.
    hands: Hands,
}

impl Stage {
    /// Sets up a scene. `rules` are the simulator's faults, in force before the first call.
    pub(super) async fn set(scene: Scene, rules: &[Value]) -> Self {
        let project = Project::new();
        let sim = Sim::start(
            Config::default()
                .token(TOKEN)
                .rate_limit(3_600_000)
                .create_ms(20)
                .boot_ms(20)
                .power_ms(20)
                .delete_ms(20)
                .firewall_lag_ms(0)
                .guests(Guests::Process {
                    command: vec![binary("clf-cattle").to_string_lossy().into_owned()],
                    runners: Some(project.runners()),
                    root: project.guests(),
                }),
        )
        .await
        .unwrap();
        prepare(scene, &project, &sim).await;
        for rule in rules {
            control(&sim, "POST", "/_sim/faults", rule);
        }
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
            patience: patience(),
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
            ahead: 0,
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

    /// Lets the task end that waits.
    pub(super) fn go(&self) {
        fs::write(self.project.ran().join(GO), "").unwrap();
    }

    /// What the socket answers.
    pub(super) async fn get(&self, path: &str) -> Value {
        let socket = reqwest::Client::builder()
            .no_proxy()
            .unix_socket(self.project.socket())
            .build()
            .unwrap();
        let url = format!("http://controller{path}");
        let reply = socket.get(url).send().await;
        match reply {
            Ok(reply) => reply.json().await.unwrap_or(Value::Null),
            Err(error) => Value::String(error.to_string()),
        }
    }

    /// Lets time go by, at Hetzner and for the controller alike and with passes as often as ever, so
    /// that what is due at `at` is due then. Never backwards.
    pub(super) async fn turn_clock_to(&mut self, at: chrono::DateTime<chrono::Utc>) {
        // Dates are cut to whole seconds, and a small difference counts as none.
        let ahead = (at - chrono::Utc::now()).num_milliseconds() + 4_000;
        while self.ahead < ahead {
            let step = (ahead - self.ahead).min(STEP_MS);
            self.ahead += step;
            self.control("PUT", "/_sim/clock", &json!({"offsetMs": self.ahead}));
            self.hands.pass(Duration::from_millis(step.unsigned_abs()));
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

fn control(sim: &Sim, method: &str, path: &str, body: &Value) -> Value {
    let mut request = Request::new(method, path);
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = sim.control(&request);
    assert!(answer.status < 300, "{method} {path}: {}", answer.value());
    answer.value().clone()
}

/// What a scene needs before the controller starts.
async fn prepare(scene: Scene, project: &Project, sim: &Sim) {
    let rule = json!({"direction": "in", "protocol": "tcp", "port": "22",
        "source_ips": ["0.0.0.0/0", "::/0"]});
    let ours = json!({"direction": "in", "protocol": "udp", "port": "41641",
        "source_ips": ["0.0.0.0/0", "::/0"], "description": "Tailscale"});
    let firewall = |rule: &Value, labels: Value| json!({"name": "clawdlets-cattle-example", "rules": [rule], "labels": labels});
    match scene {
        Scene::Labels => project.configure(|fleet| {
            fleet["cattle"]["hetzner"]["image"] = json!("role=cattle-image");
        }),
        Scene::SshKey => project.configure(|fleet| {
            fleet["fleet"]["sshAuthorizedKeys"] = json!([SSH_KEY]);
        }),
        Scene::OtherRules => {
            let labels = json!({"managed-by": "clawdlets", "fleet": "example", "env": "example"});
            post(sim, "/firewalls", &firewall(&rule, labels)).await;
        }
        Scene::OtherLabels => {
            let labels = json!({"managed-by": "clawdlets", "fleet": "example"});
            post(sim, "/firewalls", &firewall(&ours, labels)).await;
        }
        Scene::Plain | Scene::BornOff | Scene::LostCreate | Scene::NewTtl | Scene::Vanished => {}
    }
}

/// A call that somebody else makes of the API.
async fn post(sim: &Sim, path: &str, body: &Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = client
        .post(format!("{}{path}", sim.url()))
        .bearer_auth(TOKEN)
        .json(body);
    let reply = call.send().await.unwrap();
    let status = reply.status();
    assert!(
        status.is_success(),
        "{status} {}",
        reply.text().await.unwrap()
    );
}
