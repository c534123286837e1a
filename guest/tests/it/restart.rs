//! A guest that is killed, and one that starts again on the same disk.

use cattle_schemas::guest::paths;

use crate::controller::{Call, Controller};
use crate::vm::{Vm, eventually, lives};

const COUNTS: &str = "echo ran >> ran; echo $$ > pid; echo output; while :; do sleep 0.01; done";

async fn killed_while_running(controller: &Controller) -> Vm {
    let vm = Vm::new(controller);
    vm.runner(COUNTS);
    let guest = vm.start();
    controller
        .until("the runner's output", |seen| !seen.log.is_empty())
        .await;
    guest.kill().await;
    vm
}

#[tokio::test]
async fn neither_the_runner_nor_what_left_its_group_outlives_a_killed_guest() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(
        "setsid sh -c 'echo $$ > left; sleep 600; :' & echo $$ > pid; while ! [ -s left ]; do :; done; echo up; wait",
    );
    let guest = vm.start();
    controller
        .until("the runner's output", |seen| !seen.log.is_empty())
        .await;
    assert!(lives(&vm.workspace("pid")) && lives(&vm.workspace("left")));
    // The output came by a pump that is started after the guard.
    guest.kill().await;
    eventually("the runner to die", || !lives(&vm.workspace("pid"))).await;
    eventually("its daemon to die", || !lives(&vm.workspace("left"))).await;
}

#[tokio::test]
async fn a_guest_killed_while_the_task_ran_reports_that_and_runs_nothing() {
    let controller = Controller::start().await;
    let vm = killed_while_running(&controller).await;
    assert_eq!(vm.run().await, 0);
    assert_eq!(vm.left("ran"), "ran\n");
    let outcome = controller.outcome();
    assert_eq!(
        outcome.message.as_deref(),
        Some("guest restarted while the task ran")
    );
    assert_eq!((outcome.exit_code, outcome.signal), (None, None));
    assert_eq!(controller.seen(|seen| seen.log_text()), "output\n");
    assert_eq!(outcome.log_bytes, 7);
}

#[tokio::test]
async fn a_bootstrap_file_that_comes_back_does_not_run_the_task_again() {
    let controller = Controller::start().await;
    let vm = killed_while_running(&controller).await;
    // As cloud-init might write it on the next boot.
    vm.write(
        paths::BOOTSTRAP,
        &serde_json::json!({
            "schemaVersion": 1, "cattle": "rex", "run": crate::controller::RUN,
            "controllerUrl": controller.url, "token": crate::controller::TOKEN,
            "expiresAt": "2099-01-01T00:00:00Z",
        }),
    );
    assert_eq!(vm.run().await, 0);
    assert_eq!(vm.left("ran"), "ran\n");
    assert_eq!(controller.seen(|seen| seen.count(Call::Env)), 1);
    assert!(!vm.path(paths::BOOTSTRAP).exists());
}

#[tokio::test]
async fn a_machine_that_lost_its_memory_runs_nothing() {
    let controller = Controller::start().await;
    let vm = killed_while_running(&controller).await;
    // `/run` is empty after a reboot.
    std::fs::remove_dir_all(vm.path("/run")).unwrap();
    assert_eq!(vm.run().await, 1);
    assert_eq!(vm.left("ran"), "ran\n");
    assert!(
        vm.stderr().contains("its session is gone"),
        "{}",
        vm.stderr()
    );
}

#[tokio::test]
async fn a_finished_guest_that_starts_again_does_nothing() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    let calls = controller.seen(|seen| seen.calls.len());
    assert_eq!(vm.run().await, 1);
    assert_eq!(vm.left("ran"), "ran\n");
    assert_eq!(controller.seen(|seen| seen.calls.len()), calls);
}

#[tokio::test]
async fn a_guest_killed_between_ready_and_its_answer_runs_nothing_but_says_so() {
    let controller = Controller::start().await;
    let held = controller.hold(Call::Ready);
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    let guest = vm.start();
    controller
        .until("ready", |seen| seen.count(Call::Ready) == 1)
        .await;
    guest.kill().await;
    drop(held);
    // The window is closed: the env is not handed out again.
    assert_eq!(vm.run().await, 0);
    assert!(!vm.workspace("ran").exists());
    assert_eq!(
        controller.outcome().message.as_deref(),
        Some("guest restarted before the runner started")
    );
}

#[tokio::test]
async fn a_disk_image_made_of_a_used_machine_runs_another_run() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    vm.write(
        "/var/lib/clawdlets/cattle/state/started.json",
        &serde_json::json!({ "run": "01J99999999999999999999999" }),
    );
    assert_eq!(vm.run().await, 0);
    assert_eq!(vm.left("ran"), "ran\n");
}

#[tokio::test]
async fn a_damaged_marker_counts_as_a_start() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    let marker = vm.path("/var/lib/clawdlets/cattle/state/started.json");
    std::fs::create_dir_all(marker.parent().unwrap()).unwrap();
    std::fs::write(marker, "{").unwrap();
    assert_eq!(vm.run().await, 1);
    assert!(!vm.workspace("ran").exists());
}
