//! Writes that are not edits of runs and assignments.

use cattle_core::{
    desired::Authority,
    ledger::Run,
    names::{CattleName, RunId},
};
use cattle_schemas::{Timestamp, job::Job};
use sqlx::SqliteConnection;

use super::{
    super::{IdempotentReply, SocketSpec, StoreError},
    database, micros,
    read::{self, encode},
};

pub(super) async fn socket_spec(
    on: &mut SqliteConnection,
    cattle: CattleName,
    spec: Option<SocketSpec>,
) -> Result<(), StoreError> {
    let query = match spec {
        Some(spec) => sqlx::query(
            "INSERT OR REPLACE INTO socket_specs (cattle, requester, authority, apply_set)
             VALUES (?, ?, ?, ?)",
        )
        .bind(cattle.to_string())
        .bind(spec.requester.0)
        .bind(match spec.authority {
            Authority::Bot => "bot",
            Authority::Operator => "operator",
        })
        .bind(spec.apply_set),
        None => sqlx::query("DELETE FROM socket_specs WHERE cattle = ?").bind(cattle.to_string()),
    };
    query
        .execute(on)
        .await
        .map_err(database("record a spec of the socket"))?;
    Ok(())
}

pub(super) async fn job(on: &mut SqliteConnection, job: Job) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO jobs (id, requester, finished_at, record) VALUES (?, ?, ?, ?)",
    )
    .bind(&job.id)
    .bind(&job.requester)
    .bind(job.finished_at.map(micros))
    .bind(encode(&job)?)
    .execute(on)
    .await
    .map_err(database("record a job"))?;
    Ok(())
}

/// The reply that was there before, if any.
pub(super) async fn reply(
    on: &mut SqliteConnection,
    reply: IdempotentReply,
    now: Timestamp,
) -> Result<Option<IdempotentReply>, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO replies (requester, key, request, status, body, at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(&reply.requester)
    .bind(&reply.key)
    .bind(&reply.request)
    .bind(reply.status)
    .bind(&reply.body)
    .bind(micros(now))
    .execute(&mut *on)
    .await
    .map_err(database("remember a reply"))?;
    if inserted.rows_affected() > 0 {
        return Ok(None);
    }
    read::reply(on, reply.requester, reply.key).await
}

pub(super) async fn meta(
    on: &mut SqliteConnection,
    name: String,
    value: String,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")
        .bind(name)
        .bind(value)
        .execute(on)
        .await
        .map_err(database("record a value"))?;
    Ok(())
}

pub(super) async fn forget_before(
    on: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Vec<RunId>, StoreError> {
    const OPERATION: &str = "forget what is past its retention";
    let before = micros(before);
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM runs WHERE ended_at < ? AND gone_at IS NOT NULL AND forgotten = 0 ORDER BY id",
    )
    .bind(before)
    .fetch_all(&mut *on)
    .await
    .map_err(database(OPERATION))?;
    let mut forgotten = Vec::with_capacity(ids.len());
    for id in ids {
        let Ok(id) = id.parse::<RunId>() else {
            continue;
        };
        let Some(mut run) = read::run(on, id).await? else {
            continue;
        };
        forget_run(on, &mut run)
            .await
            .map_err(database(OPERATION))?;
        forgotten.push(id);
    }
    // What belongs to a run that is not over stays, however old: it is that run's story.
    for sql in [
        "DELETE FROM events WHERE time < ?1
         AND (run IS NULL OR run NOT IN (
             SELECT id FROM runs
             WHERE ended_at IS NULL OR gone_at IS NULL OR ended_at >= ?1))",
        "DELETE FROM jobs WHERE finished_at < ?1",
        "DELETE FROM replies WHERE at < ?1",
        "DELETE FROM pauses WHERE resumed_at < ?1",
    ] {
        sqlx::query(sql)
            .bind(before)
            .execute(&mut *on)
            .await
            .map_err(database(OPERATION))?;
    }
    Ok(forgotten)
}

async fn forget_run(on: &mut SqliteConnection, run: &mut Run) -> Result<(), sqlx::Error> {
    if let Some(outcome) = &mut run.outcome {
        outcome.result = None;
    }
    // A record that was just decoded encodes.
    let record = serde_json::to_string(run).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query("UPDATE runs SET record = ?, forgotten = 1 WHERE id = ?")
        .bind(record)
        .bind(run.id.to_string())
        .execute(&mut *on)
        .await?;
    sqlx::query("DELETE FROM tokens WHERE run = ?")
        .bind(run.id.to_string())
        .execute(on)
        .await?;
    Ok(())
}
