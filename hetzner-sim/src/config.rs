//! What a simulator is told before it starts: its timings, limits, accepted tokens and guests.

use std::{fmt, path::PathBuf, time::Duration};

/// Everything a simulator can be told. [`Config::default`] is a quick, generous account:
/// servers run after a second, nothing is out of stock, any bearer token is accepted.
#[derive(Clone, Debug)]
pub struct Config {
    /// From the accepted `POST /servers` until the `create_server` action succeeds.
    pub create_delay: Duration,
    /// From the end of creation until the server is `running`.
    pub boot_delay: Duration,
    /// How long power actions (`start_server` of a stopped server, `stop_server`, …) take.
    pub power_delay: Duration,
    /// From the accepted `DELETE` until the server answers 404 and its name is free again.
    pub delete_delay: Duration,
    /// How far a firewall's membership trails the labels it selects on.
    pub firewall_lag: Duration,
    /// Calls that the full bucket holds, which `RateLimit-Limit` shows. It is the hourly refill
    /// as well, as on the real API, unless `rate_refill` says otherwise.
    pub rate_limit: u32,
    /// Calls that an hour brings back; `rate_limit` when None.
    pub rate_refill: Option<u32>,
    /// The account's server quota. New real accounts have 5.
    pub max_servers: u32,
    /// What can be ordered where when the simulator starts.
    pub stock: StockPreset,
    /// Emit the `deprecated` key of images and server types, which Hetzner announced to drop on
    /// 2026-11-02. Off by default: that is the API of today.
    pub legacy_deprecated: bool,
    /// Read and write tokens. With none, any non-empty bearer token may read and write.
    pub tokens: Vec<Token>,
    /// Tokens that may only `GET`.
    pub read_only_tokens: Vec<Token>,
    /// What runs inside a server.
    pub guests: Guests,
    /// Leave a deleted server's guest directory in place, for a look at it.
    pub keep_guests: bool,
    /// Write every reply of the API to this file, as JSON lines.
    pub record_replies: Option<PathBuf>,
    /// Server ids begin above this, at 2^52 at most. Beyond 32 bits by default, so that a client which cuts ids
    /// fails here and not in production.
    pub first_server_id: u64,
    /// Seeds ids, correlation ids and fault probabilities: equal seeds, equal answers.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            create_delay: Duration::from_millis(200),
            boot_delay: Duration::from_millis(800),
            power_delay: Duration::from_millis(200),
            delete_delay: Duration::from_millis(500),
            firewall_lag: Duration::from_millis(1000),
            rate_limit: 3600,
            rate_refill: None,
            max_servers: 1000,
            stock: StockPreset::Everything,
            legacy_deprecated: false,
            tokens: Vec::new(),
            read_only_tokens: Vec::new(),
            guests: Guests::None,
            keep_guests: false,
            record_replies: None,
            first_server_id: 5_000_000_000,
            seed: 1,
        }
    }
}

impl Config {
    /// How long creation takes, in milliseconds.
    #[must_use]
    pub fn create_ms(mut self, ms: u64) -> Self {
        self.create_delay = Duration::from_millis(ms);
        self
    }

    /// How long a created server takes until it is `running`, in milliseconds.
    #[must_use]
    pub fn boot_ms(mut self, ms: u64) -> Self {
        self.boot_delay = Duration::from_millis(ms);
        self
    }

    /// How long power actions take, in milliseconds.
    #[must_use]
    pub fn power_ms(mut self, ms: u64) -> Self {
        self.power_delay = Duration::from_millis(ms);
        self
    }

    /// How long a delete takes, in milliseconds.
    #[must_use]
    pub fn delete_ms(mut self, ms: u64) -> Self {
        self.delete_delay = Duration::from_millis(ms);
        self
    }

    /// How far firewalls trail labels, in milliseconds.
    #[must_use]
    pub fn firewall_lag_ms(mut self, ms: u64) -> Self {
        self.firewall_lag = Duration::from_millis(ms);
        self
    }

    /// Calls that the full bucket holds, and that an hour brings back.
    #[must_use]
    pub fn rate_limit(mut self, calls: u32) -> Self {
        self.rate_limit = calls;
        self
    }

    /// Calls that an hour brings back, apart from what the bucket holds: `rate_limit(60)` with
    /// `rate_refill(3600)` is a burst of 60, then one call a second.
    #[must_use]
    pub fn rate_refill(mut self, per_hour: u32) -> Self {
        self.rate_refill = Some(per_hour);
        self
    }

    /// The account's server quota.
    #[must_use]
    pub fn max_servers(mut self, servers: u32) -> Self {
        self.max_servers = servers;
        self
    }

    /// The stock to start with.
    #[must_use]
    pub fn stock(mut self, stock: StockPreset) -> Self {
        self.stock = stock;
        self
    }

    /// Emit the legacy `deprecated` keys.
    #[must_use]
    pub fn legacy_deprecated(mut self, emit: bool) -> Self {
        self.legacy_deprecated = emit;
        self
    }

    /// Accept this token for everything. May be repeated.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(Token(token.into()));
        self
    }

    /// Accept this token for reading. May be repeated.
    #[must_use]
    pub fn read_only_token(mut self, token: impl Into<String>) -> Self {
        self.read_only_tokens.push(Token(token.into()));
        self
    }

    /// What runs inside a server.
    #[must_use]
    pub fn guests(mut self, guests: Guests) -> Self {
        self.guests = guests;
        self
    }

    /// Keep the directories of deleted guests.
    #[must_use]
    pub fn keep_guests(mut self, keep: bool) -> Self {
        self.keep_guests = keep;
        self
    }

    /// Write every reply of the API to this file, as JSON lines: `operation`, `status`, `body`,
    /// and `odd` for those that a fault made wrong.
    #[must_use]
    pub fn record_replies(mut self, file: impl Into<PathBuf>) -> Self {
        self.record_replies = Some(file.into());
        self
    }

    /// Where server ids begin: 600,000,000,000,000 gives them the 15 digits that actions have.
    #[must_use]
    pub fn first_server_id(mut self, id: u64) -> Self {
        self.first_server_id = id;
        self
    }

    /// The seed of all randomness.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// What runs inside a server.
#[derive(Clone, Debug)]
pub enum Guests {
    /// Nothing: a server is only an entry in the API.
    None,
    /// A real process for each running server, fed with the server's real `user_data`.
    Process {
        /// The program and its first arguments; `run --root <guest root>` is appended.
        command: Vec<String>,
        /// Copied into each guest as `/etc/clawdlets/cattle/runners.json`.
        runners: Option<PathBuf>,
        /// Each guest's root is the directory named by its server id beneath this one.
        root: PathBuf,
    },
}

/// An API token. Never shown: somebody will pass a real one.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Whether a presented bearer token is this one.
    pub(crate) fn is(&self, presented: &str) -> bool {
        self.0 == presented
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// The stock a simulator starts with; `PUT /_sim/stock` changes it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockPreset {
    /// Whatever is offered in a location can be ordered there.
    Everything,
    /// As captured from the real API on 2026-09-29: CX and CAX nowhere, the rest everywhere.
    Captured,
}
