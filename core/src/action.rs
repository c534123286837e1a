//! What a plan asks the controller to do.
//!
//! An action names its subject and carries what its execution needs to re-check, nothing more. Ids
//! are not minted here: `Start` becomes a run when its intent is recorded.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cattle_schemas::{
    Timestamp,
    spec_file::OnFailure,
    status::{EndReason, PauseReason, PendingReason},
};

use crate::{
    account::Token,
    candidates::ColdPairs,
    catalogue::Catalogue,
    clock::Clocks,
    cost::{Amount, day},
    desired::{Cattle, Origin, Placement, Requester},
    names::{CattleName, RunId, ServerId, SpecHash},
    pause::Pause,
    substance::Substance,
    writable::Writable,
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ledger: remember the first sight of a (name, hash), its place in the queue. Also for one that
    /// ended before anything was done for it and is asked for again.
    Enqueue {
        /// The cattle.
        cattle: CattleName,
        /// The hash.
        hash: SpecHash,
        /// Who asked.
        requester: Requester,
        /// What it asks for.
        substance: Box<Substance>,
    },
    /// Ledger: a pending assignment is over without a server.
    Close {
        /// The cattle.
        cattle: CattleName,
        /// The hash.
        hash: SpecHash,
        /// Why.
        reason: EndReason,
        /// A sentence for people.
        message: String,
    },
    /// Draw a run, record its intent, create its server.
    Start {
        /// The cattle, complete.
        cattle: Arc<Cattle>,
        /// Where its spec comes from.
        origin: Origin,
        /// The most that an hour of its server may cost; `None` without a budget.
        hourly_limit: Option<Amount>,
    },
    /// Record a further attempt of a live run and create its server.
    Retry {
        /// The run.
        run: RunId,
        /// Where and on what: as its spec has it now. Where an earlier attempt may have made a server,
        /// as that had it.
        placement: Placement,
        /// The most that an hour of its server may cost; `None` without a budget.
        hourly_limit: Option<Amount>,
    },
    /// Ledger: this server is this run's.
    Adopt {
        /// The run.
        run: RunId,
        /// The server.
        server: ServerId,
    },
    /// Ledger: take over a server whose run is unknown but whose name and hash a live spec has.
    AdoptUnknown {
        /// The cattle as it is desired.
        cattle: Arc<Cattle>,
        /// Where its spec comes from.
        origin: Origin,
        /// The run its label names.
        run: RunId,
        /// The server.
        server: ServerId,
        /// When Hetzner created it.
        created: Timestamp,
        /// Its expiry.
        expires_at: Timestamp,
    },
    /// Ledger: note that a second server carries the run's label.
    NoteDuplicate {
        /// The run.
        run: RunId,
        /// The server beside its own.
        server: ServerId,
        /// Its name.
        name: String,
    },
    /// Ledger: no other owner's label is on the run's server any more.
    Regain {
        /// The run.
        run: RunId,
    },
    /// Ledger: the clock went back behind the call that asked for its server: its time counts from now.
    Redate {
        /// The run.
        run: RunId,
    },
    /// Ledger: a live run of an older copy that was put back; its server may have done more than the
    /// ledger knows.
    Rejoin {
        /// The run.
        run: RunId,
        /// Its server.
        server: ServerId,
    },
    /// Ledger: note that Hetzner runs the server.
    MarkBooted {
        /// The run.
        run: RunId,
    },
    /// Ledger: what a spec file may change in place.
    Update {
        /// The run.
        run: RunId,
        /// Time to live.
        ttl: Duration,
        /// The expiry that follows from it.
        expires_at: Timestamp,
        /// What happens to the VM of a failed task.
        on_failure: OnFailure,
        /// The spec's labels.
        labels: BTreeMap<String, String>,
    },
    /// `PUT` the whole label set of a run's server, once it was read again and is nobody else's.
    Relabel {
        /// The run.
        run: RunId,
        /// The server.
        server: ServerId,
        /// All its labels.
        labels: BTreeMap<String, String>,
    },
    /// Ledger, one compare-and-set: the run is over. Its guest may hand over what is left, then its
    /// server is deleted.
    End {
        /// The run.
        run: RunId,
        /// Why.
        reason: EndReason,
        /// A sentence for people.
        message: String,
        /// Keep the server on for a look until then.
        hold_until: Option<Timestamp>,
        /// Drop this when the env was handed out since the plan was made (boot-timeout).
        unless_env_handed_out: bool,
        /// The source of specs that it counts for; see [`Run::counts_for`](crate::ledger::Run).
        counts_for: Option<Requester>,
    },
    /// Ledger: nothing more is taken from the guest of an ended run.
    HandedOver {
        /// The run.
        run: RunId,
        /// How much of its log there is, in bytes.
        stored: u64,
    },
    /// Ledger: an ended run's server is no longer kept on for a look.
    Release {
        /// The run.
        run: RunId,
        /// A sentence for people.
        message: String,
    },
    /// `DELETE` the server of an ended run, once it was read again and [`crate::ownership`] has nothing
    /// against it.
    Delete {
        /// The run.
        run: RunId,
        /// The server.
        server: ServerId,
    },
    /// `DELETE` the server of a live run that is past its expiry, after a look at its labels: only
    /// while the ledger takes no end.
    DeleteExpired {
        /// The run.
        run: RunId,
        /// The server.
        server: ServerId,
    },
    /// `GET` by id: is it gone, or another's?
    ConfirmGone {
        /// The run.
        run: RunId,
        /// The server.
        server: ServerId,
    },
    /// Ledger: an ended run that has no server and, certainly, never will.
    MarkGone {
        /// The run.
        run: RunId,
    },
    /// Find a server by its name: the create's reply was lost, or an ended run may have one.
    Lookup {
        /// The run.
        run: RunId,
        /// The name.
        name: String,
    },
    /// Ask how far the actions are that the create of its server began. All of a plan are asked for
    /// with one call.
    FollowCreate {
        /// The run.
        run: RunId,
    },
    /// Power on a server found off before its env was handed out.
    PowerOn {
        /// The run.
        run: RunId,
        /// The server.
        server: ServerId,
    },
    /// Ledger: begin a pause, or bring up to date what it says.
    Pause(Box<Pause>),
    /// Ledger: a pause is over by itself.
    Resume {
        /// Why it held.
        reason: PauseReason,
        /// What alone it was about; empty: everything.
        subject: String,
        /// A sentence for people.
        message: String,
    },
    /// Delete a server of this fleet that no run stands behind, past its expiry, likewise.
    ReapOrphan {
        /// The server.
        server: ServerId,
        /// Its name.
        name: String,
        /// When it expired.
        expired_at: Timestamp,
    },
}

/// A cattle that does not start yet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The cattle.
    pub cattle: CattleName,
    /// What for.
    pub reason: PendingReason,
    /// A sentence for people.
    pub message: String,
    /// Its place in the queue, from 1, where it has one.
    pub queue_position: Option<u32>,
}

/// What one pass is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order in which they may be carried out: ledger, ends, deletes, then starts.
    pub actions: Vec<Action>,
    /// What does not start yet.
    pub waiting: Vec<Waiting>,
    /// When the loop must look again even if nothing happens.
    pub next_wake: Option<Timestamp>,
    /// Whether something waits for what only a list can say: then lists are closer together.
    pub list_soon: bool,
}

/// What bounds a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `cattle.enabled`.
    pub enabled: bool,
    /// Servers at once.
    pub max_instances: u32,
    /// Live runs of one requester.
    pub live_runs_per_requester: u32,
    /// Servers created within an hour.
    pub creates_per_hour: u32,
    /// Servers at once of an image that no guest has reported from yet; `None` without a bound of
    /// their own.
    pub unproven_image: Option<u32>,
    /// The longest life of a server, extensions included.
    pub max_ttl: Duration,
    /// The life of a server whose expiry label is missing or malformed.
    pub default_ttl: Duration,
    /// What this controller knows of itself, by which the fleet and the project are told to be its
    /// own; `None` where nobody asks.
    pub own: Option<Arc<crate::identity::Own>>,
    /// Whether the token opens the fleet's project.
    pub project: crate::identity::Project,
    /// What is already being done by this process: no second action is planned for these runs'
    /// servers.
    pub in_flight: std::collections::BTreeSet<RunId>,
    /// Since when this process has been able to hear its guests without a break (guest API bound,
    /// tailnet up, passes in time, the ledger writable: [`crate::hearing`]); `None` while it cannot.
    /// Their silence before then proves nothing.
    pub guests_heard_since: Option<Timestamp>,
    /// What is known of the clocks: nothing is called over while they do not tell the time.
    pub clocks: Clocks,
    /// What Hetzner offers, as far as it is known.
    pub catalogue: Arc<Catalogue>,
    /// Where creates were refused a short while ago. The one truth about it: no run has a wait of its
    /// own for that.
    pub cold: Arc<ColdPairs>,
    /// What the env of a cattle lacks that would like to start (a secret), in words.
    pub unequipped: BTreeMap<CattleName, String>,
    /// What may be spent.
    pub budget: Budget,
    /// What the rate limit has room for.
    pub calls: Calls,
    /// When this process last saw a server of ours go: what a limit of the account kept back is looked
    /// at again.
    pub server_gone_at: Option<Timestamp>,
    /// What is known of the API token.
    pub token: Token,
    /// Whether the ledger can be written: nothing starts that could not be recorded.
    pub ledger: Writable,
    /// The fleet's own labels, for relabelling.
    pub fleet_labels: BTreeMap<String, String>,
    /// The label `fleet`: what is not of it is never touched.
    pub fleet: crate::names::FleetName,
}

/// `cattle.budget`, net, in the account's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The sum of the hourly prices of all servers at once.
    pub max_hourly: Option<Amount>,
    /// What the started hours of one UTC day may cost.
    pub max_daily: Option<Amount>,
}

impl Budget {
    /// From when on a plan has to know what was billed: the beginning of the UTC day, where there is
    /// a daily budget.
    #[must_use]
    pub fn counts_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.max_daily.map(|_| day(now.date_naive()).start)
    }
}

/// What Hetzner's rate limit has room for now, creates in flight already taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Creates that may be posted now without touching what is kept for deletes.
    pub creates: u32,
    /// When one more than those may be; `None` where nothing bounds them.
    pub more_at: Option<Timestamp>,
    /// Calls left now.
    pub left: u32,
    /// Calls an hour.
    pub limit: u32,
    /// Calls that are kept for deletes.
    pub reserve: u32,
}

impl Default for Calls {
    /// No limit.
    fn default() -> Self {
        Self {
            creates: u32::MAX,
            more_at: None,
            left: u32::MAX,
            limit: u32::MAX,
            reserve: 0,
        }
    }
}
