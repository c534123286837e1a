//! An image that never boots, under a queue that would start it for every spec: a controller and a
//! simulator within this process, so that hours can go by.

use std::{sync::Arc, time::Duration};

use cattle_controller::{
    patience::{Pace, Patience},
    world::World,
};
use cattle_schemas::status::{ConditionType, EndReason, PauseReason};
use cattle_tests::Project;
use serde_json::json;

use crate::stage::{self, STEP, Stage};

const SPECS: usize = 30;
const MAX_INSTANCES: u64 = 4;

/// Many specs, few places, and servers of which none boots.
async fn set() -> Stage {
    let project = Project::new();
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["maxInstances"] = json!(MAX_INSTANCES);
    });
    for n in 0..SPECS {
        project.drop_spec(&format!("rex-{n:02}"), &Project::spec("ok", &[]));
    }
    let sim = stage::account(&project, false).await;
    let patience = Patience {
        // A tenth of a second is half a minute here, and nothing starts on a list of long ago.
        lists: Pace {
            idle: Duration::from_millis(300),
            busy: Duration::from_millis(200),
            page: Duration::from_millis(100),
        },
        ..stage::patience()
    };
    Stage::set(project, sim, patience).await
}

/// Lets time go by until something holds.
async fn until(stage: &mut Stage, what: &str, holds: impl Fn(&World) -> bool) -> Arc<World> {
    // Six hours.
    for _ in 0..720 {
        // Calls are real: what was begun ends before time goes on.
        for _ in 0..4 {
            let world = stage.next_pass().await;
            if holds(&world) {
                return world;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        stage.turn_clock_by(STEP);
    }
    panic!(
        "six hours went by in vain: {what}\n{}",
        stage.project.log_tail()
    );
}

fn created(stage: &Stage) -> u64 {
    stage.account()["serversCreated"].as_u64().unwrap()
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
        let mut stage = set().await;
        let world = until(
            &mut stage,
            "the breaker opens and all servers are gone",
            |world| {
                is_held(world)
                    && timed_out(world) >= 3
                    && !world.ledger.runs.values().any(|run| run.holds_slot())
            },
        )
        .await;
        assert_eq!(created(&stage), MAX_INSTANCES, "as many as were in flight");
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
        until(&mut stage, "half an hour goes by", |world| world.at >= half).await;
        assert_eq!(created(&stage), MAX_INSTANCES);
        // An operator asks: one, and no more.
        let reply = stage
            .post("/v1/resume", &json!({ "reason": "breaker" }))
            .await;
        let message = reply["message"].as_str().unwrap();
        assert!(message.starts_with("one server of image"), "{message}");
        // By its time: it is a further run of a cattle whose first one is in no plan any more.
        until(&mut stage, "the probe has failed and is gone", |world| {
            let mut runs = world.ledger.runs.values();
            runs.any(|run| run.created_at >= half && run.gone_at.is_some()) && timed_out(world) >= 3
        })
        .await;
        assert_eq!(created(&stage), MAX_INSTANCES + 1);
        // And one by itself, after an hour.
        let began = stage.next_pass().await.at;
        let world = until(&mut stage, "the next probe is under way", |world| {
            let mut runs = world.ledger.runs.values();
            runs.any(|run| run.is_live() && run.server.is_some())
        })
        .await;
        assert!(world.at >= began + Duration::from_secs(3_000), "{began}");
        assert_eq!(created(&stage), MAX_INSTANCES + 2);
        stage.strike().await;
    });
}
