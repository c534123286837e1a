//! `fleet/clawdlets.json`, read again when it changes; a broken file keeps the last good one.
//!
//! The fleet's name is read once: it is on every server's labels and selects them, so a controller
//! that took another name while it runs would lose sight of what it made.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use cattle_core::{fleet::Fleet, spec};
use cattle_schemas::problem::Diagnostic;

/// The longest configuration accepted: it is written by hand.
const MAX_BYTES: u64 = 1024 * 1024;

/// Tells two states of a file apart.
type Stamp = (u64, u64, i64, i64, u64);

/// The configuration and its file.
#[derive(Debug)]
pub struct FleetFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    good: Arc<Fleet>,
    broken: Option<String>,
}

/// Why there is no configuration to begin with.
#[derive(Debug, thiserror::Error)]
pub enum FleetFileError {
    /// It cannot be read.
    #[error("cannot read the fleet's configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not validate.
    #[error("the fleet's configuration is not valid:{}", listed(.0))]
    Invalid(Vec<Diagnostic>),
}

impl FleetFile {
    /// Reads the file for the first time; it must be good.
    ///
    /// # Errors
    /// It cannot be read or does not validate.
    pub fn open(path: PathBuf) -> Result<Self, FleetFileError> {
        let (stamp, bytes) = read(&path).map_err(|source| FleetFileError::Read {
            path: path.clone(),
            source,
        })?;
        let fleet =
            Fleet::load(&path.to_string_lossy(), &bytes).map_err(FleetFileError::Invalid)?;
        Ok(Self {
            path,
            stamp: Some(stamp),
            good: Arc::new(fleet),
            broken: None,
        })
    }

    /// The configuration, read again if the file is another than last time.
    pub fn current(&mut self) -> Arc<Fleet> {
        let stamp = fs::metadata(&self.path).map(|data| stamp(&data)).ok();
        if stamp.is_none() || stamp != self.stamp {
            self.reload();
        }
        self.good.clone()
    }

    fn reload(&mut self) {
        let before = self.broken.take();
        match read(&self.path) {
            Err(error) => {
                self.stamp = None;
                self.broken = Some(format!("{} cannot be read: {error}", self.path.display()));
            }
            Ok((stamp, bytes)) => {
                self.stamp = Some(stamp);
                match Fleet::load(&self.path.to_string_lossy(), &bytes) {
                    Ok(fleet) if fleet.name != self.good.name => {
                        self.broken = Some(format!(
                            "`cattle.fleet` is now `{}`: this controller goes on as `{}` until it is restarted",
                            fleet.name, self.good.name
                        ));
                    }
                    Ok(fleet) => {
                        tracing::info!(fleet = %fleet.name, "read the fleet's configuration");
                        self.good = Arc::new(fleet);
                    }
                    Err(diagnostics) => self.broken = Some(first_of(&diagnostics)),
                }
            }
        }
        if let Some(broken) = &self.broken
            && before.as_ref() != Some(broken)
        {
            tracing::error!(cause = %broken, "the fleet's configuration is broken; the last good one stays");
        }
    }

    /// The last good configuration, without a look at the file.
    #[must_use]
    pub fn good(&self) -> &Fleet {
        &self.good
    }

    /// What is wrong with the file as it is now; `None` while it is good.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}

fn first_of(diagnostics: &[Diagnostic]) -> String {
    let more = diagnostics.len().saturating_sub(1);
    let first = diagnostics.first().map(spec::line).unwrap_or_default();
    if more == 0 {
        first
    } else {
        format!("{first} (and {more} more)")
    }
}

fn listed(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(|diagnostic| format!("\n  {}", spec::line(diagnostic)))
        .collect()
}

fn stamp(data: &fs::Metadata) -> Stamp {
    (
        data.dev(),
        data.ino(),
        data.mtime(),
        data.mtime_nsec(),
        data.size(),
    )
}

fn read(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    let data = fs::metadata(path)?;
    if !data.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if data.size() > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_BYTES} bytes")));
    }
    Ok((stamp(&data), fs::read(path)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> Vec<u8> {
        cattle_core::example::FILES
            .iter()
            .find(|(path, _)| *path == "fleet/clawdlets.json")
            .map(|(_, bytes)| bytes.to_vec())
            .unwrap()
    }

    #[test]
    fn the_fleet_is_not_renamed_under_servers_that_carry_its_label() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clawdlets.json");
        fs::write(&path, example()).unwrap();
        let mut file = FleetFile::open(path.clone()).unwrap();
        let before = file.current();
        let text = String::from_utf8(example()).unwrap();
        let renamed = text.replace(
            &format!("\"fleet\": \"{}\"", before.name),
            "\"fleet\": \"other\"",
        );
        assert_ne!(renamed, text);
        fs::write(&path, renamed).unwrap();
        assert_eq!(file.current().name, before.name);
        assert!(file.broken().unwrap().contains("until it is restarted"));
    }

    #[test]
    fn a_broken_file_keeps_the_last_good_configuration_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clawdlets.json");
        fs::write(&path, example()).unwrap();
        let mut file = FleetFile::open(path.clone()).unwrap();
        let before = file.current();
        fs::write(&path, "{ not json").unwrap();
        assert_eq!(file.current().name, before.name);
        assert!(file.broken().is_some());
        fs::remove_file(&path).unwrap();
        assert_eq!(file.current().name, before.name);
        assert!(file.broken().unwrap().contains("cannot be read"));
        fs::write(&path, example()).unwrap();
        file.current();
        assert_eq!(file.broken(), None);
    }
}
