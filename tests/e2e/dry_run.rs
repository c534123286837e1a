//! What asks first changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    process::Command,
};

use cattle_tests::{
    Controller, Project, Ran, Sim, SimOptions, TOKEN, binary, eventually, files_beneath,
};
use serde_json::json;

/// Files that would tell of a change, by a digest of their content. The ledger is looked at through
/// the status and the events instead: SQLite writes its files at times of its own.
fn files(project: &Project) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    for path in files_beneath(&project.path()) {
        if !path.to_string_lossy().contains("state.sqlite") {
            let mut digest = DefaultHasher::new();
            fs::read(&path).unwrap().hash(&mut digest);
            files.insert(path, digest.finish());
        }
    }
    files
}

#[test]
fn dry_runs_and_plans_say_what_would_happen_and_change_nothing() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let file = project.around().join("issue-7.yaml");
    fs::write(&file, Project::spec("sleep 300", &[])).unwrap();
    let file = file.to_str().unwrap();
    project.drop_spec("running", &Project::spec("sleep 300", &[]));
    project.wait_for("running", "/phase", &json!("Running"));
    eventually("the task has said all it says", || {
        let logs = project.clawdlets(&["cattle", "logs", "running"]);
        logs.stdout.contains("task running").then_some(())
    });
    let events = || {
        project
            .clawdlets(&["cattle", "events", "-o", "json"])
            .ok()
            .stdout
    };
    let (calls, before, told) = (sim.last_call(), files(&project), events());

    let spawned = project
        .clawdlets(&[
            "cattle",
            "spawn",
            "--persona",
            "rex",
            "--message",
            "ok",
            "--name",
            "new",
            "--dry-run",
        ])
        .ok();
    assert_eq!(spawned.stdout, "new\n");
    assert_eq!(spawned.stderr, "new created (dry run)\n");
    let applied = project
        .clawdlets(&["cattle", "apply", "-f", file, "--dry-run"])
        .ok();
    assert_eq!(applied.stdout, "issue-7 created (dry run)\n");
    let nothing = project.clawdlets(&["cattle", "plan"]).ok();
    assert!(nothing.stdout.contains("nothing to do"), "{nothing:?}");
    let planned = project.clawdlets(&["cattle", "plan", "-f", file]).ok();
    assert!(planned.stdout.contains("issue-7"), "{planned:?}");

    assert_eq!(sim.writes_since(calls), [""; 0]);
    assert_eq!(files(&project), before);
    assert_eq!(events(), told);
    let names: Vec<_> = project
        .list()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, [json!("running")]);
}

#[test]
fn a_dry_pass_without_a_controller_prints_the_plan_and_makes_no_state() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    project.drop_spec("new", &Project::spec("ok", &[]));
    project.drop_spec("broken", "kind: [");
    let before = files(&project);
    let once = |more: &[&str]| -> Ran {
        let output = Command::new(binary("clf-orchestrator"))
            .args(["once", "--project"])
            .arg(project.path())
            .arg("--secrets-dir")
            .arg(project.secrets())
            .arg("--specs")
            .arg(format!("{}:operator", project.specs().display()))
            .args(more)
            .env("HCLOUD_TOKEN", TOKEN)
            .env("HCLOUD_ENDPOINT", sim.url())
            .env_remove("CLF_SOCKET_PATH")
            .output()
            .unwrap();
        output.into()
    };

    let dry = once(&["--dry-run"]).ok();

    for said in ["start new: create a server", "broken.yaml:1:7: unclosed"] {
        assert!(dry.stdout.contains(said), "{said}: {dry:?}");
    }
    assert_eq!(sim.writes_since(0), [""; 0]);
    assert_eq!(files(&project), before);
    assert!(!project.state().exists());

    let wet = once(&[]).ok();

    assert_eq!(wet.stdout, dry.stdout, "what was said is what is done");
    assert_eq!(sim.servers_of("new").len(), 1);
}

#[test]
fn applying_twice_says_unchanged_and_does_nothing_the_second_time() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let file = project.around().join("issue-7.yaml");
    fs::write(&file, Project::spec("sleep 300", &[])).unwrap();
    let apply = || {
        let args = [
            "cattle",
            "apply",
            "-f",
            file.to_str().unwrap(),
            "-o",
            "json",
        ];
        project.clawdlets(&args).ok().json()["items"][0].clone()
    };

    let first = apply();
    assert_eq!(first["change"], "created");
    let run = project.wait_for("issue-7", "/phase", &json!("Running"))["run"]["run"].clone();
    let calls = sim.last_call();
    let second = apply();

    assert_eq!(second["change"], "unchanged");
    assert_eq!(second["run"], run);
    assert_eq!(sim.writes_since(calls), [""; 0]);
    assert_eq!(project.runs_of("issue-7"), 1);
}
