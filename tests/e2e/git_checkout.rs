//! A project is a git repository, and people switch branches in it.

use std::process::Command;

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually_within};
use serde_json::json;

fn git(project: &Project, args: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args([
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(args)
        .current_dir(project.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
}

/// Two branches have the same specs; the third, on the way between them, has none.
#[test]
fn a_checkout_between_branches_that_share_their_specs_ends_no_run() {
    let project = Project::new();
    let names = ["one", "two", "three"];
    git(&project, &["init", "-q", "-b", "bare"]);
    std::fs::write(project.path().join(".gitignore"), ".clawdlets\n").unwrap();
    git(&project, &["add", "."]);
    git(&project, &["commit", "-qm", "no specs"]);
    git(&project, &["checkout", "-qb", "work"]);
    for name in names {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
    }
    git(&project, &["add", "."]);
    git(&project, &["commit", "-qm", "specs"]);
    git(&project, &["checkout", "-qb", "more-work"]);
    git(&project, &["commit", "-q", "--allow-empty", "-m", "more"]);
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    for name in names {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    let calls = sim.last_call();

    git(&project, &["checkout", "-q", "work"]);
    assert_eq!(project.plan()["actions"], json!([]));
    // As a rebase does, and with the directory gone in between.
    git(&project, &["checkout", "-q", "bare"]);
    assert!(!project.specs().join("one.yaml").exists());
    assert_eq!(project.plan()["actions"], json!([]));
    git(&project, &["checkout", "-q", "more-work"]);

    eventually_within(
        std::time::Duration::from_secs(20),
        "all specs are back",
        || {
            let list = project.list();
            let back = list.iter().filter(|one| one["origin"].is_object());
            (back.count() == names.len()).then_some(())
        },
    );
    assert_eq!(project.plan()["actions"], json!([]));
    for name in names {
        let status = project.status(name).unwrap();
        assert_eq!(status["phase"], "Running", "{status:#}");
        assert_eq!(status["earlierRuns"], json!(null), "{status:#}");
        assert_eq!(project.runs_of(name), 1);
    }
    assert_eq!(sim.writes_since(calls), [""; 0]);
}
