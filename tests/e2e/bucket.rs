//! Work that needs more calls than Hetzner allows: what ends goes first, and nothing is refused.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use cattle_schemas::Timestamp;
use cattle_tests::{Controller, Project, Sim, SimOptions, eventually_within};
use serde_json::{Value, json};

const SPECS: usize = 100;

/// Calls that may be made in one go.
const BUCKET: u32 = 60;

/// A 429 may happen, because others use the project too; a storm of them may not.
const FEW: usize = 3;

/// The first ones work until two cores have started all of them, and then end one after the other,
/// while others still wait to be created. The rest ends at once.
const LONG_TASKS: usize = 60;
const FIRST_END: usize = 20;

/// A look at the server, and its DELETE.
const CALLS_TO_DELETE: usize = 2;

/// A call that was let through just before is posted within this.
const UNDER_WAY: chrono::TimeDelta = chrono::TimeDelta::milliseconds(2_500);

/// From the end of a run to its DELETE: the pass that finds it, and its turn in the bucket.
const SOON: chrono::TimeDelta = chrono::TimeDelta::seconds(6);

/// Calls refilled a second. 1 is what Hetzner does; the same in a fifth of the time is
/// `E2E_REFILL=5`.
fn refill() -> u32 {
    env::var("E2E_REFILL").map_or(1, |refill| refill.parse().unwrap())
}

fn time(text: &Value) -> Timestamp {
    text.as_str().unwrap().parse().unwrap()
}

/// What the simulator saw of one kind of call.
fn times_of(calls: &[Value], operation: &str) -> Vec<Timestamp> {
    let of_it = calls.iter().filter(|call| call["operation"] == operation);
    of_it.map(|call| time(&call["at"])).collect()
}

#[test]
fn a_hundred_specs_on_a_bucket_of_sixty_end_in_time_and_are_refused_nothing() {
    let project = Project::new();
    project.configure(|fleet| {
        // Only the rate limit is to hold creates up.
        fleet["cattle"]["hetzner"]["maxInstances"] = json!(SPECS);
    });
    let sim = Sim::start(
        &project,
        &SimOptions {
            rate_limit: Some((BUCKET, refill() * 3_600)),
            ..SimOptions::default()
        },
    );
    let _controller = Controller::start(&project, &sim, &[]);
    let began = Instant::now();
    for n in 0..SPECS {
        let message = if n < LONG_TASKS {
            // As far apart as what each costs is refilled.
            let end = FIRST_END + CALLS_TO_DELETE * n;
            format!("sleep {}", end / refill() as usize)
        } else {
            "ok".to_owned()
        };
        project.drop_spec(&format!("job-{n:03}"), &Project::spec(&message, &[]));
    }

    let statuses = eventually_within(Duration::from_secs(400), "all have succeeded", || {
        let list = project.list();
        let done = list.iter().filter(|one| one["phase"] == "Succeeded");
        (done.count() == SPECS).then_some(list)
    });
    eventually_within(Duration::from_secs(120), "no server is left", || {
        sim.living().is_empty().then_some(())
    });

    let calls = sim.calls_since(0);
    let mut by_kind: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for call in &calls {
        let status = call["status"].as_u64().unwrap_or_default();
        *by_kind
            .entry((call["operation"].as_str().unwrap(), status))
            .or_default() += 1;
    }
    println!(
        "{} calls in {:.0} s: {by_kind:#?}",
        calls.len(),
        began.elapsed().as_secs_f64()
    );
    let refused = calls.iter().filter(|call| call["status"] == 429).count();
    assert!(refused < FEW, "{refused} calls were refused: {by_kind:#?}");
    assert_eq!(sim.state()["serversCreated"], SPECS);
    let creates = times_of(&calls, "create_server");
    let mut waits = Vec::new();
    for status in &statuses {
        let name = status["name"].as_str().unwrap();
        assert_eq!(project.runs_of(name), 1, "{name}");
        let due = time(&status["run"]["endedAt"]);
        let server = &status["run"]["server"]["id"];
        let called = calls
            .iter()
            .find(|call| call["operation"] == "delete_server" && call["serverId"] == *server)
            .unwrap_or_else(|| panic!("{name} was never deleted: {status:#}"));
        let called = time(&called["at"]);
        waits.push((called - due, name));
        let before = creates
            .iter()
            .find(|&&create| create > due + UNDER_WAY && create < called);
        assert!(
            before.is_none(),
            "{name}: its delete, due at {due}, waited until {called} for a create at {before:?}"
        );
    }
    waits.sort_unstable();
    let (longest, name) = waits[SPECS - 1];
    println!(
        "the median delete waited {}, the last {longest} ({name})",
        waits[SPECS / 2].0
    );
    assert!(
        longest < SOON,
        "{name}: its delete was made {longest} after its end"
    );
    let last_create = creates.iter().max().unwrap();
    let during = statuses
        .iter()
        .filter(|status| time(&status["run"]["endedAt"]) < *last_create);
    let during = during.count();
    assert!(
        during > SPECS / 4,
        "only {during} deletes were due while creates waited: nothing was put to the test"
    );
}
