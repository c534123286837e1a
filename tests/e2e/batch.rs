//! Many at once.

use std::time::Duration;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually_within};

/// The size that the fleet's limit must hold back.
const SPECS: usize = 200;
const MAX_INSTANCES: u64 = 50;

/// Two cores start 200 guests, each with a shell and its tools.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn two_hundred_specs_run_once_each_and_never_more_than_fifty_at_a_time() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let names: Vec<String> = (0..SPECS).map(|n| format!("job-{n:03}")).collect();

    for name in &names {
        project.drop_spec(name, &Project::spec("ok", &[]));
    }

    eventually_within(PATIENCE, "all have succeeded", || {
        let list = project.list();
        let done = list.iter().filter(|one| one["phase"] == "Succeeded");
        (done.count() == SPECS).then_some(())
    });
    sim.wait_until_empty();
    for name in &names {
        assert_eq!(project.runs_of(name), 1, "{name}");
    }
    let state = sim.state();
    assert_eq!(state["serversCreated"], SPECS);
    let most = state["maxServersAtOnce"].as_u64().unwrap();
    assert!(most <= MAX_INSTANCES, "{most} at once");
    assert!(
        most > MAX_INSTANCES / 2,
        "{most}: the limit was not put to the test"
    );
}
