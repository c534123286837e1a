//! Every call that the controller makes × every way in which it can go wrong × before or after it
//! took effect. Whatever goes wrong, it ends well: one task on one server, and nothing left.

mod cell;
mod expected;
mod faults;
mod lasting;
mod scenes;
mod table;

use std::{env, fs, sync::Arc, time::Instant};

use cattle_controller::hetzner::Operation;
use serde_json::json;
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet};

use self::cell::{Cell, Played};

/// Plays only the cells whose name contains this: `E2E_CELL=create-server/502-html/after`.
const ONLY: &str = "E2E_CELL";

/// Cells side by side. Each has a watcher, of which a user may have 128 (inotify), and two cores
/// start no more guests than this within anybody's patience.
const AT_ONCE: usize = 40;

fn chosen() -> Vec<Cell> {
    let only = env::var(ONLY).unwrap_or_default();
    let mut cells = cell::all();
    cells.retain(|cell| cell.to_string().contains(&only));
    assert!(!cells.is_empty(), "{ONLY}={only}: there is no such cell");
    cells
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
}

async fn play(cells: Vec<Cell>) -> Vec<Played> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    for cell in cells {
        let room = room.clone();
        playing.spawn(async move {
            let _place = room.acquire_owned().await.unwrap();
            // A task of its own, so that a panic fails its cell alone.
            let played = tokio::spawn(cell::play(cell)).await;
            played.unwrap_or_else(|panic| Played::failed(cell, panic.to_string()))
        });
    }
    let mut played = Vec::new();
    while let Some(one) = playing.join_next().await {
        played.push(one.unwrap());
    }
    played.sort_by_key(|one| one.cell.to_string());
    played
}

#[test]
fn whatever_call_goes_wrong_in_whatever_way_it_ends_as_it_must() {
    let cells = chosen();
    let alone = cells.len() == 1;
    if alone {
        // The controller's own words, for whoever looks into one cell.
        let log = tracing_subscriber::fmt().with_env_filter(
            env::var("RUST_LOG").unwrap_or_else(|_| "cattle_controller=debug".to_owned()),
        );
        log.with_writer(std::io::stderr).init();
    }
    let began = Instant::now();
    let played = runtime().block_on(play(cells));
    println!("{}", table::of_played(&played));
    println!(
        "{} cells in {:.0} s",
        played.len(),
        began.elapsed().as_secs_f64()
    );
    let failures: Vec<String> = played
        .iter()
        .filter_map(|one| {
            let why = one.outcome.as_ref().err()?;
            Some(format!("{}: {why}    alone: {ONLY}={} cargo test -p cattle-tests --test e2e whatever_call -- --nocapture\n", one.cell, one.cell))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cells failed\n{}",
        failures.len(),
        played.len(),
        failures.join("\n")
    );
}

#[test]
fn a_call_that_fails_for_long_loses_nothing_and_the_run_ends_well_afterwards() {
    let failures: Vec<String> = runtime().block_on(async {
        let mut playing = JoinSet::new();
        for operation in Operation::ALL {
            playing.spawn(lasting::outlast(operation));
        }
        for (status, code) in [(401, "unauthorized"), (403, "token_readonly")] {
            let fault =
                json!({"kind": "json", "status": status, "code": code, "message": "scripted"});
            playing.spawn(lasting::wait_for_the_token(fault, code));
        }
        playing
            .join_all()
            .await
            .into_iter()
            .filter_map(Result::err)
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_matrix_in_the_docs_is_the_one_that_is_played() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fault-matrix.md");
    let page = table::page();
    if env::var_os("UPDATE").is_some() {
        fs::write(path, &page).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/fault-matrix.md is out of date: UPDATE=1 cargo test -p cattle-tests --test e2e the_matrix_in_the_docs"
    );
}
