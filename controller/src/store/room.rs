//! Room for the ledger on the state directory's file system.
//!
//! Two bounds keep ends and deletes possible when the disk is full. What is not needed for them
//! (specs, jobs, remembered replies, new runs) is refused once less than [`Room::spare`] is free. And
//! a file of zeros, the reserve, keeps bytes from everybody else's files: it is given up when what
//! must be written finds little room, and made again when there is plenty.

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

/// The smallest file system for a state directory: the reserve, the spare, half a MiB of SQLite's
/// write-ahead log, a fresh ledger, and room for a few specs. 3 MiB filled with the log alone.
pub const SMALLEST_STATE: u64 = 4 * MIB;

/// The reserve: a quarter of the file system, at least what the end of a run with the largest task
/// and result writes, at most a few such ends at once.
const RESERVE: (u64, u64) = (MIB, 4 * MIB);

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
        let missing = self.reserve().saturating_sub(self.reserved());
        self.free()
            .is_none_or(|free| free >= missing + self.spare() + more)
    }

    /// Likewise, and enough to say that there is room again.
    pub(super) fn is_back(&self) -> bool {
        self.allows(AGAIN)
    }

    /// Gives the reserve up where little is free: to be asked before what must be written.
    pub(super) fn prepare(&self) {
        if self.reserved() > 0 && self.free().is_some_and(|free| free < self.spare()) {
            self.give_up();
        }
    }

    /// Gives the reserve up. Answers whether there was any.
    pub(super) fn give_up(&self) -> bool {
        match fs::remove_file(self.file()) {
            Ok(()) => {
                tracing::warn!(
                    "little room for the ledger: its reserve is given up for ends and deletes"
                );
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::error!(%error, "the ledger's reserve cannot be given up");
                false
            }
        }
    }

    /// Makes the reserve, or makes it whole, where that leaves the spare free.
    pub(super) fn restore(&self) {
        if self.reserved() >= self.reserve() || !self.is_back() {
            return;
        }
        if let Err(error) = self.fill() {
            tracing::warn!(%error, "the ledger's reserve could not be made");
            // A part of it would only look like one.
            let _ = fs::remove_file(self.file());
        }
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.file())?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.reserve()) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                zeros(&mut file, self.reserve())
            }
            other => Ok(other?),
        }
    }

    fn reserve(&self) -> u64 {
        (self.total / 4).clamp(RESERVE.0, RESERVE.1)
    }

    fn spare(&self) -> u64 {
        (self.total / 8).clamp(SPARE.0, SPARE.1)
    }

    fn reserved(&self) -> u64 {
        self.file().metadata().map_or(0, |file| file.len())
    }

    fn free(&self) -> Option<u64> {
        let stat = statvfs(&self.dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn file(&self) -> PathBuf {
        self.dir.join("reserve")
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
