//! Hetzner's rate limit: what it has left, who may use that, and what lists may cost.
//!
//! Hetzner counts the calls of a whole project in one token bucket, and says with every reply how
//! full it is. [`Budget`] follows that bucket between replies. Nothing here waits: `controller`'s
//! gate does, for as long as [`Budget::due`] says.
//!
//! Invariants:
//! - as long as replies tell the truth and nobody else uses the project, a call that is due is never
//!   refused: what is not known for certain is taken to be used up;
//! - a delete waits for nothing but a bucket that is empty, or the moment after a refusal;
//! - without headers the documented bucket is assumed, so that calls are paced but never stop.
//!
//! Times are a [`Duration`] since any fixed moment, by a clock that never jumps: expiry is judged by
//! Hetzner's clock, a bucket's refill is not.

use std::time::Duration;

use cattle_schemas::{Timestamp, status::CallBudget};

use crate::action::Calls;

/// Calls an hour of a project that was told no other limit; also assumed before the first reply.
/// (<https://docs.hetzner.cloud/reference/cloud#rate-limiting>)
pub const DEFAULT_LIMIT: u32 = 3_600;

/// A limit is calls an hour, so a bucket refills at least this slowly.
const HOUR_SECONDS: f64 = 3_600.0;

/// One in so many of the limit is kept for deletes: 360 of 3,600 end every server of a project of
/// ordinary size, whatever made the bucket run dry.
const RESERVE_SHARE: u32 = 10;

/// One in so many of the limit is left to creates by reads.
const CREATES_SHARE: u32 = 20;

/// How far lists are apart for each of their calls while one call a second is refilled: then they
/// take a quarter of it.
pub const PER_PAGE: Duration = Duration::from_secs(4);

/// Servers in one page of a list: the most that the API gives.
pub const PAGE: usize = 50;

/// The two headers about time are whole seconds, cut or rounded in a way that nobody documents: the
/// span between them is at most so much too long, or too short by a second.
const TOO_LONG: f64 = 2.0;
/// See [`TOO_LONG`].
const TOO_SHORT: f64 = 1.0;

/// The very first call goes alone for so long, but for deletes: its reply says whether there is a
/// bucket to draw from at all. A reply takes a tenth of a second.
const FIRST_ALONE: Duration = Duration::from_secs(2);

/// What a call is for; the first is the most important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A server goes, or what must be known for that: it bills until then. Takes the last call.
    Delete,
    /// The one list of each interval, by which everything else is judged. Takes the last call.
    List,
    /// A server comes, or what it needs: its firewall, its keys. Also power-on and labels: a server
    /// that is off, or whose expiry is not on it, costs money for nothing or dies too early.
    Create,
    /// What is good to know sooner: lists in between, look-ups, actions, prices, images.
    Read,
}

impl Class {
    /// All, the most important first.
    pub const ALL: [Self; 4] = [Self::Delete, Self::List, Self::Create, Self::Read];

    /// For metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::List => "list",
            Self::Create => "create",
            Self::Read => "read",
        }
    }

    /// For sentences: "has no room for …".
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Delete => "deletes",
            Self::List => "lists",
            Self::Create => "creates",
            Self::Read => "reads",
        }
    }
}

/// What the headers of one reply say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// `RateLimit-Limit`: calls an hour, and the bucket's size. Not zero.
    pub limit: u32,
    /// `RateLimit-Remaining`: whole calls left.
    pub remaining: u32,
    /// `RateLimit-Reset` less `Date`, both by Hetzner's clock and in whole seconds: until the bucket
    /// is full again. `None` where either is missing.
    pub full_in: Option<Duration>,
}

/// A call that was let through; given back when it is over.
#[derive(Debug)]
#[must_use = "a call that is never given back counts as under way for good"]
pub struct Sent {
    at: Duration,
    /// Calls that were over when it began.
    over_before: u64,
}

/// Hetzner's bucket, as far as it is known here.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: u32,
    /// Calls refilled a second.
    refill: f64,
    /// What the bucket had at `at`, before what is under way was taken off.
    tokens: f64,
    at: Duration,
    /// Calls that were sent and are not over.
    under_way: u32,
    /// Calls that are over.
    over: u64,
    /// Calls but deletes wait until then for the reply to the first; `None` before there is one.
    first_alone_until: Option<Duration>,
    /// Whether a reply has told anything yet.
    known: bool,
    /// Nothing but deletes goes before then.
    held_until: Duration,
    /// Nor do deletes before then.
    deletes_held_until: Duration,
    own: LastHour,
    others: LastHour,
}

impl Default for Budget {
    /// The documented bucket, full.
    fn default() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            refill: f64::from(DEFAULT_LIMIT) / HOUR_SECONDS,
            tokens: f64::from(DEFAULT_LIMIT),
            at: Duration::ZERO,
            under_way: 0,
            over: 0,
            first_alone_until: None,
            known: false,
            held_until: Duration::ZERO,
            deletes_held_until: Duration::ZERO,
            own: LastHour::default(),
            others: LastHour::default(),
        }
    }
}

impl Budget {
    /// Calls an hour; the bucket's size.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Calls refilled a second.
    #[must_use]
    pub fn refill(&self) -> f64 {
        self.refill
    }

    /// Calls that only deletes and the one list of each interval may use: a tenth, at least one, and
    /// never all.
    #[must_use]
    pub fn reserve(&self) -> u32 {
        (self.limit / RESERVE_SHARE).max(1).min(self.limit - 1)
    }

    /// Whole calls left, what is under way taken off.
    #[must_use]
    pub fn left(&self, now: Duration) -> u32 {
        whole(self.exactly_left(now))
    }

    /// How long a call of this class has to wait; zero when it may go now.
    #[must_use]
    pub fn due(&self, class: Class, now: Duration) -> Duration {
        let held = match class {
            Class::Delete => self.deletes_held_until,
            Class::List | Class::Create | Class::Read => self.held_until.max(self.first_alone()),
        };
        self.until_left(self.keeps_back(class) + 1, now)
            .max(held.saturating_sub(now))
    }

    /// Lets a call through, due or not.
    pub fn take(&mut self, now: Duration) -> Sent {
        self.under_way += 1;
        self.first_alone_until.get_or_insert(now + FIRST_ALONE);
        self.own.add(now, 1);
        Sent {
            at: now,
            over_before: self.over,
        }
    }

    /// The call is over, and Hetzner counted it, or may have. Answers how many calls of others were
    /// noticed by this.
    pub fn counted(&mut self, sent: Sent, told: Option<Told>, now: Duration) -> u32 {
        self.settle(now);
        self.tokens -= 1.0;
        self.close(sent, told, now)
    }

    /// The call was never sent.
    pub fn unsent(&mut self, sent: Sent, now: Duration) {
        self.settle(now);
        self.own.take_back();
        self.close(sent, None, now);
    }

    /// The call was refused for the rate limit (429), which does not count it. Where the reply does
    /// not say what is left, nothing is. [`Budget::hold`] comes next: how long depends on the
    /// refill, of which this reply may tell most.
    pub fn refused(&mut self, sent: Sent, told: Option<Told>, now: Duration) -> u32 {
        self.settle(now);
        if told.is_none() {
            // What is under way is taken off below: it may have been refused like this one.
            self.tokens = self.tokens.min(f64::from(self.under_way) - 1.0);
        }
        let others = self.close(sent, told, now);
        if let Some(told) = told {
            // Not a fraction more than it says: the next refusal would be our doing.
            let more = self.exactly_left(now) - f64::from(told.remaining);
            self.tokens -= more.max(0.0);
        }
        others
    }

    /// Nothing goes for so long, and deletes for `deletes`.
    pub fn hold(&mut self, all: Duration, deletes: Duration, now: Duration) {
        self.held_until = self.held_until.max(now + all);
        self.deletes_held_until = self.deletes_held_until.max(now + deletes);
    }

    /// Creates that may be begun now, `begun` ones not being posted yet; `wall` is `now` on the
    /// clock that people read.
    #[must_use]
    pub fn creates(&self, begun: u32, now: Duration, wall: Timestamp) -> Calls {
        let kept = self.keeps_back(Class::Create).saturating_add(begun);
        let held = self.held_until.saturating_sub(now);
        let creates = if held.is_zero() {
            self.left(now).saturating_sub(kept)
        } else {
            0
        };
        let more_in = self
            .until_left(kept.saturating_add(creates).saturating_add(1), now)
            .max(held);
        Calls {
            creates,
            more_at: Some(wall + more_in),
            left: self.left(now),
            limit: self.limit,
            reserve: self.reserve(),
        }
    }

    /// For the status; `None` before the first reply.
    #[must_use]
    pub fn status(&self, now: Duration) -> Option<CallBudget> {
        self.known.then(|| CallBudget {
            limit: self.limit,
            remaining: self.left(now),
            reserve: self.reserve(),
            used_last_hour: self.own.sum(now),
            others_last_hour: self.others.sum(now),
        })
    }

    /// What a class leaves in the bucket.
    fn keeps_back(&self, class: Class) -> u32 {
        match class {
            Class::Delete | Class::List => 0,
            Class::Create => self.reserve(),
            Class::Read => {
                let creates = (self.limit / CREATES_SHARE).max(1);
                // A bucket of two must still be read some time.
                (self.reserve() + creates).min(self.limit - 1)
            }
        }
    }

    /// Until when the first call of all goes alone.
    fn first_alone(&self) -> Duration {
        match self.first_alone_until {
            Some(until) if self.over == 0 => until,
            _ => Duration::ZERO,
        }
    }

    fn exactly_left(&self, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        (self.tokens + elapsed * self.refill).min(f64::from(self.limit)) - f64::from(self.under_way)
    }

    /// Until so many calls are left, if nothing else happens. Rounded up, so that whoever waits so
    /// long finds them.
    fn until_left(&self, calls: u32, now: Duration) -> Duration {
        let missing = f64::from(calls) - self.exactly_left(now);
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        let seconds = missing / self.refill;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 2) + Duration::from_millis(1)
    }

    fn settle(&mut self, now: Duration) {
        self.tokens = self.exactly_left(now) + f64::from(self.under_way);
        self.at = self.at.max(now);
    }

    fn close(&mut self, sent: Sent, told: Option<Told>, now: Duration) -> u32 {
        self.under_way = self.under_way.saturating_sub(1);
        // Calls that ended during this one may have been counted before or after it.
        let alone = self.over == sent.over_before;
        self.over += 1;
        let took = now.saturating_sub(sent.at);
        told.map_or(0, |told| self.learn(told, alone, took, now))
    }

    /// Takes over what a reply says. Its number was true at some time between the call's two ends;
    /// what else was under way may be in it or not. So more is believed only as far as it is certain,
    /// while less is always believed: somebody else called, too.
    fn learn(&mut self, told: Told, alone: bool, took: Duration, now: Duration) -> u32 {
        self.learn_refill(told);
        let least = f64::from(told.remaining);
        let first = !std::mem::replace(&mut self.known, true);
        if told.limit != self.limit || first {
            self.limit = told.limit;
            self.tokens = least;
            return 0;
        }
        let left = self.exactly_left(now);
        let most = least + self.refill * took.as_secs_f64();
        if left >= most + 1.0 {
            let others = (left - most).floor();
            self.tokens -= others;
            let others = whole(others);
            self.others.add(now, others);
            return others;
        }
        let certain = least - f64::from(self.under_way);
        if alone && left < certain {
            self.tokens += certain - left;
        }
        0
    }

    /// Moves the refill no further than this reply demands. The fuller the bucket, the less its two
    /// whole numbers say; that all of them are consistent with what is documented is usual.
    fn learn_refill(&mut self, told: Told) {
        let slowest = f64::from(told.limit) / HOUR_SECONDS;
        if told.limit != self.limit {
            self.refill = slowest;
        }
        let missing = f64::from(told.limit.saturating_sub(told.remaining));
        if let Some(full_in) = told.full_in {
            let full_in = full_in.as_secs_f64();
            let at_least = (missing - 1.0) / (full_in + TOO_SHORT);
            let at_most = if full_in > TOO_LONG {
                missing / (full_in - TOO_LONG)
            } else {
                f64::INFINITY
            };
            self.refill = self.refill.max(at_least).min(at_most);
        }
        // Slower than the limit says would be another limit; faster than all of it in a second is a
        // header that means something else.
        self.refill = self.refill.clamp(slowest, f64::from(told.limit));
    }
}

fn whole(calls: f64) -> u32 {
    // A float becomes the nearest number that fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = calls.floor() as u32;
    whole
}

/// Pages of a list of so many servers.
#[must_use]
pub fn pages(servers: usize) -> usize {
    servers.div_ceil(PAGE).max(1)
}

/// Calls of a list of so many servers: its pages, and the look at the fleet's firewall beside it.
#[must_use]
pub fn calls_of_list(servers: usize) -> usize {
    pages(servers) + 1
}

/// How far lists of so many servers are apart when they are wanted every `wanted` and `refill` calls
/// a second are refilled: with [`PER_PAGE`] never so close that they take more than a quarter of it.
#[must_use]
pub fn list_interval(
    wanted: Duration,
    per_page: Duration,
    servers: usize,
    refill: f64,
) -> Duration {
    #[allow(clippy::cast_precision_loss)]
    let seconds = calls_of_list(servers) as f64 * per_page.as_secs_f64() / refill;
    wanted.max(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// What lists cost at some pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListCost {
    /// How far they are apart.
    pub interval: Duration,
    /// Pages of each.
    pub pages: usize,
    /// Calls an hour.
    pub calls_an_hour: f64,
    /// Their share of what is refilled.
    pub share: f64,
}

/// What lists of so many servers cost, at the interval of [`list_interval`] with [`PER_PAGE`].
#[must_use]
pub fn list_cost(wanted: Duration, servers: usize, refill: f64) -> ListCost {
    let interval = list_interval(wanted, PER_PAGE, servers, refill);
    let pages = pages(servers);
    #[allow(clippy::cast_precision_loss)]
    let calls_an_hour = calls_of_list(servers) as f64 * HOUR_SECONDS / interval.as_secs_f64();
    ListCost {
        interval,
        pages,
        calls_an_hour,
        share: calls_an_hour / (refill * HOUR_SECONDS),
    }
}

/// Minutes that are remembered.
const MINUTES: usize = 60;

/// A count over the last hour, minute by minute.
#[derive(Clone, Debug)]
struct LastHour {
    minutes: [u32; MINUTES],
    /// The minute of the latest entry.
    latest: u64,
}

impl Default for LastHour {
    fn default() -> Self {
        Self {
            minutes: [0; MINUTES],
            latest: 0,
        }
    }
}

impl LastHour {
    fn add(&mut self, now: Duration, calls: u32) {
        let minute = minute(now);
        for passed in self.latest + 1..=minute.min(self.latest + MINUTES as u64) {
            self.minutes[slot(passed)] = 0;
        }
        self.latest = self.latest.max(minute);
        self.minutes[slot(self.latest)] += calls;
    }

    fn take_back(&mut self) {
        let latest = &mut self.minutes[slot(self.latest)];
        *latest = latest.saturating_sub(1);
    }

    fn sum(&self, now: Duration) -> u32 {
        let oldest = minute(now).saturating_sub(MINUTES as u64 - 1);
        let oldest_kept = self.latest.saturating_sub(MINUTES as u64 - 1);
        (oldest.max(oldest_kept)..=self.latest)
            .map(|minute| self.minutes[slot(minute)])
            .sum()
    }
}

fn minute(now: Duration) -> u64 {
    now.as_secs() / 60
}

#[allow(clippy::cast_possible_truncation)]
fn slot(minute: u64) -> usize {
    (minute % MINUTES as u64) as usize
}
