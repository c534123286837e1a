//! One controller for one state directory.
//!
//! The kernel holds the lock as long as the file is open, so a crash releases it; the process id
//! inside is for people.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::StoreError;

/// A process id is shorter; what else is in the file is not ours.
const MAX_HOLDER_BYTES: u64 = 32;

/// Held for as long as the controller runs.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct StateLock {
    _file: File,
    path: PathBuf,
}

impl StateLock {
    /// Makes the state directory if there is none (0700), closes it to others if it is open to
    /// them, and locks it.
    ///
    /// # Errors
    /// Another controller holds it (its process id is in the message), or the directory cannot be
    /// made, closed or written.
    pub fn acquire(state_dir: &Path) -> Result<Self, StoreError> {
        private_dir(state_dir)?;
        let path = state_dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io("open the lock", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Open {
                    message: format!(
                        "another controller ({}) uses the state directory `{}`; stop it, or give this one another directory",
                        holder(&mut file),
                        state_dir.display()
                    ),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::io("lock", &path, error));
            }
        }
        let told = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        match told {
            // The lock is the kernel's; what is written is for people.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!("no room to say in the lock which process holds it");
            }
            told => told.map_err(|error| StoreError::io("write the lock", &path, error))?,
        }
        Ok(Self { _file: file, path })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(MAX_HOLDER_BYTES).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        // Between its lock and its line.
        _ => "just starting".to_owned(),
    }
}

/// A directory that is ours alone.
pub(super) fn private_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StoreError::io("make the state directory", path, error))?;
    let metadata = path
        .metadata()
        .map_err(|error| StoreError::io("look at the state directory", path, error))?;
    let mode = metadata.mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    // A sticky directory is a shared one (`/tmp`): certainly a mistake, and not ours to close.
    if mode & 0o1000 != 0 {
        return Err(StoreError::Open {
            message: format!(
                "`{}` is a shared directory; name a state directory that is the controller's alone",
                path.display()
            ),
        });
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
        .map_err(|error| StoreError::io("close the state directory to others", path, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_second_controller_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = StateLock::acquire(&state).unwrap();
        let refusal = StateLock::acquire(&state).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        drop(first);
        let _again = StateLock::acquire(&state).unwrap();
    }

    #[test]
    fn the_state_directory_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        std::fs::create_dir_all(&state).unwrap();
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
        let lock = StateLock::acquire(&state).unwrap();
        assert_eq!(state.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(lock.path().metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_shared_directory_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        StateLock::acquire(dir.path()).unwrap_err();
        assert_eq!(dir.path().metadata().unwrap().mode() & 0o7777, 0o1777);
    }
}
