//! A guest's files in a temporary directory, and the guest that runs on them.

use std::fs::{self, File};
use std::os::unix::{fs::MetadataExt, process::ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cattle_schemas::guest::paths;
use cattle_schemas::runners::RUNNERS_PATH;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::controller::{Controller, DEADLINE, RUN, TOKEN};

pub(crate) const HEARTBEAT_MS: &str = "50";

/// Valid files for one run; tests change one thing.
pub(crate) struct Vm {
    dir: TempDir,
}

impl Vm {
    pub(crate) fn new(controller: &Controller) -> Self {
        let vm = Self {
            dir: TempDir::new().unwrap(),
        };
        vm.write(
            paths::BOOTSTRAP,
            &json!({
                "schemaVersion": 1,
                "cattle": "rex",
                "run": RUN,
                "controllerUrl": controller.url,
                "token": TOKEN,
                "expiresAt": chrono::Utc::now() + chrono::TimeDelta::minutes(5),
            }),
        );
        vm.write(
            paths::TASK,
            &json!({
                "schemaVersion": 1,
                "taskId": "rex",
                "type": "shell",
                "message": "Fix the flaky test",
                "callbackUrl": "",
            }),
        );
        vm.runner("true");
        vm
    }

    /// The runner of the task's type: a shell script.
    pub(crate) fn runner(&self, script: &str) {
        self.command(&["/bin/sh", "-c", script]);
    }

    pub(crate) fn command(&self, command: &[&str]) {
        self.write(
            RUNNERS_PATH,
            &json!({ "schemaVersion": 1, "runners": { "shell": { "command": command } } }),
        );
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub(crate) fn workspace(&self, name: &str) -> PathBuf {
        self.path(paths::WORKSPACE).join(name)
    }

    pub(crate) fn write(&self, path: &str, content: &Value) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }

    /// Changes one of the JSON files.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&fs::read(self.path(path)).unwrap()).unwrap();
        change(&mut value);
        self.write(path, &value);
    }

    /// What a runner wrote to `name` in the workspace.
    pub(crate) fn left(&self, name: &str) -> String {
        fs::read_to_string(self.workspace(name)).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.stderr_path()).unwrap_or_default()
    }

    fn stderr_path(&self) -> PathBuf {
        // Beside the root: it is not the guest's file.
        self.dir.path().join("stderr")
    }

    pub(crate) fn start(&self) -> Guest {
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(self.stderr_path())
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_clf-cattle"))
            .args(["run", "--heartbeat-ms", HEARTBEAT_MS, "--root"])
            .arg(self.root())
            // Where a core would be written.
            .current_dir(self.dir.path())
            .env("RUST_LOG", "trace")
            .env("INHERITED", "by the guest")
            // A proxy that swallows everything: the guest must not use it.
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("http_proxy", "http://127.0.0.1:9")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Guest {
            child,
            stderr: self.stderr_path(),
        }
    }

    /// Runs to the end; the exit code.
    pub(crate) async fn run(&self) -> i32 {
        self.start().ended().await
    }
}

pub(crate) struct Guest {
    child: Child,
    stderr: PathBuf,
}

impl Guest {
    pub(crate) async fn ended(mut self) -> i32 {
        match tokio::time::timeout(DEADLINE, self.child.wait()).await {
            Ok(status) => status.unwrap().code().expect("not killed"),
            Err(_) => panic!(
                "the guest did not end; it said:\n{}",
                fs::read_to_string(&self.stderr).unwrap()
            ),
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// As a crash: nothing is cleaned up.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets it crash; whether the kernel wrote a core.
    pub(crate) async fn crashes_with_a_core(mut self) -> bool {
        crashes_with_a_core(&mut self.child).await
    }

    /// Who may look at it in `/proc`.
    pub(crate) fn shown_to(&self) -> u32 {
        let file = format!("/proc/{}/environ", self.child.id().unwrap());
        fs::metadata(file).unwrap().uid()
    }

    fn pid(&self) -> rustix::process::Pid {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::Pid::from_raw(pid).unwrap()
    }
}

/// Lets a process crash; whether the kernel wrote a core.
pub(crate) async fn crashes_with_a_core(child: &mut Child) -> bool {
    use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Where that is not ours to lift, no core is written of anybody.
    let _ = prlimit(Some(pid), Resource::Core, unlimited);
    // Shells let what they start in the background ignore QUIT.
    kill_process(pid, Signal::ABORT).unwrap();
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
    ended.expect("it ends").unwrap().core_dumped()
}

/// Waits for a condition that nobody announces.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// Whether the process whose number is in `file` lives (a zombie does not).
pub(crate) fn lives(file: &Path) -> bool {
    let pid = fs::read_to_string(file).unwrap();
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .unwrap()
            .1
            .trim_start()
            .starts_with('Z')
    })
}
