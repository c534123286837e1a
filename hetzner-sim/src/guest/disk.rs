//! A guest's directory: what may be written into it, and how.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use rustix::fs::OFlags;

use super::user_data::WriteFile;

/// The only places that `write_files` may reach.
const ALLOWED_DIRS: [&str; 2] = ["/var/lib/clawdlets/cattle", "/run/clawdlets/cattle"];
const ALLOWED_FILES: [&str; 1] = ["/run/clawdlets/ts.key"];

/// Where a runners file is put.
const RUNNERS: &str = "etc/clawdlets/cattle/runners.json";

/// What the guest and its processes printed.
const CONSOLE: &str = "console.log";

/// A console that is asked for is read up to here; the start of a boot says most.
const CONSOLE_READ_MAX: u64 = 1024 * 1024;

/// Why a guest's files could not be put in place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("{0} is not a path that may be written")]
    Forbidden(String),
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// One guest's root directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory ready for a boot: `/run` is empty, as after every boot.
    pub(crate) fn prepare(&self) -> Result<(), DiskError> {
        let failed = |path: &Path, source| DiskError::Write {
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(|e| failed(&self.root, e))?;
        let run = self.root.join("run");
        match fs::remove_dir_all(&run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&run, error)),
            _ => Ok(()),
        }
    }

    /// Writes one file of `write_files`, where that is allowed.
    pub(crate) fn write(&self, file: &WriteFile) -> Result<(), DiskError> {
        let inside = allowed(&file.path).ok_or_else(|| DiskError::Forbidden(file.path.clone()))?;
        self.put(&inside, &file.content, file.mode)
    }

    /// Copies the runners file to where the guest looks for it.
    pub(crate) fn install_runners(&self, from: &Path) -> Result<(), DiskError> {
        let content = fs::read(from).map_err(|source| DiskError::Write {
            path: from.to_owned(),
            source,
        })?;
        self.put(Path::new(RUNNERS), &content, 0o644)
    }

    /// Follows no link on the way: an earlier boot of the guest may have left some.
    fn put(&self, inside: &Path, content: &[u8], mode: u32) -> Result<(), DiskError> {
        let path = self.root.join(inside);
        let failed = |source| DiskError::Write {
            path: path.clone(),
            source,
        };
        let mut dir = self.root.clone();
        for component in inside.parent().into_iter().flat_map(Path::components) {
            dir.push(component);
            match fs::symlink_metadata(&dir) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
                Err(_) => fs::DirBuilder::new()
                    .mode(0o700)
                    .create(&dir)
                    .map_err(failed)?,
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(content))
            .map_err(failed)
    }

    /// The console, for appending.
    pub(crate) fn console(&self) -> io::Result<fs::File> {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(nofollow())
            .open(self.root.join(CONSOLE))
    }

    /// A line of our own among what the guest printed.
    pub(crate) fn note(&self, line: &str) {
        if let Ok(mut console) = self.console() {
            // A console that cannot be written to has nobody to tell.
            let _ = writeln!(console, "[hetzner-sim] {line}");
        }
    }

    /// What the console holds, up to a limit.
    pub(crate) fn read_console(&self) -> io::Result<Vec<u8>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(nofollow())
            .open(self.root.join(CONSOLE))?;
        let mut text = Vec::new();
        file.take(CONSOLE_READ_MAX).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Removes everything.
    pub(crate) fn wipe(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

fn nofollow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// The path beneath the root, if it is one of the known places and takes no detour.
fn allowed(path: &str) -> Option<PathBuf> {
    let inside = path.strip_prefix('/')?;
    let plain = Path::new(inside)
        .components()
        .all(|c| matches!(c, Component::Normal(_)))
        && !inside
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."));
    let known = ALLOWED_FILES.contains(&path)
        || ALLOWED_DIRS.iter().any(|dir| {
            path.strip_prefix(dir)
                .is_some_and(|rest| rest.starts_with('/'))
        });
    (plain && known).then(|| PathBuf::from(inside))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use rstest::rstest;

    use super::*;

    fn file(path: &str) -> WriteFile {
        WriteFile {
            path: path.to_owned(),
            content: b"x".to_vec(),
            mode: 0o600,
        }
    }

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().join("guest"));
        disk.prepare().unwrap();
        (dir, disk)
    }

    #[rstest]
    #[case("/var/lib/clawdlets/cattle/task.json")]
    #[case("/var/lib/clawdlets/cattle/persona/SOUL.md")]
    #[case("/run/clawdlets/cattle/bootstrap.json")]
    #[case("/run/clawdlets/ts.key")]
    fn known_places_are_written_with_their_mode(#[case] path: &str) {
        let (_dir, disk) = disk();
        disk.write(&file(path)).unwrap();
        let written = disk.root().join(path.trim_start_matches('/'));
        let mode = fs::metadata(written).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[rstest]
    #[case("/etc/passwd")]
    #[case("relative")]
    #[case("/run/clawdlets/cattle")]
    #[case("/run/clawdlets/cattle/")]
    #[case("/run/clawdlets/cattle/../../../etc/passwd")]
    #[case("/run/clawdlets/cattle/./x")]
    #[case("/run/clawdlets/cattle//x")]
    #[case("/run/clawdlets/cattlefish")]
    #[case("/run/clawdlets/other.key")]
    #[case("/etc/clawdlets/cattle/runners.json")]
    fn other_places_are_refused(#[case] path: &str) {
        let (_dir, disk) = disk();
        assert!(matches!(
            disk.write(&file(path)),
            Err(DiskError::Forbidden(_))
        ));
    }

    #[test]
    fn a_link_left_by_an_earlier_boot_is_not_followed() {
        let (dir, disk) = disk();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let lib = disk.root().join("var/lib/clawdlets");
        fs::create_dir_all(&lib).unwrap();
        symlink(&outside, lib.join("cattle")).unwrap();
        assert!(
            disk.write(&file("/var/lib/clawdlets/cattle/task.json"))
                .is_err()
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn a_boot_empties_run_and_keeps_the_rest() {
        let (_dir, disk) = disk();
        disk.write(&file("/run/clawdlets/cattle/bootstrap.json"))
            .unwrap();
        disk.write(&file("/var/lib/clawdlets/cattle/task.json"))
            .unwrap();
        disk.prepare().unwrap();
        assert!(!disk.root().join("run").exists());
        assert!(
            disk.root()
                .join("var/lib/clawdlets/cattle/task.json")
                .exists()
        );
    }
}
