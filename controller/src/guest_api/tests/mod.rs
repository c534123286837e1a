//! The guest API over real sockets; each test runs against memory and against SQLite.

#![allow(clippy::unwrap_used)]

mod calls;
mod env;
mod handover;
mod ranch;

macro_rules! both_stores {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(
                #[tokio::test]
                async fn $test() {
                    let store = std::sync::Arc::new(crate::store::MemoryStore::new());
                    super::$test(crate::guest_api::tests::ranch::Ranch::open(store).await).await;
                }
            )*
        }
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    let dir = tempfile::tempdir().unwrap();
                    let path = dir.path().join("state.sqlite");
                    let store = crate::store::SqliteStore::open(&path).await.unwrap();
                    let ranch = crate::guest_api::tests::ranch::Ranch::open(std::sync::Arc::new(store));
                    super::$test(ranch.await).await;
                }
            )*
        }
    };
}
pub(super) use both_stores;
