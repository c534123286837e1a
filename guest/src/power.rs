//! Turning the machine off: the last thing a guest does. A machine that stays on after its task
//! costs money until the controller deletes it, which it does either way.

use std::process::{Command, Stdio};

use tracing::{error, info};

/// In order: the init system's way, then the kernel's.
const COMMANDS: [&[&str]; 2] = [&["systemctl", "poweroff"], &["poweroff", "-f"]];

/// Whether the machine is going down.
pub(crate) fn off() -> bool {
    for command in COMMANDS {
        let status = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {
                info!(command = command.join(" "), "powering off");
                return true;
            }
            Ok(status) => error!(command = command.join(" "), %status, "could not power off"),
            Err(error) => error!(command = command.join(" "), %error, "could not power off"),
        }
    }
    false
}
