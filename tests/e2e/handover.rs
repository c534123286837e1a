//! What arrives of a task that is over: its result, and its log to the last byte.

use std::fs;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually, files_beneath};
use serde_json::json;

/// What a guest says on its console when its result does not wait for its log any more.
const RESULT_FIRST: &str = "the rest of the log follows the result";

/// Some two megabytes, in many calls.
const LINES: usize = 300_000;

fn start() -> (Project, Sim, Controller) {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let controller = Controller::start(&project, &sim, &[]);
    (project, sim, controller)
}

/// Whether a guest's console says so.
fn console_says(project: &Project, what: &str) -> bool {
    let files = files_beneath(&project.guests());
    let mut consoles = files.iter().filter(|path| path.ends_with("console.log"));
    consoles.any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(what)))
}

#[test]
fn a_log_arrives_whole_although_the_controller_was_away_when_its_task_ended() {
    let (project, sim, mut controller) = start();
    let message = format!("lines go {LINES}");
    project.drop_spec("talker", &Project::spec(&message, &[]));
    project.wait_for("talker", "/phase", &json!("Running"));

    controller.kill();
    fs::write(project.ran().join("go"), "").unwrap();
    eventually("the result waits no longer for the log", || {
        console_says(&project, RESULT_FIRST).then_some(())
    });
    let _controller = Controller::start(&project, &sim, &[]);

    let ended = project.wait_for("talker", "/phase", &json!("Succeeded"));
    let mut expected = format!("task talker: {message}\n");
    for line in 1..=LINES {
        expected.push_str(&format!("{line}\n"));
    }
    let logs = project.clawdlets(&["cattle", "logs", "talker"]).ok();
    assert_eq!(logs.stdout.len(), expected.len());
    assert!(logs.stdout == expected, "the log is not what was written");
    assert_eq!(ended["run"]["log"]["written"], expected.len());
    sim.wait_until_empty();
    assert_eq!(project.runs_of("talker"), 1);
}

#[test]
fn a_destroyed_task_hands_over_unless_it_is_told_to_go_at_once() {
    let (project, sim, _controller) = start();
    for name in ["asked", "hurried"] {
        project.drop_spec(name, &Project::spec("sleep 300", &["ttl: 1h"]));
    }
    for name in ["asked", "hurried"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }

    let said = project.clawdlets(&["cattle", "destroy", "asked"]).ok();
    assert!(said.stdout.contains("may hand over until"), "{said:?}");
    let said = project
        .clawdlets(&["cattle", "destroy", "hurried", "--now"])
        .ok();
    assert!(!said.stdout.contains("hand over"), "{said:?}");

    let asked = project.wait_for("asked", "/phase", &json!("Canceled"));
    assert_eq!(asked["run"]["endReason"], "destroyed");
    assert_eq!(
        asked["run"]["cause"], "stopped",
        "its guest said so: {asked:#}"
    );
    let log = &asked["run"]["log"];
    assert_eq!(log["stored"], log["written"], "{asked:#}");
    let hurried = project.wait_for("hurried", "/phase", &json!("Canceled"));
    assert_eq!(hurried["run"]["endReason"], "destroyed");
    sim.wait_until_empty();
}

#[test]
fn why_a_task_failed_is_said_wherever_it_is_shown() {
    let (project, sim, _controller) = start();
    project.drop_spec("junk", &Project::spec("junk", &[]));
    let other = Project::spec("ok", &[]).replace("task:\n", "task:\n    type: no.such.thing\n");
    project.drop_spec("odd", &other);

    let why = [
        (
            "junk",
            "result-not-json",
            "the task ended with exit code 0, but its result.json is not valid JSON",
        ),
        (
            "odd",
            "no-runner",
            "the task did not run: its image has no runner for tasks of type `no.such.thing`",
        ),
    ];
    for (name, cause, sentence) in why {
        let status = project.wait_for(name, "/phase", &json!("Failed"));
        assert_eq!(status["run"]["endReason"], "task-failed");
        assert_eq!(status["run"]["cause"], cause);
        let way = format!("clawdlets cattle result {name}");
        for verb in ["describe", "events", "wait"] {
            let shown = project.clawdlets(&["cattle", verb, name]);
            let shown = format!("{}{}", shown.stdout, shown.stderr);
            assert!(shown.contains(sentence), "{verb}: {shown}");
            assert!(shown.contains(&way), "{verb}: {shown}");
        }
        let listed = project.clawdlets(&["cattle", "list", "--all"]).ok();
        assert!(listed.stdout.contains(cause), "{listed:?}");
        let result = project.clawdlets(&["cattle", "result", name]);
        assert!(!result.stderr.is_empty(), "what its guest says: {result:?}");
    }
    sim.wait_until_empty();
}
