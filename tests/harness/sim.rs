//! `hetzner-sim` as a process.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{Project, binary, eventually};

/// The only token the simulator accepts.
pub const TOKEN: &str = "e2e-cloud-token-0123456789abcdef";

/// How a simulator is started.
#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    /// Further arguments.
    pub args: Vec<String>,
    /// Servers are only entries in the API.
    pub without_guests: bool,
    /// The bucket's size, and the calls an hour that refill it; so large that it never counts, unless
    /// given.
    pub rate_limit: Option<(u32, u32)>,
    /// Instead of `clf-cattle`.
    pub guest_command: Option<PathBuf>,
}

/// A running simulator; killed on drop, with its guests.
#[derive(Debug)]
pub struct Sim {
    child: Child,
    url: String,
    http: reqwest::blocking::Client,
}

impl Sim {
    /// Starts one whose guests run the project's runner.
    #[must_use]
    pub fn start(project: &Project, options: &SimOptions) -> Self {
        let mut command = Command::new(binary("hetzner-sim"));
        command.args(["--listen", "127.0.0.1:0", "--token", TOKEN]);
        let (limit, refill) = options.rate_limit.unwrap_or((100_000, 100_000));
        command.args(["--rate-limit", &limit.to_string()]);
        command.args(["--rate-refill", &refill.to_string()]);
        command.args(["--create-ms", "50", "--boot-ms", "50", "--delete-ms", "50"]);
        if !options.without_guests {
            command.args(["--guests", "process", "--guest-command"]);
            let guest = options.guest_command.clone();
            command.arg(guest.unwrap_or_else(|| binary("clf-cattle")));
            command.arg("--guest-runners").arg(project.runners());
            command.arg("--guest-root").arg(project.guests());
        }
        command.args(&options.args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("the simulator said {line:?}"));
        let http = reqwest::blocking::Client::builder()
            .no_proxy()
            .build()
            .unwrap();
        Self {
            child,
            url: url.to_owned(),
            http,
        }
    }

    /// The API's base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The status of a call of the API that may be refused.
    #[must_use]
    pub fn try_call(&self, method: &str, path: &str) -> u16 {
        self.send(method, path, None).status().as_u16()
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> reqwest::blocking::Response {
        let base = self.url.strip_suffix("/v1").unwrap();
        let method = method.parse().unwrap();
        let mut request = self
            .http
            .request(method, format!("{base}{path}"))
            .bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().unwrap()
    }

    /// A call of the API or of the control API, as JSON.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let reply = self.send(method, path, body);
        let status = reply.status();
        let text = reply.text().unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap()
        }
    }

    /// Everything it knows: servers that are there and that were.
    #[must_use]
    pub fn state(&self) -> Value {
        self.call("GET", "/_sim/state", None)
    }

    /// Servers that exist and bill.
    #[must_use]
    pub fn living(&self) -> Vec<Value> {
        self.state()["servers"].as_array().unwrap().clone()
    }

    /// The calls of the API after one of them; 0 for all.
    #[must_use]
    pub fn calls_since(&self, seq: u64) -> Vec<Value> {
        let mut reply = self.call("GET", &format!("/_sim/calls?since={seq}"), None);
        assert_eq!(reply["dropped"], 0);
        match reply["calls"].take() {
            Value::Array(calls) => calls,
            other => panic!("no calls: {other}"),
        }
    }

    /// The number of the latest call.
    #[must_use]
    pub fn last_call(&self) -> u64 {
        self.call("GET", "/_sim/calls?since=1000000000", None)["total"]
            .as_u64()
            .unwrap()
    }

    /// The calls after one of them that could have changed something, as `METHOD path`.
    #[must_use]
    pub fn writes_since(&self, seq: u64) -> Vec<String> {
        let calls = self.calls_since(seq);
        let writes = calls.iter().filter(|call| call["method"] != "GET");
        writes
            .map(|call| {
                let text = |key: &str| call[key].as_str().unwrap().to_owned();
                format!("{} {}", text("method"), text("path"))
            })
            .collect()
    }

    /// A cattle's servers that exist.
    #[must_use]
    pub fn servers_of(&self, cattle: &str) -> Vec<Value> {
        let mut servers = self.living();
        servers.retain(|server| server["labels"]["cattle-name"] == cattle);
        servers
    }

    /// Waits until no server is left.
    pub fn wait_until_empty(&self) {
        eventually("no server is left", || {
            self.living().is_empty().then_some(())
        });
    }

    /// Servers that are gone.
    #[must_use]
    pub fn deleted(&self) -> Vec<Value> {
        self.state()["deletedServers"].as_array().unwrap().clone()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // SIGTERM, so that it takes its guests with it.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
