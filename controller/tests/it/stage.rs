//! A whole controller in this process, against the imitated API. Nobody waits for minutes: the
//! controller's own patience is short, and its clocks are turned here together with Hetzner's.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf, time::Duration};

use cattle_controller::{
    clock::Hands,
    daemon::{self, Daemon},
    hetzner::Endpoint,
    patience::{Follow, Pace, Patience},
    settings::{PeerCheck, Settings, SpecDir},
};
use cattle_core::{desired::Authority, example};
use hetzner_sim::{Config, Request, Sim};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01";
/// For anything that must come about; far longer than it ever takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const GAP: Duration = Duration::from_millis(10);
/// Seconds that go by between two passes when time passes quickly; more, and the controller would
/// rightly say that it could not hear its guests.
const STEP: u64 = 30;
/// After this a delete has stuck.
pub(crate) const GIVE_UP: Duration = Duration::from_millis(600);

/// Everything, until it is dropped.
pub(crate) struct Stage {
    pub(crate) sim: Sim,
    dir: TempDir,
    client: reqwest::Client,
    ahead: u64,
    hands: Hands,
    daemon: Daemon,
}

impl Stage {
    /// A controller for the example project without specs, and a Hetzner in which everything goes
    /// quickly and nothing runs inside servers.
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("project");
        for (path, bytes) in example::FILES {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let specs = project.join("cattle/specs");
        fs::remove_dir_all(&specs).unwrap();
        let secrets = dir.path().join("secrets");
        for dir in [&specs, &secrets] {
            fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
        }
        fs::write(secrets.join("zai_api_key"), "key-of-this-test").unwrap();
        let config = Config::default()
            .create_ms(20)
            .boot_ms(20)
            .power_ms(20)
            .delete_ms(20)
            .rate_limit(1_000_000)
            .token(TOKEN);
        let sim = Sim::start(config).await.unwrap();
        let moment = Duration::from_millis(50);
        let hands = Hands::default();
        let settings = Settings {
            state_dir: project.join(".clawdlets/cattle"),
            spec_dirs: vec![SpecDir {
                path: specs,
                authority: Authority::Operator,
            }],
            secrets_dir: Some(secrets),
            socket: dir.path().join("socket"),
            guest_listen: ([127, 0, 0, 1], 0).into(),
            guest_url: None,
            retention: Duration::from_secs(3600),
            peer_check: PeerCheck::Off,
            patience: Patience {
                lists: Pace {
                    idle: moment,
                    busy: moment,
                    page: moment,
                },
                follow: Follow {
                    first: moment,
                    longest: moment,
                    give_up: GIVE_UP,
                },
                ..Patience::default()
            },
            time: hands.source(),
            project,
        };
        let endpoint = Endpoint {
            url: sim.url(),
            token: TOKEN.to_owned().into(),
        };
        let socket = settings.socket.clone();
        let stop = CancellationToken::new();
        let daemon = daemon::start(settings, &endpoint, None, stop)
            .await
            .unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .unix_socket(socket)
            .build()
            .unwrap();
        Self {
            sim,
            dir,
            client,
            ahead: 0,
            hands,
            daemon,
        }
    }

    /// Stops the controller and leaves the rest.
    pub(crate) async fn close(self) {
        self.daemon.join().await;
    }

    pub(crate) fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self
            .sim
            .control(&Request::new(method, &format!("/_sim/{path}")).json(body));
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer.value().clone()
    }

    /// Scripts a fault of one operation; `more` says how often and when.
    pub(crate) fn fault(&self, operation: &str, fault: &Value, more: &Value) {
        let mut rule = json!({ "match": { "operation": operation }, "fault": fault });
        for (key, value) in more.as_object().into_iter().flatten() {
            rule[key] = value.clone();
        }
        self.control("POST", "faults", &rule);
    }

    pub(crate) fn clear_faults(&self) {
        self.control("DELETE", "faults", &Value::Null);
    }

    /// Lets time pass, at Hetzner and here, with passes as often as ever: whatever waits by the clock
    /// is due then.
    pub(crate) async fn pass_time(&mut self, seconds: u64) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(STEP);
            left -= step;
            self.ahead += step;
            let ms = self.ahead * 1000;
            self.control("PUT", "clock", &json!({ "offsetMs": ms }));
            self.hands.pass(Duration::from_secs(step));
            self.daemon.handle.clone().next_pass().await.unwrap();
        }
    }

    /// The host is suspended, or the controller stopped: time passes and no pass comes.
    pub(crate) async fn stand_still(&mut self, seconds: u64) {
        self.ahead += seconds;
        let ms = self.ahead * 1000;
        self.control("PUT", "clock", &json!({ "offsetMs": ms }));
        self.hands.pass(Duration::from_secs(seconds));
        self.daemon.handle.clone().next_pass().await.unwrap();
    }

    /// The same in the middle of a pass, as far as so many turns lead into one.
    pub(crate) async fn stand_still_in_a_pass(&mut self, turns: usize, seconds: u64) {
        self.daemon.handle.bell().ring();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        self.stand_still(seconds).await;
    }

    /// Somebody sets this machine's clock, and a pass comes before the next list.
    pub(crate) async fn set_wall(&mut self, seconds: i64) {
        self.hands.set_wall(chrono::TimeDelta::seconds(seconds));
        self.daemon.handle.clone().next_pass().await.unwrap();
    }

    /// Hetzner's date, and nothing else, is off by so much.
    pub(crate) fn misdate(&self, seconds: i64) {
        let ms = (i64::try_from(self.ahead).unwrap() + seconds) * 1000;
        self.control("PUT", "clock", &json!({ "offsetMs": ms }));
    }

    /// A condition of the controller, as `list` has it.
    pub(crate) async fn condition(&self, kind: &str) -> Value {
        let list = self.get("cattle").await;
        let conditions = list["controller"]["conditions"].as_array().unwrap().clone();
        let found = conditions.into_iter().find(|it| it["type"] == kind);
        found.unwrap_or(Value::Null)
    }

    /// Waits for a condition of the controller to be so, for this reason.
    pub(crate) async fn until_condition(&self, kind: &str, reason: &str) -> Value {
        poll(async || {
            let condition = self.condition(kind).await;
            if condition["reason"] == reason {
                return Ok(condition);
            }
            Err(format!("{condition:#}"))
        })
        .await
    }

    /// Drops a spec file.
    pub(crate) fn drop_spec(&self, name: &str) {
        let spec = json!({
            "apiVersion": "clawdlets.dev/v1", "kind": "Cattle",
            "spec": { "persona": "rex", "ttl": "2h", "task": { "message": "wait" } },
        });
        let path: PathBuf = self.dir.path().join("project/cattle/specs");
        let next = self.dir.path().join(name);
        fs::write(&next, spec.to_string()).unwrap();
        fs::rename(next, path.join(format!("{name}.json"))).unwrap();
    }

    /// What the socket answers.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.client.get(format!("http://localhost/v1/{path}"));
        reply.send().await.unwrap().json().await.unwrap()
    }

    /// The date of the socket's answers.
    pub(crate) async fn date(&self) -> chrono::DateTime<chrono::Utc> {
        let reply = self.client.get("http://localhost/v1/cattle").send();
        let reply = reply.await.unwrap();
        let date = reply.headers()["date"].to_str().unwrap();
        chrono::DateTime::parse_from_rfc2822(date).unwrap().into()
    }

    /// Waits for a cattle to be so; answers its status.
    pub(crate) async fn until(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        poll(async || {
            let status = self.get(&format!("cattle/{name}")).await;
            if holds(&status) {
                return Ok(status);
            }
            Err(format!("{name} stays {status:#}"))
        })
        .await
    }

    /// Waits for something at Hetzner.
    pub(crate) async fn until_there<T>(&self, what: &str, find: impl Fn(&Self) -> Option<T>) -> T {
        poll(async || find(self).ok_or_else(|| format!("{what}: {:#?}", self.servers()))).await
    }

    /// Waits for an event of a cattle whose message has these words.
    pub(crate) async fn until_told(&self, name: &str, words: &str) {
        poll(async || {
            let events = self.get(&format!("cattle/{name}/events")).await;
            if events.to_string().contains(words) {
                return Ok(());
            }
            Err(format!("no `{words}` in {events:#}"))
        })
        .await;
    }

    /// Servers that exist.
    pub(crate) fn servers(&self) -> Vec<Value> {
        let state = self.control("GET", "state", &Value::Null);
        state["servers"].as_array().unwrap().clone()
    }

    /// The calls of one operation so far.
    pub(crate) fn calls(&self, operation: &str) -> Vec<hetzner_sim::Call> {
        let mut calls = self.sim.calls();
        calls.retain(|call| call.operation == operation);
        calls
    }
}

/// Its run has a server that Hetzner runs.
pub(crate) fn boots(status: &Value) -> bool {
    status["phase"] == "Booting"
}

/// Its latest run, or the one before, has ended so.
pub(crate) fn has_failed(status: &Value) -> bool {
    ended(status).is_some()
}

/// The run that came to nothing.
pub(crate) fn ended(status: &Value) -> Option<&Value> {
    let earlier = status["earlierRuns"].as_array().into_iter().flatten();
    std::iter::once(&status["run"])
        .chain(earlier)
        .find(|run| run["endReason"].is_string())
}

/// Looks until it finds; past the deadline it fails with what it saw last.
async fn poll<T>(look: impl AsyncFn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "{seen}"),
        }
        tokio::time::sleep(GAP).await;
    }
}
