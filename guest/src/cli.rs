//! The command line, usable from `clf-cattle` and from any binary that wants to be a guest.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use cattle_schemas::guest::HEARTBEAT_SECONDS;
use clap::{Args, Subcommand};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::layout::Layout;
use crate::run::{Ending, Pace};
use crate::{check, guard, power, run as guest};

/// The guest's arguments, to be flattened into a program's or a subcommand's.
#[derive(Debug, Args)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch the env, run the task once, hand back log and result, power off
    #[command(after_long_help = RUN_HELP)]
    Run(RunArgs),
    /// Check the guest's files and say what `run` would start; changes nothing
    #[command(after_long_help = CHECK_HELP)]
    Check(CheckArgs),
}

const RUN_HELP: &str = "\
Files, beneath --root:
  /run/clawdlets/cattle/bootstrap.json
      who the controller is, and the one-time token; deleted once spent
  /var/lib/clawdlets/cattle/task.json
      the task
  /var/lib/clawdlets/cattle/persona/
      SOUL.md, config.json, and from the controller skills/ and memory/
  /etc/clawdlets/cattle/runners.json
      task type -> command
  /var/lib/clawdlets/cattle/workspace/
      the runner's working directory; result.json in it is the result
  /var/lib/clawdlets/cattle/state/
      the log, and the mark that the runner was started

The runner gets the run's env, and CLAWDLETS_TASK_FILE, CLAWDLETS_PERSONA_DIR,
CLAWDLETS_MODEL, PATH, HOME, LANG, TERM. Its output is the log, its exit code
the status. It is started at most once, whatever restarts.

Example: a guest without a machine of its own, its files under ./vm:
  clf-cattle check --root ./vm
  clf-cattle run --root ./vm

Exit status: 0 the controller has the outcome (of a failed task too),
1 it has not, 2 usage. RUST_LOG sets how much is said on stderr (info).";

const CHECK_HELP: &str = "\
Example:
  clf-cattle check --root ./vm

Exit status: 0 a run could start, 1 it could not.";

#[derive(Debug, Args)]
struct RunArgs {
    /// Directory that holds all of the guest's files, instead of `/`; nothing is powered off
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Leave the machine on when the run is over
    #[arg(long)]
    no_power_off: bool,
    /// Milliseconds between heartbeats, for tests
    #[arg(long, hide = true, value_name = "MS", env = "CLF_CATTLE_HEARTBEAT_MS",
          value_parser = clap::value_parser!(u64).range(10..=600_000),
          default_value_t = HEARTBEAT_SECONDS * 1000)]
    heartbeat_ms: u64,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Directory that holds all of the guest's files
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Runs the guest as told. Logs to stderr, unless the calling binary has set up tracing already.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    if let Some(code) = guard::stand() {
        return code;
    }
    let done = match cli.command {
        Command::Run(args) => run_task(&args),
        Command::Check(args) => check_files(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check_files(args: &CheckArgs) -> anyhow::Result<bool> {
    let (text, good) = check::check(&layout(&args.root)?);
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing to stdout")?;
    Ok(good)
}

fn layout(root: &Path) -> anyhow::Result<Layout> {
    Layout::new(root).with_context(|| format!("root `{}`", root.display()))
}

fn run_task(args: &RunArgs) -> anyhow::Result<bool> {
    log_to_stderr();
    // A runner without a user of its own is of ours, and must not read our memory: it holds the
    // session. What we start is as it always is.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "the runner can read this process");
    }
    let layout = layout(args.root.as_deref().unwrap_or(Path::new("/")))?;
    let may_power_off = args.root.is_none() && !args.no_power_off;
    let pace = Pace {
        heartbeat: Duration::from_millis(args.heartbeat_ms),
    };
    // Two: a runner that shouts keeps one busy, heartbeats have the other.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ending = runtime.block_on(async {
        let (sender, shutdown) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!("told to shut down");
            sender.send_replace(true);
            // Kept: a dropped sender means that nobody can ask.
            std::future::pending::<()>().await;
        });
        Ok::<_, std::io::Error>(guest::run(&layout, pace, &shutdown).await)
    });
    let ending = match ending.context("listening for signals")? {
        Ok(ending) => ending,
        Err(failed) => {
            let power_off = failed.power_off();
            error!(error = &failed as &dyn std::error::Error, "no run");
            Ending {
                handed_over: false,
                power_off,
            }
        }
    };
    // A persona or log file still open in a blocked task must not hold the machine up.
    runtime.shutdown_background();
    if may_power_off && ending.power_off {
        return Ok(power::off() && ending.handed_over);
    }
    Ok(ending.handed_over)
}

fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // An embedding binary that logs already keeps its own way.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
