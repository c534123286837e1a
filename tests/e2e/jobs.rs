//! Jobs, and who may see them: asked over the real socket by real users.

use std::os::unix::process::CommandExt;

use cattle_tests::{Controller, Project, Ran, Sim, SimOptions, cli, command};
use serde_json::{Value, json};

/// `nobody`, as far as this machine is concerned.
const NOBODY: u32 = 65_534;
const SOMEBODY: u32 = 65_533;

/// `clf` as a user that is no operator, in the group that may open the socket.
fn clf_as(project: &Project, uid: u32, args: &[&str]) -> Ran {
    let mut command = command(project, "clf", args);
    command.uid(uid).gid(0).current_dir("/");
    command.output().unwrap().into()
}

#[test]
fn a_job_waits_for_its_cattle_and_has_its_result() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let enqueue = |name: &str, message: &str| {
        let args = [
            "jobs",
            "enqueue",
            "cattle.spawn",
            "--persona",
            "rex",
            "--name",
            name,
            "--message",
            message,
            "--wait",
            "-o",
            "json",
        ];
        cli(&project, "clf", &args)
    };

    let done = enqueue("works", "ok").ok();
    let failed = enqueue("fails", "fail 3");

    assert!(done.stdout.contains("\"answer\": \"works\""), "{done:?}");
    assert_eq!(failed.code, Some(4), "{failed:?}");
    let jobs = cli(&project, "clf", &["jobs", "list", "-o", "json"])
        .ok()
        .json();
    let state = |cattle: &str| -> Value {
        let items = jobs["items"].as_array().unwrap();
        let job = items.iter().find(|job| job["cattle"] == cattle);
        job.unwrap_or_else(|| panic!("no job of {cattle}: {jobs:#}"))["state"].clone()
    };
    assert_eq!(
        (state("works"), state("fails")),
        (json!("done"), json!("failed"))
    );
    assert_eq!((project.runs_of("works"), project.runs_of("fails")), (1, 1));
}

#[test]
fn a_bot_sees_and_changes_only_what_it_asked_for() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: no other user to be");
        return;
    }
    let project = Project::with_open_socket();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("of-the-operator", &Project::spec("sleep 300", &[]));
    project.wait_for("of-the-operator", "/phase", &json!("Running"));
    let spawn = |name: &'static str| {
        [
            "jobs",
            "enqueue",
            "cattle.spawn",
            "--persona",
            "rex",
            "--name",
            name,
            "--message",
            "sleep 300",
        ]
    };
    let id = |ran: Ran| ran.ok().stdout.trim().to_owned();

    let own = id(clf_as(&project, NOBODY, &spawn("of-nobody")));
    let other = id(clf_as(&project, SOMEBODY, &spawn("of-somebody")));

    let listed = clf_as(&project, NOBODY, &["jobs", "list", "-o", "json"])
        .ok()
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed:#}");
    assert_eq!(listed["items"][0]["id"], own.as_str());
    assert_eq!(listed["items"][0]["requester"], "uid:65534");
    for args in [
        &["jobs", "show", &other][..],
        &["jobs", "cancel", &other],
        &["jobs", "logs", &other],
        &["jobs", "enqueue", "cattle.reap"],
    ] {
        let refused = clf_as(&project, NOBODY, args);
        assert_ne!(refused.code, Some(0), "{args:?}: {refused:?}");
        assert!(!refused.stderr.contains("of-somebody"), "{refused:?}");
    }
    let github = {
        let mut args = spawn("with-token").to_vec();
        args.push("--with-github-token");
        clf_as(&project, NOBODY, &args)
    };
    assert_eq!(github.code, Some(1), "{github:?}");
    assert!(github.stderr.contains("operators only"), "{github:?}");
    let taken = clf_as(&project, NOBODY, &spawn("of-the-operator"));
    assert_eq!(taken.code, Some(6), "{taken:?}");

    project.wait_for("of-nobody", "/phase", &json!("Running"));
    let _ = clf_as(&project, NOBODY, &["jobs", "cancel", &own]).ok();
    project.wait_for("of-nobody", "/phase", &json!("Canceled"));
    project.wait_for("of-somebody", "/phase", &json!("Running"));
    project.wait_for("of-the-operator", "/phase", &json!("Running"));
    // An operator sees all of them.
    let all = cli(&project, "clf", &["jobs", "list", "-o", "json"])
        .ok()
        .json();
    let seen = all["items"].as_array().unwrap();
    for id in [&own, &other] {
        assert!(seen.iter().any(|job| job["id"] == id.as_str()), "{all:#}");
    }
}
