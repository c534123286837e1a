//! Turning the machine off: the last thing a guest does. A machine that stays on after its task
//! costs money until the controller deletes it, which it does either way.

use std::process::{Command, Stdio};

use tracing::{error, info};

/// In order: the init system's way, then the kernel's.
const COMMANDS: [&[&str]; 2] = [&["systemctl", "poweroff"], &["poweroff", "-f"]];

/// Whether the machine is going down.
pub(crate) fn off() -> bool {
    first_that_works(&COMMANDS)
}

fn first_that_works(commands: &[&[&str]]) -> bool {
    for command in commands {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_way_is_taken_when_the_first_is_missing_or_fails() {
        assert!(first_that_works(&[&["no-such-program"], &["true"]]));
        assert!(first_that_works(&[&["false"], &["true"]]));
    }

    #[test]
    fn it_is_said_when_no_way_works() {
        assert!(!first_that_works(&[&["no-such-program"], &["false"]]));
    }
}
