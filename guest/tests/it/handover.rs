//! What is left to hand over when the task is over.

use cattle_schemas::guest::{FailureCause, paths};
use serde_json::json;

use crate::controller::{Call, Controller, Fault};
use crate::vm::Vm;

#[tokio::test]
async fn a_log_that_waits_does_not_hold_up_the_result_and_follows_it() {
    let controller = Controller::start().await;
    // Refused for a quarter of a minute, with the guest's growing waits between.
    controller.fault(Call::Logs, (0..9).map(|_| Fault::Status(503)));
    let vm = Vm::new(&controller);
    vm.runner("seq 1 100000; echo '\"done\"' > result.json");
    let guest = vm.start();
    controller
        .until("the result, without the log", |seen| {
            seen.count(Call::Finished) == 1 && seen.log.is_empty()
        })
        .await;
    assert_eq!(guest.ended().await, 0);
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(controller.seen(|seen| seen.log_text() == expected));
    let outcome = controller.outcome();
    assert!(outcome.succeeded());
    assert_eq!(outcome.log_bytes, expected.len() as u64);
}

#[tokio::test]
async fn a_controller_that_takes_no_more_ends_the_guest() {
    let controller = Controller::start().await;
    controller.fault(Call::Logs, (0..1000).map(|_| Fault::Status(503)));
    let vm = Vm::new(&controller);
    vm.runner("seq 1 100000");
    let guest = vm.start();
    controller
        .until("the result", |seen| seen.count(Call::Finished) == 1)
        .await;
    controller.end_run();
    assert_eq!(guest.ended().await, 0, "its outcome is there");
}

#[tokio::test]
async fn a_log_call_that_is_swallowed_is_repeated_with_less() {
    let controller = Controller::start().await;
    let _swallowed = controller.hold(Call::Logs);
    let vm = Vm::new(&controller);
    vm.runner("printf 12345678; while ! [ -e go ]; do sleep 0.01; done");
    let guest = vm.start();
    controller
        .until("a second try", |seen| seen.count(Call::Logs) > 1)
        .await;
    std::fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
    assert_eq!(controller.seen(|seen| seen.log_text()), "12345678");
}

#[tokio::test]
async fn a_persona_call_that_is_swallowed_is_repeated_soon() {
    let controller = Controller::start().await;
    let archive = tar::Builder::new(Vec::new()).into_inner().unwrap();
    controller.set_persona(archive, "0".repeat(64));
    let _swallowed = controller.hold(Call::Persona);
    let vm = Vm::new(&controller);
    let _guest = vm.start();
    controller
        .until("a second try", |seen| seen.count(Call::Persona) > 1)
        .await;
}

#[tokio::test]
async fn a_controller_that_knows_no_causes_gets_the_outcome_without() {
    let controller = Controller::start().await;
    controller.fault(Call::Finished, [Fault::Status(400)]);
    let vm = Vm::new(&controller);
    vm.runner("echo '{' > result.json");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!((outcome.exit_code, outcome.cause), (Some(0), None));
    assert!(!outcome.succeeded());
    assert_eq!(controller.seen(|seen| seen.count(Call::Finished)), 2);
}

async fn cause(change: impl FnOnce(&Vm)) -> Option<FailureCause> {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    change(&vm);
    assert_eq!(vm.run().await, 0);
    controller.outcome().cause
}

#[tokio::test]
async fn the_outcome_says_why_there_was_no_runner() {
    let other_type = cause(|vm| vm.edit(paths::TASK, |task| task["type"] = json!("other")));
    assert_eq!(other_type.await, Some(FailureCause::NoRunner));
    let missing = cause(|vm| vm.command(&["/no/such/program"]));
    assert_eq!(missing.await, Some(FailureCause::RunnerNotStarted));
    let broken = cause(|vm| vm.command(&[]));
    assert_eq!(broken.await, Some(FailureCause::RunnersFile));
    let no_task = cause(|vm| std::fs::remove_file(vm.path(paths::TASK)).unwrap());
    assert_eq!(no_task.await, Some(FailureCause::TaskFile));
    let fine = cause(|_| {});
    assert_eq!(fine.await, None);
    let own_failure = cause(|vm| vm.runner("exit 3"));
    assert_eq!(own_failure.await, None, "the exit code says it all");
}

#[tokio::test]
async fn the_outcome_says_what_is_wrong_with_a_result() {
    for (script, expected) in [
        ("ln -s nowhere result.json", FailureCause::ResultNotAFile),
        ("echo '{' > result.json", FailureCause::ResultNotJson),
        (
            "head -c 300000 /dev/zero > result.json",
            FailureCause::ResultTooLarge,
        ),
    ] {
        assert_eq!(cause(|vm| vm.runner(script)).await, Some(expected));
    }
}

#[tokio::test]
async fn outside_of_a_trial_a_runner_without_a_user_of_its_own_is_not_started() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    // The same machine under an address that is not called loopback.
    let elsewhere = controller.url.replace("127.0.0.1", "0.0.0.0");
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["controllerUrl"] = json!(elsewhere);
    });
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    assert!(!vm.workspace("ran").exists());
    assert_eq!(
        controller.outcome().cause,
        Some(FailureCause::RunnerWithoutUser)
    );
}
