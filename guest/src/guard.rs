//! A runner does not outlive its guest, even one that is killed: nobody would hear of its result,
//! and a restarted guest must not find it at work.
//!
//! The kernel's own means (`PR_SET_PDEATHSIG`) can only be set between fork and exec, which takes
//! unsafe code, and reaches one process. So a second process of this very program waits for the
//! end of a pipe that only the guest holds open. It is started with the guest's own arguments,
//! because a binary that embeds the guest has others in front, and told by a variable what it is.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitCode, Stdio};

use crate::process::ProcessId;

/// Makes the program a guard; its value is the runner's [`ProcessId`] as JSON.
const ORDER: &str = "CLF_CATTLE_GUARD";

/// While it lives, so does the guard's patience.
#[derive(Debug)]
pub(crate) struct Guard {
    _pipe: Option<ChildStdin>,
}

/// Puts a guard on `runner`. It needs no ending: it goes when the guest goes, or, as the last of
/// the guest's children, with what the runner left.
pub(crate) fn post(runner: ProcessId) -> io::Result<Guard> {
    let mut arguments = std::env::args_os();
    // The running program, even if its file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let mut guard = command
        .args(arguments)
        .env_clear()
        .env(ORDER, serde_json::to_string(&runner)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What is sent to the guest's group is not meant for its guard.
        .process_group(0)
        .spawn()?;
    Ok(Guard {
        _pipe: guard.stdin.take(),
    })
}

/// If this process was started as a guard: waits for the guest's end, then ends the runner.
pub(crate) fn stand() -> Option<ExitCode> {
    let order = std::env::var(ORDER).ok()?;
    let Ok(runner) = serde_json::from_str::<ProcessId>(&order) else {
        return Some(ExitCode::FAILURE);
    };
    // Nothing is ever written; an error is as much an end as the end.
    let _ = io::stdin().read(&mut [0]);
    runner.kill_with_descendants();
    Some(ExitCode::SUCCESS)
}
