//! The state directory's file system is full, or too small.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use cattle_tests::{Controller, Project, Ran, Sim, SimOptions, eventually, eventually_within};
use serde_json::{Value, json};

/// A small file system of its own over a state directory, which only its controllers see.
pub(super) struct Disk {
    /// Keeps it, from life to life of a controller, until its standard input is closed.
    keeper: Child,
    place: PathBuf,
}

impl Disk {
    /// `None` where the system does not let us, which is said.
    pub(super) fn over(project: &Project, size: &str) -> Option<Self> {
        let place = project.around().join("small");
        fs::create_dir(&place).unwrap();
        fs::create_dir_all(project.socket().parent().unwrap()).unwrap();
        let script =
            format!("mount -t tmpfs -o size={size},mode=0700 none \"$0\" && echo made && exec cat");
        let keeper = Command::new("unshare")
            .args(["--user", "--mount", "--map-root-user", "sh", "-c", &script])
            .arg(&place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let made = keeper.ok().and_then(|mut keeper| {
            let mut said = String::new();
            let out = BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said);
            let disk = Self { keeper, place };
            (out.is_ok() && said == "made\n").then_some(disk)
        });
        if made.is_none() {
            eprintln!("no user namespaces here: no small disk to be had");
        }
        made
    }

    /// A controller on it, not started yet.
    pub(super) fn command(&self, project: &Project, sim: &Sim) -> Command {
        let run = Controller::command(project, sim);
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target"]);
        command.arg(self.keeper.id().to_string());
        command.arg(run.get_program()).args(run.get_args());
        command.arg("--state-dir").arg(&self.place);
        command.arg("--socket").arg(project.socket());
        Controller::place_env(&mut command, project, sim);
        command
    }

    fn start(&self, project: &Project, sim: &Sim) -> Controller {
        Controller::from(&mut self.command(project, sim)).answering(project)
    }

    /// Its files, as its controllers see them.
    fn state(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.place.strip_prefix("/").unwrap())
    }

    /// A file to fill it with.
    pub(super) fn filler(&self) -> PathBuf {
        self.state().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Until not a byte more fits.
pub(super) fn fill(file: &Path) {
    use std::io::Write;
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    let mut block = 64 * 1024;
    while block > 0 {
        if file.write_all(&vec![0; block]).is_err() {
            block /= 2;
        }
    }
}

/// Waits until `/readyz` says no for that.
pub(super) fn says_full(project: &Project) -> Value {
    eventually("it is not ready, and says why", || {
        let (status, body) = project.get("/readyz")?;
        let detail = body["detail"].as_str().unwrap_or_default();
        (status == 503 && detail.contains("has no room")).then_some(body)
    })
}

fn is_ready(project: &Project) {
    eventually("it is ready", || {
        project.get("/readyz").filter(|(status, _)| *status == 200)
    });
}

fn metric_becomes(project: &Project, wanted: f64) {
    eventually("the metric follows", || {
        let (_, text) = project.get("/metrics")?;
        let value = |line: &str| line.strip_prefix("cattle_ledger_writable ")?.parse().ok();
        let value: f64 = text.as_str()?.lines().find_map(value)?;
        (value == wanted).then_some(())
    });
}

#[test]
fn a_full_disk_is_said_keeps_the_old_state_and_passes() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let Some(disk) = Disk::over(&project, "4m") else {
        return;
    };
    let _controller = disk.start(&project, &sim);
    let file = project.around().join("applied.yaml");
    fs::write(&file, Project::spec("sleep 300", &["ttl: 1h"])).unwrap();
    let apply = || -> Ran { project.clawdlets(&["cattle", "apply", "-f", file.to_str().unwrap()]) };
    let _ = apply().ok();
    project.wait_for("applied", "/phase", &json!("Running"));
    let spec = disk.state().join("specs/applied.yaml");
    let old = fs::read(&spec).unwrap();
    let filler = disk.filler();

    fill(&filler);
    // Larger than what is left of the last block.
    let padding = "x".repeat(8 * 1024);
    fs::write(
        &file,
        Project::spec(&format!("sleep 200 {padding}"), &["ttl: 2h"]),
    )
    .unwrap();
    let refused = apply();

    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("no room") || refused.stderr.contains("full"),
        "{refused:?}"
    );
    assert_eq!(fs::read(&spec).unwrap(), old);
    let status = project.status("applied").unwrap();
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["spec"]["ttl"], "1h");

    fs::remove_file(&filler).unwrap();
    let _ = apply().ok();

    let ended = json!("spec-changed");
    project.wait_for("applied", "/earlierRuns/0/endReason", &ended);
    project.wait_for("applied", "/phase", &json!("Running"));
}

#[test]
fn a_full_disk_keeps_no_server_alive_and_no_destroy_away() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let Some(disk) = Disk::over(&project, "4m") else {
        return;
    };
    let _controller = disk.start(&project, &sim);
    is_ready(&project);
    project.drop_spec("short", &Project::spec("sleep 300", &["ttl: 30s"]));
    project.drop_spec("long", &Project::spec("sleep 300", &[]));
    for name in ["short", "long"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    let filler = disk.filler();

    fill(&filler);

    let problem = says_full(&project);
    assert_eq!(problem["retryable"], true, "{problem:#}");
    let listed = project.clawdlets(&["cattle", "list"]).ok();
    assert_eq!(
        listed.stderr.matches("LedgerWritable").count(),
        1,
        "{listed:?}"
    );
    metric_becomes(&project, 0.0);
    // What needs room is refused, with what to do.
    let wanted = json!({ "apiVersion": "clawdlets.dev/v1", "kind": "Cattle", "spec": {
        "persona": "rex", "task": { "message": "ok" } } });
    let job = json!({ "kind": "cattle.spawn", "file": wanted });
    for (method, path, body) in [
        ("PUT", "/v1/cattle/another", &wanted),
        ("POST", "/v1/jobs", &job),
    ] {
        let (status, problem) = project.call(method, path, Some(body)).unwrap();
        assert_eq!((status, &problem["code"]), (507, &json!("storage-full")));
        assert_eq!(problem["retryable"], true);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("free some space"), "{path}: {detail}");
    }
    let destroyed = project.clawdlets(&["cattle", "destroy", "long"]);
    assert_eq!(destroyed.code, Some(0), "{destroyed:?}");
    eventually("what was destroyed is gone", || {
        sim.servers_of("long").is_empty().then_some(())
    });
    eventually("what is past its expiry is gone", || {
        sim.servers_of("short").is_empty().then_some(())
    });

    fs::remove_file(&filler).unwrap();

    is_ready(&project);
    project.wait_for("short", "/run/endReason", &json!("ttl-expired"));
    project.wait_for("long", "/run/endReason", &json!("destroyed"));
    metric_becomes(&project, 1.0);
    let said = eventually("an event says that it is over", || {
        let (_, events) = project.get("/v1/events")?;
        let mut events = events["items"].as_array()?.clone();
        events.retain(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            message.contains("the ledger can be written again")
        });
        (!events.is_empty()).then_some(events)
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    project.drop_spec("after", &Project::spec("ok", &[]));
    project.wait_for("after", "/phase", &json!("Succeeded"));
}

#[test]
fn a_bot_that_fills_the_disk_with_valid_specs_is_stopped_before_the_rest_is() {
    let project = Project::new();
    project.configure(|fleet| fleet["cattle"]["hetzner"]["maxInstances"] = json!(1));
    let sim = Sim::start(&project, &SimOptions::default());
    let Some(disk) = Disk::over(&project, "4m") else {
        return;
    };
    let _controller = disk.start(&project, &sim);
    is_ready(&project);
    project.drop_spec("short", &Project::spec("sleep 300", &["ttl: 40s"]));
    project.wait_for("short", "/phase", &json!("Running"));
    let padding = "x".repeat(120 * 1024);

    let refused = (0..40)
        .find_map(|nth| {
            let wanted = json!({ "apiVersion": "clawdlets.dev/v1", "kind": "Cattle", "spec": {
                "persona": "rex", "task": { "message": format!("ok {padding}") } } });
            let path = format!("/v1/cattle/fat-{nth}");
            let (status, problem) = project.call("PUT", &path, Some(&wanted)).unwrap();
            (status != 200).then_some((status, problem))
        })
        .expect("4 MiB hold no 8");

    assert_eq!(refused.0, 507, "{refused:#?}");
    project.wait_for("short", "/run/endReason", &json!("ttl-expired"));
    eventually("its server is gone", || {
        sim.servers_of("short").is_empty().then_some(())
    });
    let destroyed = project.clawdlets(&["cattle", "destroy", "fat-0", "fat-1", "fat-2", "fat-3"]);
    assert_eq!(destroyed.code, Some(0), "{destroyed:?}");
    is_ready(&project);
}

#[test]
fn a_state_directory_that_is_too_small_is_refused_at_the_start() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let Some(disk) = Disk::over(&project, "3m") else {
        return;
    };
    let refused = Controller::refused(&mut disk.command(&project, &sim));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("has 3.0 MiB in all") && refused.stderr.contains("at least 4 MiB"),
        "{refused:?}"
    );
}

#[test]
fn a_controller_that_is_started_on_a_full_disk_keeps_no_server_alive_and_recovers() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let Some(disk) = Disk::over(&project, "4m") else {
        return;
    };
    let mut controller = disk.start(&project, &sim);
    is_ready(&project);
    project.drop_spec("short", &Project::spec("sleep 300", &["ttl: 30s"]));
    project.drop_spec("long", &Project::spec("wait go", &[]));
    for name in ["short", "long"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    fill(&disk.filler());
    says_full(&project);

    // As after a crash, and as after an orderly end, which leaves no log of SQLite's behind.
    controller.kill();
    let mut controller = disk.start(&project, &sim);
    let _ = controller.terminate();
    fill(&disk.filler());
    let _controller = disk.start(&project, &sim);

    // Its time, what a hand-over may take beyond it, and a list.
    eventually_within(
        Duration::from_secs(120),
        "what is past its expiry is gone",
        || sim.servers_of("short").is_empty().then_some(()),
    );
    says_full(&project);
    assert_eq!(sim.servers_of("long").len(), 1);

    fs::remove_file(disk.filler()).unwrap();

    is_ready(&project);
    project.wait_for("short", "/run/endReason", &json!("ttl-expired"));
    fs::write(project.ran().join("go"), "").unwrap();
    project.wait_for("long", "/phase", &json!("Succeeded"));
    assert_eq!((project.runs_of("short"), project.runs_of("long")), (1, 1));
    project.drop_spec("after", &Project::spec("ok", &[]));
    project.wait_for("after", "/phase", &json!("Succeeded"));
}
