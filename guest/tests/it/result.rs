//! `result.json`: every way in which it is not one.

use cattle_schemas::guest::MAX_RESULT_BYTES;
use rstest::rstest;
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::vm::Vm;

#[rstest]
#[case::none("true", None)]
#[case::null("echo null > result.json", None)]
#[case::scalar("echo 7 > result.json", Some(json!(7)))]
#[tokio::test]
async fn a_success_needs_no_object(#[case] script: &str, #[case] result: Option<Value>) {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(script);
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert!(outcome.succeeded(), "{outcome:?}");
    assert_eq!(outcome.result, result);
}

#[rstest]
#[case::symlink(
    "echo 1 > real; ln -s real result.json",
    "result.json is a link; a regular file is needed"
)]
#[case::dangling(
    "ln -s nowhere result.json",
    "result.json is a link; a regular file is needed"
)]
#[case::hard_link(
    "echo 1 > real; ln real result.json",
    "result.json is a link; a regular file is needed"
)]
#[case::directory("mkdir result.json", "result.json is not a regular file")]
#[case::fifo("mkfifo result.json", "result.json is not a regular file")]
#[case::broken("echo '{' > result.json", "result.json is not valid JSON: EOF")]
#[case::binary("printf '\\377' > result.json", "result.json is not valid JSON")]
#[case::empty(": > result.json", "result.json is not valid JSON: EOF")]
#[case::deep(
    "head -c 100000 /dev/zero | tr '\\0' '[' > result.json",
    "result.json is not valid JSON: recursion limit"
)]
#[case::grows_when_sent(
    "{ printf '[1e15'; yes ',1e15' | head -n 40000 | tr -d '\\n'; printf ']'; } > result.json",
    "result.json is larger than 262144 bytes"
)]
#[tokio::test]
async fn a_bad_result_fails_the_task_and_says_why(#[case] script: &str, #[case] message: &str) {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(script);
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!(outcome.exit_code, Some(0));
    assert_eq!(outcome.result, None);
    let said = outcome.message.unwrap();
    assert!(said.starts_with(message), "{said}");
}

#[rstest]
#[case::at_the_limit(MAX_RESULT_BYTES, true)]
#[case::one_more(MAX_RESULT_BYTES + 1, false)]
#[tokio::test]
async fn the_limit_is_exact(#[case] bytes: usize, #[case] taken: bool) {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    let filling = bytes - 2;
    vm.runner(&format!(
        "{{ printf '\"'; head -c {filling} /dev/zero | tr '\\0' x; printf '\"'; }} > result.json"
    ));
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!(outcome.succeeded(), taken, "{:?}", outcome.message);
    assert_eq!(outcome.result.is_some(), taken);
}

#[tokio::test]
async fn a_result_that_lay_there_before_is_not_the_runners() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    std::fs::create_dir_all(vm.workspace("")).unwrap();
    std::fs::write(vm.workspace("result.json"), "\"stale\"").unwrap();
    assert_eq!(vm.run().await, 0);
    assert_eq!(controller.outcome().result, None);
}

#[tokio::test]
async fn a_runner_that_swaps_its_workspace_for_a_link_names_no_other_file() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.runner(
        "mkdir ../other; echo '\"stolen\"' > ../other/result.json; cd ..; mv workspace moved; ln -s other workspace",
    );
    assert_eq!(vm.run().await, 0);
    assert_eq!(controller.outcome().result, None);
}
