//! Every question the ledger answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use cattle_core::{
    breaker::ImageRecord,
    charge::Charge,
    desired::{Authority, Requester},
    ledger::{Assignment, Ledger, Run},
    names::{CattleName, RunId, SpecHash},
    pause::Pause,
};
use cattle_schemas::{Timestamp, event::Event, job::Job, status::PauseReason};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    super::{IdempotentReply, RunFilter, SocketSpec, StoreError, TokenKind, TokenRecord, Wanted},
    database, micros,
};

pub(super) fn encode<T: Serialize>(record: &T) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|source| StoreError::Corrupt {
        what: "new record".to_owned(),
        source,
    })
}

fn decode<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Corrupt {
        what: what.to_owned(),
        source,
    })
}

/// A column's text as the word it stands for.
fn word<T: DeserializeOwned>(what: &str, text: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|source| StoreError::Corrupt {
        what: what.to_owned(),
        source,
    })
}

fn digest(what: &str, bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt {
        what: what.to_owned(),
        source: serde::de::Error::custom("not 32 bytes"),
    })
}

/// Runs that are not settled, and the latest of each wanted name.
pub(super) const RUNS_OF_A_PLAN: &str =
    "SELECT record FROM runs WHERE ended_at IS NULL OR gone_at IS NULL
         UNION ALL
         SELECT record FROM runs
         WHERE id IN (SELECT max(runs.id) FROM json_each(?) AS wanted
                      JOIN runs ON runs.cattle = wanted.value GROUP BY runs.cattle)
           AND ended_at IS NOT NULL AND gone_at IS NOT NULL";

/// Assignments by wanted (name, hash), those that may be the same, and those not ended.
pub(super) const ASSIGNMENTS_OF_A_PLAN: &str =
    "SELECT assignments.cattle, assignments.hash, assignments.record
         FROM json_each(?) AS wanted
         JOIN assignments ON assignments.cattle = wanted.value ->> '$.cattle'
             AND (assignments.hash = wanted.value ->> '$.hash'
                  OR coalesce(assignments.record ->> '$.substance.content', wanted.value ->> '$.content')
                     = wanted.value ->> '$.content')
         UNION ALL
         SELECT cattle, hash, record FROM assignments WHERE open = 1";

pub(super) async fn ledger(
    on: &mut SqliteConnection,
    wanted: Vec<Wanted>,
    creates_since: Timestamp,
) -> Result<Ledger, StoreError> {
    const OPERATION: &str = "read what a plan needs";
    let mut ledger = Ledger::default();
    let names: BTreeSet<&str> = wanted.iter().map(|it| it.cattle.as_str()).collect();
    let runs: Vec<String> = sqlx::query_scalar(RUNS_OF_A_PLAN)
        .bind(encode(&names)?)
        .fetch_all(&mut *on)
        .await
        .map_err(database(OPERATION))?;
    for record in runs {
        let run: Run = decode("run", &record)?;
        ledger.runs.insert(run.id, run);
    }

    let of_runs: BTreeSet<(&CattleName, &SpecHash)> = ledger
        .runs
        .values()
        .map(|run| (&run.cattle, &run.hash))
        .collect();
    let of_runs = of_runs
        .into_iter()
        .map(|(cattle, hash)| Wanted::from((cattle.clone(), hash.clone())));
    let keys: Vec<Wanted> = of_runs.chain(wanted).collect();
    let assignments = sqlx::query(ASSIGNMENTS_OF_A_PLAN)
        .bind(encode(&keys)?)
        .fetch_all(&mut *on)
        .await
        .map_err(database(OPERATION))?;
    for row in assignments {
        let cattle = word("assignment", column(&row, 0)?)?;
        let (hash, assignment) = assignment_row(&row, 1)?;
        ledger.assignments.insert((cattle, hash), assignment);
    }

    let creates: Vec<i64> = sqlx::query_scalar("SELECT at FROM creates WHERE at >= ? ORDER BY at")
        .bind(micros(creates_since))
        .fetch_all(&mut *on)
        .await
        .map_err(database(OPERATION))?;
    ledger.recent_ends = recent_ends(on, creates_since).await?;
    ledger.images = images(on).await?;
    ledger.pauses = pauses(on, Some(creates_since)).await?;
    ledger.creates_last_hour = creates
        .into_iter()
        .filter_map(Timestamp::from_timestamp_micros)
        .collect();
    Ok(ledger)
}

/// Ends for specs, and the source that each counts for.
pub(super) const RECENT_ENDS: &str = "SELECT ended_at, record ->> '$.countsFor' FROM runs
         WHERE ended_at > ? AND record ->> '$.countsFor' IS NOT NULL ORDER BY ended_at, 2";

async fn recent_ends(
    on: &mut SqliteConnection,
    since: Timestamp,
) -> Result<Vec<(Timestamp, Requester)>, StoreError> {
    let rows = sqlx::query(RECENT_ENDS)
        .bind(micros(since))
        .fetch_all(on)
        .await
        .map_err(database("read what ended lately"))?;
    rows.iter()
        .map(|row| {
            let at = Timestamp::from_timestamp_micros(column(row, 0)?).unwrap_or_default();
            Ok((at, Requester(column(row, 1)?)))
        })
        .collect()
}

async fn images(on: &mut SqliteConnection) -> Result<BTreeMap<String, ImageRecord>, StoreError> {
    let rows = sqlx::query("SELECT image, record FROM images")
        .fetch_all(on)
        .await
        .map_err(database("read what is known of images"))?;
    rows.iter()
        .map(|row| {
            let record = decode("image", &column::<String>(row, 1)?)?;
            Ok((column(row, 0)?, record))
        })
        .collect()
}

/// What is known of an image.
pub(super) async fn image(
    on: &mut SqliteConnection,
    image: &str,
) -> Result<ImageRecord, StoreError> {
    let record: Option<String> = sqlx::query_scalar("SELECT record FROM images WHERE image = ?")
        .bind(image)
        .fetch_optional(on)
        .await
        .map_err(database("read what is known of an image"))?;
    record.map_or_else(
        || Ok(ImageRecord::default()),
        |record| decode("image", &record),
    )
}

/// Pauses that hold, and those that ended since.
pub(super) const PAUSES: &str =
    "SELECT id, record FROM pauses WHERE resumed_at IS NULL OR resumed_at >= ? ORDER BY id";

pub(super) async fn pauses(
    on: &mut SqliteConnection,
    resumed_since: Option<Timestamp>,
) -> Result<Vec<Pause>, StoreError> {
    let rows = sqlx::query(PAUSES)
        // Nothing compares with null: those that hold alone.
        .bind(resumed_since.map(micros))
        .fetch_all(on)
        .await
        .map_err(database("read pauses"))?;
    rows.iter()
        .map(|row| decode("pause", &column::<String>(row, 1)?))
        .collect()
}

/// The pause of a reason and subject that holds, with the number of its row.
pub(super) async fn held_pause(
    on: &mut SqliteConnection,
    reason: PauseReason,
    subject: &str,
) -> Result<Option<(i64, Pause)>, StoreError> {
    let row = sqlx::query(
        "SELECT id, record FROM pauses WHERE reason = ? AND subject = ? AND resumed_at IS NULL",
    )
    .bind(reason.as_str())
    .bind(subject)
    .fetch_optional(on)
    .await
    .map_err(database("read a pause"))?;
    row.as_ref()
        .map(|row| {
            let pause = decode("pause", &column::<String>(row, 1)?)?;
            Ok((column(row, 0)?, pause))
        })
        .transpose()
}

pub(super) async fn run(on: &mut SqliteConnection, id: RunId) -> Result<Option<Run>, StoreError> {
    let record: Option<String> = sqlx::query_scalar("SELECT record FROM runs WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(on)
        .await
        .map_err(database("read a run"))?;
    record
        .map(|record| decode(&format!("run {id}"), &record))
        .transpose()
}

pub(super) async fn runs(
    on: &mut SqliteConnection,
    filter: RunFilter,
) -> Result<Vec<Run>, StoreError> {
    // One statement for each shape of the question, so that each uses its index.
    let sql = match (&filter.cattle, filter.latest_only) {
        (None, false) => {
            "SELECT record FROM runs
             WHERE ?1 IS NULL AND (?2 IS NULL OR ended_at IS NULL OR ended_at > ?2)
             ORDER BY id DESC LIMIT ?3"
        }
        (None, true) => {
            "SELECT record FROM runs
             WHERE ?1 IS NULL AND id IN (SELECT max(id) FROM runs GROUP BY cattle)
               AND (?2 IS NULL OR ended_at IS NULL OR ended_at > ?2)
             ORDER BY id DESC LIMIT ?3"
        }
        (Some(_), false) => {
            "SELECT record FROM runs
             WHERE cattle = ?1 AND (?2 IS NULL OR ended_at IS NULL OR ended_at > ?2)
             ORDER BY id DESC LIMIT ?3"
        }
        (Some(_), true) => {
            "SELECT record FROM runs
             WHERE id = (SELECT max(id) FROM runs WHERE cattle = ?1)
               AND (?2 IS NULL OR ended_at IS NULL OR ended_at > ?2)
             ORDER BY id DESC LIMIT ?3"
        }
    };
    let records: Vec<String> = sqlx::query_scalar(sql)
        .bind(filter.cattle.map(|cattle| cattle.to_string()))
        .bind(filter.ended_after.map(micros))
        // Minus one is SQLite's word for no limit.
        .bind(filter.limit.map_or(-1, i64::from))
        .fetch_all(on)
        .await
        .map_err(database("read runs"))?;
    records.iter().map(|record| decode("run", record)).collect()
}

/// Charges that overlap a window, each half by the index.
pub(super) const CHARGES: &str = "SELECT record FROM charges
         WHERE until > ?1 AND created < ?2
         UNION ALL
         SELECT record FROM charges WHERE until IS NULL AND created < ?2";

pub(super) async fn charges(
    on: &mut SqliteConnection,
    window: Range<Timestamp>,
) -> Result<Vec<Charge>, StoreError> {
    let records: Vec<String> = sqlx::query_scalar(CHARGES)
        .bind(micros(window.start))
        .bind(micros(window.end))
        .fetch_all(on)
        .await
        .map_err(database("read what was billed"))?;
    let charges = records.iter().map(|record| decode("charge", record));
    let mut charges = charges.collect::<Result<Vec<Charge>, _>>()?;
    charges.sort_unstable_by_key(|charge| charge.run);
    Ok(charges)
}

pub(super) async fn assignment(
    on: &mut SqliteConnection,
    cattle: &CattleName,
    hash: &SpecHash,
) -> Result<Option<Assignment>, StoreError> {
    let record: Option<String> =
        sqlx::query_scalar("SELECT record FROM assignments WHERE cattle = ? AND hash = ?")
            .bind(cattle.as_str())
            .bind(hash.as_str())
            .fetch_optional(on)
            .await
            .map_err(database("read an assignment"))?;
    record
        .map(|record| decode(&format!("assignment of {cattle}"), &record))
        .transpose()
}

pub(super) async fn assignments(
    on: &mut SqliteConnection,
    cattle: CattleName,
) -> Result<Vec<(SpecHash, Assignment)>, StoreError> {
    let rows = sqlx::query("SELECT hash, record FROM assignments WHERE cattle = ? ORDER BY hash")
        .bind(cattle.as_str())
        .fetch_all(on)
        .await
        .map_err(database("read assignments"))?;
    rows.iter().map(|row| assignment_row(row, 0)).collect()
}

fn assignment_row(row: &SqliteRow, from: usize) -> Result<(SpecHash, Assignment), StoreError> {
    let hash = word("assignment", column(row, from)?)?;
    Ok((
        hash,
        decode("assignment", &column::<String>(row, from + 1)?)?,
    ))
}

fn column<'r, T>(row: &'r SqliteRow, index: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(index).map_err(database("read a column"))
}

pub(super) async fn token(
    on: &mut SqliteConnection,
    presented: [u8; 32],
) -> Result<Option<TokenRecord>, StoreError> {
    let row = sqlx::query(
        "SELECT digest, run, attempt, kind, idempotency, peer, voided FROM tokens WHERE digest = ?",
    )
    .bind(presented.to_vec())
    .fetch_optional(on)
    .await
    .map_err(database("look up a token"))?;
    row.as_ref().map(token_row).transpose()
}

pub(super) async fn tokens(
    on: &mut SqliteConnection,
    run: RunId,
) -> Result<Vec<TokenRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT digest, run, attempt, kind, idempotency, peer, voided FROM tokens WHERE run = ?",
    )
    .bind(run.to_string())
    .fetch_all(on)
    .await
    .map_err(database("look up a run's tokens"))?;
    rows.iter().map(token_row).collect()
}

fn token_row(row: &SqliteRow) -> Result<TokenRecord, StoreError> {
    let idempotency: Option<Vec<u8>> = column(row, 4)?;
    Ok(TokenRecord {
        digest: digest("token", column(row, 0)?)?,
        run: word("token", column(row, 1)?)?,
        attempt: column(row, 2)?,
        kind: match column::<String>(row, 3)?.as_str() {
            "bootstrap" => TokenKind::Bootstrap,
            // The table allows no third.
            _ => TokenKind::Session,
        },
        idempotency: idempotency
            .map(|bytes| digest("token", bytes))
            .transpose()?,
        peer: column(row, 5)?,
        voided: column(row, 6)?,
    })
}

pub(super) async fn events(
    on: &mut SqliteConnection,
    after: u64,
    cattle: Option<CattleName>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let sql = if cattle.is_some() {
        "SELECT id, time, cattle, run, reason, message FROM events
         WHERE cattle = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
    } else {
        "SELECT id, time, cattle, run, reason, message FROM events
         WHERE ?1 IS NULL AND id > ?2 ORDER BY id LIMIT ?3"
    };
    let rows = sqlx::query(sql)
        .bind(cattle.map(|cattle| cattle.to_string()))
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(on)
        .await
        .map_err(database("read events"))?;
    rows.iter().map(event_row).collect()
}

fn event_row(row: &SqliteRow) -> Result<Event, StoreError> {
    Ok(Event {
        id: column::<i64>(row, 0)?.unsigned_abs(),
        time: Timestamp::from_timestamp_micros(column(row, 1)?).unwrap_or_default(),
        cattle: column(row, 2)?,
        run: column(row, 3)?,
        reason: word("event", column(row, 4)?)?,
        message: column(row, 5)?,
    })
}

pub(super) async fn socket_specs(on: &mut SqliteConnection) -> Result<Vec<SocketSpec>, StoreError> {
    let rows = sqlx::query(
        "SELECT cattle, requester, authority, apply_set FROM socket_specs ORDER BY cattle",
    )
    .fetch_all(on)
    .await
    .map_err(database("read the socket's specs"))?;
    let spec = |row: &SqliteRow| {
        Ok(SocketSpec {
            cattle: word("socket spec", column(row, 0)?)?,
            requester: Requester(column(row, 1)?),
            authority: word::<Authority>("socket spec", column(row, 2)?)?,
            apply_set: column(row, 3)?,
        })
    };
    rows.iter().map(spec).collect()
}

pub(super) async fn job(on: &mut SqliteConnection, id: String) -> Result<Option<Job>, StoreError> {
    let record: Option<String> = sqlx::query_scalar("SELECT record FROM jobs WHERE id = ?")
        .bind(id)
        .fetch_optional(on)
        .await
        .map_err(database("read a job"))?;
    record.map(|record| decode("job", &record)).transpose()
}

pub(super) async fn jobs(
    on: &mut SqliteConnection,
    requester: Option<String>,
    before: Option<String>,
    limit: u32,
) -> Result<Vec<Job>, StoreError> {
    let records: Vec<String> = sqlx::query_scalar(
        "SELECT record FROM jobs
         WHERE (?1 IS NULL OR requester = ?1) AND (?2 IS NULL OR id < ?2)
         ORDER BY id DESC LIMIT ?3",
    )
    .bind(requester)
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(on)
    .await
    .map_err(database("read jobs"))?;
    records.iter().map(|record| decode("job", record)).collect()
}

pub(super) async fn reply(
    on: &mut SqliteConnection,
    requester: String,
    key: String,
) -> Result<Option<IdempotentReply>, StoreError> {
    let row = sqlx::query(
        "SELECT requester, key, request, status, body FROM replies WHERE requester = ? AND key = ?",
    )
    .bind(requester)
    .bind(key)
    .fetch_optional(on)
    .await
    .map_err(database("recall a reply"))?;
    let reply = |row: SqliteRow| {
        Ok(IdempotentReply {
            requester: column(&row, 0)?,
            key: column(&row, 1)?,
            request: column(&row, 2)?,
            status: column(&row, 3)?,
            body: column(&row, 4)?,
        })
    };
    row.map(reply).transpose()
}

pub(super) async fn meta(
    on: &mut SqliteConnection,
    name: String,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
        .bind(name)
        .fetch_optional(on)
        .await
        .map_err(database("read a value"))
}

pub(super) async fn count_steps(on: &mut SqliteConnection) -> Result<u64, StoreError> {
    // Records are read of live runs alone, which are few.
    let sql = "SELECT count(*) + 2 * count(ended_at) + (
            SELECT count(*) FROM runs
            WHERE ended_at IS NULL AND json_extract(record, '$.envAt') IS NOT NULL
        ) FROM runs";
    let count: i64 = sqlx::query_scalar(sql)
        .fetch_one(on)
        .await
        .map_err(database("count the steps of runs"))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
