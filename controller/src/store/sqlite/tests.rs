//! What only a file can do: permissions, versions, a full disk, a caller that goes away.

#![allow(clippy::unwrap_used)]

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::{
    super::{
        Edit, Store, StoreError,
        fixture::{accepted, after, end, gone, insert, run, run_id, start},
    },
    SqliteStore,
};
use cattle_core::writable::Writable;
use cattle_schemas::{Timestamp, status::EndReason};

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state/state.sqlite")
    }

    async fn open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.path()).await
    }

    async fn raw(&self, sql: &str) {
        let url = format!("sqlite://{}", self.path().display());
        let mut raw = SqliteConnection::connect(&url).await.unwrap();
        raw.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        raw.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_file_and_its_companions_are_the_controllers_alone() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    store
        .commit(vec![insert(run("rex", 1))], start())
        .await
        .unwrap();
    let dir = home.path().parent().unwrap().to_owned();
    assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
    let mut seen = 0;
    for entry in dir.read_dir().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().mode() & 0o777,
            0o600,
            "{:?}",
            entry.file_name()
        );
        seen += 1;
    }
    assert_eq!(seen, 3, "the file, its log and its shared memory");
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    store
        .commit(vec![insert(run("rex", 1))], start())
        .await
        .unwrap();
    // Not closed: a crash does not do that either.
    drop(store);
    let again = home.open().await.unwrap();
    assert_eq!(again.run(run_id(1)).await.unwrap(), Some(run("rex", 1)));
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused_with_what_to_do() {
    let home = Home::new();
    home.open().await.unwrap().close().await;
    home.raw(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (7, 'future', 1, x'00', 0)",
    )
    .await;
    let refusal = home.open().await.err().unwrap().to_string();
    assert!(
        refusal.contains("newer version (schema 7, this one knows 4)"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_refused_and_left_as_it_is() {
    let home = Home::new();
    std::fs::create_dir_all(home.path().parent().unwrap()).unwrap();
    let content = b"something else entirely, and long enough to have a header. ".repeat(40);
    std::fs::write(home.path(), &content).unwrap();
    let refusal = home.open().await.err().unwrap().to_string();
    assert!(refusal.contains("is not a ledger"), "{refusal}");
    assert_eq!(std::fs::read(home.path()).unwrap(), content);
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_not_a_run_that_never_was() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    store
        .commit(vec![insert(run("rex", 1))], start())
        .await
        .unwrap();
    home.raw("UPDATE runs SET record = '{}'").await;
    let error = store.ledger(vec![], start()).await.err().unwrap();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_keeps_what_was_there() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    store
        .commit(vec![insert(run("rex", 1))], start())
        .await
        .unwrap();
    // The pragma holds for one connection: the writer's.
    {
        let mut writer = store.inner.writer.lock().await;
        let writer = writer.connection.as_mut().unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&mut *writer)
            .await
            .unwrap();
        writer
            .execute(AssertSqlSafe(format!(
                "PRAGMA max_page_count = {}",
                pages + 2
            )))
            .await
            .unwrap();
    }
    let mut large = run("max", 2);
    large.spec.task.message = "x".repeat(200_000);
    let ends_first = vec![end(run_id(1), EndReason::Destroyed, start()), insert(large)];
    let error = store.commit(ends_first, start()).await.err().unwrap();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");

    // Nothing of it happened, and the next transaction is a transaction of its own.
    assert!(store.run(run_id(1)).await.unwrap().unwrap().is_live());
    assert_eq!(store.run(run_id(2)).await.unwrap(), None);
    let edits = vec![end(run_id(1), EndReason::Destroyed, start())];
    assert_eq!(store.commit(edits, start()).await.unwrap(), [true]);
    drop(store);
    let again = home.open().await.unwrap();
    assert!(!again.run(run_id(1)).await.unwrap().unwrap().is_live());
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_transaction_open() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    for nth in 1..20 {
        // Begun, and dropped without being waited for.
        drop(store.commit(vec![insert(run(&format!("c{nth}"), nth))], start()));
    }
    let count = store
        .commit(vec![insert(run("last", 99))], start())
        .await
        .unwrap();
    assert_eq!(count, [true]);
    assert_eq!(store.ledger(vec![], start()).await.unwrap().runs.len(), 20);
}

#[tokio::test]
async fn an_edit_that_panics_leaves_the_ledger_usable() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    store
        .commit(vec![insert(run("rex", 1))], start())
        .await
        .unwrap();
    let bad = Edit::Run {
        id: run_id(1),
        edit: Box::new(|_, _| panic!("a defect")),
    };
    let other = store.clone();
    let panicked = tokio::spawn(async move { other.commit(vec![bad], start()).await }).await;
    assert!(panicked.unwrap_err().is_panic());
    let edits = vec![end(run_id(1), EndReason::Destroyed, start())];
    assert_eq!(store.commit(edits, start()).await.unwrap(), [true]);
}

#[tokio::test]
async fn runs_from_before_charges_were_kept_are_charged_too() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let edits = vec![
        insert(run("rex", 1)),
        insert(run("max", 2)),
        accepted(run_id(1)),
        end(run_id(1), EndReason::Completed, after(60)),
        gone(run_id(1), after(70)),
    ];
    assert_eq!(store.commit(edits, start()).await.unwrap(), [true; 5]);
    let always = || Timestamp::MIN_UTC..Timestamp::MAX_UTC;
    let charges = store.charges(always()).await.unwrap();
    assert_eq!(charges.len(), 1);
    assert!(charges[0].price.is_some());
    store.close().await;
    home.raw("DROP TABLE charges; DELETE FROM _sqlx_migrations WHERE version = 2")
        .await;
    let again = home.open().await.unwrap();
    assert_eq!(again.charges(always()).await.unwrap(), charges);
}

/// A pass must not get slower with every run there ever was.
#[tokio::test]
async fn what_every_pass_asks_is_found_by_index() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let mut connection = store.inner.readers.acquire().await.unwrap();
    for sql in [
        super::read::RUNS_OF_A_PLAN,
        super::read::ASSIGNMENTS_OF_A_PLAN,
        super::read::CHARGES,
        super::read::RECENT_ENDS,
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .bind("[]")
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        let steps: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
        for table in ["runs", "assignments", "charges"] {
            let whole = |step: &&String| {
                step.starts_with(&format!("SCAN {table}")) && !step.contains("INDEX")
            };
            assert_eq!(steps.iter().find(whole), None, "{steps:#?}");
        }
        assert!(
            steps
                .iter()
                .any(|step| ["unsettled", "open", "until", "runs_by_end"]
                    .iter()
                    .any(|it| step.contains(it))),
            "{steps:#?}"
        );
    }
}

#[tokio::test]
async fn a_lock_of_another_process_is_said_and_passes() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let writable = store.writable();
    let url = format!("sqlite://{}", home.path().display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    for _ in 0..3 {
        let refused = store.commit(vec![insert(run("rex", 1))], start()).await;
        assert!(matches!(refused, Err(StoreError::Locked { .. })));
    }
    let looked = store.look().await;
    assert!(matches!(looked, Err(StoreError::Locked { .. })));
    assert_eq!(*writable.borrow(), Writable::Locked);
    // Looking goes on.
    assert_eq!(store.run(run_id(1)).await.unwrap(), None);
    other.execute("ROLLBACK").await.unwrap();
    let mut tries = 0;
    while store
        .commit(vec![insert(run("rex", 1))], start())
        .await
        .is_err()
    {
        // It lets others wait instead of itself, for a second.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        tries += 1;
        assert!(tries < 600, "it never comes back");
    }
    assert_eq!(*writable.borrow(), Writable::Yes);
    assert!(store.look().await.unwrap());
}

#[tokio::test]
async fn the_reserve_is_made_given_up_and_made_again() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let file = home.path().with_file_name("reserve");
    assert!(!file.exists(), "to open is only to look");
    assert!(store.look().await.unwrap());
    let made = file.metadata().unwrap();
    assert!(made.len() >= 1024 * 1024);
    assert_eq!(made.blocks() * 512, made.len(), "it takes what it says");
    assert_eq!(made.mode() & 0o777, 0o600);
    assert!(store.inner.room.give_up());
    assert!(!file.exists() && !store.inner.room.give_up());
    assert!(store.look().await.unwrap() && file.exists());
}
