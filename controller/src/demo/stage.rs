//! The demo's set: a temporary project, the imitation of Hetzner, and the controller.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use cattle_core::{desired::Authority, example};
use cattle_schemas::{
    api::{CattleList, EventList},
    event::Event,
    status::CattleStatus,
};
use hetzner_sim::{Config, Guests, Sim};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::{
    args::LogFormat,
    clock::TimeSource,
    daemon::{self, Daemon},
    hetzner::Endpoint,
    patience::Patience,
    program::log_to,
    settings::{PeerCheck, Settings, SpecDir},
};

/// The imitation accepts only this; a real token in the environment is not even read.
pub(super) const TOKEN: &str = "demo-token";

/// What the demo's agents get as a model key. Not one.
const MODEL_KEY: &str = "demo-not-a-real-key";

/// The controller's log, beneath the demo's directory.
const LOG: &str = "controller.log";

/// How much of the controller's log an error shows.
const LOG_TAIL_LINES: usize = 30;

/// Everything that runs.
pub(super) struct Stage {
    dir: TempDir,
    sim: Sim,
    daemon: Option<Daemon>,
    client: reqwest::Client,
    expected: usize,
    stop: CancellationToken,
}

impl Stage {
    /// Sets everything up and drops the spec files in.
    pub(super) async fn set(stop: CancellationToken) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("clawdlets-demo-")
            .tempdir()?;
        let log = Arc::new(fs::File::create(dir.path().join(LOG))?);
        log_to(LogFormat::Text, BoxMakeWriter::new(log));
        let project = dir.path().join("project");
        write_all(&project, example::FILES)?;
        let staging = dir.path().join("scenarios");
        write_all(&staging, example::DEMO)?;
        make_executable(&staging)?;
        let secrets = dir.path().join("secrets");
        private_dir(&secrets)?;
        fs::write(secrets.join("zai_api_key"), MODEL_KEY)?;
        let specs = project.join("cattle/specs");
        for (name, _) in example::FILES {
            // The example's own specs need a real model; the demo plays its scenarios.
            if name.starts_with("cattle/specs/") {
                fs::remove_file(project.join(name))?;
            }
        }
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        let sim = Sim::start(
            Config::default()
                .token(TOKEN)
                .create_ms(300)
                .boot_ms(700)
                .delete_ms(600)
                .guests(Guests::Process {
                    command: vec![exe.to_string_lossy().into_owned(), "guest".to_owned()],
                    runners: Some(runners(&staging)?),
                    root: dir.path().join("guests"),
                }),
        )
        .await?;
        let settings = Settings {
            state_dir: project.join(".clawdlets/cattle"),
            spec_dirs: vec![SpecDir {
                path: specs.clone(),
                authority: Authority::Operator,
            }],
            secrets_dir: Some(secrets),
            socket: project.join(".clawdlets/cattle/orchestrator.sock"),
            guest_listen: ([127, 0, 0, 1], 0).into(),
            guest_url: None,
            retention: Duration::from_secs(24 * 3600),
            peer_check: PeerCheck::Off,
            patience: Patience::default(),
            time: TimeSource::default(),
            project,
        };
        let endpoint = Endpoint {
            url: sim.url(),
            token: SecretString::from(TOKEN),
        };
        let socket = settings.socket.clone();
        let daemon = daemon::start(settings, &endpoint, None, stop.clone()).await?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .unix_socket(socket)
            .build()?;
        let expected = drop_specs(&staging, &specs)?;
        Ok(Self {
            dir,
            sim,
            daemon: Some(daemon),
            client,
            expected,
            stop,
        })
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn sim(&self) -> &Sim {
        &self.sim
    }

    pub(super) fn expected(&self) -> usize {
        self.expected
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir
            .path()
            .join("project/.clawdlets/cattle/orchestrator.sock")
    }

    /// What `clawdlets cattle list --all` sees.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<CattleStatus>> {
        let list: CattleList = self
            .client
            .get("http://localhost/v1/cattle?all=true")
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        Ok(list.items)
    }

    /// The end of a cattle's log.
    pub(super) async fn log_tail(&self, name: &str, bytes: u64) -> anyhow::Result<String> {
        let url = format!("http://localhost/v1/cattle/{name}/logs?tailBytes={bytes}");
        let body = self
            .client
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What happened to a cattle.
    pub(super) async fn events(&self, name: &str) -> anyhow::Result<Vec<Event>> {
        let url = format!("http://localhost/v1/cattle/{name}/events");
        let reply = self.client.get(url).send().await?.error_for_status()?;
        let list: EventList = reply.json().await?;
        Ok(list.items)
    }

    /// A cattle's result, if it left one.
    pub(super) async fn result(&self, name: &str) -> anyhow::Result<Option<serde_json::Value>> {
        let url = format!("http://localhost/v1/cattle/{name}/result");
        let reply = self.client.get(url).send().await?;
        if !reply.status().is_success() {
            return Ok(None);
        }
        let reply: cattle_schemas::api::ResultReply = reply.json().await?;
        Ok(reply.result.filter(|value| !value.is_null()))
    }

    /// The runner that stands for an agent, as the demo shows it.
    pub(super) fn runner_text(&self) -> String {
        let script = self.dir.path().join("scenarios").join(RUNNER);
        fs::read_to_string(script).unwrap_or_default()
    }

    /// What the imitation's meter says.
    pub(super) fn cost(&self) -> hetzner_sim::Cost {
        self.sim.cost()
    }

    /// The end of the controller's log.
    pub(super) fn log_end(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Waits for the next pass.
    pub(super) async fn changed(&mut self) -> anyhow::Result<()> {
        let daemon = self.daemon.as_mut().context("the controller is gone")?;
        daemon.handle.changed().await?;
        Ok(())
    }

    /// Takes everything down.
    pub(super) async fn strike(mut self) {
        self.stop.cancel();
        if let Some(daemon) = self.daemon.take() {
            daemon.join().await;
        }
        self.sim.shutdown().await;
    }
}

/// Writes embedded files beneath a directory.
fn write_all(root: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    for (name, bytes) in files {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            private_dir(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn make_executable(staging: &Path) -> io::Result<()> {
    let script = staging.join(RUNNER);
    fs::set_permissions(script, fs::Permissions::from_mode(0o700))
}

/// The demo's runner, named by `runners.json` beside it.
const RUNNER: &str = "runner.sh";

/// `runners.json` with the runner's absolute path: a guest's working directory is its workspace.
fn runners(staging: &Path) -> anyhow::Result<PathBuf> {
    let text = fs::read_to_string(staging.join("runners.json"))?;
    let mut file: cattle_schemas::runners::RunnersFile = serde_json::from_str(&text)?;
    let script = staging.join(RUNNER).to_string_lossy().into_owned();
    for runner in file.runners.values_mut() {
        for word in &mut runner.command {
            if word.ends_with(RUNNER) {
                word.clone_from(&script);
            }
        }
    }
    let path = staging.join("runners.absolute.json");
    fs::write(&path, serde_json::to_vec_pretty(&file)?)?;
    Ok(path)
}

/// Copies the scenarios into the watched directory, each by a rename. Answers how many.
fn drop_specs(staging: &Path, specs: &Path) -> anyhow::Result<usize> {
    private_dir(specs)?;
    let mut dropped = 0;
    for entry in fs::read_dir(staging)? {
        let entry = entry?;
        let name = entry.file_name();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            fs::rename(entry.path(), specs.join(&name))?;
            dropped += 1;
        }
    }
    Ok(dropped)
}
