//! An image that never boots, under a queue that would start it for every spec: a controller and a
//! simulator within this process, so that hours can go by.

use std::{sync::Arc, time::Duration};

use cattle_controller::{
    clock::Hands,
    daemon::{self, Daemon},
    hetzner::Endpoint,
    patience::{Again, Answers, Follow, Pace, Patience},
    settings::{PeerCheck, Settings, SpecDir},
    world::World,
};
use cattle_core::desired::Authority;
use cattle_schemas::status::{ConditionType, EndReason, PauseReason};
use cattle_tests::{Project, TOKEN};
use hetzner_sim::{Config, Guests, Request, Sim};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What goes by between two passes: more, and the controller would rightly say that it could not hear
/// its guests.
const STEP: Duration = Duration::from_secs(30);

const SPECS: usize = 30;
const MAX_INSTANCES: u64 = 4;

fn patience() -> Patience {
    Patience {
        answers: Answers {
            connect: Duration::from_secs(10),
            usual: Duration::from_secs(10),
            create: Duration::from_secs(10),
        },
        lists: Pace {
            idle: Duration::from_millis(300),
            busy: Duration::from_millis(200),
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

struct Stage {
    project: Project,
    sim: Sim,
    daemon: Daemon,
    hands: Hands,
    ahead: Duration,
}

impl Stage {
    async fn set() -> Self {
        let project = Project::new();
        project.configure(|fleet| {
            fleet["cattle"]["hetzner"]["maxInstances"] = json!(MAX_INSTANCES);
        });
        for n in 0..SPECS {
            project.drop_spec(&format!("rex-{n:02}"), &Project::spec("ok", &[]));
        }
        let config = Config::default()
            .token(TOKEN)
            .rate_limit(3_600_000)
            .create_ms(20)
            .boot_ms(20)
            .power_ms(20)
            .delete_ms(20)
            .firewall_lag_ms(0)
            .guests(Guests::None);
        let sim = Sim::start(config).await.unwrap();
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
        let daemon = daemon::start(settings, &endpoint, None, CancellationToken::new())
            .await
            .unwrap();
        Self {
            project,
            sim,
            daemon,
            hands,
            ahead: Duration::ZERO,
        }
    }

    async fn pass(&self) -> Arc<World> {
        self.daemon.handle.clone().next_pass().await.unwrap()
    }

    /// Lets time go by, at Hetzner and for the controller alike, until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) -> Arc<World> {
        // Six hours.
        for _ in 0..720 {
            // Calls are real: what was begun ends before time goes on.
            for _ in 0..4 {
                let world = self.pass().await;
                if holds(&world) {
                    return world;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            self.ahead += STEP;
            let offset = u64::try_from(self.ahead.as_millis()).unwrap();
            let clock = Request::new("PUT", "/_sim/clock").json(&json!({ "offsetMs": offset }));
            assert!(self.sim.control(&clock).status < 300);
            self.hands.pass(STEP);
        }
        panic!(
            "six hours went by in vain: {what}\n{}",
            self.project.log_tail()
        );
    }

    fn created(&self) -> u64 {
        self.sim.snapshot()["serversCreated"].as_u64().unwrap()
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let socket = reqwest::Client::builder()
            .no_proxy()
            .unix_socket(self.project.socket())
            .build()
            .unwrap();
        let call = socket.post(format!("http://controller{path}")).json(body);
        let reply = call.send().await.unwrap();
        assert_eq!(reply.status(), 200);
        reply.json().await.unwrap()
    }
}

fn timed_out(world: &World) -> usize {
    let ended = world
        .ledger
        .runs
        .values()
        .filter_map(|run| run.ended.as_ref());
    ended
        .filter(|end| end.reason == EndReason::BootTimeout)
        .count()
}

fn is_held(world: &World) -> bool {
    let mut held = world.ledger.holding();
    held.any(|pause| pause.reason == PauseReason::Breaker)
}

#[test]
fn an_image_that_never_boots_costs_what_was_in_flight_and_its_probes() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut stage = Stage::set().await;
        let world = stage
            .until("the breaker opens and all servers are gone", |world| {
                is_held(world)
                    && timed_out(world) >= 3
                    && !world.ledger.runs.values().any(|run| run.holds_slot())
            })
            .await;
        assert_eq!(stage.created(), MAX_INSTANCES, "as many as were in flight");
        let said = world
            .conditions
            .iter()
            .find(|it| it.kind == ConditionType::StartsPaused)
            .unwrap();
        assert!(said.status && said.reason == "breaker", "{said:?}");
        assert!(
            said.message
                .contains("`clawdlets cattle resume --reason breaker` tries one now"),
            "{said:?}"
        );
        let waiting = &world.plan.waiting;
        assert!(
            waiting
                .iter()
                .any(|it| it.message.contains("in a row did not boot in time")),
            "{waiting:#?}"
        );
        // Half an hour later nothing was tried.
        let half = world.at + Duration::from_secs(1_800);
        stage
            .until("half an hour goes by", |world| world.at >= half)
            .await;
        assert_eq!(stage.created(), MAX_INSTANCES);
        // An operator asks: one, and no more.
        let reply = stage
            .call("/v1/resume", &json!({ "reason": "breaker" }))
            .await;
        let message = reply["message"].as_str().unwrap();
        assert!(message.starts_with("one server of image"), "{message}");
        // By its time: it is a further run of a cattle whose first one is in no plan any more.
        stage
            .until("the probe has failed and is gone", |world| {
                let mut runs = world.ledger.runs.values();
                runs.any(|run| run.created_at >= half && run.gone_at.is_some())
                    && timed_out(world) >= 3
            })
            .await;
        assert_eq!(stage.created(), MAX_INSTANCES + 1);
        // And one by itself, after an hour.
        let began = stage.pass().await.at;
        let world = stage
            .until("the next probe is under way", |world| {
                let mut runs = world.ledger.runs.values();
                runs.any(|run| run.is_live() && run.server.is_some())
            })
            .await;
        assert!(world.at >= began + Duration::from_secs(3_000), "{began}");
        assert_eq!(stage.created(), MAX_INSTANCES + 2);
    });
}
