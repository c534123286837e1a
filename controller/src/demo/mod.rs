//! `clf-orchestrator demo`: the whole thing on this machine.
//!
//! An imitated Hetzner on loopback, this very controller with its socket, ledger and guest API, and
//! a real guest process for every server; the example project and the scenarios of `specs/demo`.
//! Real credentials in the environment are ignored: the endpoint and the token are the demo's own.

mod calls;
mod report;
mod stage;
mod table;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{stage::Stage, table::LiveTable};
use crate::args::DemoArgs;

/// A demo that takes longer is stuck: the scenarios are over within half a minute.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs the demo to its end.
///
/// # Errors
/// It cannot be set up, or it does not come to its end in time.
pub async fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let stop = CancellationToken::new();
    let mut stage = Stage::set(stop.clone())
        .await
        .context("cannot set up the demo")?;
    if !args.json {
        report::opening(&stage);
    }
    let mut live = LiveTable::new(!args.json);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let interrupted = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(interrupted);
    let finished = tokio::select! {
        finished = tokio::time::timeout(DEADLINE, watch(&mut stage, &mut live)) => finished,
        () = &mut interrupted => {
            live.finish();
            stage.strike().await;
            anyhow::bail!("interrupted; everything was taken down");
        }
    };
    live.finish();
    let outcome = match finished {
        Ok(outcome) => outcome?,
        Err(_) => {
            let log = stage.log_end();
            stage.strike().await;
            anyhow::bail!(
                "the demo did not end within {} s; the controller's log ends:\n{log}",
                DEADLINE.as_secs()
            );
        }
    };
    let ended = report::Ended::collect(&stage, outcome, began.elapsed()).await?;
    if args.json {
        ended.print_json()?;
    } else {
        ended.print();
    }
    if args.keep {
        report::keep(&stage);
        interrupted.await;
    }
    let clean = ended.is_clean();
    stage.strike().await;
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Looks at the cattle with every pass until all are over and their servers gone.
async fn watch(
    stage: &mut Stage,
    live: &mut LiveTable,
) -> anyhow::Result<Vec<cattle_schemas::status::CattleStatus>> {
    loop {
        let items = stage.list().await?;
        live.show(&items);
        let gone = |item: &cattle_schemas::status::CattleStatus| {
            item.run.as_ref().is_some_and(|run| run.gone_at.is_some())
        };
        if items.len() == stage.expected() && items.iter().all(gone) {
            return Ok(items);
        }
        stage.changed().await?;
    }
}
