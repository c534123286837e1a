//! The logs of runs: one file each, written by offset.
//!
//! Invariants: what is stored never changes, so the same bytes may come twice; a byte at offset *n*
//! is only ever stored behind the *n* before it. A log ends at [`MAX_LOG_BYTES`], all of them
//! together at the quota, and the file system keeps room for the ledger. Not synced to disk: the
//! guest has the bytes until the run is over, and asks for the length.

mod room;

use std::{
    collections::HashMap,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cattle_core::names::RunId;
use cattle_schemas::guest::MAX_LOG_BYTES;
use tokio::sync::watch;

/// All logs together, unless set: a hundred full ones, thousands of ordinary ones.
pub const DEFAULT_QUOTA: u64 = 2 * 1024 * 1024 * 1024;

/// Logs leave this much of the file system to the ledger, which must go on when disks are full:
/// some hundred thousand events, or a year of runs. Of a small one they leave a quarter.
const LEDGER_RESERVE: u64 = 64 * 1024 * 1024;

/// The most that one read answers with.
pub const MAX_READ_BYTES: usize = 1024 * 1024;

/// Writers of one log wait for each other, those of others rarely: so many locks for all.
const LOCKS: usize = 64;

/// The logs. Clones share everything.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    quota: u64,
    /// Bytes of all logs.
    total: AtomicU64,
    locks: [Mutex<()>; LOCKS],
    followers: Mutex<HashMap<RunId, watch::Sender<u64>>>,
}

/// What is stored after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Bytes stored: where the next write begins.
    pub next_offset: u64,
    /// The log's end is reached; nothing more is stored.
    pub full: bool,
}

/// Why bytes were not stored.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Bytes between what is stored and the offset are missing.
    #[error("the log has {next_offset} bytes, what comes next begins there")]
    Gap {
        /// Bytes stored.
        next_offset: u64,
    },
    /// The quota or the file system's end is reached. [`Logs::make_room`] may help.
    #[error("there is no room for logs")]
    NoRoom,
    /// The file system refused.
    #[error("the log could not be written")]
    Io(#[source] io::Error),
}

impl Logs {
    /// The logs in this directory, which is made if there is none (0700).
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::with_quota(dir, DEFAULT_QUOTA)
    }

    /// Likewise, with so many bytes for all logs together.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn with_quota(dir: &Path, quota: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let logs = Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                quota,
                total: AtomicU64::new(0),
                locks: std::array::from_fn(|_| Mutex::new(())),
                followers: Mutex::default(),
            }),
        };
        let total = logs.files()?.iter().map(|(_, length)| length).sum();
        logs.inner.total.store(total, Ordering::Relaxed);
        Ok(logs)
    }

    /// Stores bytes that begin at `offset`. Bytes that are stored already are skipped, those beyond
    /// the log's end dropped. Without bytes it only says how much is stored.
    ///
    /// # Errors
    /// The offset is beyond what is stored, there is no room, or the file system refuses. What was
    /// stored before still is.
    pub fn append(&self, run: RunId, offset: u64, bytes: &[u8]) -> Result<Stored, LogError> {
        let _writing = self.lock(run);
        let stored = self.length(run).map_err(LogError::Io)?.unwrap_or(0);
        if offset > stored {
            return Err(LogError::Gap {
                next_offset: stored,
            });
        }
        let known = usize::try_from(stored - offset).unwrap_or(usize::MAX);
        let room = usize::try_from(MAX_LOG_BYTES.saturating_sub(stored)).unwrap_or(usize::MAX);
        let fresh = bytes.get(known..).unwrap_or_default();
        let fresh = &fresh[..fresh.len().min(room)];
        if fresh.is_empty() {
            return Ok(at(stored));
        }
        if !self.has_room(fresh.len() as u64).map_err(LogError::Io)? {
            return Err(LogError::NoRoom);
        }
        let written = self.write(run, stored, fresh);
        // Also after a failure: a part may have been written, and is valid.
        let length = self.length(run).map_err(LogError::Io)?.unwrap_or(0);
        self.inner
            .total
            .fetch_add(length.saturating_sub(stored), Ordering::Relaxed);
        self.tell(run, length);
        match written {
            Ok(()) => Ok(at(length)),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(LogError::NoRoom),
            Err(error) => Err(LogError::Io(error)),
        }
    }

    fn write(&self, run: RunId, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(run))?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    /// How many bytes there are; `None` when there is no log.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn length(&self, run: RunId) -> io::Result<Option<u64>> {
        match self.path(run).metadata() {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// At most `max` bytes (and [`MAX_READ_BYTES`]) from `offset`; empty at the end, and where
    /// there is no log.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn read(&self, run: RunId, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.path(run)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(max.min(MAX_READ_BYTES) as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The last `max` bytes (at most [`MAX_READ_BYTES`]) and the offset of the first of them.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn tail(&self, run: RunId, max: usize) -> io::Result<(u64, Vec<u8>)> {
        let length = self.length(run)?.unwrap_or(0);
        let offset = length.saturating_sub(max.min(MAX_READ_BYTES) as u64);
        Ok((offset, self.read(run, offset, max)?))
    }

    /// Follows a log: the receiver holds its length and changes as it grows. Its sender is dropped
    /// when the log is deleted.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn follow(&self, run: RunId) -> io::Result<watch::Receiver<u64>> {
        // Under the log's lock, so that no growth is missed between the look and the subscription.
        let _writing = self.lock(run);
        let length = self.length(run)?.unwrap_or(0);
        let mut followers = self.followers();
        let sender = followers
            .entry(run)
            .or_insert_with(|| watch::Sender::new(length));
        Ok(sender.subscribe())
    }

    /// Deletes a log, if there is one.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn delete(&self, run: RunId) -> io::Result<()> {
        let _writing = self.lock(run);
        let length = self.length(run)?.unwrap_or(0);
        match std::fs::remove_file(self.path(run)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.inner.total.fetch_sub(length, Ordering::Relaxed);
        self.followers().remove(&run);
        Ok(())
    }

    fn tell(&self, run: RunId, length: u64) {
        let mut followers = self.followers();
        if let Some(sender) = followers.get(&run)
            && sender.send(length).is_err()
        {
            // The last follower went away.
            followers.remove(&run);
        }
    }

    fn path(&self, run: RunId) -> PathBuf {
        self.inner.dir.join(format!("{run}.log"))
    }

    fn lock(&self, run: RunId) -> MutexGuard<'_, ()> {
        let index = run.to_string().bytes().map(usize::from).sum::<usize>() % LOCKS;
        self.inner.locks[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn followers(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<u64>>> {
        self.inner
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(length: u64) -> Stored {
    Stored {
        next_offset: length,
        full: length >= MAX_LOG_BYTES,
    }
}

#[cfg(test)]
mod tests;
