//! Calls that fail for as long as anybody looks: nothing is lost, nothing is done twice, and once they
//! work again it goes on by itself.

use std::time::Duration;

use cattle_controller::hetzner::Operation;
use serde_json::{Value, json};

use super::{
    cell::{self, PATIENCE},
    expected::{Meanwhile, expected, meanwhile},
    faults::Side,
    scenes::{COW, Scene, asked},
};
use crate::stage::Stage;

/// How long a call goes on failing, in real time; by Hetzner's clock it is hours.
const LASTING: Duration = Duration::from_secs(20);

/// The rule for a fault that lasts.
fn lasting(matches: &Value, fault: &Value) -> Value {
    json!({"match": matches, "count": 0, "fault": fault})
}

/// A call answers 503 for long, and then it does not.
pub(super) async fn outlast(operation: Operation) -> Result<(), String> {
    let asked = asked(operation);
    let fault = json!({"kind": "json", "status": 503, "code": "unavailable", "message": "later"});
    let mut stage = cell::enter(asked.scene, lasting(&asked.matches, &fault)).await;
    let mut came = cell::live(&mut stage, asked.scene, LASTING / 2).await;
    if came.is_err() {
        // A task that waited for the call's effect goes on without.
        cell::go(&stage);
        came = cell::live(&mut stage, asked.scene, LASTING / 2).await;
    }
    let came = match came {
        Ok(()) => Meanwhile::Ends,
        Err(_) => Meanwhile::Waits,
    };
    let outcome = after(&mut stage, operation, asked.scene, came).await;
    let outcome = match outcome {
        Ok(()) => Ok(()),
        Err(why) => Err(format!(
            "{}: {why}\n{}",
            operation.as_str(),
            cell::traces(&stage).await
        )),
    };
    stage.strike().await;
    outcome
}

async fn after(
    stage: &mut Stage,
    operation: Operation,
    scene: Scene,
    came: Meanwhile,
) -> Result<(), String> {
    let struck = stage.struck();
    if struck.contains(&0) {
        return Err(format!("a fault never struck: {struck:?}"));
    }
    let wanted = meanwhile(operation);
    if came != wanted {
        return Err(format!("expected that it {wanted:?}, but it {came:?}"));
    }
    stage.lift();
    cell::live(stage, scene, PATIENCE).await?;
    let expected = expected(operation, Side::Before);
    cell::verdict(stage, &expected).await.map(drop)
}

/// A token that Hetzner does not take, or does not let write: everything waits, and the status says
/// why in Hetzner's words; a new token's first success sets it going.
pub(super) async fn wait_for_the_token(fault: Value, said: &str) -> Result<(), String> {
    let matches =
        json!({"path": "/v1/*", "method": if said == "unauthorized" { "*" } else { "POST" }});
    let mut stage = cell::enter(Scene::Plain, lasting(&matches, &fault)).await;
    let waited = cell::live(&mut stage, Scene::Plain, LASTING / 4).await;
    let status = stage.get(&format!("/v1/cattle/{COW}")).await;
    let pending = status["phase"] == "Pending" && status.to_string().contains(said);
    let mut outcome = match waited {
        Ok(()) => Err("it ended without a token".to_owned()),
        Err(_) if !pending => Err(format!("{said} is not said: {status:#}")),
        Err(_) => Ok(()),
    };
    if outcome.is_ok() {
        stage.lift();
        outcome = cell::live(&mut stage, Scene::Plain, PATIENCE).await;
    }
    if outcome.is_ok() && stage.project.runs_of(COW) != 1 {
        outcome = Err(format!("{} tasks", stage.project.runs_of(COW)));
    }
    if let Err(why) = &mut outcome {
        *why = format!("{said}: {why}\n{}", cell::traces(&stage).await);
    }
    stage.strike().await;
    outcome
}
