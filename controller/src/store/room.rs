//! Room for the ledger on the state directory's file system.
//!
//! Two bounds keep ends and deletes possible when the disk is full. What is not needed for them
//! (specs, jobs, remembered replies, new runs) is refused once less than [`Room::spare`] is free. And
//! a file of zeros, the reserve, keeps bytes from everybody else's files: it is given up when what
//! must be written finds little room, and made again when there is plenty. A second, small one is
//! kept for the next start: SQLite cannot even be opened where nothing is free.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::StoreError;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The smallest file system for a state directory: both reserves, the spare, half a MiB of SQLite's
/// write-ahead log, a fresh ledger, and room for a few specs. 3 MiB filled with the log alone.
pub const SMALLEST_STATE: u64 = 4 * MIB;

/// The reserve: a quarter of the file system, at least what the end of a run with the largest task
/// and result writes, at most a few such ends at once.
const RESERVE: (u64, u64) = (MIB, 4 * MIB);

/// For the next start: the index of SQLite's log, of 32 KiB, and a first few pages. The reserve may be
/// given up while we run, and the log's files are removed at an orderly end: then others take their
/// bytes before the next start finds them.
const TO_OPEN: u64 = 128 * KIB;

/// Left free by what is not needed for ends: an eighth of the file system, at least the write-ahead
/// log between two checkpoints (which the ledger's file may grow by), at most a large pass's commit.
const SPARE: (u64, u64) = (512 * KIB, 4 * MIB);

/// Room is there again only when there is this much more, so that a file system at the bound does
/// not come and go.
const AGAIN: u64 = 64 * KIB;

/// Zeros written at once where the file system cannot allocate.
const BLOCK: usize = 64 * 1024;

/// The room around one ledger.
#[derive(Clone, Debug)]
pub(super) struct Room {
    dir: PathBuf,
    total: u64,
}

impl Room {
    /// Around the ledger in this directory.
    ///
    /// # Errors
    /// Its file system is smaller than [`SMALLEST_STATE`], or cannot be asked.
    pub(super) fn around(dir: &Path) -> Result<Self, StoreError> {
        let failed = |error: rustix::io::Errno| {
            StoreError::io("ask for the file system's size of", dir, error.into())
        };
        let stat = statvfs(dir).map_err(failed)?;
        let room = Self {
            dir: dir.to_owned(),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        };
        // Some file systems in user space say nothing.
        if (1..SMALLEST_STATE).contains(&room.total) {
            return Err(StoreError::Open {
                message: format!(
                    "the file system of the state directory `{}` has {}.{} MiB in all; the ledger needs at least {} MiB, and logs and specs some more: give it a larger one",
                    dir.display(),
                    room.total / MIB,
                    room.total % MIB * 10 / MIB,
                    SMALLEST_STATE / MIB
                ),
            });
        }
        Ok(room)
    }

    /// Whether there is room for so many bytes more that nothing depends on. A file system that
    /// cannot be asked has room until a write says otherwise.
    pub(super) fn allows(&self, more: u64) -> bool {
        let kept = self.reserves();
        let missing: u64 = kept
            .iter()
            .map(|(file, bytes)| bytes.saturating_sub(length(file)))
            .sum();
        self.free()
            .is_none_or(|free| free >= missing + self.spare() + more)
    }

    /// Likewise, and enough to say that there is room again.
    pub(super) fn is_back(&self) -> bool {
        self.allows(AGAIN)
    }

    /// Gives the reserve up where little is free: to be asked before what must be written.
    pub(super) fn prepare(&self) {
        if length(&self.file()) > 0 && self.free().is_some_and(|free| free < self.spare()) {
            self.give_up();
        }
    }

    /// Gives the reserve up. Answers whether there was any.
    pub(super) fn give_up(&self) -> bool {
        let given = give(&self.file());
        if given {
            tracing::warn!(
                "little room for the ledger: its reserve is given up for ends and deletes"
            );
        }
        given
    }

    /// Gives up what is kept for a start. Answers whether there was any.
    pub(super) fn give_up_to_open(&self) -> bool {
        give(&self.file_to_open())
    }

    /// Makes the reserves, or makes them whole, where that leaves the spare free.
    pub(super) fn restore(&self) {
        for (file, bytes) in self.reserves() {
            if length(&file) >= bytes || !self.is_back() {
                continue;
            }
            if let Err(error) = fill(&file, bytes) {
                tracing::warn!(%error, "a reserve of the ledger could not be made");
                // A part of it would only look like one.
                let _ = fs::remove_file(file);
            }
        }
    }

    /// What is kept, and how much: the smaller first, without which nothing begins.
    fn reserves(&self) -> [(PathBuf, u64); 2] {
        [
            (self.file_to_open(), TO_OPEN),
            (self.file(), self.reserve()),
        ]
    }

    fn reserve(&self) -> u64 {
        (self.total / 4).clamp(RESERVE.0, RESERVE.1)
    }

    fn spare(&self) -> u64 {
        (self.total / 8).clamp(SPARE.0, SPARE.1)
    }

    fn free(&self) -> Option<u64> {
        let stat = statvfs(&self.dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn file(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    fn file_to_open(&self) -> PathBuf {
        self.dir.join("reserve-to-open")
    }
}

fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

/// Answers whether it was there.
fn give(file: &Path) -> bool {
    match fs::remove_file(file) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::error!(%error, file = %file.display(), "a reserve of the ledger cannot be given up");
            false
        }
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => zeros(&mut file, bytes),
        other => Ok(other?),
    }
}

fn zeros(file: &mut File, mut left: u64) -> io::Result<()> {
    let block = vec![0; BLOCK];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        file.write_all(&block[..now])?;
        left -= now as u64;
    }
    file.sync_all()
}
