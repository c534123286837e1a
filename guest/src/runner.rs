//! From a task to a running process: which command, which environment, which user.
//!
//! The runner gets the run's env and eight variables of ours; nothing is inherited but `PATH`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cattle_schemas::guest::paths;
use cattle_schemas::runners::{Runner, RunnersFile};
use zeroize::Zeroizing;

use crate::accounts::{self, Account};
use crate::layout::{Layout, create_private_dir, remove_if_there};

/// Where programs are looked for when we have no `PATH` ourselves: NixOS, then the rest.
const DEFAULT_PATH: &str = "/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the runner did not start; the sentence becomes the outcome's message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunnerError {
    #[error("no runner for task type `{kind}`; known: {known}")]
    NoRunner { kind: String, known: String },
    #[error("the env holds a name that no process can have: `{}`", .0.escape_debug())]
    BadEnvName(String),
    #[error("the env's value of `{0}` holds a NUL byte")]
    BadEnvValue(String),
    #[error("the runner's user `{0}` does not exist")]
    NoUser(String),
    #[error("the runner's user `{user}` needs root; the guest runs as uid {uid}")]
    NotRoot { user: String, uid: u32 },
    #[error("cannot prepare `{}`: {source}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("cannot start `{program}`: {source}")]
    Start { program: String, source: io::Error },
}

/// The runner for `kind`.
pub(crate) fn choose<'a>(file: &'a RunnersFile, kind: &str) -> Result<&'a Runner, RunnerError> {
    file.runners.get(kind).ok_or_else(|| RunnerError::NoRunner {
        kind: kind.to_owned(),
        known: if file.runners.is_empty() {
            "none".to_owned()
        } else {
            let known: Vec<_> = file.runners.keys().map(String::as_str).collect();
            known.join(", ")
        },
    })
}

/// What the controller gave for the runner.
pub(crate) struct RunnerEnv {
    env: BTreeMap<String, Zeroizing<String>>,
    model: String,
}

impl RunnerEnv {
    /// Refuses names and values that the kernel would cut or mistake.
    pub(crate) fn new(
        env: BTreeMap<String, Zeroizing<String>>,
        model: String,
    ) -> Result<Self, RunnerError> {
        for (name, value) in &env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(RunnerError::BadEnvName(name.clone()));
            }
            if value.contains('\0') {
                return Err(RunnerError::BadEnvValue(name.clone()));
            }
        }
        Ok(Self { env, model })
    }
}

/// Makes the workspace, and an empty log. What an earlier run left as its result is not ours.
pub(crate) fn prepare(layout: &Layout) -> Result<File, RunnerError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RunnerError::Prepare { path, source }
    };
    let workspace = layout.workspace();
    create_private_dir(&workspace).map_err(failed(&workspace))?;
    let stale = workspace.join(paths::RESULT_FILE);
    remove_if_there(&stale).map_err(failed(&stale))?;
    let log = layout.log();
    create_private_dir(&layout.state_dir()).map_err(failed(&log))?;
    remove_if_there(&log).map_err(failed(&log))?;
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&log)
        .map_err(failed(&log))
}

/// Starts the runner as the leader of a new process group, its output going to `output`.
pub(crate) fn start(
    runner: &Runner,
    env: &RunnerEnv,
    layout: &Layout,
    output: OwnedFd,
) -> Result<Child, RunnerError> {
    let program = runner.command.first().cloned().unwrap_or_default();
    let start = |source| RunnerError::Start {
        program: program.clone(),
        source,
    };
    let workspace = layout.workspace();
    let mut command = Command::new(&program);
    command.args(&runner.command[1..]).env_clear();
    for (name, value) in &env.env {
        command.env(name, value.as_str());
    }
    // Ours last: the env cannot move them.
    command
        .env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()),
        )
        .env("HOME", &workspace)
        .env("LANG", "C.UTF-8")
        .env("TERM", "dumb")
        .env("CLAWDLETS_TASK_FILE", layout.task())
        .env("CLAWDLETS_PERSONA_DIR", layout.persona_dir())
        .env("CLAWDLETS_MODEL", &env.model)
        .current_dir(&workspace)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(start)?)
        .stderr(output);
    if let Some(user) = &runner.user
        && let Some(account) = other_account(user)?
    {
        hand_files_to(account, layout)?;
        command.uid(account.uid).gid(account.gid);
    }
    command.spawn().map_err(start)
}

/// The account to change to; `None` when we are it already.
fn other_account(user: &str) -> Result<Option<Account>, RunnerError> {
    let account = accounts::find(user)
        .map_err(|source| RunnerError::Prepare {
            path: "/etc/passwd".into(),
            source,
        })?
        .ok_or_else(|| RunnerError::NoUser(user.to_owned()))?;
    let uid = rustix::process::geteuid().as_raw();
    if uid == account.uid {
        return Ok(None);
    }
    if uid != 0 {
        return Err(RunnerError::NotRoot {
            user: user.to_owned(),
            uid,
        });
    }
    Ok(Some(account))
}

/// Another user than ours has to reach task, persona and workspace, and nothing else.
fn hand_files_to(account: Account, layout: &Layout) -> Result<(), RunnerError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RunnerError::Prepare { path, source }
    };
    let workspace = layout.workspace();
    if let Some(parent) = workspace.parent() {
        // To pass through, not to list.
        fs::set_permissions(parent, fs::Permissions::from_mode(0o711)).map_err(failed(parent))?;
    }
    for path in [workspace, layout.task(), layout.persona_dir()] {
        hand_over(account, &path).map_err(failed(&path))?;
    }
    Ok(())
}

fn hand_over(account: Account, path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    lchown(path, Some(account.uid), Some(account.gid))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(account, &entry?.path())?;
        }
    }
    Ok(())
}
