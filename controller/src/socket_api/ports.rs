//! What the socket API needs of the rest of the controller, as narrow as it uses it.
//!
//! The calls to the file system block; they are made on tokio's blocking threads.

use std::{future::Future, io, path::PathBuf, pin::Pin};

use cattle_core::{
    desired::Placement,
    names::{CattleName, PersonaName, RunId},
    spec::PersonaFiles,
};
use cattle_schemas::api::ReapReply;
use tokio::sync::watch;

/// The socket's own spec directory.
pub trait SpecDir: Send + Sync + 'static {
    /// Puts a spec file there, whole or not at all.
    ///
    /// # Errors
    /// The file system refuses; what was there before still is.
    fn write(&self, name: &CattleName, bytes: &[u8]) -> io::Result<()>;

    /// Takes it away; `false` when there was none.
    ///
    /// # Errors
    /// The file system refuses.
    fn remove(&self, name: &CattleName) -> io::Result<bool>;

    /// What is there.
    ///
    /// # Errors
    /// The file system refuses.
    fn read(&self, name: &CattleName) -> io::Result<Option<Vec<u8>>>;

    /// The file of a name.
    fn path(&self, name: &CattleName) -> PathBuf;
}

/// The personas of the project.
pub trait Personas: Send + Sync + 'static {
    /// One persona's files.
    ///
    /// # Errors
    /// Why they cannot be read, without quoting them.
    fn read(&self, name: &PersonaName) -> Result<PersonaFiles, String>;
}

/// The logs of runs.
pub trait RunLogs: Send + Sync + 'static {
    /// How many bytes there are; `None` when there is no log.
    ///
    /// # Errors
    /// The file system refuses.
    fn length(&self, run: RunId) -> io::Result<Option<u64>>;

    /// At most `max` bytes from `offset`; empty at the end.
    ///
    /// # Errors
    /// The file system refuses.
    fn read(&self, run: RunId, offset: u64, max: usize) -> io::Result<Vec<u8>>;

    /// Its length, as it grows; `None` where nobody tells, and followers have to look.
    ///
    /// # Errors
    /// The file system refuses.
    fn follow(&self, _run: RunId) -> io::Result<Option<watch::Receiver<u64>>> {
        Ok(None)
    }
}

/// A future that a port answers with.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Looks at once at what a start waits for.
pub trait Looks: Send + Sync + 'static {
    /// Pairs that were refused may be tried, and what was not found or may be gone is asked for again.
    fn look_again(&self, placement: Placement) -> PortFuture<'_, ()>;
}

/// Deletes servers that are past their expiry.
pub trait Reaper: Send + Sync + 'static {
    /// One round; with `dry_run` it only says what it would do.
    fn reap(&self, dry_run: bool) -> PortFuture<'_, Result<ReapReply, String>>;
}
