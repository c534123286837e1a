//! The program: arguments in, exit code out.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use cattle_core::{desired::Authority, ledger::Ledger, untrusted::escape_json};
use clap::{CommandFactory, Parser, error::ErrorKind};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

use crate::{
    args::{
        Cli, Command, HetznerArgs, LogFormat, PeerCheckArg, ReapArgs, RunArgs, StopArgs, StopOutput,
    },
    clock::TimeSource,
    daemon, environment,
    escaped::{EscapedLog, write_line},
    hetzner::{Client, Endpoint, Scope},
    once,
    patience::Patience,
    reap::{self, Asking},
    secrets::Secrets,
    settings::{PeerCheck, Settings, SpecDir},
    stop,
};

/// Blocking calls get this long when everything else is over.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Runs the program. Exit code 0 done, 1 an error, 2 usage.
#[must_use]
pub fn main() -> ExitCode {
    // First of all, while there is one thread and nothing is open.
    let complaints = environment::leave();
    let cli = Cli::parse();
    match run(cli, &complaints) {
        Ok(code) => code,
        Err(error) => {
            let line = format!("clf-orchestrator: {}", crate::report(&*error));
            // Nowhere else to complain when standard error is gone.
            let _ = write_line(&mut std::io::stderr(), &line);
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error, beginning with what could not be done before there was a log.
fn log_from_here(format: LogFormat, complaints: &[String]) {
    log_to(format, BoxMakeWriter::new(std::io::stderr));
    for complaint in complaints {
        tracing::warn!("{complaint}");
    }
}

fn run(cli: Cli, complaints: &[String]) -> anyhow::Result<ExitCode> {
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Guest(guest) => Ok(cattle_guest::cli::run(guest)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => block_on(crate::demo::run(&args)),
        Command::Openapi => {
            print_json(&crate::socket_api::openapi())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::for_people(),
                "clf-orchestrator",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(args) => {
            log_from_here(cli.log_format, complaints);
            block_on(daemon(args))
        }
        Command::Once { run, dry_run } => {
            log_from_here(cli.log_format, complaints);
            block_on(async {
                let (settings, endpoint) = understand(run)?;
                once::run(settings, &endpoint, dry_run).await
            })
        }
        Command::Reap(args) => {
            log_from_here(cli.log_format, complaints);
            block_on(reap(args))
        }
        Command::Stop(args) => {
            if let Some(usage) = args.unconfirmed() {
                Cli::command()
                    .error(ErrorKind::ValueValidation, usage)
                    .exit();
            }
            log_from_here(cli.log_format, complaints);
            block_on(stop(args))
        }
    }
}

/// Runs to the end, and does not wait for a thread that hangs on a file system.
fn block_on<T>(program: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let done = runtime.block_on(program);
    runtime.shutdown_timeout(LAST_WORDS);
    done
}

/// Sends logs somewhere. `RUST_LOG` chooses; by default ours at info, others at warn.
pub(crate) fn log_to(format: LogFormat, writer: BoxMakeWriter) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,cattle_controller=info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(EscapedLog(writer))
        .with_ansi(false);
    // A second call (in tests) keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

async fn daemon(args: RunArgs) -> anyhow::Result<ExitCode> {
    let (settings, endpoint) = understand(args)?;
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .context("cannot record metrics")?;
    let daemon = daemon::start(settings, &endpoint, Some(metrics), stop.clone()).await?;
    // Not under systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = daemon.failed() => anyhow::bail!("a part of the controller stopped; see the log"),
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping; servers stay as they are");
    stop.cancel();
    daemon.join().await;
    Ok(ExitCode::SUCCESS)
}

async fn reap(args: ReapArgs) -> anyhow::Result<ExitCode> {
    let secrets = secrets(args.secrets_dir.as_deref())?;
    if let Some(warning) = secrets.exposed() {
        tracing::warn!("{warning}");
    }
    let client = Client::new(&endpoint(&args.hetzner, &secrets)?)?;
    let scope = match &args.fleet {
        Some(fleet) => Scope::Fleet(fleet.clone()),
        None => Scope::AllFleets,
    };
    let reply = reap::reap(
        &client,
        &scope,
        args.lifetimes(),
        &Ledger::default(),
        args.dry_run,
        Asking::PATIENT,
    )
    .await?;
    if args.json {
        print_json(&serde_json::to_value(&reply)?)?;
    } else {
        let mut out = std::io::stdout().lock();
        for server in &reply.servers {
            let what = match (&server.error, server.deleted) {
                (Some(error), _) => format!("not deleted: {error}"),
                (None, true) => "deleted".to_owned(),
                (None, false) => "would be deleted".to_owned(),
            };
            let (id, name, expired) = (server.server, &server.name, server.expired_at);
            write_line(&mut out, &format!("{id} {name} expired {expired}: {what}"))?;
        }
        if reply.servers.is_empty() {
            write_line(&mut out, "nothing is past its expiry")?;
        }
        for cause in &reply.unreadable {
            write_line(&mut out, &format!("cannot be read: {cause}"))?;
        }
    }
    let failed = reply.servers.iter().any(|server| server.error.is_some());
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A controller that runs undoes an emergency stop.
const MAKES_AGAIN: &str = "a running controller makes servers again: stop it, or pause its starts first (`clawdlets cattle pause`)";

async fn stop(args: StopArgs) -> anyhow::Result<ExitCode> {
    let secrets = secrets(args.secrets_dir.as_deref())?;
    let client = Client::new(&endpoint(&args.hetzner, &secrets)?)?;
    let as_text = args.output == StopOutput::Text;
    let tell = |line: &str| {
        // Nowhere else to complain when nobody reads any more; the deletes go on.
        let _ = if as_text {
            write_line(&mut std::io::stdout(), line)
        } else {
            write_line(&mut std::io::stderr(), line)
        };
    };
    let _ = writeln!(std::io::stderr(), "{MAKES_AGAIN}");
    let patience = stop::Patience::default();
    let done = stop::stop(&client, &args.fleet, args.dry_run, patience, tell).await?;
    if as_text {
        print_stopped(&done)?;
    } else {
        print_json(&serde_json::to_value(&done)?)?;
    }
    Ok(if done.is_done() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_stopped(done: &stop::Stopped) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for server in done.servers.iter().filter(|server| !server.gone) {
        let what = match &server.error {
            Some(error) => format!("still there: {error}"),
            None => "would be deleted".to_owned(),
        };
        let (id, name) = (server.server, &server.name);
        write_line(&mut out, &format!("{id} {name}: {what}"))?;
    }
    for cause in &done.unreadable {
        let line = format!("cannot be read, look in the Cloud Console: {cause}");
        write_line(&mut out, &line)?;
    }
    let (all, fleet) = (done.servers.len(), &done.fleet);
    match done.remaining {
        _ if all == 0 => writeln!(out, "no server of fleet {fleet} was found"),
        _ if done.dry_run => writeln!(out, "{all} servers of fleet {fleet} would be deleted"),
        0 => writeln!(out, "all {all} servers of fleet {fleet} are gone"),
        left => writeln!(out, "{left} of {all} servers of fleet {fleet} remain"),
    }
}

fn understand(args: RunArgs) -> anyhow::Result<(Settings, Endpoint)> {
    let project = std::path::absolute(&args.project)
        .with_context(|| format!("cannot make {} absolute", args.project.display()))?;
    let state_dir = match args.state_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => project.join(".clawdlets/cattle"),
    };
    let mut spec_dirs = Vec::new();
    for dir in args.specs {
        spec_dirs.push(SpecDir {
            path: std::path::absolute(&dir.path)?,
            ..dir
        });
    }
    if spec_dirs.is_empty() {
        spec_dirs.push(SpecDir {
            path: project.join("cattle/specs"),
            authority: Authority::Bot,
        });
    }
    let endpoint = endpoint(&args.hetzner, &secrets(args.secrets_dir.as_deref())?)?;
    let settings = Settings {
        socket: args
            .socket
            .unwrap_or_else(|| state_dir.join("orchestrator.sock")),
        project,
        state_dir,
        spec_dirs,
        secrets_dir: args.secrets_dir,
        guest_listen: args.guest_listen,
        guest_url: args.guest_url,
        retention: args.retention.as_std(),
        peer_check: match args.peer_check {
            PeerCheckArg::Off => PeerCheck::Off,
        },
        patience: Patience::default(),
        time: TimeSource::default(),
    };
    Ok((settings, endpoint))
}

fn secrets(dir: Option<&Path>) -> anyhow::Result<Secrets> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Ok(Secrets::open(credentials.as_deref(), dir)?)
}

/// The token comes from the environment or from the secret `hcloud_token`, never from an argument:
/// arguments are everybody's to read.
fn endpoint(args: &HetznerArgs, secrets: &Secrets) -> anyhow::Result<Endpoint> {
    let token = match environment::token() {
        Some(token) => token,
        None => secrets.read("hcloud_token").context(
            "no Hetzner token: set HCLOUD_TOKEN, or put it into the secret file `hcloud_token`",
        )?,
    };
    Ok(Endpoint {
        url: args.endpoint.clone(),
        token,
    })
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    let json = escape_json(&serde_json::to_string_pretty(value)?);
    writeln!(std::io::stdout(), "{json}")?;
    Ok(())
}
