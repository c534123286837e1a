//! The ledger's keeper: SQLite in the binary, memory in simulation, one contract for both.
//!
//! Invariants: a commit is one transaction, durable before it returns; a run's end and its
//! assignment's are one write; events get monotonic ids in the order of commits. The store decides
//! nothing: what changes is said by pure functions of the core, applied to the row as it is inside
//! the transaction, so that a decision on an old view cannot overwrite a newer fact.

mod consequence;
#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod fixture;
mod lock;
mod memory;
mod room;
mod sqlite;

use std::{future::Future, ops::Range, path::Path, pin::Pin};

use cattle_core::{
    breaker::ImageRecord,
    charge::Charge,
    desired::Cattle,
    ledger::{Assignment, Ledger, Run},
    names::{CattleName, RunId, SpecHash},
    pause::Pause,
    writable::Writable,
};
use cattle_schemas::{
    Timestamp,
    event::{Event, NewEvent},
    job::Job,
    status::PauseReason,
};
use serde::Serialize;
use tokio::sync::{broadcast, watch};

pub use self::{lock::StateLock, memory::MemoryStore, room::SMALLEST_STATE, sqlite::SqliteStore};

/// Events that a slow subscriber may lag behind before it has to read them from the ledger.
const EVENT_BACKLOG: usize = 1024;

/// Creates are counted over an hour; older ones are kept this long for people who look.
const CREATES_KEPT: chrono::TimeDelta = chrono::TimeDelta::hours(24);

/// What every call of a store answers with.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A change to a run and the assignment of its (name, hash). Returns `None` when the row, as it is
/// now, does not allow it; otherwise both are written with these events.
pub type RunEdit =
    Box<dyn FnOnce(&mut Run, &mut Option<Assignment>) -> Option<Vec<NewEvent>> + Send>;

/// A change to an assignment, which may not exist yet; likewise.
pub type AssignmentEdit = Box<dyn FnOnce(&mut Option<Assignment>) -> Option<Vec<NewEvent>> + Send>;

/// A change to the pause of a reason and subject that holds, if one does; likewise.
pub type PauseEdit = Box<dyn FnOnce(&mut Option<Pause>) -> Option<Vec<NewEvent>> + Send>;

/// A change to what is known of an image. Answers whether there is one.
pub type ImageEdit = Box<dyn FnOnce(&mut ImageRecord) -> bool + Send>;

/// One change within a commit.
pub enum Edit {
    /// A new run, refused when a run of this id, or a live run of this cattle, exists.
    InsertRun {
        /// The run, its first intent.
        run: Box<Run>,
        /// What happened.
        events: Vec<NewEvent>,
    },
    /// A change to a run; not applied when there is none of this id. A new attempt counts as a
    /// create.
    Run {
        /// Which.
        id: RunId,
        /// The change.
        edit: RunEdit,
    },
    /// A change to an assignment.
    Assignment {
        /// Whose.
        cattle: CattleName,
        /// Which.
        hash: SpecHash,
        /// The change.
        edit: AssignmentEdit,
    },
    /// A change to a pause: at most one of a reason and subject holds at a time.
    Pause {
        /// Why.
        reason: PauseReason,
        /// What alone it is about; empty: everything.
        subject: String,
        /// The change.
        edit: PauseEdit,
    },
    /// A change to what is known of an image; nothing, when it is new.
    Image {
        /// As creates name it.
        image: String,
        /// The change.
        edit: ImageEdit,
    },
    /// A token that a guest may present; not applied unless its run lives. The end of a run voids
    /// all of its tokens in the same transaction; where its server is kept, its release does.
    InsertToken(TokenRecord),
    /// No token of this run but the given one is valid any more.
    VoidTokens {
        /// Which run.
        run: RunId,
        /// The one that stays, if any.
        except: Option<[u8; 32]>,
    },
    /// An event alone.
    Event(NewEvent),
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// In `bootstrap.json`; buys the env.
    Bootstrap,
    /// In the env; for everything after.
    Session,
}

/// A token as it is stored: never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// The run it is bound to.
    pub run: RunId,
    /// The attempt whose `user_data` carries it.
    pub attempt: u32,
    /// What it is for.
    pub kind: TokenKind,
    /// With a session token: SHA-256 of the idempotency key of the call that bought it.
    pub idempotency: Option<[u8; 32]>,
    /// With a session token: the peer's address at that call.
    pub peer: Option<String>,
    /// Whether it is void.
    pub voided: bool,
}

/// A spec whose past a plan needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Its name.
    pub cattle: CattleName,
    /// The hash of its assignment.
    pub hash: SpecHash,
    /// Of its persona and task: further assignments of its name that may be the same as it are wanted
    /// too, which are those of this content, and those that do not say.
    pub content: Option<SpecHash>,
}

impl From<&Cattle> for Wanted {
    fn from(cattle: &Cattle) -> Self {
        Self {
            cattle: cattle.name.clone(),
            hash: cattle.hash.clone(),
            content: Some(cattle.substance.content.clone()),
        }
    }
}

impl From<(CattleName, SpecHash)> for Wanted {
    fn from((cattle, hash): (CattleName, SpecHash)) -> Self {
        Self {
            cattle,
            hash,
            content: None,
        }
    }
}

/// Which runs to read, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this cattle.
    pub cattle: Option<CattleName>,
    /// Live ones, and those that ended after this.
    pub ended_after: Option<Timestamp>,
    /// Only the latest of each cattle.
    pub latest_only: bool,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Who put a spec into the socket's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSpec {
    /// Its name.
    pub cattle: CattleName,
    /// Who asked.
    pub requester: cattle_core::desired::Requester,
    /// What they may do.
    pub authority: cattle_core::desired::Authority,
    /// The directory it was applied from, for `--prune`.
    pub apply_set: Option<String>,
}

/// The ledger's keeper.
pub trait Store: Send + Sync + 'static {
    /// What one plan needs (see [`Ledger`]): every run that is not both over and gone, the latest
    /// run of each wanted name, the assignments of all of these, those that may be the same as what is
    /// wanted (see [`Wanted::content`]) and those not ended, pauses that hold, what is known of
    /// images, and since `creates_since` creates, pauses that ended, and ends for specs. (What servers' labels name besides, the caller
    /// reads with [`Store::run`].)
    fn ledger(&self, wanted: Vec<Wanted>, creates_since: Timestamp) -> StoreFuture<'_, Ledger>;

    /// One transaction. Each change is applied or not on its own; the answer says which.
    fn commit(&self, edits: Vec<Edit>, now: Timestamp) -> StoreFuture<'_, Vec<bool>>;

    /// One transaction that is dropped whole when one change is not applied.
    fn commit_all(&self, edits: Vec<Edit>, now: Timestamp) -> StoreFuture<'_, bool>;

    /// One run.
    fn run(&self, id: RunId) -> StoreFuture<'_, Option<Run>>;

    /// Runs, newest first.
    fn runs(&self, filter: RunFilter) -> StoreFuture<'_, Vec<Run>>;

    /// How many steps of runs were ever recorded: a run that began counts once, twice when its env was
    /// handed out, three times when it is over. Never falls: a run's row stays for good.
    fn count_steps(&self) -> StoreFuture<'_, u64>;

    /// What servers are billed for that were there at some time within the window, as the runs of
    /// the ledger had them, oldest run first. Nothing of it is ever forgotten.
    fn charges(&self, window: Range<Timestamp>) -> StoreFuture<'_, Vec<Charge>>;

    /// Pauses that hold, oldest first.
    fn pauses(&self) -> StoreFuture<'_, Vec<Pause>>;

    /// All assignments of a name.
    fn assignments(&self, cattle: CattleName) -> StoreFuture<'_, Vec<(SpecHash, Assignment)>>;

    /// The token with this digest, voided ones included.
    fn token(&self, digest: [u8; 32]) -> StoreFuture<'_, Option<TokenRecord>>;

    /// All tokens of a run, voided ones included, in no order.
    fn tokens(&self, run: RunId) -> StoreFuture<'_, Vec<TokenRecord>>;

    /// Events after an id, oldest first.
    fn events(
        &self,
        after: u64,
        cattle: Option<CattleName>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>>;

    /// Events from now on, as they are committed. A receiver that lags reads the gap with `events`.
    fn subscribe(&self) -> broadcast::Receiver<Event>;

    /// Insert or replace who put a spec into the socket's directory; `None` forgets.
    fn put_socket_spec(&self, cattle: CattleName, spec: Option<SocketSpec>) -> StoreFuture<'_, ()>;

    /// All of them.
    fn socket_specs(&self) -> StoreFuture<'_, Vec<SocketSpec>>;

    /// Insert or replace a job.
    fn put_job(&self, job: Job) -> StoreFuture<'_, ()>;

    /// One job.
    fn job(&self, id: String) -> StoreFuture<'_, Option<Job>>;

    /// Jobs, newest first; only this requester's where given.
    fn jobs(
        &self,
        requester: Option<String>,
        before: Option<String>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Job>>;

    /// Remember the answer to an idempotent request, unless the key is there already: then that
    /// record is returned. `request` is a digest of what was asked.
    fn remember(
        &self,
        key: IdempotentReply,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<IdempotentReply>>;

    /// The answer to an earlier request with this key of this requester.
    fn recall(&self, requester: String, key: String) -> StoreFuture<'_, Option<IdempotentReply>>;

    /// A value kept by name; the ledger's id is `ledger-id`.
    fn meta(&self, name: String) -> StoreFuture<'_, Option<String>>;

    /// Insert or replace such a value.
    fn put_meta(&self, name: String, value: String) -> StoreFuture<'_, ()>;

    /// Whether it can be written, as far as is known. With no room, what must be recorded (ends,
    /// deletes, signs of life) still may be; specs of the socket, jobs and remembered replies are
    /// [`StoreError::Full`].
    fn writable(&self) -> watch::Receiver<Writable>;

    /// Looks whether it can be written, without writing, and gets ready for when it cannot.
    /// Answers whether there is room for everything.
    fn look(&self) -> StoreFuture<'_, bool>;

    /// Forget results, tokens, events, jobs, pauses and idempotency keys of what was over before this.
    /// Assignments, the fact of a run and what it cost stay for good. Answers with the runs whose logs may go;
    /// each is named once.
    fn forget_before(&self, before: Timestamp) -> StoreFuture<'_, Vec<RunId>>;
}

/// What was answered to an idempotent request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentReply {
    /// Whose key.
    pub requester: String,
    /// The key.
    pub key: String,
    /// SHA-256 of method, path and body, hex.
    pub request: String,
    /// Status and body of the answer.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system is full; what was there before still is.
    #[error("the ledger has no room to {operation}")]
    Full {
        /// What was tried.
        operation: &'static str,
    },
    /// Another process holds the ledger's lock.
    #[error("the ledger is locked by another process; could not {operation}")]
    Locked {
        /// What was tried.
        operation: &'static str,
    },
    /// SQLite refused.
    #[error("the ledger could not {operation}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A row does not decode: written by a newer version, or damaged.
    #[error("the ledger's {what} does not decode")]
    Corrupt {
        /// Which row.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Anything else about opening it.
    #[error("{message}")]
    Open {
        /// What is wrong, and what to do.
        message: String,
    },
    /// The file system refused.
    #[error("could not {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            operation,
            path: path.display().to_string(),
            source,
        }
    }
}
