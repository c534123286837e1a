//! The runner: when it starts, as what, and what is left of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use cattle_schemas::guest::paths;
use cattle_schemas::runners::RUNNERS_PATH;
use serde_json::json;

use crate::controller::{Call, Controller, Fault, SECRET};
use crate::vm::{Vm, lives};

#[tokio::test]
async fn the_runner_starts_only_after_ready_is_acknowledged() {
    let controller = Controller::start().await;
    let held = controller.hold(Call::Ready);
    let vm = Vm::new(&controller);
    vm.runner("touch started");
    let guest = vm.start();
    controller
        .until("ready", |seen| seen.count(Call::Ready) == 1)
        .await;
    // The report is in, its answer is not: whatever would start a runner has had its cause.
    assert!(!vm.workspace("started").exists());
    assert!(vm.path(paths::BOOTSTRAP).exists());
    let acknowledged_at = std::time::SystemTime::now();
    held.send(()).unwrap();
    assert_eq!(guest.ended().await, 0);
    let started = fs::metadata(vm.workspace("started")).unwrap();
    assert!(started.modified().unwrap() >= acknowledged_at - std::time::Duration::from_millis(10));
    assert!(!vm.path(paths::BOOTSTRAP).exists());
}

#[tokio::test]
async fn ready_is_repeated_until_it_is_acknowledged_and_the_runner_starts_once() {
    let controller = Controller::start().await;
    controller.fault(
        Call::Ready,
        [Fault::Status(503), Fault::LostAfter, Fault::CutAfter],
    );
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    assert_eq!(controller.seen(|seen| seen.count(Call::Ready)), 4);
    assert_eq!(vm.left("ran"), "ran\n");
}

#[tokio::test]
async fn a_refused_ready_starts_nothing() {
    let controller = Controller::start().await;
    controller.fault(Call::Ready, [Fault::Status(410)]);
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 1);
    assert!(!vm.workspace("ran").exists());
}

#[tokio::test]
async fn a_stop_in_the_answer_to_ready_starts_nothing_and_is_reported() {
    let controller = Controller::start().await;
    controller.stop("destroyed", 20);
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    assert!(!vm.workspace("ran").exists());
    let outcome = controller.outcome();
    assert_eq!(
        outcome.message.as_deref(),
        Some("stopped before the runner started: destroyed")
    );
    assert_eq!(outcome.exit_code, None);
}

#[tokio::test]
async fn the_environment_is_the_env_and_ours_and_nothing_else() {
    let controller = Controller::start().await;
    // The env cannot move what is ours.
    controller.set_env("HOME", "/elsewhere");
    let vm = Vm::new(&controller);
    vm.runner("env > env; pwd > pwd; cat \"$CLAWDLETS_TASK_FILE\" > task");
    assert_eq!(vm.run().await, 0);
    let written = vm.left("env");
    let mut env: BTreeMap<_, _> = written
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    // The shell's own.
    for name in ["PWD", "OLDPWD", "SHLVL", "_"] {
        env.remove(name);
    }
    env.remove("PATH").expect("a PATH");
    let workspace = vm.path(paths::WORKSPACE);
    let task = vm.path(paths::TASK);
    let persona = vm.path(paths::PERSONA_DIR);
    let expected = BTreeMap::from([
        ("CLAWDLETS_MODEL", "zai/glm-4.7"),
        ("CLAWDLETS_PERSONA_DIR", persona.to_str().unwrap()),
        ("CLAWDLETS_TASK_FILE", task.to_str().unwrap()),
        ("HOME", workspace.to_str().unwrap()),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("ZAI_API_KEY", SECRET),
    ]);
    assert_eq!(env, expected);
    assert_eq!(vm.left("pwd").trim(), workspace.to_str().unwrap());
    assert!(vm.left("task").contains("Fix the flaky test"));
}

#[tokio::test]
async fn a_task_type_without_a_runner_is_reported_with_the_known_ones() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.edit(paths::TASK, |task| task["type"] = json!("python"));
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!(
        outcome.message.as_deref(),
        Some("no runner for task type `python`; known: shell")
    );
    assert_eq!(outcome.exit_code, None);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_reported() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.command(&["no-such-agent", "--fast"]);
    assert_eq!(vm.run().await, 0);
    let message = controller.outcome().message.unwrap();
    assert!(
        message.starts_with("cannot start `no-such-agent`: No such file"),
        "{message}"
    );
}

#[tokio::test]
async fn a_broken_task_file_is_reported() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    fs::write(vm.path(paths::TASK), "{").unwrap();
    assert_eq!(vm.run().await, 0);
    let message = controller.outcome().message.unwrap();
    assert!(message.contains("task file"), "{message}");
}

#[tokio::test]
async fn a_failing_task_is_handed_over_with_its_exit_code() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo '{\"partial\":true}' > result.json; exit 3");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!((outcome.exit_code, outcome.signal), (Some(3), None));
    assert_eq!(outcome.result, Some(json!({ "partial": true })));
    assert!(!outcome.succeeded());
}

#[tokio::test]
async fn a_runner_killed_by_a_signal_is_handed_over_with_the_signal() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("kill -9 $$");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!((outcome.exit_code, outcome.signal), (None, Some(9)));
}

#[tokio::test]
async fn what_the_runner_leaves_in_its_group_dies_with_it() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    // It ignores SIGTERM, and holds the output open.
    vm.runner(
        "(trap '' TERM; sh -c 'echo $$ > left; exec sleep 600') & while ! [ -s left ]; do :; done",
    );
    assert_eq!(vm.run().await, 0);
    assert!(!lives(&vm.workspace("left")));
    assert!(controller.outcome().succeeded());
}

#[tokio::test]
async fn what_left_the_group_as_a_daemon_dies_too() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("setsid sh -c 'echo $$ > left; sleep 600; :' & while ! [ -s left ]; do :; done");
    assert_eq!(vm.run().await, 0);
    assert!(!lives(&vm.workspace("left")));
    assert!(controller.outcome().succeeded());
}

#[tokio::test]
async fn a_runner_with_a_user_of_its_own_owns_workspace_and_task() {
    if !rustix::process::geteuid().is_root() {
        // Changing the user takes root; the refusal is what can be seen without.
        let controller = Controller::start().await;
        let vm = Vm::new(&controller);
        vm.edit(RUNNERS_PATH, |file| {
            file["runners"]["shell"]["user"] = json!("root")
        });
        assert_eq!(vm.run().await, 0);
        let message = controller.outcome().message.unwrap();
        assert!(message.contains("needs root"), "{message}");
        return;
    }
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    // Temporary directories are 0700; another user has to get through.
    let top = vm.root().parent().unwrap().to_owned();
    fs::set_permissions(top, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    vm.runner("id -u > uid; id -G > groups; cat \"$CLAWDLETS_TASK_FILE\" > task; ls ../state > state 2>&1");
    vm.edit(RUNNERS_PATH, |file| {
        file["runners"]["shell"]["user"] = json!("nobody")
    });
    assert_eq!(vm.run().await, 0);
    let nobody: u32 = vm.left("uid").trim().parse().unwrap();
    assert_ne!(nobody, 0);
    assert!(
        !vm.left("groups")
            .split_whitespace()
            .any(|group| group == "0")
    );
    assert!(vm.left("task").contains("Fix the flaky test"));
    assert!(vm.left("state").contains("denied"), "{}", vm.left("state"));
    assert_eq!(
        fs::metadata(vm.path(paths::WORKSPACE)).unwrap().uid(),
        nobody
    );
}

#[tokio::test]
async fn an_env_that_no_process_can_have_is_reported_without_its_value() {
    let controller = Controller::start().await;
    controller.set_env("BROKEN_KEY", "sk-with-a-nul\0");
    let vm = Vm::new(&controller);
    assert_eq!(vm.run().await, 0);
    assert_eq!(
        controller.outcome().message.as_deref(),
        Some("the env's value of `BROKEN_KEY` holds a NUL byte")
    );
}
