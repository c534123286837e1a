//! The log's way to the controller.

use cattle_schemas::guest::{MAX_LOG_BYTES, MAX_LOG_CHUNK_BYTES};

use crate::controller::{Call, Controller, Fault};
use crate::vm::Vm;

#[tokio::test]
async fn output_arrives_while_the_runner_runs_both_streams_in_order() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo one; echo two >&2; echo three; while ! [ -e go ]; do :; done");
    let guest = vm.start();
    controller
        .until("the log", |seen| seen.log_text() == "one\ntwo\nthree\n")
        .await;
    std::fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
}

#[tokio::test]
async fn lost_cut_and_refused_log_calls_neither_lose_nor_double_a_byte() {
    let controller = Controller::start().await;
    controller.fault(
        Call::Logs,
        [
            Fault::LostAfter,
            Fault::Status(503),
            Fault::CutAfter,
            Fault::Status(400),
        ],
    );
    let vm = Vm::new(&controller);
    vm.runner("seq 1 20000; echo '\"done\"' > result.json");
    assert_eq!(vm.run().await, 0);
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(controller.seen(|seen| seen.log_text() == expected));
    assert_eq!(controller.outcome().log_bytes, expected.len() as u64);
}

#[tokio::test]
async fn a_controller_that_lost_the_end_of_the_log_gets_it_again() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo first; while ! [ -e go ]; do :; done; echo second");
    let guest = vm.start();
    controller
        .until("the first line", |seen| seen.log.len() == 6)
        .await;
    controller.truncate_log(2);
    std::fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
    assert_eq!(controller.seen(|seen| seen.log_text()), "first\nsecond\n");
}

#[tokio::test]
async fn a_log_that_is_not_taken_does_not_hold_the_runner_up() {
    let controller = Controller::start().await;
    let held = controller.hold(Call::Logs);
    let vm = Vm::new(&controller);
    // Far more than a pipe holds.
    vm.runner("echo start; head -c 1000000 /dev/zero | tr '\\0' x; touch through");
    let guest = vm.start();
    crate::vm::eventually("the runner to end", || vm.workspace("through").exists()).await;
    held.send(()).unwrap();
    assert_eq!(guest.ended().await, 0);
    assert_eq!(controller.seen(|seen| seen.log.len()), 1_000_006);
}

#[tokio::test]
async fn no_call_is_longer_than_agreed() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("head -c 2000000 /dev/zero | tr '\\0' x");
    assert_eq!(vm.run().await, 0);
    let longest = controller.seen(|seen| seen.log_calls.iter().map(|call| call.1).max());
    assert!(longest.unwrap() <= MAX_LOG_CHUNK_BYTES, "{longest:?}");
}

#[tokio::test]
async fn beyond_the_limit_one_line_says_so_and_the_runner_goes_on() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("head -c 18000000 /dev/zero | tr '\\0' x; echo '\"through\"' > result.json");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert!(outcome.succeeded());
    assert_eq!(outcome.log_bytes, MAX_LOG_BYTES);
    controller.seen(|seen| {
        assert_eq!(seen.log.len() as u64, MAX_LOG_BYTES);
        let end = String::from_utf8_lossy(&seen.log[seen.log.len() - 100..]).into_owned();
        assert!(
            end.ends_with("[clf-cattle: the log's limit is reached; what follows was dropped]\n"),
            "{end}"
        );
    });
}
