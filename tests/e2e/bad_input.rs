//! What must not impress the controller.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use cattle_tests::{Controller, Project, Ran, Sim, SimOptions, eventually};
use serde_json::{Value, json};

/// More than any of this may cost a controller; a debug build idles at a tenth of it.
const MEMORY_KIB: u64 = 512 * 1024;

/// A spec counts as removed after 15 s; so long and a pass, nothing may have happened.
const LONG_ENOUGH: Duration = Duration::from_secs(17);

/// Two billion elements, were it expanded.
fn alias_bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..10 {
        let last = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![last; 9].join(", ")));
    }
    text
}

fn peak_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.unwrap().trim();
    words.strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn files_that_are_no_specs_are_each_said_to_be_so_and_stop_nothing() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("running", &Project::spec("sleep 300", &[]));
    project.wait_for("running", "/phase", &json!("Running"));
    let good = Project::spec("ok", &[]);

    for (name, bytes, said) in [
        (
            "huge",
            "a".repeat(300 * 1024).into_bytes(),
            "longer than 262144 bytes",
        ),
        (
            "binary",
            b"\x7fELF\x02\x01\x01\x00".to_vec(),
            "not a text file",
        ),
        ("latin", b"spec: M\xfcller".to_vec(), "not UTF-8"),
        ("deep", "[".repeat(200_000).into_bytes(), "deep"),
        ("deep-map", "{a: ".repeat(50_000).into_bytes(), "deep"),
        ("bomb", alias_bomb().into_bytes(), "too many parts"),
        ("empty", Vec::new(), "empty"),
    ] {
        fs::write(project.specs().join(format!("{name}.yaml")), bytes).unwrap();
        let status = project.wait_until(name, "it is said to be wrong", |status| {
            status["diagnostics"][0]["message"].is_string()
        });
        let message = status["diagnostics"][0]["message"].as_str().unwrap();
        assert!(message.contains(said), "{name}: {message}");
        assert!(message.len() < 500, "{name}: {message}");
        assert_eq!(status["run"], Value::Null);
    }
    for name in [
        "Upper.yaml",
        "under_score.yaml",
        "-dash.yaml",
        "n\u{e4}me.yaml",
    ] {
        fs::write(project.specs().join(name), &good).unwrap();
    }
    let long = format!("{}.yaml", "a".repeat(41));
    fs::write(project.specs().join(long), &good).unwrap();
    let strays = eventually("five names are refused", || {
        let list = project.get("/v1/cattle")?.1;
        let strays = list["diagnostics"].as_array()?.clone();
        (strays.len() == 5).then_some(strays)
    });
    for stray in strays {
        let hint = stray["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("rename the file"), "{stray:#}");
    }
    // And on the command line, with no controller asked.
    let invalid = project.clawdlets(&["cattle", "validate"]);
    assert_eq!(invalid.code, Some(1), "{invalid:?}");
    for place in ["huge.yaml", "binary.yaml:1:", "bomb.yaml:", "Upper.yaml"] {
        assert!(
            invalid.stderr.contains(place),
            "{place}: {}",
            invalid.stderr
        );
    }

    // Life goes on.
    project.drop_spec("after", &good);
    project.wait_for("after", "/phase", &json!("Succeeded"));
    assert_eq!(project.status("running").unwrap()["phase"], "Running");
    assert_eq!(project.runs_of("running"), 1);
    assert_eq!(sim.state()["serversCreated"], 2);
    let peak = peak_memory_kib(controller.pid());
    assert!(peak < MEMORY_KIB, "{peak} KiB");
}

#[test]
fn of_two_files_with_one_stem_the_known_one_stays() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("twin", &Project::spec("sleep 300", &[]));
    let before = project.wait_for("twin", "/phase", &json!("Running"));

    let second = project.specs().join("more/twin.yml");
    fs::create_dir(second.parent().unwrap()).unwrap();
    fs::write(&second, Project::spec("ok", &[])).unwrap();

    let stray = eventually("the second is refused", || {
        let list = project.get("/v1/cattle")?.1;
        list["diagnostics"].get(0).cloned()
    });
    assert!(
        stray["path"].as_str().unwrap().ends_with("more/twin.yml"),
        "{stray:#}"
    );
    let said = format!("{} {}", stray["message"], stray["hint"]);
    assert!(
        said.contains("twin.yaml"),
        "the other file is not named: {said}"
    );
    let list = project.clawdlets(&["cattle", "list"]).ok();
    assert!(list.stderr.contains("more/twin.yml"), "{list:?}");
    let now = project.status("twin").unwrap();
    assert_eq!(now["run"]["run"], before["run"]["run"]);
    assert_eq!(now["phase"], "Running");
    assert!(
        now["origin"]["path"]
            .as_str()
            .unwrap()
            .ends_with("/twin.yaml")
    );
    assert_eq!(project.plan()["actions"], json!([]));
}

#[test]
fn a_directory_that_vanishes_ends_nothing() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    for name in ["one", "two"] {
        project.drop_spec(name, &Project::spec("sleep 300", &[]));
        project.wait_for(name, "/phase", &json!("Running"));
    }
    let calls = sim.last_call();
    let away = project.around().join("away");

    fs::rename(project.specs(), &away).unwrap();

    let since = Instant::now();
    eventually("it is long enough ago", || {
        assert_eq!(project.plan()["actions"], json!([]));
        (since.elapsed() > LONG_ENOUGH).then_some(())
    });
    let list = project.clawdlets(&["cattle", "list"]).ok();
    assert!(list.stderr.contains("cattle/specs"), "not said: {list:?}");
    for name in ["one", "two"] {
        assert_eq!(project.status(name).unwrap()["phase"], "Running");
    }
    assert_eq!(sim.writes_since(calls), [""; 0]);

    fs::rename(&away, project.specs()).unwrap();

    project.drop_spec("three", &Project::spec("ok", &[]));
    project.wait_for("three", "/phase", &json!("Succeeded"));
    assert_eq!(project.status("one").unwrap()["phase"], "Running");
}

/// Puts a small file system of its own over the state directory, which only the controller sees;
/// `None` where the system does not let us.
fn on_a_small_disk(project: &Project, sim: &Sim, state: &Path) -> Option<Controller> {
    let mut script = Command::new("unshare");
    script.args(["--user", "--mount", "--map-root-user", "sh", "-c"]);
    script.arg("mount -t tmpfs -o size=4m,mode=0700 none \"$0\" && exec \"$@\"");
    script.arg(state);
    let probe = Command::new("unshare")
        .args([
            "--user",
            "--mount",
            "--map-root-user",
            "mount",
            "-t",
            "tmpfs",
            "none",
        ])
        .arg(state)
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return None;
    }
    let run = Controller::command(project, sim);
    script.arg(run.get_program()).args(run.get_args());
    script.arg("--state-dir").arg(state);
    script.arg("--socket").arg(project.socket());
    Controller::place_env(&mut script, project, sim);
    Some(Controller::from(&mut script).answering(project))
}

/// The state directory as that controller sees it.
fn seen_by(controller: &Controller, state: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", controller.pid()));
    root.join(state.strip_prefix("/").unwrap())
}

/// Until not a byte fits.
fn fill(file: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(file).unwrap();
    let mut block = 64 * 1024;
    while block > 0 {
        if file.write_all(&vec![0; block]).is_err() {
            block /= 2;
        }
    }
}

#[test]
fn a_full_disk_is_said_keeps_the_old_state_and_passes() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let state = project.around().join("small");
    fs::create_dir(&state).unwrap();
    fs::create_dir_all(project.socket().parent().unwrap()).unwrap();
    let Some(controller) = on_a_small_disk(&project, &sim, &state) else {
        eprintln!("no user namespaces here: no small disk to be had");
        return;
    };
    let file = project.around().join("applied.yaml");
    fs::write(&file, Project::spec("sleep 300", &["ttl: 1h"])).unwrap();
    let apply = || -> Ran { project.clawdlets(&["cattle", "apply", "-f", file.to_str().unwrap()]) };
    let _ = apply().ok();
    project.wait_for("applied", "/phase", &json!("Running"));
    let spec = seen_by(&controller, &state).join("specs/applied.yaml");
    let old = fs::read(&spec).unwrap();
    let filler = seen_by(&controller, &state).join("filler");

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
fn a_second_controller_on_the_same_state_is_refused_with_the_holders_pid() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let first = Controller::start(&project, &sim, &[]);

    let refused = Controller::refused(&mut Controller::command(&project, &sim));

    assert_eq!(refused.code, Some(1), "{refused:?}");
    let pid = format!("process {}", first.pid());
    assert!(refused.stderr.contains("another controller"), "{refused:?}");
    assert!(refused.stderr.contains(&pid), "{pid}: {refused:?}");
    project.drop_spec("still", &Project::spec("ok", &[]));
    project.wait_for("still", "/phase", &json!("Succeeded"));
}

#[test]
fn a_socket_path_in_use_is_refused_and_what_is_there_stays() {
    let (first, second) = (Project::new(), Project::new());
    let sim = Sim::start(&first, &SimOptions::default());
    let _controller = Controller::start(&first, &sim, &[]);
    let at = |socket: &Path| {
        let mut command = Controller::command(&second, &sim);
        Controller::refused(command.arg("--socket").arg(socket))
    };

    let answered = at(&first.socket());

    assert_eq!(answered.code, Some(1), "{answered:?}");
    assert!(
        answered.stderr.contains("socket path in use"),
        "{answered:?}"
    );
    assert!(first.get("/healthz").is_some());

    let file = second.around().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    let occupied = at(&file);

    assert_eq!(occupied.code, Some(1), "{occupied:?}");
    assert!(occupied.stderr.contains("is not a socket"), "{occupied:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}
