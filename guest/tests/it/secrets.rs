//! What is written where, and readable by whom.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cattle_schemas::guest::paths;

use crate::controller::{Call, Controller, Fault, SECRET, TOKEN};
use crate::vm::{Guest, Vm, crashes_with_a_core};

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

fn holding(vm: &Vm, secret: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&vm.root(), &mut found);
    found.retain(|path| {
        path.is_file() && String::from_utf8_lossy(&fs::read(path).unwrap()).contains(secret)
    });
    found
}

async fn waiting_runner(controller: &Controller, vm: &Vm) -> Guest {
    vm.runner("echo up; while ! [ -e go ]; do sleep 0.01; done");
    let guest = vm.start();
    controller
        .until("output", |seen| !seen.log.is_empty())
        .await;
    guest
}

#[tokio::test]
async fn while_the_runner_runs_only_the_session_is_on_disk_and_afterwards_nothing() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    let guest = waiting_runner(&controller, &vm).await;
    let key = controller.seen(|seen| seen.idempotency_keys[0].clone());
    for secret in [TOKEN, SECRET, &key] {
        assert_eq!(holding(&vm, secret), Vec::<PathBuf>::new());
    }
    let session = vm.path(paths::BOOTSTRAP).with_file_name("session.json");
    assert_eq!(holding(&vm, "5e5510-1"), [session]);
    fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
    for secret in [TOKEN, SECRET, "5e5510-1", &key] {
        assert_eq!(holding(&vm, secret), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn everything_the_guest_makes_is_private() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    let mut given = Vec::new();
    walk(&vm.root(), &mut given);
    let guest = waiting_runner(&controller, &vm).await;
    let mut found = Vec::new();
    walk(&vm.root(), &mut found);
    found.retain(|path| !given.contains(path));
    assert!(found.len() >= 5, "{found:?}");
    for path in found {
        let metadata = fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{} is {mode:o}", path.display());
    }
    fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
}

#[tokio::test]
async fn while_the_runner_runs_nobody_reads_the_guests_memory() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    let guest = waiting_runner(&controller, &vm).await;
    // Of a process that is not dumpable everything in `/proc` is root's, and no core is written.
    assert_eq!(guest.shown_to(), 0);
    assert!(!guest.crashes_with_a_core().await);
    // The runner is as ever, and shows whether this machine writes cores at all.
    let mut other = tokio::process::Command::new("sleep")
        .arg("600")
        .current_dir(vm.root())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    if !crashes_with_a_core(&mut other).await {
        #[allow(clippy::print_stderr, reason = "why this showed less than it could")]
        {
            eprintln!("this machine writes no cores: only the owner in `/proc` was looked at");
        }
    }
}

#[tokio::test]
async fn no_secret_is_ever_logged_even_when_asked_to_log_everything() {
    let controller = Controller::start().await;
    for call in [Call::Env, Call::Ready, Call::Finished, Call::Logs] {
        controller.fault(
            call,
            [Fault::CutAfter, Fault::LostAfter, Fault::Status(500)],
        );
    }
    let vm = Vm::new(&controller);
    vm.runner("echo hello");
    assert_eq!(vm.run().await, 0);
    let stderr = vm.stderr();
    assert!(stderr.contains("will try again"), "{stderr}");
    let key = controller.seen(|seen| seen.idempotency_keys[0].clone());
    for secret in [TOKEN, SECRET, "5e5510", &key] {
        assert!(!stderr.contains(secret), "`{secret}` in:\n{stderr}");
    }
}

#[tokio::test]
async fn a_bootstrap_file_that_does_not_parse_is_not_quoted() {
    let controller = Controller::start().await;
    let vm = Vm::new(&controller);
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["schemaVersion"] = TOKEN.into();
    });
    assert_eq!(vm.run().await, 1);
    let stderr = vm.stderr();
    assert!(stderr.contains("not of the agreed shape"), "{stderr}");
    assert!(!stderr.contains(TOKEN), "{stderr}");
}
