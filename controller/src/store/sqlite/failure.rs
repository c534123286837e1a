//! What a failure of SQLite means. <https://www.sqlite.org/rescode.html>

use cattle_core::writable::Writable;

use super::super::StoreError;

/// SQLite's codes for a full file system: SQLITE_FULL, and SQLITE_IOERR_SHMSIZE where it shows as
/// the shared memory file not growing. <https://www.sqlite.org/rescode.html>
const FULL: [&str; 2] = ["13", "4874"];

/// The low byte of SQLite's codes SQLITE_BUSY and SQLITE_LOCKED: somebody else's lock.
const LOCKED: [i32; 2] = [5, 6];

/// Likewise of what says that the file or its file system is at fault, and not what was asked:
/// SQLITE_READONLY, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_CANTOPEN, SQLITE_NOTADB.
const AT_FAULT: [i32; 5] = [8, 10, 11, 14, 26];

/// SQLite's primary code.
fn primary(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// A failure of SQLite as ours.
pub(super) fn database(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| {
        let code = source.as_database_error().and_then(|error| error.code());
        if code.is_some_and(|code| FULL.contains(&code.as_ref())) {
            StoreError::Full { operation }
        } else if primary(&source).is_some_and(|code| LOCKED.contains(&code)) {
            StoreError::Locked { operation }
        } else {
            StoreError::Database { operation, source }
        }
    }
}

/// What a write that failed says of the ledger; `None` where it was the write's own fault.
pub(super) fn trouble(error: &StoreError) -> Option<Writable> {
    match error {
        StoreError::Full { .. } => Some(Writable::NoRoom),
        StoreError::Locked { .. } => Some(Writable::Locked),
        StoreError::Database { source, .. } => {
            let at_fault = primary(source).is_some_and(|code| AT_FAULT.contains(&code));
            let why = source.as_database_error().map(|error| error.message());
            why.filter(|_| at_fault)
                .map(|why| Writable::Failing(why.to_owned()))
        }
        StoreError::Corrupt { .. } | StoreError::Open { .. } | StoreError::Io { .. } => None,
    }
}
