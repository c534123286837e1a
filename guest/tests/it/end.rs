//! Being stopped, and ending.

use std::time::Instant;

use cattle_schemas::guest::paths;
use rustix::process::Signal;
use serde_json::json;

use crate::controller::{Call, Controller, Fault};
use crate::vm::{Guest, Vm, eventually, lives};

const WAITS: &str = "echo $$ > pid; touch up; while :; do sleep 0.01; done";
const POLITE: &str = "trap 'echo \"\\\"half\\\"\" > result.json; echo bye; exit 0' TERM; echo $$ > pid; touch up; while :; do sleep 0.01; done";
const STUBBORN: &str = "trap '' TERM; echo $$ > pid; touch up; while :; do sleep 0.01; done";

async fn up(vm: &Vm) {
    eventually("the runner to be up", || vm.workspace("up").exists()).await;
}

#[tokio::test]
async fn a_stop_ends_the_runner_and_hands_over_what_there_is() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(POLITE);
    let guest = vm.start();
    up(&vm).await;
    controller.stop("ttl-expired", 20);
    assert_eq!(guest.ended().await, 0);
    let outcome = controller.outcome();
    assert_eq!(outcome.message.as_deref(), Some("stopped: ttl-expired"));
    assert_eq!(outcome.result, Some(json!("half")));
    assert!(!outcome.succeeded());
    // The shell may tell of its `sleep` first.
    assert!(controller.seen(|seen| seen.log_text()).ends_with("bye\n"));
}

#[tokio::test]
async fn a_runner_that_ignores_the_stop_is_killed_within_half_the_grace() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(STUBBORN);
    let guest = vm.start();
    up(&vm).await;
    let told = Instant::now();
    controller.stop("destroyed", 4);
    assert_eq!(guest.ended().await, 0);
    assert!(told.elapsed().as_secs_f64() < 4.0, "{:?}", told.elapsed());
    assert_eq!(controller.outcome().signal, Some(9));
    assert!(!lives(&vm.workspace("pid")));
}

#[tokio::test]
async fn a_run_that_is_over_for_the_controller_ends_here_too() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(WAITS);
    let guest = vm.start();
    up(&vm).await;
    controller.end_run();
    assert_eq!(guest.ended().await, 1);
    assert!(!lives(&vm.workspace("pid")));
    assert_eq!(controller.seen(|seen| seen.outcomes.len()), 0);
}

#[tokio::test]
async fn heartbeats_that_fail_do_not_end_the_runner() {
    let controller = Controller::start().await;
    controller.fault(
        Call::Heartbeat,
        [Fault::Status(500), Fault::LostAfter, Fault::Status(401)],
    );
    let vm = Vm::new(&controller);
    vm.runner("while ! [ -e go ]; do sleep 0.01; done");
    let guest = vm.start();
    controller
        .until("a heartbeat after the failed ones", |seen| {
            seen.count(Call::Heartbeat) > 4
        })
        .await;
    std::fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
    assert!(controller.outcome().succeeded());
}

#[tokio::test]
async fn at_the_end_of_the_ttl_the_guest_stops_by_itself_when_nobody_answers() {
    let controller = Controller::start().await;
    controller.expires_in(chrono::TimeDelta::milliseconds(300));
    controller.fault(Call::Heartbeat, (0..1000).map(|_| Fault::Status(503)));
    let vm = Vm::new(&controller);
    vm.runner(POLITE);
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!(outcome.message.as_deref(), Some("stopped: ttl-expired"));
}

#[tokio::test]
async fn a_clock_that_is_ahead_ends_nothing_while_the_controller_answers() {
    let controller = Controller::start().await;
    controller.expires_in(chrono::TimeDelta::hours(-1));
    let vm = Vm::new(&controller);
    vm.runner("while ! [ -e go ]; do sleep 0.01; done");
    let guest = vm.start();
    controller
        .until("heartbeats", |seen| seen.count(Call::Heartbeat) > 3)
        .await;
    std::fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
    assert!(controller.outcome().succeeded());
}

#[tokio::test]
async fn a_ttl_that_was_extended_meanwhile_ends_nothing() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["expiresAt"] = json!(chrono::Utc::now() + chrono::TimeDelta::seconds(1));
    });
    // Longer than the bootstrap's TTL; the reports say five minutes.
    vm.runner("sleep 1.2");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert!(outcome.succeeded(), "{outcome:?}");
}

#[tokio::test]
async fn the_final_report_is_repeated_until_it_is_acknowledged() {
    let controller = Controller::start().await;
    controller.fault(
        Call::Finished,
        [Fault::Status(500), Fault::LostAfter, Fault::CutAfter],
    );
    let vm = Vm::new(&controller);
    vm.runner("exit 4");
    assert_eq!(vm.run().await, 0);
    assert_eq!(controller.seen(|seen| seen.count(Call::Finished)), 4);
    assert_eq!(controller.outcome().exit_code, Some(4));
}

#[tokio::test]
async fn a_refused_final_report_is_not_handed_over() {
    let controller = Controller::start().await;
    controller.fault(Call::Finished, [Fault::Status(410)]);
    let vm = Vm::new(&controller);
    assert_eq!(vm.run().await, 1);
}

#[tokio::test]
async fn the_log_is_complete_before_the_final_report() {
    let controller = Controller::start().await;
    let held = controller.hold(Call::Logs);
    let vm = Vm::new(&controller);
    vm.runner("echo hello");
    let guest = vm.start();
    controller
        .until("a heartbeat while the log is held", |seen| {
            seen.count(Call::Logs) == 1 && seen.count(Call::Heartbeat) > 2
        })
        .await;
    assert_eq!(controller.seen(|seen| seen.count(Call::Finished)), 0);
    held.send(()).unwrap();
    assert_eq!(guest.ended().await, 0);
}

#[tokio::test]
async fn told_to_shut_down_the_guest_stops_the_runner_and_hands_over() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(POLITE);
    let guest = vm.start();
    up(&vm).await;
    guest.signal(Signal::TERM);
    assert_eq!(guest.ended().await, 0);
    let outcome = controller.outcome();
    assert_eq!(
        outcome.message.as_deref(),
        Some("the guest was told to shut down")
    );
    assert_eq!(outcome.result, Some(json!("half")));
}

#[tokio::test]
async fn told_to_shut_down_before_ready_the_run_can_still_be_done_later() {
    let controller = Controller::start().await;
    let held = controller.hold(Call::Env);
    let vm = Vm::new(&controller);
    let guest = vm.start();
    controller
        .until("the env call", |seen| seen.count(Call::Env) == 1)
        .await;
    guest.signal(Signal::TERM);
    assert_eq!(guest.ended().await, 1);
    drop(held);
    assert_eq!(vm.run().await, 0);
    assert!(controller.outcome().succeeded());
}

/// A guest that has handed over and goes on beating.
async fn staying(controller: &Controller, vm: &Vm) -> Guest {
    controller.keep();
    let guest = vm.start();
    controller
        .until("the outcome", |seen| !seen.outcomes.is_empty())
        .await;
    beats(controller).await;
    guest
}

async fn beats(controller: &Controller) {
    let before = controller.seen(|seen| seen.count(Call::Heartbeat));
    controller
        .until("further heartbeats", |seen| {
            seen.count(Call::Heartbeat) > before + 3
        })
        .await;
}

#[tokio::test]
async fn a_guest_that_is_to_stay_beats_until_its_run_is_over() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("exit 4");
    let guest = staying(&controller, &vm).await;
    controller.end_run();
    assert_eq!(guest.ended().await, 0);
    assert_eq!(controller.outcome().exit_code, Some(4));
    assert_eq!(controller.seen(|seen| seen.count(Call::Finished)), 1);
    assert!(!session(&vm).exists());
}

#[tokio::test]
async fn a_guest_that_is_to_stay_beats_until_it_is_told_to_stop() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    let guest = staying(&controller, &vm).await;
    controller.stop("ttl-expired", 20);
    assert_eq!(guest.ended().await, 0);
    assert!(controller.outcome().succeeded());
}

#[tokio::test]
async fn a_guest_that_stays_leaves_by_itself_at_the_end_of_the_ttl_when_nobody_answers() {
    let controller = Controller::start().await;
    controller.expires_in(chrono::TimeDelta::seconds(1));
    let vm = Vm::new(&controller);
    let guest = staying(&controller, &vm).await;
    controller.fault(Call::Heartbeat, (0..1000).map(|_| Fault::Status(503)));
    assert_eq!(guest.ended().await, 0);
}

#[tokio::test]
async fn a_guest_that_stays_goes_when_its_machine_does() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    let guest = staying(&controller, &vm).await;
    guest.signal(Signal::TERM);
    assert_eq!(guest.ended().await, 0);
    // It may only have been the service that was restarted.
    assert!(session(&vm).exists());
}

#[tokio::test]
async fn a_guest_that_is_restarted_while_it_stays_stays_on() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    staying(&controller, &vm).await.kill().await;
    let guest = vm.start();
    controller
        .until("the guest to say that it is over once more", |seen| {
            seen.count(Call::Finished) > 1
        })
        .await;
    beats(&controller).await;
    controller.end_run();
    assert_eq!(guest.ended().await, 0);
    assert_eq!(vm.left("ran"), "ran\n");
}

fn session(vm: &Vm) -> std::path::PathBuf {
    vm.path(paths::BOOTSTRAP).with_file_name("session.json")
}
