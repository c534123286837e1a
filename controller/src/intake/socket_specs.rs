//! The spec directory that the socket writes: `<state>/specs`, ours alone.
//!
//! A spec is there completely or not at all: written beside, fsynced, renamed, and the directory
//! fsynced, so that what was promised to a caller survives a power cut.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cattle_core::names::CattleName;
use cattle_schemas::api::MAX_SPEC_BYTES;

/// The directory.
#[derive(Clone, Debug)]
pub struct SocketSpecs {
    directory: PathBuf,
}

/// Hidden, so that no scan takes it.
const TEMPORARY: &str = ".writing-";

impl SocketSpecs {
    /// Opens the directory, making it (0700) where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let specs = Self {
            directory: directory.to_owned(),
        };
        specs.sweep()?;
        Ok(specs)
    }

    /// Writes a spec, replacing what this name had.
    ///
    /// # Errors
    /// Too long, no room ([`io::ErrorKind::StorageFull`]), or the file system refuses; what was
    /// there before still is.
    pub fn write(&self, cattle: &CattleName, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > MAX_SPEC_BYTES {
            let message = format!("a spec has at most {MAX_SPEC_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // 0600 from the start.
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.path(cattle))
            .map_err(|error| error.error)?;
        self.sync()
    }

    /// Removes a name's spec; whether there was one.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, cattle: &CattleName) -> io::Result<bool> {
        match fs::remove_file(self.path(cattle)) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A name's spec as it was written.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn read(&self, cattle: &CattleName) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(cattle)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file of a name. JSON is YAML, so that one extension does for both.
    #[must_use]
    pub fn path(&self, cattle: &CattleName) -> PathBuf {
        self.directory.join(format!("{cattle}.yaml"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// Removes what a crash left half-written.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name() -> CattleName {
        "rex".parse().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_spec_is_ours_alone_and_replaced_whole() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("specs");
        let specs = SocketSpecs::open(&directory).unwrap();
        specs.write(&name(), b"first").unwrap();
        specs.write(&name(), b"second").unwrap();
        assert_eq!(specs.read(&name()).unwrap().unwrap(), b"second");
        assert_eq!(
            (mode(&directory), mode(&specs.path(&name()))),
            (0o700, 0o600)
        );
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn removing_twice_is_no_error() {
        let state = tempfile::tempdir().unwrap();
        let specs = SocketSpecs::open(state.path()).unwrap();
        specs.write(&name(), b"x").unwrap();
        assert!(specs.remove(&name()).unwrap());
        assert!(!specs.remove(&name()).unwrap());
        assert_eq!(specs.read(&name()).unwrap(), None);
    }

    #[test]
    fn what_a_crash_left_is_swept_and_the_specs_stay() {
        let state = tempfile::tempdir().unwrap();
        let specs = SocketSpecs::open(state.path()).unwrap();
        specs.write(&name(), b"x").unwrap();
        fs::write(state.path().join(".writing-abc"), b"half").unwrap();
        SocketSpecs::open(state.path()).unwrap();
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_spec_that_is_refused_leaves_the_old_one() {
        let state = tempfile::tempdir().unwrap();
        let specs = SocketSpecs::open(state.path()).unwrap();
        specs.write(&name(), b"old").unwrap();
        let too_long = vec![b'x'; MAX_SPEC_BYTES + 1];
        let error = specs.write(&name(), &too_long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(specs.read(&name()).unwrap().unwrap(), b"old");
    }
}
