//! Fetching the env: what is repeated, under which key, and what is final.

use cattle_schemas::guest::paths;
use rstest::rstest;
use serde_json::json;

use crate::controller::{Call, Controller, Fault};
use crate::vm::Vm;

#[tokio::test]
async fn a_run_without_trouble_ends_as_a_success_with_its_result() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner("echo working; echo '{\"answer\":42}' > result.json");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert!(outcome.succeeded(), "{outcome:?}");
    assert_eq!(outcome.result, Some(json!({ "answer": 42 })));
    assert_eq!(controller.seen(|seen| seen.log_text()), "working\n");
    assert_eq!(outcome.log_bytes, 8);
}

#[rstest]
#[case::lost(Fault::LostAfter)]
#[case::cut(Fault::CutAfter)]
#[case::unavailable(Fault::Status(503))]
#[case::too_many(Fault::Status(429))]
#[tokio::test]
async fn an_env_reply_that_does_not_arrive_is_asked_for_again_under_the_same_key(
    #[case] fault: Fault,
) {
    let controller = Controller::start().await;
    controller.fault(Call::Env, [fault]);
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    let keys = controller.seen(|seen| seen.idempotency_keys.clone());
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 32, "128 bits, hex: {}", keys[0]);
    assert_eq!(vm.left("ran"), "ran\n");
}

#[tokio::test]
async fn a_guest_killed_while_it_asks_for_the_env_asks_under_the_same_key_again() {
    let controller = Controller::start().await;
    let _held = controller.hold(Call::Env);
    let vm = Vm::new(&controller);
    let guest = vm.start();
    controller
        .until("the first env call", |seen| seen.count(Call::Env) == 1)
        .await;
    guest.kill().await;
    assert_eq!(vm.run().await, 0);
    let keys = controller.seen(|seen| seen.idempotency_keys.clone());
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert!(controller.outcome().succeeded());
}

#[rstest]
#[case(401)]
#[case(403)]
#[case(410)]
#[tokio::test]
async fn a_refused_token_is_final(#[case] status: u16) {
    let controller = Controller::start().await;
    controller.fault(Call::Env, [Fault::Status(status)]);
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 1);
    assert_eq!(controller.seen(|seen| seen.calls.clone()), [Call::Env]);
    assert!(!vm.workspace("ran").exists());
    assert!(
        vm.stderr().contains("no env for the run"),
        "{}",
        vm.stderr()
    );
}

#[rstest]
#[case::another_host("127.0.0.2", 1)]
#[case::a_name("localhost", 1)]
#[case::the_same("127.0.0.1", 0)]
#[tokio::test]
async fn the_token_goes_to_the_pinned_address_only(#[case] pinned: &str, #[case] code: i32) {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["controllerAddress"] = json!(pinned);
    });
    assert_eq!(vm.run().await, code);
    let asked = controller.seen(|seen| seen.count(Call::Env));
    assert_eq!(asked, usize::from(code == 0));
}

#[tokio::test]
async fn without_a_bootstrap_file_there_is_nothing_to_run() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    std::fs::remove_file(vm.path(paths::BOOTSTRAP)).unwrap();
    assert_eq!(vm.run().await, 1);
    assert!(vm.stderr().contains("nothing to run"), "{}", vm.stderr());
}
