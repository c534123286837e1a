//! The command line of `clf-orchestrator`.

use std::{net::SocketAddr, path::PathBuf};

use cattle_core::{desired::Authority, expiry::Lifetimes};
use cattle_schemas::duration::SpecDuration;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::settings::SpecDir;

/// Makes Hetzner agree with the spec files.
#[derive(Debug, Parser)]
#[command(name = "clf-orchestrator", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How logs are written, to standard error. `RUST_LOG` chooses what is logged.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl Cli {
    /// Without what is hidden: the generators of completions offer that too.
    pub(crate) fn for_people() -> clap::Command {
        let all = Self::command();
        let shown = all.get_subcommands().filter(|one| !one.is_hide_set());
        clap::Command::new("clf-orchestrator")
            .version(env!("CARGO_PKG_VERSION"))
            .propagate_version(true)
            .args(all.get_arguments())
            .subcommands(shown)
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the spec directories, serve the socket and the guests, until SIGTERM.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Make one pass and exit: plan, act, wait for the calls to end.
    #[command(after_help = ONCE_EXAMPLES)]
    Once {
        /// Where everything is.
        #[command(flatten)]
        run: RunArgs,
        /// Print the plan and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete servers that are past their expiry. Needs only the token.
    #[command(after_help = REAP_EXAMPLES)]
    Reap(ReapArgs),
    /// Emergency stop: delete every server of a fleet, whatever runs there. Needs only the token.
    #[command(after_help = STOP_EXAMPLES)]
    Stop(StopArgs),
    /// Print the OpenAPI document of the socket API.
    #[command(after_help = OPENAPI_EXAMPLES)]
    Openapi,
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Run the whole thing on this machine: an imitated Hetzner, real guests, no account, no root.
    #[cfg(feature = "demo")]
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// The guest's program, for the demo's servers.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Guest(cattle_guest::cli::Cli),
}

const RUN_EXAMPLES: &str = "Examples:
  HCLOUD_TOKEN=… HCLOUD_ENDPOINT=http://127.0.0.1:8080/v1 clf-orchestrator run --secrets-dir secrets
  clf-orchestrator run --specs cattle/specs:operator --specs /srv/bots

For now against a `hetzner-sim` only: `--peer-check` has no other value yet than `off`.";

const ONCE_EXAMPLES: &str = "Examples:
  clf-orchestrator once --dry-run --secrets-dir secrets
  clf-orchestrator once --project /srv/fleet --secrets-dir /srv/secrets";

const REAP_EXAMPLES: &str = "Examples:
  HCLOUD_TOKEN=… clf-orchestrator reap --fleet main --dry-run
  HCLOUD_TOKEN=… clf-orchestrator reap --all-fleets";

const STOP_EXAMPLES: &str =
    "A controller that runs makes servers again: stop it, or pause its starts first
with `clawdlets cattle pause`.

Examples:
  HCLOUD_TOKEN=… clf-orchestrator stop --fleet main --dry-run
  HCLOUD_TOKEN=… clf-orchestrator stop --fleet main --confirm main";

const OPENAPI_EXAMPLES: &str = "Examples:
  clf-orchestrator openapi | jq '.paths | keys'";

const COMPLETIONS_EXAMPLES: &str = "Examples:
  source <(clf-orchestrator completions bash)
  clf-orchestrator completions zsh > ~/.zfunc/_clf-orchestrator";

#[cfg(feature = "demo")]
const DEMO_EXAMPLES: &str = "Examples:
  clf-orchestrator demo
  clf-orchestrator demo --json
  clf-orchestrator demo --keep     leave it running to play with";

/// Where everything is.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The project: `fleet/clawdlets.json`, `cattle/personas` and `cattle/tasks` are beneath it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// A directory of spec files and what specs in it may do; may be given more than once.
    /// `<project>/cattle/specs` with role `bot` unless given.
    #[arg(long = "specs", value_name = "DIR[:operator|bot]", value_parser = spec_dir)]
    pub specs: Vec<SpecDir>,
    /// The ledger, logs, and specs the socket wrote; `<project>/.clawdlets/cattle` unless given.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Secrets as files by name, when `$CREDENTIALS_DIRECTORY` is not set.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// The socket; `<state-dir>/orchestrator.sock` unless given.
    #[arg(long, value_name = "PATH", env = "CLF_SOCKET_PATH")]
    pub socket: Option<PathBuf>,
    /// Where guests reach the controller.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:18337")]
    pub guest_listen: SocketAddr,
    /// The URL of that address as guests see it; from `--guest-listen` unless given.
    #[arg(long, value_name = "URL")]
    pub guest_url: Option<String>,
    /// How long logs, results and events of ended runs are kept; what they cost stays.
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub retention: SpecDuration,
    /// How guests prove who they are. `off` is for trying things out: it needs the guests and the
    /// Hetzner endpoint to be on loopback.
    #[arg(long, value_enum, default_value_t = PeerCheckArg::Off)]
    pub peer_check: PeerCheckArg,
    /// Hetzner.
    #[command(flatten)]
    pub hetzner: HetznerArgs,
}

/// How guests prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerCheckArg {
    /// Not at all; loopback only.
    Off,
}

/// Where Hetzner is. The token is never an argument: it comes from `HCLOUD_TOKEN`, or from the
/// secret file `hcloud_token`.
#[derive(Args, Clone, Debug)]
pub struct HetznerArgs {
    /// Base URL of the API.
    #[arg(
        long = "hcloud-endpoint",
        value_name = "URL",
        env = "HCLOUD_ENDPOINT",
        default_value = "https://api.hetzner.cloud/v1"
    )]
    pub endpoint: String,
}

/// `reap`.
#[derive(Args, Clone, Debug)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["fleet", "all_fleets"])))]
pub struct ReapArgs {
    /// Only this fleet.
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<cattle_core::names::FleetName>,
    /// Every fleet of the project.
    #[arg(long)]
    pub all_fleets: bool,
    /// The life of a server whose expiry label is missing.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub default_ttl: SpecDuration,
    /// The longest life of a server, whatever its expiry label says: at least the `maxTtl` of the
    /// fleets.
    // Not the 24 h of a fleet that does not say: a fleet may allow more, and nothing here knows.
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub max_ttl: SpecDuration,
    /// Only say what would be deleted.
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Secrets as files by name, when `$CREDENTIALS_DIRECTORY` is not set.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Hetzner.
    #[command(flatten)]
    pub hetzner: HetznerArgs,
}

impl ReapArgs {
    /// How long servers live.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            default_ttl: self.default_ttl.as_std(),
            max_ttl: self.max_ttl.as_std(),
        }
    }
}

/// `stop`.
#[derive(Args, Clone, Debug)]
pub struct StopArgs {
    /// The fleet.
    #[arg(long, value_name = "NAME")]
    pub fleet: cattle_core::names::FleetName,
    /// The fleet's name once more: all that runs in it is lost.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Only say what would be deleted.
    #[arg(long)]
    pub dry_run: bool,
    /// Lines as it goes on, or one JSON object at the end.
    #[arg(short, long, value_enum, default_value_t = StopOutput::Text)]
    pub output: StopOutput,
    /// Secrets as files by name, when `$CREDENTIALS_DIRECTORY` is not set.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Hetzner.
    #[command(flatten)]
    pub hetzner: HetznerArgs,
}

impl StopArgs {
    /// What to type, where it was not.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<String> {
        let fleet = self.fleet.as_str();
        if self.dry_run || self.confirm.as_deref() == Some(fleet) {
            return None;
        }
        Some(format!(
            "this deletes every server of fleet `{fleet}`, and with them the tasks that run; if that is meant, type `clf-orchestrator stop --fleet {fleet} --confirm {fleet}`"
        ))
    }
}

/// How `stop` says what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StopOutput {
    /// For people.
    Text,
    /// For programs; progress goes to standard error.
    Json,
}

/// `demo`.
#[cfg(feature = "demo")]
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Print one JSON object and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Leave everything running afterwards and print the commands to play with it.
    #[arg(long)]
    pub keep: bool,
}

fn spec_dir(text: &str) -> Result<SpecDir, String> {
    let (path, authority) = match text.rsplit_once(':') {
        None => (text, Authority::Bot),
        Some((path, "bot")) => (path, Authority::Bot),
        Some((path, "operator")) => (path, Authority::Operator),
        Some((_, role)) => {
            return Err(format!(
                "`{role}` is no role: write DIR, DIR:operator or DIR:bot"
            ));
        }
    };
    if path.is_empty() {
        return Err("the directory is missing".to_owned());
    }
    Ok(SpecDir {
        path: path.into(),
        authority,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_spec_directory_is_a_bots_unless_it_says_operator() {
        assert_eq!(spec_dir("/a").unwrap().authority, Authority::Bot);
        assert_eq!(spec_dir("/a:bot").unwrap().authority, Authority::Bot);
        assert_eq!(
            spec_dir("/a:operator").unwrap().authority,
            Authority::Operator
        );
        assert!(spec_dir("/a:root").unwrap_err().contains("no role"));
        assert!(spec_dir(":bot").is_err());
    }
}
