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

/// What a spec is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    Yaml,
    Json,
}

impl Format {
    const ALL: [Self; 2] = [Self::Yaml, Self::Json];

    fn extension(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }
}

/// Why a spec could not be kept or removed. What was there before still is.
#[derive(Debug, thiserror::Error)]
pub enum SocketSpecError {
    /// The file system is full.
    #[error("no room on the state directory's file system to keep the spec of `{cattle}`")]
    Full {
        /// Whose.
        cattle: CattleName,
    },
    /// Longer than any spec may be.
    #[error("the spec of `{cattle}` is longer than {MAX_SPEC_BYTES} bytes")]
    TooLong {
        /// Whose.
        cattle: CattleName,
    },
    /// Anything else.
    #[error("cannot {operation} the spec of `{cattle}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Whose.
        cattle: CattleName,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be made.
    #[error("cannot make the directory `{}`", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The directory.
#[derive(Clone, Debug)]
pub struct SocketSpecs {
    directory: PathBuf,
}

impl SocketSpecs {
    /// Opens the directory, making it (0700) where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(directory: &Path) -> Result<Self, SocketSpecError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)))
            .map_err(|source| SocketSpecError::Directory {
                path: directory.to_owned(),
                source,
            })?;
        let specs = Self {
            directory: directory.to_owned(),
        };
        specs.sweep();
        Ok(specs)
    }

    /// Writes a spec, replacing what this name had in either format.
    ///
    /// # Errors
    /// Too long, no room, or the file system refuses; then the old spec is still there.
    pub fn put(
        &self,
        cattle: &CattleName,
        format: Format,
        bytes: &[u8],
    ) -> Result<PathBuf, SocketSpecError> {
        if bytes.len() > MAX_SPEC_BYTES {
            return Err(SocketSpecError::TooLong {
                cattle: cattle.clone(),
            });
        }
        let path = self.path(cattle, format);
        let fail = |source: io::Error| failed("write", cattle, source);
        // Hidden, so that no scan takes it; 0600 from the start.
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.directory)
            .map_err(fail)?;
        file.write_all(bytes)
            .and_then(|()| file.as_file().sync_all())
            .map_err(fail)?;
        file.persist(&path).map_err(|error| fail(error.error))?;
        for other in Format::ALL.into_iter().filter(|other| *other != format) {
            remove(&self.path(cattle, other)).map_err(fail)?;
        }
        self.sync().map_err(fail)?;
        Ok(path)
    }

    /// Removes a name's spec; whether there was one.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, cattle: &CattleName) -> Result<bool, SocketSpecError> {
        let fail = |source: io::Error| failed("remove", cattle, source);
        let mut removed = false;
        for format in Format::ALL {
            removed |= remove(&self.path(cattle, format)).map_err(fail)?;
        }
        self.sync().map_err(fail)?;
        Ok(removed)
    }

    /// A name's spec as it was written.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn get(&self, cattle: &CattleName) -> Result<Option<(Format, Vec<u8>)>, SocketSpecError> {
        for format in Format::ALL {
            match fs::read(self.path(cattle, format)) {
                Ok(bytes) => return Ok(Some((format, bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(failed("read", cattle, source)),
            }
        }
        Ok(None)
    }

    fn path(&self, cattle: &CattleName, format: Format) -> PathBuf {
        self.directory
            .join(format!("{cattle}.{}", format.extension()))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// Removes what a crash left half-written.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                // It will be tried again at the next start, and harms nobody meanwhile.
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

const TEMPORARY: &str = ".writing-";

fn failed(operation: &'static str, cattle: &CattleName, source: io::Error) -> SocketSpecError {
    let cattle = cattle.clone();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            SocketSpecError::Full { cattle }
        }
        _ => SocketSpecError::Io {
            operation,
            cattle,
            source,
        },
    }
}

fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
