//! What every store must do; each test runs against memory and against SQLite.

#![allow(clippy::unwrap_used)]

mod answers;
mod charges;
mod edits;
mod pauses;
mod retention;

use cattle_core::{
    desired::Requester,
    ledger::Assignment,
    lifecycle,
    names::{CattleName, SpecHash},
};
use cattle_schemas::{
    event::{EventReason, NewEvent},
    job::{Job, JobKind, JobState},
};

use super::{
    Edit, Store, TokenKind, TokenRecord,
    fixture::{run_id, start},
};

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod memory {
            use crate::store::MemoryStore;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&MemoryStore::new()).await;
                }
            )*
        }
        mod sqlite {
            use crate::store::SqliteStore;
            $(
                #[tokio::test]
                async fn $test() {
                    let dir = tempfile::tempdir().unwrap();
                    let store = SqliteStore::open(&dir.path().join("state.sqlite")).await.unwrap();
                    super::$test(&store).await;
                    store.close().await;
                }
            )*
        }
    };
}
use contract;

fn name(text: &str) -> CattleName {
    text.parse().unwrap()
}

fn hash(text: &str) -> SpecHash {
    text.parse().unwrap()
}

fn assignment() -> Assignment {
    lifecycle::enqueue(None, &Requester::operator(), start())
        .0
        .unwrap()
}

fn put_assignment(cattle: &str, with_hash: &str) -> Edit {
    Edit::Assignment {
        cattle: name(cattle),
        hash: hash(with_hash),
        edit: Box::new(|known| {
            *known = Some(assignment());
            Some(Vec::new())
        }),
    }
}

fn event(cattle: &str, message: &str) -> NewEvent {
    NewEvent {
        cattle: Some(cattle.to_owned()),
        run: None,
        reason: EventReason::Alert,
        message: message.to_owned(),
    }
}

fn token(nth: u8, run: u64) -> TokenRecord {
    TokenRecord {
        digest: [nth; 32],
        run: run_id(run),
        attempt: 1,
        kind: TokenKind::Bootstrap,
        idempotency: None,
        peer: None,
        voided: false,
    }
}

async fn applied<S: Store>(store: &S, edits: Vec<Edit>) {
    let count = edits.len();
    assert_eq!(
        store.commit(edits, start()).await.unwrap(),
        vec![true; count]
    );
}

fn job(id: &str, requester: &str) -> Job {
    Job {
        id: id.to_owned(),
        kind: JobKind::CattleSpawn,
        state: JobState::Queued,
        requester: requester.to_owned(),
        created_at: start(),
        finished_at: None,
        cattle: Some("rex".to_owned()),
        run: None,
        end_reason: None,
        message: None,
    }
}
