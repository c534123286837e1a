//! The life of one cattle, from its spec file to its last trace.

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::json;

#[test]
fn a_dropped_spec_becomes_a_vm_whose_task_runs_once_and_whose_server_goes() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);

    project.drop_spec("hello", &Project::spec("ok hello", &[]));

    let status = project.wait_for("hello", "/phase", &json!("Succeeded"));
    assert_eq!(status["run"]["exitCode"], 0);
    assert_eq!(project.runs_of("hello"), 1);
    eventually("no server is left", || {
        sim.living().is_empty().then_some(())
    });
    assert_eq!(sim.deleted().len(), 1);
}
