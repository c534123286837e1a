//! One cell: one cattle, one call of it that goes wrong, and what became of it.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use cattle_controller::{hetzner::Operation, world::World};
use cattle_core::lifecycle::deadlines;
use cattle_schemas::{Timestamp, status::EndReason};
use cattle_tests::Project;
use serde_json::{Value, json};

use super::{
    expected::{Expected, expected},
    faults::{self, Fault, Side},
    scenes::{self, COW, GO, Scene, asked},
};
use crate::stage::Stage;

/// How often the fault strikes: once by bad luck, and once more when it is tried again.
const STRIKES: u32 = 2;

/// Between two looks at a cell. A look costs a millisecond, and there are forty cells at once.
const GAP: Duration = Duration::from_millis(100);

/// A cell's real time. Waits of minutes are turned away, so a cell that takes this hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(75);

/// Beyond every backoff, cool-down and boot deadline, and within every ttl of these cells.
const FAR: Duration = Duration::from_secs(90 * 60);

/// One operation, one fault, one side of its effect.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) operation: Operation,
    pub(super) fault: &'static Fault,
    pub(super) side: Side,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, fault) = (self.operation.as_str(), self.fault.name);
        write!(f, "{operation}/{fault}/{}", self.side.word())
    }
}

/// What became of it.
pub(super) struct Played {
    pub(super) cell: Cell,
    pub(super) outcome: Result<EndReason, String>,
    pub(super) took: Duration,
}

impl Played {
    /// It did not even get to an end.
    pub(super) fn failed(cell: Cell, why: String) -> Self {
        Self {
            cell,
            outcome: Err(why),
            took: Duration::ZERO,
        }
    }
}

/// Every cell there is.
pub(super) fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for operation in Operation::ALL {
        let changes = asked(operation).changes;
        for fault in faults::ALL {
            for &side in fault.sides(changes) {
                cells.push(Cell {
                    operation,
                    fault,
                    side,
                });
            }
        }
    }
    cells
}

/// Plays one cell to its end.
pub(super) async fn play(cell: Cell) -> Played {
    let began = Instant::now();
    let asked = asked(cell.operation);
    let rule = json!({
        "match": asked.matches,
        "count": STRIKES,
        "when": cell.side.word(),
        "fault": cell.fault.script(),
    });
    let mut stage = enter(asked.scene, rule).await;
    let outcome = match live(&mut stage, asked.scene, PATIENCE).await {
        Ok(()) => verdict(&stage, &expected(cell.operation, cell.side)).await,
        Err(why) => Err(why),
    };
    let outcome = match outcome {
        Ok(reason) => Ok(reason),
        Err(why) => Err(format!("{why}\n{}", traces(&stage).await)),
    };
    stage.strike().await;
    Played {
        cell,
        outcome,
        took: began.elapsed(),
    }
}

/// Sets a scene in which this goes wrong, and begins it.
pub(super) async fn enter(scene: Scene, rule: Value) -> Stage {
    let mut rules = own_rules(scene);
    rules.push(rule);
    let stage = scenes::set(scene, &rules).await;
    stage.project.drop_spec(COW, &spec(scene, "2h"));
    stage
}

/// What has to go wrong for the scene to come about.
fn own_rules(scene: Scene) -> Vec<Value> {
    let on_create =
        |kind: &str| json!({"match": {"operation": "create_server"}, "fault": {"kind": kind}});
    // As a selector that lags: it takes a while until lists show what was created.
    let list = json!({"operation": "list_servers", "query": "label_selector=*"});
    let nothing = json!({"kind": "odd_json", "body": {"servers": [], "meta": {}}});
    let lag = json!({"match": list, "count": 0, "fault": nothing});
    match scene {
        Scene::BornOff => vec![on_create("stays_off")],
        Scene::LostCreate => vec![on_create("drop_reply"), lag],
        _ => Vec::new(),
    }
}

fn spec(scene: Scene, ttl: &str) -> String {
    let message = match scene {
        Scene::NewTtl => format!("wait {GO}"),
        Scene::Vanished => "wait never".to_owned(),
        _ => "ok".to_owned(),
    };
    Project::spec(&message, &[&format!("ttl: {ttl}")])
}

/// Lets the task end that waits.
pub(super) fn go(stage: &Stage) {
    fs::write(stage.project.ran().join(GO), "").unwrap();
}

/// Plays the scene until nothing is left of it and nothing is left to do.
pub(super) async fn live(
    stage: &mut Stage,
    scene: Scene,
    patience: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    let mut act = 0;
    let mut stillness = Stillness::default();
    let mut over_at_list = None;
    loop {
        tokio::time::sleep(GAP).await;
        let (world, account) = (stage.world(), stage.account());
        act = play_act(stage, scene, act, &world, &account);
        if is_over(&world, &account) {
            // The list that comes after it is the proof: nothing is found to do then either.
            let list = *over_at_list.get_or_insert(world.observed.listed_at);
            if world.observed.listed_at > list && world.observed.unreachable.is_none() {
                return Ok(());
            }
        } else {
            over_at_list = None;
        }
        if let Some(at) = stillness
            .look(&world, &account)
            .or_else(|| held_until(&world))
        {
            stage.turn_clock_to(at).await;
        }
        if Instant::now() > deadline {
            return Err(format!(
                "it did not converge within {} s",
                patience.as_secs()
            ));
        }
    }
}

/// What others do in a scene once the task has begun; answers the next act.
fn play_act(stage: &Stage, scene: Scene, act: u8, world: &World, account: &Value) -> u8 {
    let runs = || stage.project.runs_of(COW) == 1;
    let server = || account["servers"].as_array()?.first();
    match (scene, act) {
        (Scene::LostCreate, 0) if stage.struck().last() > Some(&0) => {
            stage.control("DELETE", "/_sim/faults/2", &Value::Null);
            1
        }
        (Scene::Vanished, 0) if runs() => {
            if let Some(server) = server() {
                let path = format!("/_sim/servers/{}/vanish", server["id"]);
                stage.control("POST", &path, &Value::Null);
                return 1;
            }
            0
        }
        (Scene::NewTtl, 0) if runs() => {
            stage.project.drop_spec(COW, &spec(scene, "1h"));
            1
        }
        (Scene::NewTtl, 1) => {
            let run = world.ledger.runs.values().next_back();
            let wanted = run
                .filter(|run| run.spec.ttl == Duration::from_secs(3_600))
                .map(|run| run.expires_at.timestamp().to_string());
            let label = server().and_then(|server| server["labels"]["expires-at"].as_str());
            if wanted.is_some() && wanted.as_deref() == label {
                go(stage);
                return 2;
            }
            1
        }
        _ => act,
    }
}

/// Until when a 404 is held against a guest that was heard a moment ago. It is asked again after every
/// list, so this is never still.
fn held_until(world: &World) -> Option<Timestamp> {
    let run = world.ledger.runs.values().find(|run| run.is_missing())?;
    deadlines::heard_of_until(run, world.limits.guests_heard_since)
}

/// A live run's server is not listed: it is asked for after every list, between two looks of ours too,
/// until Hetzner answers.
fn asks_for_a_server(world: &World) -> bool {
    let listed = |id| world.observed.servers.iter().any(|server| server.id == id);
    world
        .ledger
        .runs
        .values()
        .filter(|run| run.is_live() && !run.is_missing())
        .any(|run| run.server.as_ref().is_some_and(|own| !listed(own.id)))
}

/// Nothing is left and nothing is to be done.
fn is_over(world: &World, account: &Value) -> bool {
    let assignments = &world.ledger.assignments;
    !assignments.is_empty()
        && assignments
            .values()
            .all(|assignment| assignment.ended.is_some())
        && world.ledger.runs.values().all(|run| run.gone_at.is_some())
        && world.plan.actions.is_empty()
        && world.plan.waiting.is_empty()
        && world.limits.in_flight.is_empty()
        && account["servers"] == json!([])
}

/// Knows when nothing moves any more but time.
#[derive(Default)]
struct Stillness {
    picture: String,
    listed_at: Option<Timestamp>,
    lists: u32,
}

impl Stillness {
    /// When the controller wants to go on, if it waits for nothing but that time: no call of a run
    /// is under way, no guest is alive, and two lists have shown nothing new.
    fn look(&mut self, world: &World, account: &Value) -> Option<Timestamp> {
        let servers = account["servers"].as_array()?;
        let states: Vec<_> = servers
            .iter()
            .map(|server| (&server["id"], &server["status"], &server["locked"]))
            .collect();
        let picture = format!("{states:?} {:?} {:?}", world.ledger.runs, world.plan);
        if picture != self.picture {
            self.picture = picture;
            self.listed_at = world.observed.listed_at;
            self.lists = 0;
            return None;
        }
        if world.observed.listed_at > self.listed_at {
            self.listed_at = world.observed.listed_at;
            self.lists += 1;
        }
        let alive = servers.iter().any(|server| server["status"] == "running");
        // Not before a list has shown that a server is gone: a snapshot may be older than the account.
        let stale = world.observed.servers.iter().any(|seen| {
            let same = |server: &Value| server["id"] == json!(seen.id.0);
            !servers.iter().any(same)
        });
        let busy = !world.limits.in_flight.is_empty()
            || !world.plan.actions.is_empty()
            || asks_for_a_server(world);
        if alive || stale || busy || self.lists < 2 {
            return None;
        }
        // What is further away is a ttl or a `startWithin`: a run that gets there has not waited for
        // its time but for something that our own watch counts, and that comes.
        let far = world.at + FAR;
        world.plan.next_wake.filter(|wake| *wake < far)
    }
}

/// Holds what is left against what is expected.
pub(super) async fn verdict(stage: &Stage, expected: &Expected) -> Result<EndReason, String> {
    let struck = stage.struck();
    if struck.contains(&0) {
        return Err(format!("a fault never struck: {struck:?}"));
    }
    let world = stage.next_pass().await;
    if !world.plan.actions.is_empty() {
        return Err(format!(
            "the next plan is not empty: {:?}",
            world.plan.actions
        ));
    }
    let [assignment] = world.ledger.assignments.values().collect::<Vec<_>>()[..] else {
        return Err(format!(
            "not one assignment: {:?}",
            world.ledger.assignments
        ));
    };
    let reason = assignment.ended.as_ref().map(|end| end.reason);
    let tasks = stage.project.runs_of(COW);
    let servers = stage.account()["serversCreated"].as_u64().unwrap();
    match reason {
        Some(reason)
            if reason == expected.reason
                && tasks == expected.tasks
                && expected.servers.contains(&servers) =>
        {
            Ok(reason)
        }
        _ => Err(format!(
            "expected {expected:?}\n    came {reason:?} after {tasks} tasks on {servers} servers"
        )),
    }
}

/// For whoever reads of a failure: the last events and calls.
pub(super) async fn traces(stage: &Stage) -> String {
    let last = |list: &Value, count: usize, line: &dyn Fn(&Value) -> String| -> String {
        let list = list.as_array().cloned().unwrap_or_default();
        let lines = list[list.len().saturating_sub(count)..].iter();
        lines.map(|one| format!("      {}\n", line(one))).collect()
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let events = stage
        .get(&format!("/v1/cattle/{COW}/events?limit=1000"))
        .await;
    let events = last(&events["items"], 25, &|event| {
        format!(
            "{} {}: {}",
            text(&event["time"]),
            text(&event["reason"]),
            text(&event["message"])
        )
    });
    let calls = stage.control("GET", "/_sim/calls", &Value::Null);
    let calls = last(&calls["calls"], 25, &|call| {
        let fault = if call["fault"].is_null() {
            ""
        } else {
            " (fault)"
        };
        format!(
            "{:>7} ms {} -> {}{fault}",
            call["atMs"],
            text(&call["operation"]),
            call["status"]
        )
    });
    let world = stage.world();
    let servers = &stage.account()["servers"];
    let servers = last(servers, 5, &|server| {
        format!("{} {}", text(&server["name"]), server["status"])
    });
    format!(
        "    events:\n{events}    calls:\n{calls}    servers:\n{servers}    waiting: {:?}\n    next wake: {:?}, in flight: {:?}, list: {:?} {:?}\n",
        world.plan.waiting,
        world.plan.next_wake,
        world.limits.in_flight,
        world.observed.listed_at,
        world.observed.unreachable,
    )
}
