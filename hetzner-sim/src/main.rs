//! `hetzner-sim`: the simulator as a program.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use hetzner_sim::{Config, Guests, StockPreset};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// The Hetzner Cloud API on loopback.
///
/// Point any client at the printed address: HCLOUD_ENDPOINT for the hcloud CLI and the SDKs, with
/// any token. What happened and what it cost is served beneath /_sim, where faults are scripted
/// as well.
#[derive(Debug, Parser)]
#[command(name = "hetzner-sim", version, after_help = EXAMPLES)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// What runs inside a server
    #[arg(long, value_enum, default_value_t = GuestMode::None)]
    guests: GuestMode,

    /// Program, then its first arguments, one by one; `run --root DIR` is appended
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    guest_command: Vec<String>,

    /// File to put into every guest as /etc/clawdlets/cattle/runners.json
    #[arg(long, value_name = "FILE")]
    guest_runners: Option<PathBuf>,

    /// Directory for the guests' roots [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    guest_root: Option<PathBuf>,

    /// Keep the directories of deleted guests
    #[arg(long)]
    keep_guests: bool,

    /// Milliseconds until a server is created
    #[arg(long, value_name = "N", default_value_t = 200)]
    create_ms: u64,

    /// Milliseconds from created to running
    #[arg(long, value_name = "N", default_value_t = 800)]
    boot_ms: u64,

    /// Milliseconds a power action takes
    #[arg(long, value_name = "N", default_value_t = 200)]
    power_ms: u64,

    /// Milliseconds a delete takes
    #[arg(long, value_name = "N", default_value_t = 500)]
    delete_ms: u64,

    /// Milliseconds that firewalls trail the labels they select on
    #[arg(long, value_name = "N", default_value_t = 1000)]
    firewall_lag_ms: u64,

    /// Calls that the full bucket holds, and that an hour brings back
    #[arg(long, value_name = "N", default_value_t = 3600)]
    rate_limit: u32,

    /// Calls that an hour brings back [default: the rate limit]
    #[arg(long, value_name = "N")]
    rate_refill: Option<u32>,

    /// The account's server quota
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_servers: u32,

    /// What can be ordered to begin with
    #[arg(long, value_enum, default_value_t = Stock::Everything)]
    stock: Stock,

    /// Emit the `deprecated` keys that the API dropped on 2026-11-02
    #[arg(long)]
    legacy_deprecated: bool,

    /// Accept this token [default: any]
    #[arg(
        long,
        value_name = "T",
        env = "HETZNER_SIM_TOKEN",
        hide_env_values = true
    )]
    token: Vec<String>,

    /// Accept this token for reading
    #[arg(long, value_name = "T")]
    read_only_token: Vec<String>,

    /// Write every reply of the API to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    record_replies: Option<PathBuf>,

    /// Server ids begin above this, up to 4,000,000,000,000,000
    #[arg(long, value_name = "ID", default_value_t = 5_000_000_000,
        value_parser = clap::value_parser!(u64).range(1..=4_000_000_000_000_000))]
    first_server_id: u64,

    /// Seed of ids and fault probabilities
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GuestMode {
    /// Nothing: servers are entries in the API
    None,
    /// A real process for each running server, from its user_data; needs --token
    Process,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stock {
    /// Every type wherever it is offered
    Everything,
    /// As on 2026-09-29: no CX, no CAX
    Captured,
}

const EXAMPLES: &str = "\
Examples:
  hetzner-sim --listen 127.0.0.1:8080
  HCLOUD_ENDPOINT=http://127.0.0.1:8080/v1 HCLOUD_TOKEN=any hcloud server list

  A small, slow, nearly exhausted account:
  hetzner-sim --max-servers 5 --boot-ms 30000 --rate-limit 60

  A burst of 60 calls, then one a second:
  hetzner-sim --rate-limit 60 --rate-refill 3600

  Real processes inside the servers:
  hetzner-sim --guests process --token secret --guest-command ./clf-cattle

  The next create is accepted, but its reply is lost:
  curl -X POST http://127.0.0.1:8080/_sim/faults \\
    -d '{\"match\": {\"operation\": \"create_server\"}, \"fault\": {\"kind\": \"drop_reply\"}}'

  What happened, and what it cost:
  curl http://127.0.0.1:8080/_sim/calls
  curl http://127.0.0.1:8080/_sim/cost";

impl Arguments {
    fn config(&self, guests: Guests) -> Config {
        let mut config = Config::default()
            .create_ms(self.create_ms)
            .boot_ms(self.boot_ms)
            .power_ms(self.power_ms)
            .delete_ms(self.delete_ms)
            .firewall_lag_ms(self.firewall_lag_ms)
            .rate_limit(self.rate_limit)
            .max_servers(self.max_servers)
            .stock(match self.stock {
                Stock::Everything => StockPreset::Everything,
                Stock::Captured => StockPreset::Captured,
            })
            .legacy_deprecated(self.legacy_deprecated)
            .guests(guests)
            .keep_guests(self.keep_guests)
            .first_server_id(self.first_server_id)
            .seed(self.seed);
        config.rate_refill = self.rate_refill;
        config.record_replies.clone_from(&self.record_replies);
        for token in &self.token {
            config = config.token(token);
        }
        for token in &self.read_only_token {
            config = config.read_only_token(token);
        }
        config
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<()> {
    // Before anything else, so that a signal during start-up is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut temporary = None;
    let guests = match arguments.guests {
        GuestMode::None if !arguments.guest_command.is_empty() => {
            bail!("--guest-command needs --guests process")
        }
        GuestMode::None => Guests::None,
        GuestMode::Process => Guests::Process {
            command: arguments.guest_command.clone(),
            runners: arguments.guest_runners.clone(),
            root: match &arguments.guest_root {
                Some(root) => root.clone(),
                None => temporary
                    .insert(tempfile::tempdir().context("cannot make a guest directory")?)
                    .path()
                    .to_owned(),
            },
        },
    };
    let config = arguments.config(guests);
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let sim = hetzner_sim::Sim::start_on(listener, config)?;
    // A closed stdout is no reason to end: the address may be known anyway.
    let _ = writeln!(std::io::stdout(), "listening on {}", sim.url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sim.shutdown().await;
    Ok(())
}
