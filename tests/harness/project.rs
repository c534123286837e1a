//! A project in a temporary directory: the example's, with a runner that leaves a trace.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

use cattle_core::example;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    process::{PATIENCE, Ran, cli, poll},
    socket::Socket,
};

/// The secret that guests get; nothing may hold it but them.
pub const MODEL_KEY: &str = "e2e-zai-key-do-not-leak-5b2f";

/// An operator's key, of which no private half exists.
pub const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPfZx8gEr2tGSrRdwCNs0t6QFzW6Y6Y0B8M2m5m6p5y operator";

/// Where the controller's socket is in a project unless told otherwise.
const SOCKET: &str = ".clawdlets/cattle/orchestrator.sock";

/// Writes one line for each time a task was begun, then does what the message says:
/// `ok`, `fail CODE`, `sleep SECONDS`, `wait FILE` (until it is among the traces), `env NAME`
/// (variables with that in their name), `lines FILE COUNT` (waits, then says so many lines), `junk` (a
/// result that is none). It starts as few processes as it can: a batch runs it
/// two hundred times.
const RUNNER: &str = r#"#!/bin/sh
set -u
read -r task < "$CLAWDLETS_TASK_FILE" || [ -n "$task" ]
id=${task#*\"taskId\":\"} id=${id%%\"*}
message=${task#*\"message\":\"} message=${message%%\"*}
echo "$$" >> "@RAN@/$id"
echo "task $id: $message"
set -- $message
case "$1" in
  ok) ;;
  fail) exit "$2" ;;
  sleep) sleep "$2" & wait $! ;;
  wait) until [ -e "@RAN@/$2" ]; do sleep 0.1; done ;;
  env) env | grep "$2" ;;
  lines) until [ -e "@RAN@/$2" ]; do sleep 0.1; done; seq 1 "$3" ;;
  junk) printf '{' > result.json; exit 0 ;;
  *) exit 3 ;;
esac
printf '{"answer":"%s"}' "$id" > result.json
"#;

/// A project and everything around it.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
    /// Tells this project's guest API from those of the tests beside it.
    number: u16,
    /// Made when it is first asked: inside a runtime it could not even be dropped.
    socket: OnceLock<Socket>,
    socket_path: PathBuf,
}

static PROJECTS: AtomicU16 = AtomicU16::new(1);

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Project {
    /// The example project without its specs, room for 50 servers.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("cattle-e2e-")
            // For a look at what a failed test left behind.
            .disable_cleanup(std::env::var_os("E2E_KEEP").is_some())
            .tempdir()
            .unwrap();
        let socket_path = dir.path().join("project").join(SOCKET);
        let project = Self {
            socket: OnceLock::new(),
            socket_path,
            dir,
            number: PROJECTS.fetch_add(1, Ordering::Relaxed),
        };
        for dir in [
            project.specs(),
            project.guests(),
            project.secrets(),
            project.ran(),
        ] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .unwrap();
        }
        for (path, bytes) in example::FILES {
            if !path.starts_with("cattle/specs/") {
                let path = project.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        let key = project.secrets().join("zai_api_key");
        fs::write(&key, MODEL_KEY).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let runner = project.dir.path().join("runner.sh");
        fs::write(
            &runner,
            RUNNER.replace("@RAN@", &project.ran().to_string_lossy()),
        )
        .unwrap();
        fs::set_permissions(&runner, fs::Permissions::from_mode(0o700)).unwrap();
        let runners = json!({
            "schemaVersion": 1,
            "runners": { "clawdbot.gateway.agent": { "command": ["/bin/sh", runner] } },
        });
        fs::write(project.runners(), runners.to_string()).unwrap();
        project.configure(|fleet| {
            fleet["cattle"]["hetzner"]["maxInstances"] = json!(50);
            fleet["cattle"]["limits"]["createsPerHour"] = json!(3_600);
            fleet["cattle"].as_object_mut().unwrap().remove("budget");
        });
        project
    }

    /// The same, with its socket where other users of this machine can get at it, as on a host.
    #[must_use]
    pub fn with_open_socket() -> Self {
        let mut project = Self::new();
        fs::set_permissions(project.around(), fs::Permissions::from_mode(0o711)).unwrap();
        project.socket_path = project.around().join("orchestrator.sock");
        project
    }

    /// Changes the fleet's configuration.
    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("fleet/clawdlets.json");
        let mut fleet: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut fleet);
        let next = path.with_extension("next");
        fs::write(&next, serde_json::to_vec_pretty(&fleet).unwrap()).unwrap();
        fs::rename(next, path).unwrap();
    }

    /// The project's directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// The watched directory.
    #[must_use]
    pub fn specs(&self) -> PathBuf {
        self.path().join("cattle/specs")
    }

    /// The controller's state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path().join(".clawdlets/cattle")
    }

    /// The controller's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_path.clone()
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let socket = self.socket.get_or_init(|| Socket::new(&self.socket_path));
        socket.call(method, path, body)
    }

    /// The controller's log, of all its lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("controller.log")
    }

    /// Where guests reach the controller: the same through all its lives, because guests are told
    /// once. An address of its own instead of a free port, which another test could take between
    /// two lives.
    #[must_use]
    pub fn guest_listen(&self) -> String {
        let [.., high, low] = std::process::id().to_be_bytes();
        let [hundreds, ones] = self.number.to_be_bytes();
        format!("127.{high}.{low}.{ones}:{}", 18_337 + u32::from(hundreds))
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.dir.path().join("secrets")
    }

    /// The guests' roots.
    #[must_use]
    pub fn guests(&self) -> PathBuf {
        self.dir.path().join("guests")
    }

    /// The guests' runners.
    #[must_use]
    pub fn runners(&self) -> PathBuf {
        self.dir.path().join("runners.json")
    }

    /// Where the runner leaves its traces.
    #[must_use]
    pub fn ran(&self) -> PathBuf {
        self.dir.path().join("ran")
    }

    /// How often a task was begun.
    #[must_use]
    pub fn runs_of(&self, task: &str) -> usize {
        fs::read_to_string(self.ran().join(task)).map_or(0, |text| text.lines().count())
    }

    /// A spec file's text: persona rex, this message, these further lines of `spec`.
    #[must_use]
    pub fn spec(message: &str, more: &[&str]) -> String {
        let mut text = format!(
            "apiVersion: clawdlets.dev/v1\nkind: Cattle\nspec:\n  persona: rex\n  task:\n    message: {message}\n"
        );
        for line in more {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Drops a spec file into the watched directory by a rename, as careful writers do.
    pub fn drop_spec(&self, name: &str, text: &str) {
        let staged = self.dir.path().join(format!("{name}.staged"));
        fs::write(&staged, text).unwrap();
        fs::rename(staged, self.specs().join(format!("{name}.yaml"))).unwrap();
    }

    /// Removes a spec file.
    pub fn remove_spec(&self, name: &str) {
        fs::remove_file(self.specs().join(format!("{name}.yaml"))).unwrap();
    }

    /// What the controller says of a cattle; `None` while there is no such cattle, or no answer.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<Value> {
        match self.ask("GET", &format!("/v1/cattle/{name}"), None)? {
            (200, status) => Some(status),
            _ => None,
        }
    }

    /// What the socket answers to a GET.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, Value)> {
        self.ask("GET", path, None)
    }

    /// What the socket answers to any call.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        self.ask(method, path, body)
    }

    /// What the controller says of all cattle.
    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        match self.ask("GET", "/v1/cattle?limit=5000", None) {
            Some((200, mut list)) => match list["items"].take() {
                Value::Array(items) => items,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// A plan of now, as `POST /v1/plan` answers it: the pass behind it began after this call, so
    /// whatever was on disk before has been seen.
    #[must_use]
    pub fn plan(&self) -> Value {
        match self.ask("POST", "/v1/plan", Some(&json!({}))) {
            Some((200, plan)) => plan,
            other => panic!("no plan: {other:?}\n{}", self.log_tail()),
        }
    }

    /// Waits until a cattle's status has a value at a JSON pointer.
    pub fn wait_for(&self, name: &str, pointer: &str, wanted: &Value) -> Value {
        self.wait_until(name, &format!("{pointer} is {wanted}"), |status| {
            status.pointer(pointer) == Some(wanted)
        })
    }

    /// Waits until a cattle's status is as wanted.
    pub fn wait_until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        poll(PATIENCE, || {
            last = self.status(name);
            last.clone().filter(&wanted)
        })
        .unwrap_or_else(|| {
            panic!(
                "{name}: waited in vain: {what}; last seen: {last:#?}\nlog:\n{}",
                self.log_tail()
            )
        })
    }

    /// Runs `clawdlets` in the project.
    #[must_use]
    pub fn clawdlets(&self, args: &[&str]) -> Ran {
        cli(self, "clawdlets", args)
    }

    /// The end of the controller's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("cattle_controller") || !line.contains(" TRACE "))
            .collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The directory around the project.
    #[must_use]
    pub fn around(&self) -> &Path {
        self.dir.path()
    }
}
