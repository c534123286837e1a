//! Processes and waiting.

use std::{
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use crate::Project;

/// Two loaded cores may be slow; a test that needs longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const GAP: Duration = Duration::from_millis(20);

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
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain: {what}",
            patience.as_secs()
        );
        thread::sleep(GAP);
    }
}

/// Runs `clawdlets` or `clf` in a project, to its end.
#[must_use]
pub fn cli(project: &Project, program: &str, args: &[&str]) -> Output {
    Command::new(binary(program))
        .args(args)
        .current_dir(project.path())
        .env_remove("CLF_SOCKET_PATH")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}
