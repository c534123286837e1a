//! Long polls: answer when something holds, or the time is over.

use std::{future::Future, time::Duration};

use cattle_schemas::{api::WaitQuery, problem::ErrorCode};
use tokio::time::Instant;

use super::{Api, problem::ApiError};
use crate::world::Handle;

/// The longest wait of one request; clients ask again.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(300);
/// Unless the query says.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// How long a query asks to wait.
pub(super) fn duration(query: &WaitQuery) -> Result<Duration, ApiError> {
    match query.timeout_seconds.map(Duration::from_secs) {
        None => Ok(DEFAULT_WAIT),
        Some(wait) if wait <= MAX_WAIT => Ok(wait),
        Some(_) => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("`timeoutSeconds` is at most {}", MAX_WAIT.as_secs()),
        )),
    }
}

/// Looks after every pass until `holds`, the time is over, or the controller shuts down; answers
/// with what it saw last.
pub(super) async fn until<T, L>(
    api: &Api,
    wait: Duration,
    mut look: impl FnMut() -> L,
    holds: impl Fn(&T) -> bool,
) -> Result<T, ApiError>
where
    L: Future<Output = Result<T, ApiError>>,
{
    let deadline = Instant::now() + wait;
    let mut handle = api.handle.clone();
    loop {
        let pass = handle.world().pass;
        let seen = look().await?;
        if holds(&seen) {
            return Ok(seen);
        }
        tokio::select! {
            biased;
            () = api.shutdown.cancelled() => return Ok(seen),
            () = tokio::time::sleep_until(deadline) => return look().await,
            newer = newer_than(&mut handle, pass) => newer?,
        }
    }
}

/// Waits for a pass after this one: what was looked at may already have been of it.
async fn newer_than(handle: &mut Handle, pass: u64) -> Result<(), ApiError> {
    loop {
        if handle.changed().await?.pass > pass {
            return Ok(());
        }
    }
}
