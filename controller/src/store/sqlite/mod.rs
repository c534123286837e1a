//! The ledger in SQLite.
//!
//! Invariants: one connection writes, in `BEGIN IMMEDIATE` transactions, and each is on disk before
//! the call returns (`synchronous = FULL`); readers see whole commits. A write runs in a task of its
//! own: a caller that goes away in the middle neither undoes it nor leaves a transaction open. A
//! connection whose transaction failed is not used again, because SQLite may have rolled it back by
//! itself, which sqlx does not notice. While another process holds the lock, one write waits for it
//! and the others fail at once.

mod edit;
mod failure;
mod open;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{ops::Range, path::Path, pin::Pin, sync::Arc, time::Duration};

use cattle_core::{
    charge::Charge,
    ledger::{Assignment, Ledger, Run},
    names::{CattleName, RunId, SpecHash},
    pause::Pause,
    writable::Writable,
};
use cattle_schemas::{Timestamp, api::MAX_SPEC_BYTES, event::Event, job::Job};
use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::SqliteConnectOptions,
};
use tokio::{
    sync::{Mutex, broadcast, watch},
    time::Instant,
};

use self::failure::{database, trouble};
use super::{
    EVENT_BACKLOG, Edit, IdempotentReply, RunFilter, SocketSpec, Store, StoreError, StoreFuture,
    TokenRecord, Wanted, room::Room,
};

/// After a write met a lock, those that come so soon after do not wait for it again: each would
/// wait in turn, and whoever asked for the last of them for minutes.
const LOCKED_FOR: Duration = Duration::from_secs(1);

/// The ledger in a file.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    options: SqliteConnectOptions,
    writer: Mutex<Writer>,
    readers: SqlitePool,
    room: Room,
    writable: watch::Sender<Writable>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Writer {
    /// `None` after a failure: the next write connects anew.
    connection: Option<SqliteConnection>,
    /// When it last met somebody else's lock.
    locked: Option<Instant>,
}

/// How much a write matters.
#[derive(Clone, Copy)]
enum Need {
    /// It ends something, or keeps it from being ended wrongly: the reserve is for this.
    Must,
    /// It begins something: as long as there is room.
    May,
    /// So many bytes that nothing depends on: only while there is room to spare.
    Spare(usize),
    /// It only looks.
    Look,
}

/// What a transaction answers with, and the events to tell once it is on disk. `None` drops the
/// transaction.
type Outcome<T> = Result<Option<(T, Vec<Event>)>, StoreError>;
type Body<'a, T> = Pin<Box<dyn Future<Output = Outcome<T>> + Send + 'a>>;

impl SqliteStore {
    /// Opens the ledger, or makes it: the directory 0700, the file 0600, the schema brought up to
    /// this version's.
    ///
    /// # Errors
    /// It was written by a newer version, is not a ledger, is damaged, or cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = open::open(path).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                options: opened.options,
                writer: Mutex::new(Writer {
                    connection: Some(opened.writer),
                    locked: None,
                }),
                readers: opened.readers,
                room: opened.room,
                writable: watch::Sender::default(),
                events: broadcast::Sender::new(EVENT_BACKLOG),
            }),
        })
    }

    /// Ends every connection; what was committed stays. Calls after this fail.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        if let Some(writer) = self.inner.writer.lock().await.connection.take() {
            // The last one out checkpoints the log; should that fail, the next open does it.
            let _ = writer.close().await;
        }
    }

    /// One transaction, to its end even when the caller goes away. `Ok(None)` means dropped.
    fn write<T, F>(
        &self,
        operation: &'static str,
        need: Need,
        body: F,
    ) -> StoreFuture<'_, Option<T>>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction<'_, Sqlite>) -> Body<'t, T> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move { inner.write(operation, need, body).await });
        Box::pin(async move {
            match task.await {
                Ok(outcome) => outcome,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only the runtime's own end cancels it.
                    Err(_) => Err(database(operation)(sqlx::Error::WorkerCrashed)),
                },
            }
        })
    }

    /// One snapshot.
    fn read<'a, T, F>(&'a self, operation: &'static str, body: F) -> StoreFuture<'a, T>
    where
        T: Send + 'a,
        F: for<'t> FnOnce(
                &'t mut SqliteConnection,
            )
                -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>
            + Send
            + 'a,
    {
        Box::pin(async move {
            let mut snapshot = self
                .inner
                .readers
                .begin()
                .await
                .map_err(database(operation))?;
            let value = body(&mut snapshot).await?;
            snapshot.commit().await.map_err(database(operation))?;
            Ok(value)
        })
    }
}

impl Inner {
    /// As much room as it needs, the transaction, and what its outcome says of the ledger.
    async fn write<T, F>(
        &self,
        operation: &'static str,
        need: Need,
        body: F,
    ) -> Result<Option<T>, StoreError>
    where
        F: for<'t> FnOnce(&'t mut Transaction<'_, Sqlite>) -> Body<'t, T>,
    {
        match need {
            Need::Must => self.room.prepare(),
            Need::Spare(bytes) if !self.room.allows(bytes as u64) => {
                self.writable.send_if_modified(|known| {
                    let news = *known == Writable::Yes;
                    if news {
                        *known = Writable::NoRoom;
                    }
                    news
                });
                return Err(StoreError::Full { operation });
            }
            Need::May | Need::Spare(_) | Need::Look => {}
        }
        let done = self.transact(operation, body).await;
        if let (Err(StoreError::Full { .. }), Need::Must) = (&done, need) {
            // More than was foreseen. Whoever tries again finds room.
            self.room.give_up();
        }
        self.writable.send_if_modified(|known| {
            let now = match &done {
                Err(error) => trouble(error),
                Ok(_) if !self.room.allows(0) => Some(Writable::NoRoom),
                // Only what was written proves that it can be.
                Ok(Some(_)) if *known != Writable::NoRoom || self.room.is_back() => {
                    Some(Writable::Yes)
                }
                Ok(_) => None,
            };
            now.is_some_and(|now| std::mem::replace(known, now.clone()) != now)
        });
        done
    }

    async fn transact<T, F>(
        &self,
        operation: &'static str,
        body: F,
    ) -> Result<Option<T>, StoreError>
    where
        F: for<'t> FnOnce(&'t mut Transaction<'_, Sqlite>) -> Body<'t, T>,
    {
        let mut writer = self.writer.lock().await;
        if writer.locked.is_some_and(|at| at.elapsed() < LOCKED_FOR) {
            return Err(StoreError::Locked { operation });
        }
        let mut connection = match writer.connection.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options)
                .await
                .map_err(database("open a connection"))?,
        };
        let (begun, done) = self.transact_on(&mut connection, operation, body).await;
        let locked = matches!(done, Err(StoreError::Locked { .. }));
        writer.locked = locked.then(Instant::now);
        // What failed once begun is not used again; a lock was met before.
        if done.is_ok() || (locked && !begun) {
            writer.connection = Some(connection);
        }
        done
    }

    /// Whether the transaction began, and what came of it.
    async fn transact_on<T, F>(
        &self,
        connection: &mut SqliteConnection,
        operation: &'static str,
        body: F,
    ) -> (bool, Result<Option<T>, StoreError>)
    where
        F: for<'t> FnOnce(&'t mut Transaction<'_, Sqlite>) -> Body<'t, T>,
    {
        let mut transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
            Ok(transaction) => transaction,
            Err(error) => return (false, Err(database(operation)(error))),
        };
        let done = async {
            match body(&mut transaction).await? {
                Some((value, events)) => {
                    transaction.commit().await.map_err(database(operation))?;
                    // Told while the writer is held, so in the order of their ids.
                    for event in events {
                        // Nobody listening is no error.
                        let _ = self.events.send(event);
                    }
                    Ok(Some(value))
                }
                None => {
                    transaction.rollback().await.map_err(database(operation))?;
                    Ok(None)
                }
            }
        };
        (true, done.await)
    }
}

fn micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

impl Store for SqliteStore {
    fn ledger(&self, wanted: Vec<Wanted>, creates_since: Timestamp) -> StoreFuture<'_, Ledger> {
        self.read("read what a plan needs", move |on| {
            Box::pin(read::ledger(on, wanted, creates_since))
        })
    }

    fn commit(&self, edits: Vec<Edit>, now: Timestamp) -> StoreFuture<'_, Vec<bool>> {
        let done = self.write("commit", need(&edits), move |on| {
            Box::pin(async move { edit::commit(on, edits, now).await.map(Some) })
        });
        Box::pin(async move { Ok(done.await?.unwrap_or_default()) })
    }

    fn commit_all(&self, edits: Vec<Edit>, now: Timestamp) -> StoreFuture<'_, bool> {
        let done = self.write("commit", need(&edits), move |on| {
            Box::pin(edit::commit_all(on, edits, now))
        });
        Box::pin(async move { Ok(done.await?.is_some()) })
    }

    fn run(&self, id: RunId) -> StoreFuture<'_, Option<Run>> {
        self.read("read a run", move |on| Box::pin(read::run(on, id)))
    }

    fn runs(&self, filter: RunFilter) -> StoreFuture<'_, Vec<Run>> {
        self.read("read runs", move |on| Box::pin(read::runs(on, filter)))
    }

    fn charges(&self, window: Range<Timestamp>) -> StoreFuture<'_, Vec<Charge>> {
        self.read("read what was billed", move |on| {
            Box::pin(read::charges(on, window))
        })
    }

    fn pauses(&self) -> StoreFuture<'_, Vec<Pause>> {
        self.read("read pauses", |on| Box::pin(read::pauses(on, None)))
    }

    fn assignments(&self, cattle: CattleName) -> StoreFuture<'_, Vec<(SpecHash, Assignment)>> {
        self.read("read assignments", move |on| {
            Box::pin(read::assignments(on, cattle))
        })
    }

    fn token(&self, digest: [u8; 32]) -> StoreFuture<'_, Option<TokenRecord>> {
        self.read("look up a token", move |on| {
            Box::pin(read::token(on, digest))
        })
    }

    fn tokens(&self, run: RunId) -> StoreFuture<'_, Vec<TokenRecord>> {
        self.read("look up a run's tokens", move |on| {
            Box::pin(read::tokens(on, run))
        })
    }

    fn events(
        &self,
        after: u64,
        cattle: Option<CattleName>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>> {
        self.read("read events", move |on| {
            Box::pin(read::events(on, after, cattle, limit))
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    fn put_socket_spec(&self, cattle: CattleName, spec: Option<SocketSpec>) -> StoreFuture<'_, ()> {
        // To forget one makes room.
        let need = spec
            .as_ref()
            .map_or(Need::Must, |_| Need::Spare(MAX_SPEC_BYTES));
        self.put("record a spec of the socket", need, move |on| {
            Box::pin(write::socket_spec(on, cattle, spec))
        })
    }

    fn socket_specs(&self) -> StoreFuture<'_, Vec<SocketSpec>> {
        self.read("read the socket's specs", |on| {
            Box::pin(read::socket_specs(on))
        })
    }

    fn put_job(&self, job: Job) -> StoreFuture<'_, ()> {
        let need = Need::Spare(0);
        self.put("record a job", need, move |on| {
            Box::pin(write::job(on, job))
        })
    }

    fn job(&self, id: String) -> StoreFuture<'_, Option<Job>> {
        self.read("read a job", move |on| Box::pin(read::job(on, id)))
    }

    fn jobs(
        &self,
        requester: Option<String>,
        before: Option<String>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Job>> {
        self.read("read jobs", move |on| {
            Box::pin(read::jobs(on, requester, before, limit))
        })
    }

    fn remember(
        &self,
        reply: IdempotentReply,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<IdempotentReply>> {
        let need = Need::Spare(reply.body.len());
        self.put("remember a reply", need, move |on| {
            Box::pin(write::reply(on, reply, now))
        })
    }

    fn recall(&self, requester: String, key: String) -> StoreFuture<'_, Option<IdempotentReply>> {
        self.read("recall a reply", move |on| {
            Box::pin(read::reply(on, requester, key))
        })
    }

    fn count_steps(&self) -> StoreFuture<'_, u64> {
        self.read("count the steps of runs", |on| {
            Box::pin(read::count_steps(on))
        })
    }

    fn meta(&self, name: String) -> StoreFuture<'_, Option<String>> {
        self.read("read a value", move |on| Box::pin(read::meta(on, name)))
    }

    fn put_meta(&self, name: String, value: String) -> StoreFuture<'_, ()> {
        self.put("record a value", Need::Must, move |on| {
            Box::pin(write::meta(on, name, value))
        })
    }

    fn writable(&self) -> watch::Receiver<Writable> {
        self.inner.writable.subscribe()
    }

    fn look(&self) -> StoreFuture<'_, bool> {
        self.inner.room.restore();
        let looked = self.write::<(), _>("look", Need::Look, |_| Box::pin(async { Ok(None) }));
        Box::pin(async move {
            looked.await?;
            Ok(self.inner.room.is_back())
        })
    }

    fn forget_before(&self, before: Timestamp) -> StoreFuture<'_, Vec<RunId>> {
        self.put("forget what is past its retention", Need::Must, move |on| {
            Box::pin(write::forget_before(on, before))
        })
    }
}

/// A new run is begun only while there is room; everything else that is committed must be.
fn need(edits: &[Edit]) -> Need {
    let begins = |edit: &Edit| matches!(edit, Edit::InsertRun { .. });
    if edits.iter().any(begins) {
        Need::May
    } else {
        Need::Must
    }
}

impl SqliteStore {
    /// A transaction that tells nothing and is not dropped.
    fn put<T, F>(&self, operation: &'static str, need: Need, body: F) -> StoreFuture<'_, T>
    where
        T: Default + Send + 'static,
        F: for<'t> FnOnce(
                &'t mut SqliteConnection,
            )
                -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>
            + Send
            + 'static,
    {
        let done = self.write(operation, need, move |on| {
            Box::pin(async move { Ok(Some((body(on).await?, Vec::new()))) })
        });
        Box::pin(async move { Ok(done.await?.unwrap_or_default()) })
    }
}
