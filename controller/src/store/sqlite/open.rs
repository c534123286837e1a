//! Opens the file, or makes it, and brings its schema up to date.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::super::{StoreError, lock::private_dir, room::Room};

/// Readers at once: more than two cores' worth of them only wait for each other.
const READERS: u32 = 4;

/// A file lock is held by a backup tool for moments; ours never waits for itself. Whoever asked is
/// told to come again rather than kept for longer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Pages of 4 KiB in the write-ahead log before they go into the file: half a MiB, so that the log
/// of a small disk does not fill it. (SQLite's own bound is eight times as many.)
const CHECKPOINT_PAGES: &str = "128";

/// A log that one large commit made longer is cut to this again, in bytes.
const LOG_BYTES: &str = "524288";

/// A reader that is not to be had for so long means that all of them hang.
const READER_TIMEOUT: Duration = Duration::from_secs(10);

/// Every version of the schema, oldest first. What is in here never changes again.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "ledger",
        include_str!("../../../migrations/0001_ledger.sql"),
    ),
    (
        2,
        "charges",
        include_str!("../../../migrations/0002_charges.sql"),
    ),
    (
        4,
        "guards",
        include_str!("../../../migrations/0004_guards.sql"),
    ),
];

pub(super) struct Opened {
    pub(super) options: SqliteConnectOptions,
    pub(super) writer: SqliteConnection,
    pub(super) readers: SqlitePool,
    pub(super) room: Room,
}

pub(super) async fn open(path: &Path) -> Result<Opened, StoreError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    if !dir.exists() {
        private_dir(dir)?;
    }
    let room = Room::around(dir)?;
    let mut opened = open_in(path, room.clone()).await;
    // Even to look SQLite needs a few pages. A disk that is full at the start must not keep a
    // controller from ending what it has to.
    for give_up in [Room::give_up_to_open, Room::give_up] {
        if matches!(opened, Err(StoreError::Full { .. })) && give_up(&room) {
            opened = open_in(path, room.clone()).await;
        }
    }
    match opened {
        Err(StoreError::Full { .. }) => Err(StoreError::Open {
            message: format!(
                "the file system of the state directory `{}` is so full that the ledger cannot be opened: free some space there and start again; until then `clf-orchestrator reap` deletes what is past its expiry",
                dir.display()
            ),
        }),
        other => other,
    }
}

async fn open_in(path: &Path, room: Room) -> Result<Opened, StoreError> {
    // SQLite gives its companions (`-wal`, `-shm`) the mode of the file.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::io("open the ledger", path, error))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES)
        // Tasks and results are somebody's text: not for our log.
        .disable_statement_logging();
    let mut writer = SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| not_a_ledger(path, error))?;
    migrate(&mut writer, path).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_TIMEOUT)
        .connect_lazy_with(options.clone().pragma("query_only", "ON"));
    Ok(Opened {
        options,
        writer,
        readers,
        room,
    })
}

async fn migrate(writer: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let known = MIGRATIONS.iter().map(|&(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    let newest = MIGRATIONS
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0);
    let refuse = |message: String| StoreError::Open { message };
    match Migrator::with_migrations(known.collect())
        .run_direct(None, writer, false)
        .await
    {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _)) => {
            Err(refuse(format!(
                "the ledger `{}` was written by a newer version (schema {version}, this one knows {newest}); use that version, or restore a copy from before it",
                path.display()
            )))
        }
        Err(MigrateError::VersionMismatch(version) | MigrateError::Dirty(version)) => {
            Err(refuse(format!(
                "the ledger `{}` has another schema {version} than this version knows; it was written by a build that was never released, or is damaged",
                path.display()
            )))
        }
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(not_a_ledger(path, error))
        }
        Err(error) => Err(refuse(format!("the ledger `{}`: {error}", path.display()))),
    }
}

/// SQLITE_NOTADB and SQLITE_CORRUPT. <https://www.sqlite.org/rescode.html>
const DAMAGED: [&str; 2] = ["26", "11"];

fn not_a_ledger(path: &Path, error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.is_some_and(|code| DAMAGED.contains(&code.as_ref())) {
        StoreError::Open {
            message: format!(
                "`{}` is not a ledger, or is damaged; move it away to begin with a new one; what runs is adopted from Hetzner's labels, but what was done before is forgotten, so take away the spec files that must not run again",
                path.display()
            ),
        }
    } else {
        super::database("open")(error)
    }
}
