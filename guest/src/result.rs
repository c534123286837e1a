//! `result.json`, as an untrusted program left it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cattle_schemas::guest::{FailureCause, MAX_RESULT_BYTES, paths};
use rustix::fs::{CWD, Mode, OFlags};
use serde_json::Value;

/// What is wrong with a result; the sentence becomes the outcome's message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultError {
    #[error("result.json is a link; a regular file is needed")]
    Link,
    #[error("result.json is not a regular file")]
    NotAFile,
    #[error("result.json is larger than {MAX_RESULT_BYTES} bytes")]
    TooLarge,
    #[error("result.json is not valid JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("result.json cannot be read: {0}")]
    Unreadable(io::Error),
}

impl ResultError {
    /// The word for it in the outcome.
    pub(crate) fn cause(&self) -> FailureCause {
        match self {
            Self::Link | Self::NotAFile => FailureCause::ResultNotAFile,
            Self::TooLarge => FailureCause::ResultTooLarge,
            Self::NotJson(_) => FailureCause::ResultNotJson,
            Self::Unreadable(_) => FailureCause::ResultUnreadable,
        }
    }
}

/// The workspace, held open: the runner may move the path, not this.
#[derive(Debug)]
pub(crate) struct Workspace(OwnedFd);

impl Workspace {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// The result, `None` when the runner left none.
    pub(crate) fn result(&self) -> Result<Option<Value>, ResultError> {
        // NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.0.as_fd(), paths::RESULT_FILE, flags, Mode::empty());
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(ResultError::Link),
            // A socket cannot be opened.
            Err(rustix::io::Errno::NXIO) => return Err(ResultError::NotAFile),
            Err(error) => return Err(ResultError::Unreadable(error.into())),
        };
        let metadata = file.metadata().map_err(ResultError::Unreadable)?;
        if !metadata.is_file() {
            return Err(ResultError::NotAFile);
        }
        // A hard link could name a file that the runner itself may not read.
        if metadata.nlink() > 1 {
            return Err(ResultError::Link);
        }
        let mut bytes = Vec::new();
        file.take(MAX_RESULT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(ResultError::Unreadable)?;
        if bytes.len() > MAX_RESULT_BYTES {
            return Err(ResultError::TooLarge);
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(ResultError::NotJson)?;
        // `1e15` is four bytes as written and eighteen as sent; the limit holds for both.
        let sent = serde_json::to_vec(&value).map_err(ResultError::NotJson)?;
        if sent.len() > MAX_RESULT_BYTES {
            return Err(ResultError::TooLarge);
        }
        Ok(Some(value))
    }
}
