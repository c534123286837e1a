//! Ledgers that were lost, put back or copied, and controllers that find each other on one fleet:
//! nothing runs again, what runs goes on, and everybody is told.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use cattle_tests::{Controller, Project, Sim, SimOptions, binary, eventually, eventually_within};
use serde_json::{Value, json};

/// The count on the firewall is raised once a minute, with a list.
const RAISED: Duration = Duration::from_secs(180);

fn condition(project: &Project, kind: &str) -> Option<Value> {
    let (_, list) = project.get("/v1/cattle")?;
    let conditions = list["controller"]["conditions"].as_array()?.clone();
    conditions.into_iter().find(|it| it["type"] == kind)
}

/// Waits until a condition of the controller is true for this reason; answers its sentence.
fn paused(project: &Project, kind: &str, reason: &str) -> String {
    let condition = eventually(&format!("{kind} for {reason}"), || {
        condition(project, kind).filter(|it| it["status"] == true && it["reason"] == reason)
    });
    condition["message"].as_str().unwrap().to_owned()
}

fn not_paused(project: &Project, kind: &str) {
    eventually(&format!("not {kind}"), || {
        condition(project, kind).filter(|it| it["status"] == false)
    });
}

/// The pause of this reason, as `GET /v1/pauses` has it.
fn pause(project: &Project, reason: &str) -> Option<Value> {
    let (_, pauses) = project.get("/v1/pauses")?;
    let pauses = pauses["items"].as_array()?.clone();
    pauses.into_iter().find(|it| it["reason"] == reason)
}

fn names(pause: &Value) -> Vec<String> {
    let items = pause["items"].as_array().cloned().unwrap_or_default();
    let name = |item: &Value| item["cattle"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

fn events(project: &Project) -> String {
    let (_, events) = project.get("/v1/events?limit=1000").unwrap();
    events.to_string()
}

/// Lets tasks end that wait for it.
fn go(project: &Project) {
    fs::write(project.ran().join("go"), "").unwrap();
}

/// Starts one whose silence and starts are judged as ever, and waits until it has listed.
fn start(project: &Project, sim: &Sim) -> Controller {
    let controller = Controller::start(project, sim, &[]);
    eventually("it has listed", || {
        project.get("/readyz").filter(|(status, _)| *status == 200)
    });
    controller
}

/// Puts an older copy of the state directory back, starts on it, and waits until it is told so.
fn start_on_the_older_copy(project: &Project, sim: &Sim, kept: &Path) -> Controller {
    fs::remove_dir_all(project.state()).unwrap();
    copy(kept, &project.state());
    let controller = start(project, sim);
    let said = paused(project, "StartsPaused", "ledger");
    assert!(said.contains("an older copy"), "{said}");
    controller
}

/// Waits until the firewall says how many steps of runs the ledger has.
fn steps_are_counted(sim: &Sim, steps: u32) {
    eventually_within(
        RAISED,
        &format!("the firewall counts {steps} steps"),
        || {
            let firewalls = sim.call("GET", "/v1/firewalls", None);
            let label = firewalls["firewalls"][0]["labels"]["ledger"].as_str()?;
            label.ends_with(&format!(".{steps}")).then_some(())
        },
    );
}

/// Two tasks that are done and one that works; the controller is gone then.
fn two_done_and_one_working(project: &Project, sim: &Sim) -> Controller {
    let controller = start(project, sim);
    for name in ["done-a", "done-b"] {
        project.drop_spec(name, &Project::spec("ok", &[]));
        project.wait_until(name, "it is done and gone", |status| {
            status["phase"] == "Succeeded" && status["run"]["goneAt"].is_string()
        });
    }
    project.drop_spec("worker", &Project::spec("wait go", &[]));
    project.wait_for("worker", "/phase", &json!("Running"));
    controller
}

fn lose_ledger(project: &Project) {
    for name in ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"] {
        let _ = fs::remove_file(project.state().join(name));
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// The work that was there before is neither begun again nor lost, and new work starts.
fn goes_on_after_resume(project: &Project, sim: &Sim) {
    project.drop_spec("fresh", &Project::spec("ok", &[]));
    project.wait_for("fresh", "/reason", &json!("starts-paused"));
    for name in ["done-a", "done-b"] {
        project.wait_for(name, "/reason", &json!("starts-paused"));
    }
    let shown = eventually("the list has what was found, and no more", || {
        pause(project, "ledger").filter(|it| names(it) == ["done-a", "done-b"])
    });
    let digest = shown["digest"].as_str().unwrap();
    let listed = project.clawdlets(&["cattle", "list"]).ok();
    assert!(listed.stderr.contains("StartsPaused"), "{listed:?}");
    assert!(events(project).contains("starts are paused (ledger)"));
    let resume = |more: &[&str]| {
        let args = [&["cattle", "resume", "--reason", "ledger"], more].concat();
        project.clawdlets(&args)
    };
    let refused = resume(&["--digest", "000000000000"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    let _ = resume(&["--digest", digest, "--run", "done-b"]).ok();

    project.wait_for("fresh", "/phase", &json!("Succeeded"));
    project.wait_for("done-b", "/phase", &json!("Succeeded"));
    let done = project.wait_for("done-a", "/reason", &json!("destroyed"));
    assert!(
        done["message"].as_str().unwrap().contains("lost ledger"),
        "{done:#}"
    );
    not_paused(project, "StartsPaused");
    go(project);
    project.wait_for("worker", "/phase", &json!("Succeeded"));
    let result = project.clawdlets(&["cattle", "result", "worker"]).ok();
    assert_eq!(result.json(), json!({"answer": "worker"}));
    assert_eq!(project.runs_of("worker"), 1);
    assert_eq!(project.runs_of("done-a"), 1);
    assert_eq!(project.runs_of("done-b"), 2, "it was named");
    sim.wait_until_empty();
}

#[test]
fn a_ledger_that_was_deleted_starts_nothing_it_finds_and_its_guests_are_heard_again() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    two_done_and_one_working(&project, &sim).kill();
    lose_ledger(&project);

    let _controller = start(&project, &sim);
    let said = paused(&project, "StartsPaused", "ledger");
    assert!(said.contains("it was lost"), "{said}");
    let worker = project.wait_for("worker", "/phase", &json!("Running"));
    assert_eq!(worker["earlierRuns"], Value::Null);
    goes_on_after_resume(&project, &sim);
    let logs = project.clawdlets(&["cattle", "logs", "worker"]).ok();
    assert!(logs.stdout.contains("task worker"), "{logs:?}");
}

#[test]
fn an_older_copy_of_the_ledger_starts_nothing_it_finds_and_its_guests_are_heard_again() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = start(&project, &sim);
    project.drop_spec("first", &Project::spec("ok", &[]));
    project.wait_until("first", "it is gone", |status| {
        status["run"]["goneAt"].is_string()
    });
    controller.kill();
    let kept = project.around().join("kept");
    copy(&project.state(), &kept);
    project.remove_spec("first");
    let mut controller = two_done_and_one_working(&project, &sim);
    // That more was done is on the firewall within a minute.
    steps_are_counted(&sim, 11);
    controller.kill();
    let _controller = start_on_the_older_copy(&project, &sim, &kept);
    project.wait_for("worker", "/phase", &json!("Running"));
    goes_on_after_resume(&project, &sim);
}

/// Guests of this simulator boot once the file `boot` is there.
fn slow_to_boot(project: &Project) -> SimOptions {
    let script = project.around().join("boots-when-told");
    let text = format!(
        "#!/bin/sh\nuntil [ -e '{}' ]; do sleep 0.1; done\nexec '{}' \"$@\"\n",
        project.ran().join("boot").display(),
        binary("clf-cattle").display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    SimOptions {
        guest_command: Some(script),
        ..SimOptions::default()
    }
}

/// The copy knows of the run, and not that its task is done.
#[test]
fn a_copy_from_before_a_task_was_done_runs_it_no_second_time() {
    let project = Project::new();
    let sim = Sim::start(&project, &slow_to_boot(&project));
    let mut controller = start(&project, &sim);
    project.drop_spec("worker", &Project::spec("ok", &[]));
    project.wait_until("worker", "it boots", |status| {
        status["phase"] == "Booting" && status["run"]["server"]["id"].is_u64()
    });
    controller.kill();
    let kept = project.around().join("kept");
    copy(&project.state(), &kept);
    let mut controller = start(&project, &sim);
    fs::write(project.ran().join("boot"), "").unwrap();
    project.wait_until("worker", "it is done and gone", |status| {
        status["phase"] == "Succeeded" && status["run"]["goneAt"].is_string()
    });
    steps_are_counted(&sim, 3);
    controller.kill();
    let _controller = start_on_the_older_copy(&project, &sim, &kept);
    // Its task counts as begun.
    project.wait_for("worker", "/phase", &json!("Running"));
    let shown = pause(&project, "ledger").unwrap();
    let digest = shown["digest"].as_str().unwrap();
    let resume = ["cattle", "resume", "--reason", "ledger", "--digest", digest];
    let _ = project.clawdlets(&resume).ok();
    not_paused(&project, "StartsPaused");
    project.drop_spec("fresh", &Project::spec("ok", &[]));
    project.wait_for("fresh", "/phase", &json!("Succeeded"));
    let _ = project.clawdlets(&["cattle", "destroy", "worker"]).ok();
    let over = project.wait_until("worker", "it is over", |status| {
        status["run"]["goneAt"].is_string()
    });
    assert_eq!(over["earlierRuns"], Value::Null, "{over:#}");
    assert_eq!(project.runs_of("worker"), 1);
    sim.wait_until_empty();
}

/// Both know of each other, and neither has deleted or ended anything.
fn both_pause(sim: &Sim, one: &Project, other: &Project, seen: u64) {
    for project in [one, other] {
        for kind in ["StartsPaused", "EndsPaused"] {
            eventually(kind, || {
                condition(project, kind).filter(|it| {
                    it["status"] == true
                        && it["message"]
                            .as_str()
                            .unwrap()
                            .contains("another controller keeps this fleet too")
                })
            });
        }
        assert!(events(project).contains("another controller keeps this fleet too"));
    }
    let said = |project: &Project| pause(project, "second-controller").unwrap().to_string();
    assert!(said(one).contains("newer than this one"), "{}", said(one));
    assert!(
        said(other).contains("older than this one"),
        "{}",
        said(other)
    );
    one.remove_spec("worker");
    one.drop_spec("late", &Project::spec("ok", &[]));
    one.wait_for("late", "/reason", &json!("starts-paused"));
    eventually("the removal was seen", || {
        let status = one.status("worker")?;
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("not there"))
            .then_some(())
    });
    let writes = sim.writes_since(seen);
    assert!(
        writes
            .iter()
            .all(|call| call.starts_with("PUT /v1/firewalls/")),
        "{writes:?}"
    );
}

#[test]
fn two_controllers_with_ledgers_of_their_own_pause_and_delete_nothing() {
    let (ours, theirs) = (Project::new(), Project::new());
    let sim = Sim::start(&ours, &SimOptions::default());
    let _ours = start(&ours, &sim);
    ours.drop_spec("worker", &Project::spec("wait go", &[]));
    ours.wait_for("worker", "/phase", &json!("Running"));
    theirs.drop_spec("worker", &Project::spec("wait go", &[]));
    let seen = sim.last_call();
    let mut second = start(&theirs, &sim);
    paused(&theirs, "StartsPaused", "ledger");
    both_pause(&sim, &ours, &theirs, seen);

    second.kill();
    ours.drop_spec("worker", &Project::spec("wait go", &[]));
    let resumed = ours.clawdlets(&["cattle", "resume", "--reason", "second-controller"]);
    let _ = resumed.ok();
    ours.wait_for("late", "/phase", &json!("Succeeded"));
    not_paused(&ours, "EndsPaused");
    go(&ours);
    ours.wait_for("worker", "/phase", &json!("Succeeded"));
    assert_eq!(ours.runs_of("worker"), 1);
    sim.wait_until_empty();
}

#[test]
fn a_copied_state_directory_is_a_second_controller_too() {
    let (ours, theirs) = (Project::new(), Project::new());
    let sim = Sim::start(&ours, &SimOptions::default());
    let mut first = start(&ours, &sim);
    ours.drop_spec("worker", &Project::spec("wait go", &[]));
    ours.wait_for("worker", "/phase", &json!("Running"));
    // Copied at rest, so that it is a ledger; then the first goes on.
    first.kill();
    let _ = fs::remove_dir_all(theirs.state());
    fs::create_dir_all(theirs.state().parent().unwrap()).unwrap();
    copy(&ours.state(), &theirs.state());
    let _first = start(&ours, &sim);
    theirs.drop_spec("worker", &Project::spec("wait go", &[]));
    eventually("the first keeps the fleet again", || {
        (sim.writes_since(0)
            .iter()
            .filter(|call| call.starts_with("PUT /v1/firewalls/"))
            .count()
            >= 1)
            .then_some(())
    });
    let seen = sim.last_call();
    let _second = start(&theirs, &sim);
    both_pause(&sim, &ours, &theirs, seen);
    assert_eq!(ours.runs_of("worker"), 1);
}
