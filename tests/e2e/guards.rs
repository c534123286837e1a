//! What a slip with spec files may end, and what an operator holds back.

use std::{
    fs,
    time::{Duration, Instant},
};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::{Value, json};

/// A spec counts as removed after 15 s; so long and a pass, nothing may have happened.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

fn condition(project: &Project, kind: &str) -> Option<Value> {
    let ready = project.get("/readyz")?.1;
    let conditions = ready["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == kind).cloned()
}

fn holds(project: &Project, kind: &str) -> Option<Value> {
    condition(project, kind).filter(|it| it["status"] == true)
}

fn metric(project: &Project, line: &str) -> bool {
    let metrics = project.get("/metrics").map(|(_, text)| text);
    metrics.is_some_and(|text| text.as_str().unwrap_or_default().contains(line))
}

fn start_all(project: &Project, names: &[&str]) {
    for name in names {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
    }
    for name in names {
        project.wait_for(name, "/phase", &json!("Running"));
    }
}

/// The run of each, which are all still at work.
fn runs(project: &Project, names: &[&str]) -> Vec<Value> {
    let status = |name: &&str| {
        let status = project.status(name).unwrap();
        assert_eq!(status["phase"], "Running", "{status:#}");
        status["run"]["run"].clone()
    };
    names.iter().map(status).collect()
}

fn for_long_enough(mut check: impl FnMut()) {
    let since = Instant::now();
    eventually("it is long enough ago", || {
        check();
        (since.elapsed() > LONG_ENOUGH).then_some(())
    });
}

/// The command that `resume --reason deletes` hints at.
fn confirm(project: &Project, reason: &str) -> Vec<String> {
    let shown = project.clawdlets(&["cattle", "resume", "--reason", reason]);
    assert_eq!(shown.code, Some(6), "{shown:?}");
    let hint = shown
        .stderr
        .lines()
        .find_map(|it| it.strip_prefix("hint: "));
    let words = hint.unwrap().split(' ').skip(1);
    words.map(ToOwned::to_owned).collect()
}

fn typed(project: &Project, words: &[String]) -> cattle_tests::Ran {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    project.clawdlets(&words)
}

#[test]
fn a_directory_that_was_emptied_ends_nothing_until_somebody_confirms_the_list() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = Controller::start(&project, &sim, &[]);
    let names = ["one", "two", "three", "four"];
    start_all(&project, &names);
    let before = runs(&project, &names);

    for name in names {
        project.remove_spec(name);
    }

    let said = eventually("the pause is said", || holds(&project, "EndsPaused"));
    assert_eq!(said["reason"], "deletes", "{said:#}");
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("lost all of its specs at once: 4 runs would end"),
        "{message}"
    );
    for_long_enough(|| assert_eq!(runs(&project, &names), before));
    let list = project.clawdlets(&["cattle", "list"]).ok();
    assert!(list.stderr.contains("EndsPaused: "), "{list:?}");
    assert!(
        list.stderr
            .contains("`clawdlets cattle resume --reason deletes`"),
        "{list:?}"
    );
    assert!(metric(
        &project,
        "cattle_paused{reason=\"deletes\",holds=\"ends\"} 1"
    ));
    let events = project.clawdlets(&["cattle", "events"]).ok();
    assert!(
        events.stdout.contains("ends are paused (deletes)"),
        "{events:?}"
    );

    // A restart knows nothing of the files, and all of the pause.
    controller.kill();
    drop(controller);
    let _controller = Controller::start(&project, &sim, &[]);
    for_long_enough(|| {
        eventually("it answers", || project.status("one"));
    });
    assert_eq!(runs(&project, &names), before);

    for name in names {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
    }
    eventually("the files are back", || {
        condition(&project, "EndsPaused").filter(|it| it["status"] == false)
    });
    assert_eq!(runs(&project, &names), before);

    for name in names {
        project.remove_spec(name);
    }
    eventually("it is held back again", || holds(&project, "EndsPaused"));
    let command = confirm(&project, "deletes");
    // One comes back before the command is typed.
    project.drop_spec("four", &Project::spec("sleep 300", &[]));
    eventually("the list has changed", || {
        (confirm(&project, "deletes") != command).then_some(())
    });
    let stale = typed(&project, &command);
    assert_eq!(stale.code, Some(6), "{stale:?}");
    assert!(stale.stderr.contains("has changed"), "{stale:?}");
    let _ = typed(&project, &confirm(&project, "deletes")).ok();
    for name in &names[..3] {
        project.wait_for(name, "/reason", &json!("spec-removed"));
    }
    assert_eq!(project.status("four").unwrap()["phase"], "Running");
    eventually("the pause is over", || {
        condition(&project, "EndsPaused").filter(|it| it["status"] == false)
    });
}

#[test]
fn a_directory_that_is_missing_is_held_back_with_its_list_until_it_is_back() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let names = ["one", "two"];
    start_all(&project, &names);
    let before = runs(&project, &names);
    let away = project.around().join("away");

    fs::rename(project.specs(), &away).unwrap();

    let said = eventually("the pause is said", || holds(&project, "EndsPaused"));
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("cannot be read") && message.contains("none of its 2 runs"),
        "{message}"
    );
    // Its file system comes back without the files.
    fs::create_dir(project.specs()).unwrap();
    for_long_enough(|| assert_eq!(runs(&project, &names), before));
    fs::remove_dir(project.specs()).unwrap();
    fs::rename(&away, project.specs()).unwrap();
    eventually("the pause is over", || {
        condition(&project, "EndsPaused").filter(|it| it["status"] == false)
    });
    assert_eq!(runs(&project, &names), before);
}

#[test]
fn what_is_pruned_by_mistake_is_held_back_too() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let dir = project.around().join("batch");
    fs::create_dir(&dir).unwrap();
    let names = ["one", "two", "three", "four", "five"];
    for name in names {
        let spec = Project::spec("sleep 300", &[]);
        fs::write(dir.join(format!("{name}.yaml")), spec).unwrap();
    }
    let dir = dir.to_str().unwrap();
    let _ = project.clawdlets(&["cattle", "apply", "-f", dir]).ok();
    for name in names {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    let before = runs(&project, &names);
    for name in &names[1..] {
        fs::remove_file(format!("{dir}/{name}.yaml")).unwrap();
    }

    let pruned = project
        .clawdlets(&["cattle", "apply", "-f", dir, "--prune"])
        .ok();

    assert!(pruned.stdout.contains("two pruned"), "{pruned:?}");
    let said = eventually("the pause is said", || holds(&project, "EndsPaused"));
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("4 runs of operator"), "{message}");
    for_long_enough(|| assert_eq!(runs(&project, &names), before));
    // One cattle that somebody destroys is meant.
    let _ = project.clawdlets(&["cattle", "destroy", "five"]).ok();
    project.wait_for("five", "/reason", &json!("destroyed"));
    let _ = typed(&project, &confirm(&project, "deletes")).ok();
    for name in &names[1..4] {
        project.wait_for(name, "/reason", &json!("spec-removed"));
    }
    assert_eq!(project.status("one").unwrap()["phase"], "Running");
}

#[test]
fn what_an_operator_pauses_stays_paused_through_a_crash() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = Controller::start(&project, &sim, &[]);
    let why = ["cattle", "pause", "--starts", "--why", "the month's end"];
    let paused = project.clawdlets(&why).ok();
    assert!(paused.stdout.contains("the month's end"), "{paused:?}");
    project.drop_spec("waits", &Project::spec("ok", &[]));
    let status = project.wait_for("waits", "/reason", &json!("starts-paused"));
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("the month's end"), "{message}");
    controller.kill();
    drop(controller);
    let _controller = Controller::start(&project, &sim, &[]);
    let status = project.wait_for("waits", "/reason", &json!("starts-paused"));
    assert_eq!(status["message"], message);
    let list = project.clawdlets(&["cattle", "list"]).ok();
    assert!(list.stderr.contains("StartsPaused: paused by"), "{list:?}");
    assert_eq!(sim.state()["serversCreated"], 0);
    let _ = project.clawdlets(&["cattle", "resume"]).ok();
    project.wait_for("waits", "/phase", &json!("Succeeded"));
}

#[test]
fn everything_is_destroyed_and_nothing_takes_its_place() {
    let project = Project::new();
    project.configure(|fleet| fleet["cattle"]["hetzner"]["maxInstances"] = json!(3));
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let names = ["one", "two", "three"];
    start_all(&project, &names);
    project.drop_spec("waits", &Project::spec("ok", &[]));
    project.wait_for("waits", "/reason", &json!("max-instances"));

    let unsure = project.clawdlets(&["cattle", "destroy", "--all"]);
    assert_eq!(unsure.code, Some(2), "{unsure:?}");
    assert!(unsure.stderr.contains("--confirm example"), "{unsure:?}");
    let other = project.clawdlets(&["cattle", "destroy", "--all", "--confirm", "other"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    runs(&project, &names);

    let all = ["cattle", "destroy", "--all", "--confirm", "example"];
    let done = project.clawdlets(&all).ok();

    assert!(
        done.stderr
            .contains("`clawdlets cattle resume --reason paused`"),
        "{done:?}"
    );
    for name in names {
        project.wait_for(name, "/reason", &json!("destroyed"));
    }
    sim.wait_until_empty();
    project.wait_for("waits", "/reason", &json!("starts-paused"));
    assert_eq!(sim.state()["serversCreated"], 3);
    let _ = project.clawdlets(&["cattle", "resume"]).ok();
    project.wait_for("waits", "/phase", &json!("Succeeded"));
}
