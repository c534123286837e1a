//! `clf-cattle check`.

use std::process::Command;

use cattle_schemas::guest::paths;
use serde_json::json;

use crate::controller::{Controller, RUN, TOKEN};
use crate::vm::Vm;

fn check(vm: &Vm) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_clf-cattle"))
        .args(["check", "--root"])
        .arg(vm.root())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(vm.root().to_str().unwrap(), "<root>");
    (text, output.status.code().unwrap())
}

async fn vm() -> Vm {
    let vm = Vm::new(&Controller::start().await);
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["controllerUrl"] = json!("http://100.64.0.1:18337");
        bootstrap["expiresAt"] = json!("2026-11-22T16:00:00Z");
    });
    vm
}

#[tokio::test]
async fn good_files_are_told_with_what_would_run() {
    let vm = vm().await;
    let (text, code) = check(&vm);
    assert_eq!(
        code, 1,
        "outside of a trial a runner needs a user of its own"
    );
    assert!(!text.contains(TOKEN));
    insta::assert_snapshot!(text, @r#"
    bootstrap  cattle rex, run 01J00000000000000000000000, controller http://100.64.0.1:18337, until 2026-11-22 16:00:00 UTC
    task       rex, type shell
    runners    shell
    would run  ["/bin/sh", "-c", "true"]
    user       the runner for task type `shell` has no user of its own: it could read the guest's session
    "#);
}

#[tokio::test]
async fn in_a_trial_on_loopback_a_runner_may_be_the_guests_own_user() {
    let vm = vm().await;
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["controllerUrl"] = json!("http://127.0.0.1:18337");
    });
    let (text, code) = check(&vm);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn every_bad_file_is_told() {
    let vm = vm().await;
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["controllerUrl"] = json!("https://example.com/");
    });
    vm.edit(paths::TASK, |task| task["schemaVersion"] = json!(2));
    vm.command(&[]);
    let (text, code) = check(&vm);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r"
    bootstrap  the bootstrap file `<root>/run/clawdlets/cattle/bootstrap.json` is not valid: controllerUrl: `https` is not spoken, only http: the tailnet encrypts
    task       the task file `<root>/var/lib/clawdlets/cattle/task.json` is not valid: schemaVersion 2, known: 1
    runners    the runners file `<root>/etc/clawdlets/cattle/runners.json` is not valid: `shell` has no command
    ");
}

#[tokio::test]
async fn a_used_disk_is_told() {
    let vm = vm().await;
    vm.write(
        "/var/lib/clawdlets/cattle/state/started.json",
        &json!({ "run": RUN }),
    );
    vm.edit(paths::TASK, |task| task["type"] = json!("python"));
    let (text, code) = check(&vm);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r"
    bootstrap  cattle rex, run 01J00000000000000000000000, controller http://100.64.0.1:18337, until 2026-11-22 16:00:00 UTC
    task       rex, type python
    runners    shell
    would run  no runner for task type `python`; known: shell
    state      run 01J00000000000000000000000 started here before; it is not run again
    ");
}
