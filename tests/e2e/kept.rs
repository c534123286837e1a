//! Servers that stay on after their task, and how they are let go.

use std::{fs, time::Duration};

use cattle_tests::{
    Controller, Project, Sim, SimOptions, eventually, eventually_within, files_beneath,
};
use serde_json::{Value, json};

/// What a guest says on its console once it was told to stay.
const STAYS: &str = "staying on";

fn start() -> (Project, Sim, Controller) {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let controller = Controller::start(&project, &sim, &[]);
    (project, sim, controller)
}

/// The process numbers of the project's guests.
fn guests(project: &Project) -> Vec<String> {
    let root = project.guests().to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_guest = |pid: &String| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let mut arguments = command.split('\0');
        let program = arguments.next().unwrap_or_default();
        program.ends_with("/clf-cattle") && arguments.any(|argument| argument.starts_with(&root))
    };
    processes
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(is_guest)
        .collect()
}

/// Waits until the one guest was told to stay on; its console says so.
fn told_to_stay(project: &Project) {
    eventually("the guest is told to stay on", || {
        let consoles = files_beneath(&project.guests());
        let mut consoles = consoles
            .iter()
            .filter(|path| path.ends_with("console.log"))
            .filter_map(|path| fs::read_to_string(path).ok());
        consoles.any(|text| text.contains(STAYS)).then_some(())
    });
}

/// Waits until the run has ended so, its server kept; the `Kept` condition.
fn kept(project: &Project, name: &str, reason: &str) -> Value {
    let status = project.wait_for(name, "/run/endReason", &json!(reason));
    let conditions = status["conditions"].as_array().unwrap();
    let kept = conditions.iter().find(|one| one["type"] == "Kept");
    kept.unwrap_or_else(|| panic!("{name} is not kept: {status:#}"))
        .clone()
}

fn assert_on(project: &Project, sim: &Sim) {
    let servers = sim.living();
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0]["status"], "running");
    assert_eq!(guests(project).len(), 1, "its guest lives");
}

fn wait_until_nothing_is_left(project: &Project, sim: &Sim) {
    eventually("no server and no guest is left", || {
        (sim.living().is_empty() && guests(project).is_empty()).then_some(())
    });
}

#[test]
fn a_failed_task_is_held_for_a_look_until_it_is_destroyed() {
    let (project, sim, _controller) = start();

    project.drop_spec(
        "held",
        &Project::spec("fail 3", &["onFailure: { hold: 1m }"]),
    );

    let condition = kept(&project, "held", "task-failed");
    assert_eq!(condition["reason"], "on-failure-hold");
    told_to_stay(&project);
    assert_on(&project, &sim);

    let said = project.clawdlets(&["cattle", "destroy", "held", "--wait"]);

    assert!(said.ok().stdout.contains("is no longer kept"));
    wait_until_nothing_is_left(&project, &sim);
    assert_eq!(project.runs_of("held"), 1);
    let status = project.wait_for("held", "/phase", &json!("Failed"));
    assert_eq!(status["run"]["endReason"], "task-failed", "it ended once");
}

#[test]
fn a_held_server_that_is_not_looked_at_goes_in_time() {
    let (project, sim, _controller) = start();

    project.drop_spec(
        "held",
        &Project::spec("fail 3", &["onFailure: { hold: 10s }"]),
    );

    let ended = kept(&project, "held", "task-failed");
    let status = project.wait_for("held", "/phase", &json!("Failed"));
    wait_until_nothing_is_left(&project, &sim);
    let at =
        |text: &Value| -> cattle_schemas::Timestamp { text.as_str().unwrap().parse().unwrap() };
    let held = at(&status["run"]["goneAt"]) - at(&ended["since"]);
    // Counted from the result, which came a moment before the end.
    assert!(held.num_milliseconds() > 8_000, "{held}");
}

#[test]
fn without_auto_shutdown_a_server_stays_on_until_its_ttl() {
    let (project, sim, _controller) = start();

    project.drop_spec(
        "stays",
        &Project::spec("ok", &["autoShutdown: false", "ttl: 20s"]),
    );

    let condition = kept(&project, "stays", "completed");
    assert_eq!(condition["reason"], "auto-shutdown-off");
    told_to_stay(&project);
    assert_on(&project, &sim);
    let expires_at = project.status("stays").unwrap()["run"]["expiresAt"].clone();
    eventually_within(Duration::from_secs(120), "its server is gone", || {
        sim.living().is_empty().then_some(())
    });
    let status = project.wait_for("stays", "/phase", &json!("Succeeded"));
    let gone_at = &status["run"]["goneAt"];
    assert!(gone_at.as_str() >= expires_at.as_str(), "{status:#}");
    wait_until_nothing_is_left(&project, &sim);
}

#[test]
fn a_kept_machine_that_is_turned_off_is_deleted() {
    let (project, sim, _controller) = start();
    project.drop_spec(
        "off",
        &Project::spec("fail 3", &["onFailure: { hold: 1h }"]),
    );
    kept(&project, "off", "task-failed");
    told_to_stay(&project);

    let id = sim.living()[0]["id"].clone();
    let path = format!("/v1/servers/{id}/actions/poweroff");
    sim.call("POST", &path, None);

    wait_until_nothing_is_left(&project, &sim);
    let events = project.clawdlets(&["cattle", "events", "off"]).ok();
    assert!(events.stdout.contains("found off"), "{events:?}");
}
