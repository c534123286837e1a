//! The reaper: deletes what is past its expiry, with nothing but the token.
//!
//! It needs no ledger, no specs and no running controller, so that money stops even when everything
//! else is broken; and it is slower than the controller by [`GRACE`], so that a living controller
//! always comes first. Invariants: each server is read again right before it is deleted, and must
//! still be ours and still be expired by Hetzner's clock; one failure never stops the rest.

use std::time::Duration;

use cattle_core::observed::{ObservedServer, ServerState};
use cattle_schemas::{
    Timestamp,
    api::{ReapReply, Reaped},
};

use chrono::Utc;

use crate::hetzner::{ApiError, Client, Deleted, Scope};

/// How far past its expiry a server is left to the controller: its own 20 s for a hand-over, the
/// delete, and a pass that was late.
pub const GRACE: Duration = Duration::from_secs(120);

/// Deletes every server of `scope` that is [`GRACE`] past its expiry, or with `dry_run` only names
/// them. `default_ttl` gives the expiry where a label does not.
///
/// # Errors
/// The list failed. A server that could not be read or deleted is an entry with an `error`.
pub async fn reap(
    client: &Client,
    scope: &Scope,
    default_ttl: Duration,
    dry_run: bool,
) -> Result<ReapReply, ApiError> {
    let listed = client.list_scope(scope, default_ttl).await?;
    let now = listed
        .asked_at_hetzner
        .unwrap_or_else(|| client.hetzner_now(Utc::now()));
    let mut servers = Vec::new();
    for listed in listed.servers.iter().filter(|server| overdue(server, now)) {
        let mut reaped = Reaped {
            server: listed.id.0,
            name: listed.name.clone(),
            expired_at: listed.labels.expires_at.unwrap_or(listed.created),
            deleted: false,
            error: None,
        };
        if !dry_run {
            match reap_one(client, scope, listed, default_ttl, now).await {
                Ok(Verdict::Deleted) => reaped.deleted = true,
                Ok(Verdict::Spared) => continue,
                Err(error) => {
                    tracing::error!(server = reaped.server, name = reaped.name, %error, "cannot reap");
                    reaped.error = Some(error.to_string());
                }
            }
        }
        tracing::info!(
            server = reaped.server,
            name = reaped.name,
            deleted = reaped.deleted,
            dry_run,
            "reap"
        );
        servers.push(reaped);
    }
    Ok(ReapReply { servers, dry_run })
}

enum Verdict {
    Deleted,
    /// Gone, extended or handed to somebody else since it was listed.
    Spared,
}

async fn reap_one(
    client: &Client,
    scope: &Scope,
    listed: &ObservedServer,
    default_ttl: Duration,
    now: Timestamp,
) -> Result<Verdict, ApiError> {
    let Some(server) = client.get_server(listed.id, default_ttl).await? else {
        return Ok(Verdict::Spared);
    };
    if !scope.contains(&server.labels.raw)
        || !overdue(&server, now)
        || server.status == ServerState::Deleting
    {
        return Ok(Verdict::Spared);
    }
    match client.delete_server(server.id).await? {
        Deleted::Accepted { .. } => Ok(Verdict::Deleted),
        Deleted::AlreadyGone => Ok(Verdict::Spared),
    }
}

fn overdue(server: &ObservedServer, now: Timestamp) -> bool {
    server
        .labels
        .expires_at
        .is_some_and(|expiry| now >= expiry + GRACE)
}
