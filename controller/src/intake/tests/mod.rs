//! The intake on real directories. Scans take place at moments of the test's choosing; only the
//! tests of the watcher wait, for a bell that rings.

#![allow(clippy::unwrap_used)]

mod around;
mod directories;
mod files;
mod reading;
mod watching;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cattle_core::{
    desired::{Authority, Cattle, Desired, SpecEntry, SpecState},
    fleet::Fleet,
};
use cattle_schemas::Timestamp;
use tempfile::TempDir;

use super::{Scanned, Scanner, Settled, tracked::Moment};
use crate::{
    clock::TimeSource,
    patience::Patience,
    settings::{PeerCheck, Settings, SpecDir},
    store::SocketSpec,
};

/// Long enough for any file to be complete.
const LONG: Duration = Duration::from_secs(60);

const SPEC: &str = "apiVersion: clawdlets.dev/v1
kind: Cattle
spec:
  persona: rex
  task: { message: Fix the flaky test }
";

const FLEET: &str = r#"{
  "schemaVersion": 8,
  "defaultHost": "h",
  "hosts": { "h": { "agentModelPrimary": "zai/glm-4.7" } },
  "fleet": { "modelSecrets": { "zai": "zai_api_key" } },
  "cattle": { "fleet": "prod", "hetzner": {
    "image": "123456", "serverType": "cx23", "location": "nbg1", "defaultTtl": "2h"
  } }
}"#;

fn fleet() -> Fleet {
    Fleet::load("fleet", FLEET.as_bytes()).unwrap()
}

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_795_341_600 + seconds, 0).unwrap()
}

/// A project with the persona rex, an operator's and a bot's spec directory, and the socket's.
struct Yard {
    directory: TempDir,
    settings: Settings,
    settled: Settled,
    scanner: Scanner,
    fleet: Fleet,
    socket_specs: Vec<SocketSpec>,
}

impl Yard {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let dir = |path: &str, authority| SpecDir {
            path: base.join(path),
            authority,
        };
        let settings = Settings {
            project: base.join("project"),
            state_dir: base.join("state"),
            spec_dirs: vec![
                dir("bots", Authority::Bot),
                dir("project/cattle/specs", Authority::Operator),
            ],
            secrets_dir: None,
            socket: base.join("socket"),
            guest_listen: "127.0.0.1:0".parse().unwrap(),
            guest_url: None,
            retention: Duration::from_secs(1),
            peer_check: PeerCheck::Off,
            patience: Patience::default(),
            time: TimeSource::default(),
        };
        for path in [
            "bots",
            "state/specs",
            "project/cattle/specs",
            "project/cattle/personas/rex",
            "project/cattle/tasks",
            "project/fleet",
        ] {
            fs::create_dir_all(base.join(path)).unwrap();
        }
        fs::write(
            base.join("project/cattle/personas/rex/SOUL.md"),
            "You are rex.",
        )
        .unwrap();
        fs::write(base.join("project/cattle/personas/rex/config.json"), "{}").unwrap();
        let settled = Settled::default();
        settled.complete(&base.join("project/cattle/personas"));
        let scanner = Scanner::new(&settings, settled.clone());
        Self {
            directory,
            settings,
            settled,
            scanner,
            fleet: fleet(),
            socket_specs: Vec::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// A file of the operator's specs.
    fn spec(&self, path: &str) -> PathBuf {
        self.path("project/cattle/specs").join(path)
    }

    fn write(&self, path: &Path, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Another file under the same name, as most programs save.
    fn replace(&self, path: &Path, content: &str) {
        let beside = self.path("beside");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, path).unwrap();
    }

    /// A scan when everything is as it was for long.
    fn scan(&mut self, seconds: i64) -> Desired {
        let scanned = self.scan_after(LONG, seconds);
        assert_eq!(scanned.rescan_in, None);
        scanned.desired
    }

    /// A scan when nothing happened for a while.
    fn scan_after(&mut self, quiet: Duration, seconds: i64) -> Scanned {
        let at = Moment::now(&self.settled).later(quiet);
        self.scanner
            .scan_at(&at, &self.fleet, now(seconds), &self.socket_specs)
    }

    /// A scan at this moment.
    fn scan_now(&mut self, seconds: i64) -> Scanned {
        self.scanner
            .scan(&self.fleet, now(seconds), &self.socket_specs)
    }
}

fn entry<'a>(desired: &'a Desired, name: &str) -> Option<&'a SpecEntry> {
    desired.specs.get(&name.parse().unwrap())
}

fn valid(desired: &Desired, name: &str) -> Arc<Cattle> {
    match entry(desired, name).map(|entry| &entry.state) {
        Some(SpecState::Valid(cattle)) => cattle.clone(),
        other => panic!("{name} is not valid: {other:?}"),
    }
}

/// What is said of a broken spec, or nothing.
fn broken(desired: &Desired, name: &str) -> String {
    match entry(desired, name).map(|entry| &entry.state) {
        Some(SpecState::Broken(diagnostics)) => diagnostics
            .iter()
            .map(|d| format!("{}:{}: {}", d.path, d.line, d.message))
            .collect::<Vec<_>>()
            .join("\n"),
        other => panic!("{name} is not broken: {other:?}"),
    }
}

fn absent_since(desired: &Desired, name: &str) -> Timestamp {
    match entry(desired, name).map(|entry| &entry.state) {
        Some(SpecState::Absent { since }) => *since,
        other => panic!("{name} is not absent: {other:?}"),
    }
}

fn strays(desired: &Desired) -> Vec<String> {
    desired
        .strays
        .iter()
        .map(|d| format!("{}: {}", d.path, d.message))
        .collect()
}
