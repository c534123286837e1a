#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;

use cattle_schemas::status::EndReason;
use proptest::prelude::*;

use super::*;
use crate::store::{
    MemoryStore, Store,
    fixture::{end, insert, run, run_id, start},
};

fn logs() -> (tempfile::TempDir, Logs) {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(&dir.path().join("logs")).unwrap();
    (dir, logs)
}

fn stored(next_offset: u64) -> Stored {
    Stored {
        next_offset,
        full: false,
    }
}

#[test]
fn bytes_that_come_twice_are_stored_once() {
    let (_dir, logs) = logs();
    let rex = run_id(1);
    assert_eq!(logs.append(rex, 0, b"hello ").unwrap(), stored(6));
    assert_eq!(
        logs.append(rex, 0, b"hello ").unwrap(),
        stored(6),
        "the same call again"
    );
    assert_eq!(
        logs.append(rex, 3, b"lo world").unwrap(),
        stored(11),
        "an overlap"
    );
    assert_eq!(
        logs.append(rex, 2, b"XX").unwrap(),
        stored(11),
        "what is stored never changes"
    );
    assert_eq!(logs.read(rex, 0, 100).unwrap(), b"hello world");
}

#[test]
fn a_gap_is_refused_with_where_to_go_on() {
    let (_dir, logs) = logs();
    let error = logs.append(run_id(1), 1, b"x").unwrap_err();
    assert!(matches!(error, LogError::Gap { next_offset: 0 }));
    logs.append(run_id(1), 0, b"abc").unwrap();
    let error = logs.append(run_id(1), u64::MAX, b"x").unwrap_err();
    assert!(matches!(error, LogError::Gap { next_offset: 3 }));
    assert_eq!(
        logs.append(run_id(1), 0, b"").unwrap(),
        stored(3),
        "no bytes: a question"
    );
}

#[test]
fn a_log_ends_at_its_limit() {
    let (_dir, logs) = logs();
    let chunk = vec![b'x'; 1024 * 1024];
    for mib in 0..15 {
        assert!(
            !logs
                .append(run_id(1), mib * 1024 * 1024, &chunk)
                .unwrap()
                .full
        );
    }
    logs.append(run_id(1), 15 * 1024 * 1024, &chunk[..chunk.len() - 1])
        .unwrap();
    let last = logs.append(run_id(1), MAX_LOG_BYTES - 1, b"ab").unwrap();
    assert_eq!(
        last,
        Stored {
            next_offset: MAX_LOG_BYTES,
            full: true
        }
    );
    assert_eq!(logs.append(run_id(1), MAX_LOG_BYTES, b"c").unwrap(), last);
    assert_eq!(logs.length(run_id(1)).unwrap(), Some(MAX_LOG_BYTES));
}

#[test]
fn logs_are_apart_and_the_controllers_alone() {
    let (dir, logs) = logs();
    logs.append(run_id(1), 0, b"one").unwrap();
    logs.append(run_id(2), 0, b"two").unwrap();
    assert_eq!(logs.read(run_id(2), 0, 10).unwrap(), b"two");
    let folder = dir.path().join("logs");
    assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
    for entry in folder.read_dir().unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn any_part_can_be_read() {
    let (_dir, logs) = logs();
    logs.append(run_id(1), 0, b"0123456789").unwrap();
    assert_eq!(logs.read(run_id(1), 4, 3).unwrap(), b"456");
    assert_eq!(logs.read(run_id(1), 10, 3).unwrap(), b"");
    assert_eq!(logs.read(run_id(1), 99, 3).unwrap(), b"");
    assert_eq!(logs.tail(run_id(1), 3).unwrap(), (7, b"789".to_vec()));
    assert_eq!(
        logs.tail(run_id(1), 99).unwrap(),
        (0, b"0123456789".to_vec())
    );
    assert_eq!(logs.length(run_id(2)).unwrap(), None);
    assert_eq!(logs.read(run_id(2), 0, 3).unwrap(), b"");
    assert_eq!(logs.tail(run_id(2), 3).unwrap(), (0, Vec::new()));
}

#[tokio::test]
async fn a_follower_hears_of_growth_and_of_the_end() {
    let (_dir, logs) = logs();
    logs.append(run_id(1), 0, b"abc").unwrap();
    let mut follower = logs.follow(run_id(1)).unwrap();
    assert_eq!(*follower.borrow_and_update(), 3);
    logs.append(run_id(1), 3, b"def").unwrap();
    follower.changed().await.unwrap();
    assert_eq!(*follower.borrow_and_update(), 6);
    logs.delete(run_id(1)).unwrap();
    follower.changed().await.unwrap_err();
    assert_eq!(logs.length(run_id(1)).unwrap(), None);
}

#[test]
fn nobody_following_keeps_nothing() {
    let (_dir, logs) = logs();
    drop(logs.follow(run_id(1)).unwrap());
    logs.append(run_id(1), 0, b"abc").unwrap();
    assert!(logs.followers().is_empty());
}

#[tokio::test]
async fn room_is_made_from_the_oldest_ended_runs() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::with_quota(dir.path(), 1_000).unwrap();
    let store = MemoryStore::new();
    let edits = vec![
        insert(run("live", 1)),
        insert(run("old", 2)),
        end(run_id(2), EndReason::Completed, start()),
        insert(run("young", 3)),
        end(run_id(3), EndReason::Completed, start()),
        insert(run("new", 4)),
    ];
    store.commit(edits, start()).await.unwrap();
    for nth in 1..=3 {
        logs.append(run_id(nth), 0, &[b'x'; 300]).unwrap();
    }
    let refused = logs.append(run_id(4), 0, &[b'x'; 200]).unwrap_err();
    assert!(matches!(refused, LogError::NoRoom));
    assert_eq!(
        logs.append(run_id(4), 0, &[b'x'; 50]).unwrap(),
        stored(50),
        "what fits is stored"
    );

    assert_eq!(logs.make_room(&store).await.unwrap(), [run_id(2)]);
    assert_eq!(
        logs.append(run_id(4), 50, &[b'x'; 200]).unwrap(),
        stored(250)
    );
    assert_eq!(
        logs.length(run_id(1)).unwrap(),
        Some(300),
        "a live run keeps its log"
    );
    assert_eq!(logs.total(), 850);
    assert_eq!(
        Logs::open(dir.path()).unwrap().total(),
        850,
        "a restart counts the same"
    );
}

#[tokio::test]
async fn a_quota_that_became_smaller_is_kept_to_without_a_write() {
    let (dir, logs) = logs();
    let store = MemoryStore::new();
    for nth in 1..=3 {
        logs.append(run_id(nth), 0, &[b'x'; 300]).unwrap();
    }
    let quota = |quota| Logs::with_quota(&dir.path().join("logs"), quota).unwrap();
    assert!(quota(900).keep_room(&store).await.unwrap().is_empty());
    let logs = quota(899);
    assert_eq!(logs.keep_room(&store).await.unwrap(), [run_id(1)]);
    assert_eq!(logs.total(), 600);
}

#[tokio::test]
async fn nothing_is_deleted_while_there_is_room() {
    let (_dir, logs) = logs();
    logs.append(run_id(1), 0, b"of a run that nobody knows")
        .unwrap();
    assert!(
        logs.make_room(&MemoryStore::new())
            .await
            .unwrap()
            .is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the calls overlap, repeat or come too early: what is stored is a prefix of what was
    /// written, and all that came in order is there.
    #[test]
    fn calls_in_any_order_store_a_prefix(
        text in proptest::collection::vec(any::<u8>(), 1..200),
        calls in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..60), 0..30),
    ) {
        let (_dir, logs) = logs();
        let mut expected = 0;
        for (from, length) in calls {
            let from = from.index(text.len());
            let to = (from + length).min(text.len());
            match logs.append(run_id(1), from as u64, &text[from..to]) {
                Ok(stored) => {
                    expected = expected.max(to);
                    prop_assert_eq!(stored.next_offset, expected as u64);
                }
                Err(LogError::Gap { next_offset }) => {
                    prop_assert!(from > expected);
                    prop_assert_eq!(next_offset, expected as u64);
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
        prop_assert_eq!(logs.read(run_id(1), 0, 1000).unwrap(), &text[..expected]);
    }
}
