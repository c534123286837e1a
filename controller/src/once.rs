//! `clf-orchestrator once`: one list, one pass, and an end to every call it makes.
//!
//! Guests are not served, so none is called silent. With `--dry-run` nothing is changed: the plan is
//! made from a list and from the ledger as it stands, and printed.

use std::{process::ExitCode, sync::Arc, time::Duration};

use cattle_core::{
    plan::{images, to_api},
    spec,
};
use cattle_schemas::api::PlanReply;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    daemon::{private_dir, refuse_strangers, search_for, secrets},
    escaped::write_line,
    fleet_file::FleetFile,
    hetzner::{Client, Endpoint},
    identity::Identity,
    intake::{Scanner, Settled},
    parts::Ground,
    secrets::keep_apart,
    sessions::Sessions,
    settings::Settings,
    store::{MemoryStore, SqliteStore, StateLock, Store},
    world::Bell,
};

/// Calls to Hetzner end within a minute each; a create tries several candidates.
const DRAIN: Duration = Duration::from_secs(300);

/// Runs one pass.
///
/// # Errors
/// Each names what is wrong and where.
pub async fn run(
    settings: Settings,
    endpoint: &Endpoint,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    refuse_strangers(&settings, endpoint)?;
    let settings = Arc::new(settings);
    let (store, _lock) = ledger(&settings, dry_run).await?;
    let settled = Settled::default();
    let secrets = Arc::new(secrets(&settings, endpoint)?);
    keep_apart(&settings, &secrets)?;
    let clock = Clock::start(settings.time.clone());
    let client = Client::patient(endpoint, settings.patience.answers, clock.clone())?;
    let client = Arc::new(client.searching(search_for(&secrets)));
    let parts = Ground {
        settings: settings.clone(),
        sessions: Sessions::default(),
        identity: Identity::open(store.clone(), !dry_run).await?,
        store,
        client: client.clone(),
        clock,
        secrets,
        bell: Bell::default(),
        pulse: Arc::default(),
        scanner: Scanner::new(&settings, settled),
        fleet_file: FleetFile::open(settings.fleet_file())?,
        guest_url: settings
            .guest_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", settings.guest_listen)),
        serves_guests: false,
        pace: settings.patience.lists,
    }
    .build();
    let (mut reconciler, mut lister, mut survey) = (parts.reconciler, parts.lister, parts.survey);
    // The error says what was asked.
    lister.list().await?;
    let preview = reconciler.preview().await?;
    survey
        .once(&images(&preview.plan, &preview.desired, &preview.ledger))
        .await;
    let preview = reconciler.preview().await?;
    let reply = to_api(
        &preview.plan,
        &preview.desired,
        &preview.ledger,
        &preview.catalogue,
        preview.now,
    );
    print(&reply)?;
    if dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let stop = CancellationToken::new();
    let follower = tokio::spawn(parts.follower.run(stop.clone()));
    reconciler.pass().await?;
    let drained = parts.executor.drain(DRAIN).await;
    stop.cancel();
    follower.await?;
    anyhow::ensure!(
        drained,
        "some calls to Hetzner did not end within {} s",
        DRAIN.as_secs()
    );
    // What it was not allowed to do is said by each cattle that waits; that nothing can be done at
    // all is said by the exit.
    if let Some(complaint) = client.token().borrow().complaint() {
        anyhow::bail!("{complaint}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The ledger, locked unless nothing is to be changed.
async fn ledger(
    settings: &Settings,
    dry_run: bool,
) -> anyhow::Result<(Arc<dyn Store>, Option<StateLock>)> {
    if dry_run && !settings.ledger().exists() {
        return Ok((Arc::new(MemoryStore::new()), None));
    }
    let lock = if dry_run {
        None
    } else {
        private_dir(&settings.state_dir)?;
        private_dir(&settings.socket_specs())?;
        Some(StateLock::acquire(&settings.state_dir)?)
    };
    Ok((Arc::new(SqliteStore::open(&settings.ledger()).await?), lock))
}

fn print(reply: &PlanReply) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for action in &reply.actions {
        let (verb, message) = (&action.verb, &action.message);
        let line = match &action.cattle {
            Some(cattle) => format!("{verb} {cattle}: {message}"),
            None => format!("{verb} {message}"),
        };
        write_line(&mut out, &line)?;
    }
    for wait in &reply.waiting {
        let (cattle, message, reason) = (&wait.cattle, &wait.message, &wait.reason);
        write_line(&mut out, &format!("wait {cattle}: {message} ({reason})"))?;
    }
    if let Some(spawn) = &reply.spawn {
        write_line(&mut out, &spawn.to_string())?;
    }
    for diagnostic in &reply.diagnostics {
        write_line(&mut out, &format!("error {}", spec::line(diagnostic)))?;
    }
    if reply.actions.is_empty() && reply.waiting.is_empty() {
        write_line(&mut out, "nothing to do")?;
    }
    Ok(())
}
