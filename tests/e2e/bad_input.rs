//! What must not impress the controller.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
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
        // That ends are paused is all that comes of it.
        let plan = project.plan();
        let actions = plan["actions"].as_array().unwrap();
        assert!(actions.iter().all(|it| it["verb"] == "pause"), "{plan}");
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
