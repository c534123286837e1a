//! Edits: read the row, let the edit change it, write it back, all in one transaction.

use cattle_core::{
    breaker::ImageRecord,
    charge::Charge,
    ledger::{Assignment, Run},
    names::{CattleName, RunId, SpecHash},
    pause::Pause,
};
use cattle_schemas::{
    Timestamp,
    event::{Event, NewEvent},
};
use sqlx::SqliteConnection;

use super::{
    super::{
        CREATES_KEPT, Edit, StoreError, TokenKind, TokenRecord,
        consequence::{self, Before, Consequence},
    },
    Outcome, database, micros,
    read::{self, encode},
};

const OPERATION: &str = "commit";

pub(super) async fn commit(
    on: &mut SqliteConnection,
    edits: Vec<Edit>,
    now: Timestamp,
) -> Result<(Vec<bool>, Vec<Event>), StoreError> {
    let mut told = Vec::new();
    let mut applied = Vec::with_capacity(edits.len());
    for edit in edits {
        applied.push(apply(on, edit, now, &mut told).await?);
    }
    sqlx::query("DELETE FROM creates WHERE at < ?")
        .bind(micros(now - CREATES_KEPT))
        .execute(on)
        .await
        .map_err(database(OPERATION))?;
    Ok((applied, told))
}

pub(super) async fn commit_all(
    on: &mut SqliteConnection,
    edits: Vec<Edit>,
    now: Timestamp,
) -> Outcome<()> {
    let mut told = Vec::new();
    for edit in edits {
        if !apply(on, edit, now, &mut told).await? {
            return Ok(None);
        }
    }
    Ok(Some(((), told)))
}

async fn apply(
    on: &mut SqliteConnection,
    edit: Edit,
    now: Timestamp,
    told: &mut Vec<Event>,
) -> Result<bool, StoreError> {
    let events = match edit {
        Edit::InsertRun { run, events } => {
            if !insert_run(on, &run).await? {
                return Ok(false);
            }
            events
        }
        Edit::Run { id, edit } => {
            let Some(mut run) = read::run(on, id).await? else {
                return Ok(false);
            };
            let before = Before::of(&run);
            let (cattle, hash) = (run.cattle.clone(), run.hash.clone());
            let known = read::assignment(on, &cattle, &hash).await?;
            let mut assignment = known.clone();
            let Some(events) = edit(&mut run, &mut assignment) else {
                return Ok(false);
            };
            update_run(on, &run).await?;
            follow(on, id, consequence::of_edit(before, &run)).await?;
            if assignment != known {
                put_assignment(on, &cattle, &hash, assignment).await?;
            }
            events
        }
        Edit::Assignment { cattle, hash, edit } => {
            let mut assignment = read::assignment(on, &cattle, &hash).await?;
            let Some(events) = edit(&mut assignment) else {
                return Ok(false);
            };
            put_assignment(on, &cattle, &hash, assignment).await?;
            events
        }
        Edit::Pause {
            reason,
            subject,
            edit,
        } => {
            let held = read::held_pause(on, reason, &subject).await?;
            let (row, mut pause) = held.map_or((None, None), |(row, it)| (Some(row), Some(it)));
            let Some(events) = edit(&mut pause) else {
                return Ok(false);
            };
            put_pause(on, row, pause).await?;
            events
        }
        Edit::Image { image, edit } => {
            let mut record = read::image(on, &image).await?;
            if !edit(&mut record) {
                return Ok(false);
            }
            put_image(on, &image, &record).await?;
            Vec::new()
        }
        Edit::InsertToken(token) => return insert_token(on, token).await,
        Edit::VoidTokens { run, except } => {
            void_tokens(on, run, except).await?;
            Vec::new()
        }
        Edit::Event(event) => vec![event],
    };
    for event in events {
        told.push(insert_event(on, event, now).await?);
    }
    Ok(true)
}

async fn insert_run(on: &mut SqliteConnection, run: &Run) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO runs (id, cattle, hash, created, ended_at, gone_at, record)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
         WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = ?1)
           AND (?5 IS NOT NULL
                OR NOT EXISTS (SELECT 1 FROM runs WHERE cattle = ?2 AND ended_at IS NULL))",
    )
    .bind(run.id.to_string())
    .bind(run.cattle.as_str())
    .bind(run.hash.as_str())
    .bind(micros(run.created_at))
    .bind(run.ended.as_ref().map(|end| micros(end.at)))
    .bind(run.gone_at.map(micros))
    .bind(encode(run)?)
    .execute(&mut *on)
    .await
    .map_err(database(OPERATION))?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    follow(on, run.id, consequence::of_insert(run)).await?;
    Ok(true)
}

async fn update_run(on: &mut SqliteConnection, run: &Run) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET ended_at = ?, gone_at = ?, record = ? WHERE id = ?")
        .bind(run.ended.as_ref().map(|end| micros(end.at)))
        .bind(run.gone_at.map(micros))
        .bind(encode(run)?)
        .bind(run.id.to_string())
        .execute(on)
        .await
        .map_err(database(OPERATION))?;
    Ok(())
}

async fn follow(
    on: &mut SqliteConnection,
    run: RunId,
    consequence: Consequence,
) -> Result<(), StoreError> {
    if let Some(at) = consequence.create {
        sqlx::query("INSERT INTO creates (at, run) VALUES (?, ?)")
            .bind(micros(at))
            .bind(run.to_string())
            .execute(&mut *on)
            .await
            .map_err(database(OPERATION))?;
    }
    if consequence.forget_creates {
        sqlx::query("DELETE FROM creates WHERE run = ?")
            .bind(run.to_string())
            .execute(&mut *on)
            .await
            .map_err(database(OPERATION))?;
    }
    if consequence.void_tokens {
        void_tokens(on, run, None).await?;
    }
    if let Some((image, fact)) = consequence.image {
        let mut record = read::image(on, &image).await?;
        record.learn(fact);
        put_image(on, &image, &record).await?;
    }
    if let Some(charge) = consequence.charge {
        put_charge(on, run, charge).await?;
    }
    Ok(())
}

async fn put_charge(
    on: &mut SqliteConnection,
    run: RunId,
    charge: Option<Charge>,
) -> Result<(), StoreError> {
    let query = match charge {
        Some(charge) => sqlx::query(
            "INSERT OR REPLACE INTO charges (run, created, until, record) VALUES (?, ?, ?, ?)",
        )
        .bind(run.to_string())
        .bind(micros(charge.created))
        .bind(charge.until.map(micros))
        .bind(encode(&charge)?),
        None => sqlx::query("DELETE FROM charges WHERE run = ?").bind(run.to_string()),
    };
    query.execute(on).await.map_err(database(OPERATION))?;
    Ok(())
}

/// An assignment is never deleted: that it was there is the point of it.
async fn put_assignment(
    on: &mut SqliteConnection,
    cattle: &CattleName,
    hash: &SpecHash,
    assignment: Option<Assignment>,
) -> Result<(), StoreError> {
    let Some(assignment) = assignment else {
        return Ok(());
    };
    sqlx::query(
        "INSERT OR REPLACE INTO assignments (cattle, hash, open, record) VALUES (?, ?, ?, ?)",
    )
    .bind(cattle.as_str())
    .bind(hash.as_str())
    .bind(assignment.ended.is_none())
    .bind(encode(&assignment)?)
    .execute(on)
    .await
    .map_err(database(OPERATION))?;
    Ok(())
}

async fn put_image(
    on: &mut SqliteConnection,
    image: &str,
    record: &ImageRecord,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO images (image, record) VALUES (?, ?)")
        .bind(image)
        .bind(encode(record)?)
        .execute(on)
        .await
        .map_err(database(OPERATION))?;
    Ok(())
}

/// Like an assignment, a pause is never deleted by an edit: it ends.
async fn put_pause(
    on: &mut SqliteConnection,
    row: Option<i64>,
    pause: Option<Pause>,
) -> Result<(), StoreError> {
    let Some(pause) = pause else { return Ok(()) };
    // Without a row of its own it gets the next one.
    sqlx::query(
        "INSERT OR REPLACE INTO pauses (id, reason, subject, resumed_at, record)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(row)
    .bind(pause.reason.as_str())
    .bind(&pause.subject)
    .bind(pause.resumed.as_ref().map(|resumed| micros(resumed.at)))
    .bind(encode(&pause)?)
    .execute(on)
    .await
    .map_err(database(OPERATION))?;
    Ok(())
}

async fn insert_token(on: &mut SqliteConnection, token: TokenRecord) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO tokens (digest, run, attempt, kind, idempotency, peer, voided)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
         WHERE EXISTS (SELECT 1 FROM runs WHERE id = ?2 AND ended_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM tokens WHERE digest = ?1)",
    )
    .bind(token.digest.to_vec())
    .bind(token.run.to_string())
    .bind(i64::from(token.attempt))
    .bind(match token.kind {
        TokenKind::Bootstrap => "bootstrap",
        TokenKind::Session => "session",
    })
    .bind(token.idempotency.map(|digest| digest.to_vec()))
    .bind(token.peer)
    .bind(token.voided)
    .execute(on)
    .await
    .map_err(database(OPERATION))?;
    Ok(inserted.rows_affected() > 0)
}

async fn void_tokens(
    on: &mut SqliteConnection,
    run: RunId,
    except: Option<[u8; 32]>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE tokens SET voided = 1 WHERE run = ? AND digest IS NOT ?")
        .bind(run.to_string())
        .bind(except.map(|digest| digest.to_vec()))
        .execute(on)
        .await
        .map_err(database(OPERATION))?;
    Ok(())
}

async fn insert_event(
    on: &mut SqliteConnection,
    event: NewEvent,
    now: Timestamp,
) -> Result<Event, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO events (time, cattle, run, reason, message) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(micros(now))
    .bind(&event.cattle)
    .bind(&event.run)
    .bind(event.reason.as_str())
    .bind(&event.message)
    .execute(on)
    .await
    .map_err(database(OPERATION))?;
    Ok(Event {
        id: inserted.last_insert_rowid().unsigned_abs(),
        time: consequence::as_stored(now),
        cattle: event.cattle,
        run: event.run,
        reason: event.reason,
        message: event.message,
    })
}
