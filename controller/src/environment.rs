//! The Hetzner token, out of the environment.
//!
//! What a process was started with stays where it is: in its memory, in `/proc/<pid>/environ`, and in
//! the environment of every program that it starts. A variable cannot be taken back without unsafe
//! code, so the program starts itself once more without it, and hands the token over in a file that
//! has no name and is emptied as soon as it is read. The process id, open files and everything else
//! stay as they are.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
    sync::OnceLock,
};

use rustix::{
    fs::MemfdFlags,
    process::{DumpableBehavior, set_dumpable_behavior},
};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Where the token comes from, as for the official clients.
const TOKEN: &str = "HCLOUD_TOKEN";
/// Says in which open file the token is.
const HANDED_OVER: &str = "CLF_HANDED_OVER";
/// A token has 64 characters; what is longer is not one, and is refused by whoever takes it.
const MAX_TOKEN: usize = 4 * 1024;

static HANDED: OnceLock<SecretString> = OnceLock::new();

/// Takes the token out of the environment, and keeps other processes of this user from reading ours.
/// Returns in the process that is to go on. Where the system lets us do neither, the log says so: it
/// is no reason to stop, since nobody else reads the environment of a process of one's own.
pub(crate) fn leave() -> Vec<String> {
    let mut complaints = Vec::new();
    let handed = match env::var_os(HANDED_OVER) {
        Some(fd) => receive(&fd.to_string_lossy()).map(|token| drop(HANDED.set(token))),
        None => hand_over(),
    };
    if let Err(error) = handed {
        complaints.push(format!("{TOKEN} stays in the environment: {error}"));
    }
    // Neither a debugger of the same user, nor a core dump, gets at what we hold.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        complaints.push(format!(
            "other processes of this user can read ours: {error}"
        ));
    }
    complaints
}

/// The token of the environment that we were started with.
pub(crate) fn token() -> Option<SecretString> {
    let handed = HANDED.get().cloned();
    handed.or_else(|| env::var(TOKEN).ok().map(SecretString::from))
}

/// Returns only where there is no token, or an error.
fn hand_over() -> io::Result<()> {
    let Ok(token) = env::var(TOKEN).map(Zeroizing::new) else {
        return Ok(());
    };
    // Without a flag it stays open in the program that we become.
    let mut file = File::from(rustix::fs::memfd_create("token", MemfdFlags::empty())?);
    file.write_all(token.as_bytes())?;
    let mut arguments = env::args_os();
    let mut again = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again
        .args(arguments)
        .env_remove(TOKEN)
        .env(HANDED_OVER, file.as_raw_fd().to_string());
    Err(again.exec())
}

fn receive(fd: &str) -> io::Result<SecretString> {
    let number: u32 = fd.parse().map_err(io::Error::other)?;
    // Opened anew by its number: to take the open one would need unsafe code. It is the same file.
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{number}"))?;
    let mut bytes = Zeroizing::new(vec![0; MAX_TOKEN]);
    io::Seek::rewind(&mut file)?;
    let length = file.read(&mut bytes)?;
    file.set_len(0)?;
    let text = std::str::from_utf8(&bytes[..length]).map_err(io::Error::other)?;
    Ok(SecretString::from(text.to_owned()))
}
