//! Processes and waiting.

use std::{
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use crate::Project;

/// Two loaded cores may be slow; a test that needs longer than this hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const GAP: Duration = Duration::from_millis(50);

/// A program of this workspace, as `cargo test --workspace` builds it.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo test --workspace`",
        path.display()
    );
    path
}

/// Waits for a condition, a minute at most.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, condition)
}

/// Waits for a condition.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    poll(patience, &mut condition)
        .unwrap_or_else(|| panic!("waited {} s in vain: {what}", patience.as_secs()))
}

/// The first value a condition has, if it gets one in time.
pub(crate) fn poll<T>(patience: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let value = condition();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        thread::sleep(GAP);
    }
}

/// How a program ended and what it said.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Both outputs, once it ended well.
    ///
    /// # Panics
    /// It did not.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Standard output as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs `clawdlets` or `clf` in a project, to its end.
#[must_use]
pub fn cli(project: &Project, program: &str, args: &[&str]) -> Ran {
    command(project, program, args).output().unwrap().into()
}

/// The same, not started yet.
#[must_use]
pub fn command(project: &Project, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(binary(program));
    command
        .args(args)
        .current_dir(project.path())
        .env_remove("CLF_SOCKET_PATH")
        .env("NO_COLOR", "1");
    // Where it would look anyway needs no telling.
    if !project.socket().starts_with(project.path()) {
        command.env("CLF_SOCKET_PATH", project.socket());
    }
    command
}
