//! The state machine: an account's servers, actions, firewalls and prices, stepped by hand.
//!
//! Invariants, by what is deliberately absent: no sockets, no files, no processes, no clock and
//! no randomness but the seed's. Time only moves by [`World::advance`] and by the `now` of a
//! call, and never backwards. What should happen to guests comes out as [`Effect`]s, in order,
//! for whoever runs them; ends of guests come back through [`World::guest_exited`].

mod action;
mod calls;
mod control;
mod cost;
mod create;
mod edit;
mod fault;
mod firewall_rules;
mod firewalls;
mod offers;
mod placement_groups;
mod power;
mod quota;
mod route;
mod server;
mod servers;
mod shelf;
mod ssh_keys;
mod stock;
mod time;
mod twist;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::Ipv4Addr,
};

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

pub use calls::Call;
pub use cost::{Cost, ServerCost};

use self::{
    action::Action, calls::CallLog, control::TokenState, fault::Faults, firewalls::Firewall,
    placement_groups::Spread, quota::Quota, route::Kind, route::Route, server::Server,
    shelf::Shelf, ssh_keys::SshKey, stock::Stock, twist::Twist,
};
use crate::{
    bucket::Bucket,
    catalogue::{self, Image},
    config::{Config, Guests},
    error::ApiError,
    message::{Answer, Request},
    paging,
    rng::Rng,
};

/// Deleted servers that are remembered one by one; of older ones only the cost stays.
const GONE_KEPT: usize = 10_000;

/// The API's ids stay within what a double holds exactly.
const ID_MAX: u64 = (1 << 53) - 1;

/// Something to do outside of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start what the server's `user_data` asks for, in place of what runs there.
    Boot {
        /// The server.
        server: u64,
        /// Counts the boots of this server; handed back when the guest ends.
        boot: u64,
        /// As it was sent.
        user_data: Option<String>,
    },
    /// Ask the guest to end.
    Terminate {
        /// The server.
        server: u64,
    },
    /// Cut the power.
    Kill {
        /// The server.
        server: u64,
    },
    /// Cut the power and wipe the disk.
    Destroy {
        /// The server.
        server: u64,
    },
    /// As `Destroy`, and nothing will ever boot in this server again.
    Forget {
        /// The server.
        server: u64,
    },
}

/// What happens by itself when its time comes.
#[derive(Clone, Debug)]
enum Event {
    ActionDue(u64),
    PoweredDown(u64),
    BillingStarts(u64),
    FirewallsFollow,
    FirewallApplied { server: u64, firewall: u64 },
}

/// The configured delays, in the unit of the machine.
#[derive(Clone, Copy, Debug)]
struct Delays {
    create: Duration,
    boot: Duration,
    power: Duration,
    delete: Duration,
    firewall: Duration,
}

fn delay(of: std::time::Duration) -> Duration {
    // Nobody waits for years: what does not fit is as good as never.
    Duration::from_std(of).unwrap_or(Duration::days(36_500))
}

/// The account.
#[derive(Debug)]
pub struct World {
    config: Config,
    delays: Delays,
    guests: bool,
    quota: Quota,
    restricted: bool,
    token_state: TokenState,
    started: DateTime<Utc>,
    now: DateTime<Utc>,
    /// By how much Hetzner's clock is ahead of ours.
    clock_offset: Duration,
    rng: Rng,
    bucket: Bucket,
    stock: Stock,

    events: BTreeMap<(DateTime<Utc>, u64), Event>,
    next_event: u64,
    effects: Vec<Effect>,

    servers: BTreeMap<u64, Server>,
    names: HashMap<String, u64>,
    gone: VecDeque<Server>,
    gone_kept: usize,
    forgotten: cost::Forgotten,
    servers_at_once_max: usize,
    servers_created: u64,
    images: Vec<Image>,
    firewalls: Shelf<Firewall>,
    ssh_keys: Shelf<SshKey>,
    placement_groups: Shelf<Spread>,
    actions: BTreeMap<u64, Action>,
    running_actions: BTreeSet<u64>,
    finished_actions: VecDeque<u64>,

    last_server: u64,
    last_small_id: u64,
    next_action: u64,
    next_address: u32,

    faults: Faults,
    /// How the next action that begins will fail.
    planned_error: Option<(String, String)>,
    log: CallLog,
    /// The server the current call is about, for the log.
    subject: Option<(Option<u64>, String)>,
}

impl World {
    /// A new account, empty but for its snapshots.
    #[must_use]
    pub fn new(config: Config, now: DateTime<Utc>) -> Self {
        Self {
            delays: Delays {
                create: delay(config.create_delay),
                boot: delay(config.boot_delay),
                power: delay(config.power_delay),
                delete: delay(config.delete_delay),
                firewall: delay(config.firewall_lag),
            },
            guests: !matches!(config.guests, Guests::None),
            quota: Quota::new(config.max_servers as usize),
            restricted: false,
            token_state: TokenState::default(),
            started: now,
            now,
            clock_offset: Duration::zero(),
            rng: Rng::new(config.seed),
            bucket: Bucket::new(
                config.rate_limit,
                config.rate_refill.unwrap_or(config.rate_limit),
                now,
            ),
            stock: Stock::new(config.stock),
            events: BTreeMap::new(),
            next_event: 0,
            effects: Vec::new(),
            servers: BTreeMap::new(),
            names: HashMap::new(),
            gone: VecDeque::new(),
            gone_kept: GONE_KEPT,
            forgotten: cost::Forgotten::default(),
            servers_at_once_max: 0,
            servers_created: 0,
            images: catalogue::images(),
            firewalls: firewalls::shelf(),
            ssh_keys: ssh_keys::shelf(),
            placement_groups: placement_groups::shelf(),
            actions: BTreeMap::new(),
            running_actions: BTreeSet::new(),
            finished_actions: VecDeque::new(),
            last_server: config.first_server_id.min(ID_MAX / 2),
            last_small_id: 2_000_000,
            // Live action ids have 15 digits.
            next_action: 600_000_000_000_000,
            next_address: 1,
            faults: Faults::default(),
            planned_error: None,
            log: CallLog::default(),
            subject: None,
            config,
        }
    }

    /// Lets everything happen that is due by `now`, in order.
    pub fn advance(&mut self, now: DateTime<Utc>) {
        while let Some(entry) = self.events.first_entry() {
            let (due, _) = *entry.key();
            if due > now {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(due);
            self.happen(event);
        }
        self.now = self.now.max(now);
    }

    /// When something will happen next by itself.
    #[must_use]
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.events.keys().next().map(|(due, _)| *due)
    }

    /// What is to be done to guests since the last time this was asked.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ActionDue(id) => {
                if let Some(action) = self.finish_action(id) {
                    self.complete(&action);
                }
            }
            Event::PoweredDown(id) => self.powered_down(id),
            Event::BillingStarts(id) => {
                let now = self.now;
                if let Some(server) = self.servers.get_mut(&id) {
                    server.billed_from.get_or_insert(now);
                }
            }
            Event::FirewallsFollow => self.firewalls_follow(),
            Event::FirewallApplied { server, firewall } => self.mark_applied(server, firewall),
        }
    }

    fn schedule(&mut self, at: DateTime<Utc>, event: Event) {
        self.next_event += 1;
        self.events.insert((at, self.next_event), event);
    }

    fn effect(&mut self, effect: Effect) {
        if self.guests {
            self.effects.push(effect);
        }
    }

    /// Answers one call of the API at `now`.
    pub fn call(&mut self, now: DateTime<Utc>, request: &Request) -> Answer {
        self.advance(now);
        self.subject = None;
        let route = Route::of(request);
        let operation = route
            .as_ref()
            .map_or_else(|_| "unknown".to_owned(), Route::operation);
        let subject = route.as_ref().ok().and_then(Route::server);
        self.name_subject(subject);
        let (mut answer, fault) = match self.admit(request) {
            Err(refusal) => (refusal.into(), None),
            Ok(()) => self.answer(request, route, &operation),
        };
        self.head(&mut answer);
        self.record(request, &operation, &answer, fault);
        answer.odd |= self.config.legacy_deprecated;
        answer.operation = operation;
        #[cfg(test)]
        tests::check_shape(&answer);
        answer
    }

    fn name_subject(&mut self, server: Option<u64>) {
        if let Some(id) = server {
            let name = self.servers.get(&id).map(|s| s.name.clone());
            self.subject = Some((Some(id), name.unwrap_or_default()));
        }
    }

    /// Rate limit first: calls that cannot authenticate count as well.
    fn admit(&mut self, request: &Request) -> Result<(), ApiError> {
        if !self.bucket.take(self.now) {
            return Err(ApiError::rate_limited(self.bucket.limit()));
        }
        let presented = request.bearer.as_deref().unwrap_or("");
        let any = self.config.tokens.is_empty() && !presented.is_empty();
        let reads = self.config.read_only_tokens.iter().any(|t| t.is(presented));
        let known = any || reads || self.config.tokens.iter().any(|t| t.is(presented));
        if !known || self.token_state == TokenState::Revoked {
            return Err(ApiError::unauthorized());
        }
        let read_only = reads || self.token_state == TokenState::ReadOnly;
        if read_only && request.method != "GET" {
            return Err(ApiError::token_readonly());
        }
        Ok(())
    }

    /// The answer, and the fault that shaped it.
    fn answer(
        &mut self,
        request: &Request,
        route: Result<Route, ApiError>,
        operation: &str,
    ) -> (Answer, Option<u64>) {
        let name = fault::server_name(request).or_else(|| {
            self.subject
                .as_ref()
                .map(|(_, name)| name.clone())
                .filter(|name| !name.is_empty())
        });
        let strike = self
            .faults
            .strike(request, operation, name.as_deref(), &mut self.rng);
        let fault = strike.as_ref().map(|strike| strike.rule);
        if let Some(instead) = strike.as_ref().and_then(|s| s.instead_of_effect(request)) {
            return (instead, fault);
        }
        let twist = strike.as_ref().map(|s| s.twist()).unwrap_or_default();
        let answer = route
            .and_then(|route| self.perform(request, route, twist))
            .unwrap_or_else(Answer::from);
        self.planned_error = None;
        let mut answer = match strike {
            Some(strike) => strike.after_effect(request, answer),
            None => answer,
        };
        answer.odd |= self.servers.values().any(|s| s.status.is_odd());
        (answer, fault)
    }

    fn perform(
        &mut self,
        request: &Request,
        route: Route,
        twist: Twist,
    ) -> Result<Answer, ApiError> {
        match route {
            Route::Removed => Err(ApiError::gone(
                "https://docs.hetzner.cloud/changelog#2025-12-16-phasing-out-datacenters",
            )),
            Route::Prices => Ok(self.prices()),
            Route::Action(id) => self.get_action(id),
            Route::ActionsByIds => self.actions_by_ids(request),
            Route::ActionsOf(kind, id) => self.list_actions(request, kind, Some(id)),
            Route::ActionsOfAll(kind) => self.list_actions(request, kind, None),
            Route::List(Kind::Server) => self.list_servers(request),
            Route::Create(Kind::Server) => self.create_server(request, twist),
            Route::Get(Kind::Server, id) => self.get_server(id),
            Route::Update(Kind::Server, id) => self.update_server(request, id),
            Route::Delete(Kind::Server, id) => self.delete_server(id, twist),
            Route::Act(Kind::Server, id, verb) => self.act_on_server(request, id, &verb, twist),
            Route::List(Kind::Image) => self.list_images(request),
            Route::Get(Kind::Image, id) => self.get_image(id),
            Route::Update(Kind::Image, id) => self.update_image(request, id),
            Route::Delete(Kind::Image, id) => self.delete_image(id),
            Route::List(Kind::ServerType) => self.list_server_types(request),
            Route::Get(Kind::ServerType, id) => self.get_server_type(id),
            Route::List(Kind::Location) => self.list_locations(request),
            Route::Get(Kind::Location, id) => self.get_location(id),
            Route::List(Kind::Firewall) => self.list_firewalls(request),
            Route::Create(Kind::Firewall) => self.create_firewall(request),
            Route::Get(Kind::Firewall, id) => self.get_firewall(id),
            Route::Update(Kind::Firewall, id) => self.update_firewall(request, id),
            Route::Delete(Kind::Firewall, id) => self.delete_firewall(id),
            Route::Act(Kind::Firewall, id, verb) => self.act_on_firewall(request, id, &verb),
            Route::List(Kind::SshKey) => self.list_ssh_keys(request),
            Route::Create(Kind::SshKey) => self.create_ssh_key(request),
            Route::Get(Kind::SshKey, id) => self.get_ssh_key(id),
            Route::Update(Kind::SshKey, id) => self.update_ssh_key(request, id),
            Route::Delete(Kind::SshKey, id) => self.delete_ssh_key(id),
            Route::List(Kind::PlacementGroup) => self.list_placement_groups(request),
            Route::Create(Kind::PlacementGroup) => self.create_placement_group(request),
            Route::Get(Kind::PlacementGroup, id) => self.get_placement_group(id),
            Route::Update(Kind::PlacementGroup, id) => self.update_placement_group(request, id),
            Route::Delete(Kind::PlacementGroup, id) => self.delete_placement_group(id),
            Route::List(Kind::PrimaryIp) => self.list_primary_ips(request),
            Route::Get(Kind::PrimaryIp, id) => self.get_primary_ip(id),
            Route::List(Kind::Empty(plural)) => {
                paging::list(request, plural, Vec::<&()>::new(), &[], |()| json!(null))
            }
            Route::Get(kind @ Kind::Empty(_), id) | Route::Act(kind @ Kind::Empty(_), id, _) => {
                Err(ApiError::not_found(kind.singular(), id))
            }
            Route::Create(_) | Route::Update(..) | Route::Delete(..) | Route::Act(..) => {
                Err(ApiError::method_not_allowed())
            }
        }
    }

    /// The headers that every reply has.
    fn head(&mut self, answer: &mut Answer) {
        let standing = self.bucket.standing(self.now);
        let offset_seconds = self.clock_offset.num_seconds();
        answer.headers.extend([
            ("RateLimit-Limit", standing.limit.to_string()),
            ("RateLimit-Remaining", standing.remaining.to_string()),
            (
                "RateLimit-Reset",
                (standing.reset + offset_seconds).to_string(),
            ),
            ("X-Correlation-Id", format!("{:016x}", self.rng.next())),
            ("Date", time::http_date(self.now + self.clock_offset)),
        ]);
    }

    fn next_server_id(&mut self) -> u64 {
        self.servers_created += 1;
        self.last_server += self.rng.up_to(40);
        self.last_server
    }

    fn next_small_id(&mut self) -> u64 {
        self.last_small_id += self.rng.up_to(20);
        self.last_small_id
    }

    /// From 198.18.0.0/15 (RFC 2544): never anybody's address.
    fn next_ipv4(&mut self) -> (u64, Ipv4Addr) {
        const FIRST: u32 = 0xC612_0000;
        const SPAN: u32 = 1 << 17;
        let address = Ipv4Addr::from(FIRST + self.next_address % SPAN);
        self.next_address = self.next_address.wrapping_add(1);
        (self.next_small_id(), address)
    }

    /// A /64 from the documentation prefix (RFC 3849).
    fn next_ipv6(&mut self) -> (u64, String) {
        let n = self.next_address;
        self.next_address = self.next_address.wrapping_add(1);
        let prefix = format!("2001:db8:{:x}:{:x}::/64", n >> 16, n & 0xffff);
        (self.next_small_id(), prefix)
    }
}

#[cfg(test)]
mod tests;
