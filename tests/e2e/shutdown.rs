//! Stopping the controller stops the controller, and nothing else.

use std::fs;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::json;

#[test]
fn sigterm_ends_the_controller_and_leaves_the_servers_to_the_next_one() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("long", &Project::spec("wait gate", &[]));
    project.drop_spec("short", &Project::spec("wait gate", &[]));
    let before = project.wait_for("long", "/phase", &json!("Running"));
    project.wait_for("short", "/phase", &json!("Running"));
    let calls = sim.last_call();

    let (status, seconds) = controller.terminate();

    assert_eq!(status.code(), Some(0), "{}", project.log_tail());
    assert!(seconds < 5.0, "{seconds} s");
    assert_eq!(sim.living().len(), 2);
    assert_eq!(sim.writes_since(calls), [""; 0]);

    // Both end while nobody listens.
    fs::write(project.ran().join("gate"), "").unwrap();
    let _controller = Controller::start(&project, &sim, &[]);

    for name in ["long", "short"] {
        let status = project.wait_for(name, "/phase", &json!("Succeeded"));
        assert_eq!(status["earlierRuns"], json!(null));
        assert_eq!(project.runs_of(name), 1);
        let result = project.clawdlets(&["cattle", "result", name]).ok();
        assert_eq!(result.json(), json!({"answer": name}));
    }
    assert_eq!(
        project.status("long").unwrap()["run"]["run"],
        before["run"]["run"]
    );
    sim.wait_until_empty();
    assert_eq!(sim.state()["serversCreated"], 2);
}

#[test]
fn a_stop_in_the_middle_of_creates_loses_none() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = Controller::start(&project, &sim, &[]);
    let names: Vec<String> = (0..8).map(|n| format!("job-{n}")).collect();
    for name in &names {
        project.drop_spec(name, &Project::spec("ok", &[]));
    }
    eventually("the first server is asked for", || {
        (sim.state()["serversCreated"] != 0).then_some(())
    });

    let (status, seconds) = controller.terminate();

    assert_eq!(status.code(), Some(0), "{}", project.log_tail());
    assert!(seconds < 5.0, "{seconds} s");
    let _controller = Controller::start(&project, &sim, &[]);
    for name in &names {
        project.wait_for(name, "/phase", &json!("Succeeded"));
        assert_eq!(project.runs_of(name), 1, "{name}");
    }
    sim.wait_until_empty();
}
