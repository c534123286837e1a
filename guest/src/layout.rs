//! Where everything is beneath the guest's root, and how it is written: 0600 files in 0700
//! directories, whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cattle_schemas::guest::paths;
use cattle_schemas::runners::RUNNERS_PATH;

/// What only the guest itself reads and writes; on disk, so that it survives a reboot.
const STATE_DIR: &str = "/var/lib/clawdlets/cattle/state";
/// Where tailscaled listens for local programs.
const TAILSCALE_SOCKET: &str = "/run/tailscale/tailscaled.sock";

/// The guest's files beneath one root.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root` is made absolute: the runner gets these paths and has another working directory.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: std::path::absolute(root)?,
        })
    }

    fn beneath(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn task(&self) -> PathBuf {
        self.beneath(paths::TASK)
    }

    pub(crate) fn persona_dir(&self) -> PathBuf {
        self.beneath(paths::PERSONA_DIR)
    }

    pub(crate) fn bootstrap(&self) -> PathBuf {
        self.beneath(paths::BOOTSTRAP)
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.beneath(paths::WORKSPACE)
    }

    pub(crate) fn runners(&self) -> PathBuf {
        self.beneath(RUNNERS_PATH)
    }

    pub(crate) fn tailscale_socket(&self) -> PathBuf {
        self.beneath(TAILSCALE_SOCKET)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.beneath(STATE_DIR)
    }

    /// The runner's output, as far as it is kept.
    pub(crate) fn log(&self) -> PathBuf {
        self.state_dir().join("run.log")
    }

    /// There from the moment the runner may have started.
    pub(crate) fn marker(&self) -> PathBuf {
        self.state_dir().join("started.json")
    }

    /// Beside the bootstrap file: it is as secret, and as short-lived.
    pub(crate) fn session(&self) -> PathBuf {
        self.bootstrap().with_file_name("session.json")
    }

    /// The key under which the env was, or is being, asked for.
    pub(crate) fn idempotency_key(&self) -> PathBuf {
        self.bootstrap().with_file_name("idempotency-key")
    }
}

/// Creates `dir` and its missing parents, each 0700.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Reads a file of at most `limit` bytes; `None` when there is none. A longer one is an error of
/// kind `FileTooLarge`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(Some(bytes))
}

/// Writes `bytes` to `path`, 0600, so that after a crash either the old or the new content is
/// there, and after `Ok` the new.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path
        .parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a directory"))?;
    create_private_dir(dir)?;
    // tempfile creates 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|refused| refused.error)?;
    File::open(dir)?.sync_all()?;
    // The directory may be as new as the file.
    match dir.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
