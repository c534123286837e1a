//! Room for logs: the quota, the ledger's reserve, and what goes first.

use std::{io, sync::atomic::Ordering};

use cattle_core::names::RunId;

use super::{LEDGER_RESERVE, Logs};
use crate::store::{Store, StoreError};

/// Making room goes on until this share of the quota is free, so that the next write does not have
/// to make room again.
const FREED_AT_ONCE: u64 = 10;

impl Logs {
    /// Bytes of all logs.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.inner.total.load(Ordering::Relaxed)
    }

    /// Whether so many bytes more keep to the quota and leave the ledger its reserve.
    pub(super) fn has_room(&self, more: u64) -> io::Result<bool> {
        if self.total() + more > self.inner.quota {
            return Ok(false);
        }
        let stat = rustix::fs::statvfs(&self.inner.dir)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let quarter = stat.f_blocks.saturating_mul(stat.f_frsize) / 4;
        Ok(free >= LEDGER_RESERVE.min(quarter) + more)
    }

    /// Deletes logs of ended runs, oldest first, until there is room to spare or none is left. A
    /// log that belongs to no run of the ledger goes too. Answers which went.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn make_room(&self, store: &dyn Store) -> Result<Vec<RunId>, StoreError> {
        let failed = |source| self.failed(source);
        let spare = self.inner.quota / FREED_AT_ONCE;
        let mut evicted = Vec::new();
        for (run, length) in self.files().map_err(failed)? {
            if self.has_room(spare).map_err(failed)? {
                break;
            }
            let of = store.run(run).await?;
            let grows = of.is_some_and(|run| run.is_live() || run.handover_until().is_some());
            if grows || length == 0 {
                continue;
            }
            self.delete(run).map_err(failed)?;
            tracing::warn!(%run, bytes = length, "log deleted to make room");
            evicted.push(run);
        }
        Ok(evicted)
    }

    /// Makes room where the quota is exceeded or the ledger's reserve is used up, by whatever:
    /// without a guest that sends a log nothing else notices. Answers which logs went.
    ///
    /// # Errors
    /// The ledger or the file system cannot be read.
    pub async fn keep_room(&self, store: &dyn Store) -> Result<Vec<RunId>, StoreError> {
        if self.has_room(0).map_err(|source| self.failed(source))? {
            return Ok(Vec::new());
        }
        self.make_room(store).await
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            operation: "make room in",
            path: self.inner.dir.display().to_string(),
            source,
        }
    }

    /// Every log with its length, oldest run first.
    pub(super) fn files(&self) -> io::Result<Vec<(RunId, u64)>> {
        let mut files = Vec::new();
        for entry in self.inner.dir.read_dir()? {
            let entry = entry?;
            let name = entry.file_name();
            let run = name.to_str().and_then(|name| name.strip_suffix(".log"));
            if let Some(run) = run.and_then(|run| run.parse().ok()) {
                match entry.metadata() {
                    Ok(metadata) => files.push((run, metadata.len())),
                    // Deleted since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}
