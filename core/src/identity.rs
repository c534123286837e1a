//! Whose fleet is this, and who keeps it?
//!
//! The fleet's firewall says so with two labels: `ledger=<id>.<steps of runs>`, by which a ledger that
//! was lost, or put back from an older copy, knows that it does not know everything; and
//! `ledger-controller=<id>.<start>`, drawn at each start, by which two controllers of one fleet notice
//! each other. Both are read with every list.
//!
//! Invariants:
//! - what was not read proves nothing: nothing starts, and no 404 counts, before the first look;
//! - a label that cannot be read is somebody else's;
//! - a dry run takes nothing over and is nobody's rival.

use std::fmt;

use cattle_schemas::{Timestamp, status::PauseReason};

use crate::{
    clock::AGREES,
    desired::{Desired, RootState, SpecState},
    labels,
    ledger::{Ledger, Run},
    names::{CattleName, FleetName},
    observed::{FirewallView, Observed, ObservedServer},
    pause::{Pause, PauseItem, Unread},
};

/// The label with the ledger's id and its count of steps.
pub const LEDGER_LABEL: &str = "ledger";
/// The label with the controller's id and its start.
pub const CONTROLLER_LABEL: &str = "ledger-controller";

/// `ledger=<id>.<count>`: which ledger keeps the fleet, and how much it had recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerMark {
    /// Random, drawn once for a ledger.
    pub id: String,
    /// Steps of runs (begun, env handed out, over) that it ever recorded, as of some time within the
    /// last minute. Runs alone would not do: a copy may know of a run and not that its task is done.
    pub count: u64,
}

impl LedgerMark {
    /// Reads a label's value. What cannot be read is an id that no ledger has.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let parts = text.rsplit_once('.');
        let known = parts.and_then(|(id, count)| Some((id, count.parse().ok()?)));
        let (id, count) = known.unwrap_or((text, 0));
        Self {
            id: id.to_owned(),
            count,
        }
    }
}

impl fmt::Display for LedgerMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.count)
    }
}

/// `ledger-controller=<id>.<start>`: one life of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerMark {
    /// Random, drawn at each start.
    pub id: String,
    /// When it started, in unix milliseconds by its own clock: for people, to tell which is newer.
    pub started: i64,
}

impl ControllerMark {
    /// Reads a label's value, likewise.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let parts = text.rsplit_once('.');
        let known = parts.and_then(|(id, started)| Some((id, started.parse().ok()?)));
        let (id, started) = known.unwrap_or((text, 0));
        Self {
            id: id.to_owned(),
            started,
        }
    }

    /// Its start as people read it.
    fn since(&self) -> String {
        Timestamp::from_timestamp_millis(self.started)
            .filter(|_| self.started > 0)
            .map_or_else(
                || "started at no known time".to_owned(),
                |at| format!("started {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
            )
    }
}

impl fmt::Display for ControllerMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.started)
    }
}

/// The two marks of a firewall that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Which ledger keeps the fleet; `None` on a firewall that no ledger has claimed.
    pub ledger: Option<LedgerMark>,
    /// Which controller took it over last.
    pub controller: Option<ControllerMark>,
}

/// What a controller knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its ledger's id; `None` of a dry run without a ledger.
    pub ledger: Option<String>,
    /// Steps of runs that its ledger ever recorded.
    pub steps: u64,
    /// This life of it; `None` of a dry run.
    pub controller: Option<ControllerMark>,
    /// Earlier lives of it, as its ledger has them.
    pub earlier: Vec<String>,
    /// Whether the firewall has carried this life's id.
    pub settled: bool,
    /// The other controller that was noticed, until an operator says `resume`.
    pub rival: Option<ControllerMark>,
    /// The ledger's mark that an operator said to take over from; empty for a firewall without one.
    pub accepted: Option<String>,
    /// When the firewall was last looked at.
    pub looked_at: Option<Timestamp>,
}

impl Own {
    /// Whether an operator said that this ledger takes over from this mark.
    #[must_use]
    pub fn takes_over(&self, mark: Option<&LedgerMark>) -> bool {
        let text = mark.map(ToString::to_string).unwrap_or_default();
        self.accepted.as_ref() == Some(&text)
    }
}

/// How the ledger stands to the fleet's firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The firewall has not been read; why not, if it was tried.
    Unread(Option<String>),
    /// There is no firewall: the first create makes it.
    Fresh,
    /// No ledger has claimed the firewall, and this one may: it has runs, or there is nothing that
    /// somebody else's could have made.
    Unclaimed,
    /// An operator said that this ledger takes over; the firewall does not say so yet.
    TakingOver,
    /// It is ours.
    Ours,
    /// This ledger is behind what the fleet has seen: an older copy was put back.
    Behind {
        /// Steps by the label.
        label: u64,
        /// Steps in the ledger.
        own: u64,
    },
    /// Another ledger keeps the fleet: this one was lost and begun anew, or is a second one.
    OtherLedger {
        /// Its id.
        id: String,
    },
    /// No ledger has claimed the firewall, this one is empty, and there are servers.
    Unknown,
}

/// Why nothing may be created now, in words: what was not read yet, a project that is not ours, a
/// ledger that does not know what the fleet has done, a second controller.
#[must_use]
pub fn obstacle(
    own: &Own,
    observed: &Observed,
    project: Project,
    fleet: &FleetName,
) -> Option<String> {
    if project == Project::Foreign {
        return Some(FOREIGN.to_owned());
    }
    if let (Some(ours), Some(rival)) = (&own.controller, &own.rival) {
        return Some(rival_in_words(ours, rival));
    }
    match standing(own, observed, fleet) {
        Standing::Unread(None) => {
            Some("waits for the first look at the fleet's firewall".to_owned())
        }
        Standing::Unread(Some(why)) => Some(format!(
            "waits for the first look at the fleet's firewall: {why}"
        )),
        Standing::TakingOver => {
            Some("this controller takes the fleet over; starts go on with the next list".to_owned())
        }
        standing => standing.lost(),
    }
}

impl Standing {
    /// Whether the ledger does not know what the fleet has done: nothing is started for the specs
    /// that it finds.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Behind { .. } | Self::OtherLedger { .. } | Self::Unknown
        )
    }

    /// Why the ledger does not know what the fleet has done, in words.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        match self {
            Self::Behind { label, own } => Some(format!(
                "this ledger is an older copy: it has recorded {own} steps of runs, and the fleet's firewall says that there were {label}; what it does not know of may have run already"
            )),
            Self::OtherLedger { id } => Some(format!(
                "this ledger is not the one that kept this fleet (the fleet's firewall says `{id}`): it was lost, or another controller keeps the fleet; what it does not know of may have run already"
            )),
            Self::Unknown => Some(
                "this ledger is empty, and there are servers of this fleet: what it does not know of may have run already".to_owned(),
            ),
            Self::Unread(_) | Self::Fresh | Self::Unclaimed | Self::TakingOver | Self::Ours => None,
        }
    }
}

/// How the ledger stands to the fleet's firewall, as last read.
#[must_use]
pub fn standing(own: &Own, observed: &Observed, fleet: &FleetName) -> Standing {
    let marks = match &observed.firewall {
        FirewallView::Unread(why) => return Standing::Unread(why.clone()),
        FirewallView::Absent => return Standing::Fresh,
        FirewallView::Seen(marks) => marks,
    };
    match &marks.ledger {
        mark if own.takes_over(mark.as_ref()) => Standing::TakingOver,
        Some(mark) if own.ledger.as_ref() != Some(&mark.id) => Standing::OtherLedger {
            id: mark.id.clone(),
        },
        Some(mark) if mark.count > own.steps => Standing::Behind {
            label: mark.count,
            own: own.steps,
        },
        Some(_) => Standing::Ours,
        None if own.steps > 0 => Standing::Unclaimed,
        None if has_servers(observed, fleet) => Standing::Unknown,
        None => Standing::Unclaimed,
    }
}

fn has_servers(observed: &Observed, fleet: &FleetName) -> bool {
    let mut servers = observed.servers.iter();
    servers.any(|server| labels::is_ours(&server.labels.raw, fleet)) || !observed.odd.is_empty()
}

/// The other controller whose id is on the firewall now: neither ours nor one that we replaced.
#[must_use]
pub fn rival<'a>(
    own: &Own,
    observed: &'a Observed,
    fleet: &FleetName,
) -> Option<&'a ControllerMark> {
    let FirewallView::Seen(marks) = &observed.firewall else {
        return None;
    };
    let (ours, theirs) = (own.controller.as_ref()?, marks.controller.as_ref()?);
    if theirs.id == ours.id {
        return None;
    }
    if own.settled {
        return Some(theirs);
    }
    // A ledger that was lost does not know whom it replaces. Should that one live, it says so by
    // putting its own id back.
    let replaced = own.earlier.contains(&theirs.id) || standing(own, observed, fleet).is_lost();
    (!replaced).then_some(theirs)
}

/// What is said of another controller, on both sides.
#[must_use]
pub fn rival_in_words(own: &ControllerMark, rival: &ControllerMark) -> String {
    let which = match rival.started.cmp(&own.started) {
        std::cmp::Ordering::Greater => "newer than",
        std::cmp::Ordering::Less => "older than",
        std::cmp::Ordering::Equal => "as old as",
    };
    format!(
        "another controller keeps this fleet too: `{}` ({}), {which} this one, `{}` ({})",
        rival.id,
        rival.since(),
        own.id,
        own.since()
    )
}

/// What this controller writes onto a firewall that is there; `None` when that says it already, or
/// when it is not its to say. `may_raise` is whether the count may be raised now.
#[must_use]
pub fn claim(
    own: &Own,
    observed: &Observed,
    fleet: &FleetName,
    project: Project,
    may_raise: bool,
) -> Option<Marks> {
    let FirewallView::Seen(marks) = &observed.firewall else {
        return None;
    };
    if project != Project::Ours {
        return None;
    }
    let (id, ours) = (own.ledger.as_ref()?, own.controller.as_ref()?);
    let claimed = LedgerMark {
        id: id.clone(),
        count: own.steps,
    };
    let ledger = match standing(own, observed, fleet) {
        Standing::Unclaimed | Standing::TakingOver => Some(claimed),
        Standing::Ours
            if may_raise && marks.ledger.as_ref().is_some_and(|it| it.count < own.steps) =>
        {
            Some(claimed)
        }
        _ => marks.ledger.clone(),
    };
    let next = Marks {
        ledger,
        controller: Some(ours.clone()),
    };
    (next != *marks).then_some(next)
}

/// Whether the project that the token opens is the one in which this fleet lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Project {
    /// Nothing was read yet that says so.
    #[default]
    Unknown,
    /// It is: the firewall with our ledger's id is in it, or a server of ours; or nothing of ours
    /// could be.
    Ours,
    /// Nothing of ours is in it, and something should be.
    Foreign,
}

/// Whether this project is ours, by the last list and the look at the firewall with it.
#[must_use]
pub fn project(own: &Own, observed: &Observed, ledger: &Ledger, fleet: &FleetName) -> Project {
    let Some(listed_at) = observed.listed_at else {
        return Project::Unknown;
    };
    let is_ours = |server: &&ObservedServer| labels::is_ours(&server.labels.raw, fleet);
    let known = |server: &ObservedServer| {
        let run = server.labels.run.as_ref();
        run.is_some_and(|run| ledger.runs.contains_key(run))
    };
    if observed.servers.iter().filter(is_ours).any(known) {
        return Project::Ours;
    }
    match &observed.firewall {
        FirewallView::Unread(_) => Project::Unknown,
        FirewallView::Seen(marks)
            if own.takes_over(marks.ledger.as_ref())
                || marks.ledger.as_ref().map(|it| &it.id) == own.ledger.as_ref()
                    && own.ledger.is_some() =>
        {
            Project::Ours
        }
        FirewallView::Absent | FirewallView::Seen(_)
            if ledger
                .runs
                .values()
                .any(|run| at_stake(run, listed_at, fleet)) =>
        {
            Project::Foreign
        }
        FirewallView::Absent | FirewallView::Seen(_) => Project::Ours,
    }
}

/// Whether a list of then should show something of this run: it had a server, which is not proved
/// gone, was asked for before, and was this fleet's then (a fleet may be renamed). An intent alone
/// proves nothing: after a crash before the first call of all, neither firewall nor server was ever
/// made.
fn at_stake(run: &Run, listed_at: Timestamp, fleet: &FleetName) -> bool {
    let existed = run.server.is_some() || run.env_at.is_some();
    run.gone_at.is_none()
        && existed
        && run.fleet.as_ref().is_none_or(|then| then == fleet)
        && run.called_at.max(Some(run.posted_at)) < Some(listed_at)
}

/// What is said of a project that is not ours.
pub const FOREIGN: &str = "the token opens a project in which nothing of this fleet is, neither its firewall with this ledger's id nor one of the servers that should be there: nothing is created, and no server counts as gone; give the token of the fleet's project (HCLOUD_TOKEN, or the secret `hcloud_token`) and restart; or, if all of it was deleted there by hand, give up each run: `clawdlets cattle destroy NAME`, and once more when it is over";

/// The pauses that whoever keeps the fleet brings about, as they should be now: begun anew, or
/// brought up to date. None that an operator has ended since the firewall was last looked at.
#[must_use]
pub fn pauses(
    own: &Own,
    observed: &Observed,
    desired: &Desired,
    ledger: &Ledger,
    fleet: &FleetName,
    now: Timestamp,
) -> Vec<Pause> {
    let held = |reason| ledger.holding().find(move |pause| pause.reason == reason);
    let over = |reason| {
        let ends = ledger.pauses.iter().filter(|pause| pause.reason == reason);
        let ended = ends
            .filter_map(|pause| Some(pause.resumed.as_ref()?.at))
            // One of the future was ended before the clock went back.
            .filter(|at| *at - now <= AGREES)
            .max();
        ended.is_some_and(|ended| own.looked_at.is_none_or(|looked| looked <= ended))
    };
    let mut wanted = Vec::new();
    if let (Some(ours), Some(rival)) = (&own.controller, &own.rival)
        && !over(PauseReason::SecondController)
    {
        wanted.push(Pause {
            starts: true,
            ends: true,
            ..Pause::by_controller(
                PauseReason::SecondController,
                rival_in_words(ours, rival),
                now,
            )
        });
    }
    match held(PauseReason::Ledger) {
        Some(held) => {
            let (unread, read) = still_unread(&held.unread, desired);
            let joins = |item: &PauseItem| {
                let known = held
                    .items
                    .iter()
                    .any(|it| (&it.cattle, &it.hash) == (&item.cattle, &item.hash));
                !known && read.iter().any(|place| is_in(place, &item.cattle, desired))
            };
            let mut items = held.items.clone();
            items.extend(found(observed, desired, ledger).into_iter().filter(joins));
            items.retain(|item| is_open(item, desired, ledger));
            wanted.push(Pause {
                items,
                unread,
                ..held.clone()
            });
        }
        None => {
            let lost = standing(own, observed, fleet).lost();
            if let Some(why) =
                lost.filter(|_| own.controller.is_some() && !over(PauseReason::Ledger))
            {
                wanted.push(Pause {
                    starts: true,
                    items: found(observed, desired, ledger),
                    unread: unread(desired),
                    ..Pause::by_controller(PauseReason::Ledger, why, now)
                });
            }
        }
    }
    wanted.retain(|wanted| {
        held(wanted.reason).is_none_or(|held| {
            (held.starts, held.ends, &held.message) != (wanted.starts, wanted.ends, &wanted.message)
                || (&held.items, &held.unread) != (&wanted.items, &wanted.unread)
        })
    });
    wanted
}

/// Directories and specs that cannot be read: what is in them was there as well.
fn unread(desired: &Desired) -> Vec<Unread> {
    let roots = desired
        .roots
        .iter()
        .filter_map(|(root, state)| match state {
            RootState::Unreadable(_) => Some(Unread::Root(root.clone())),
            RootState::Readable => None,
        });
    roots.chain(broken(desired, |_| true)).collect()
}

fn broken<'a>(
    desired: &'a Desired,
    of: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = Unread> + 'a {
    desired.specs.iter().filter_map(move |(name, entry)| {
        let broken = matches!(entry.state, SpecState::Broken(_)) && of(&entry.origin.root);
        broken.then(|| Unread::Spec(name.clone()))
    })
}

/// What of it cannot be read yet, and what can. Of a directory that can, specs that do not validate
/// are waited for one by one.
fn still_unread(held: &[Unread], desired: &Desired) -> (Vec<Unread>, Vec<Unread>) {
    let (mut still, read): (Vec<_>, Vec<_>) = held.iter().cloned().partition(|place| match place {
        Unread::Root(root) => {
            matches!(desired.roots.get(root), Some(RootState::Unreadable(_)))
        }
        Unread::Spec(name) => {
            let entry = desired.specs.get(name);
            entry.is_some_and(|entry| match &entry.state {
                SpecState::Broken(_) => true,
                // It says nothing while its directory cannot be read.
                SpecState::Absent { .. } => matches!(
                    desired.roots.get(&entry.origin.root),
                    Some(RootState::Unreadable(_))
                ),
                SpecState::Valid(_) => false,
            })
        }
    });
    for place in &read {
        if let Unread::Root(root) = place {
            still.extend(broken(desired, |of| of == root));
        }
    }
    still.sort_unstable();
    still.dedup();
    (still, read)
}

fn is_in(place: &Unread, name: &CattleName, desired: &Desired) -> bool {
    match place {
        Unread::Root(root) => {
            let entry = desired.specs.get(name);
            entry.is_some_and(|entry| entry.origin.root == *root)
        }
        Unread::Spec(spec) => spec == name,
    }
}

/// The specs that a lost ledger finds and could start: each may have run already.
fn found(observed: &Observed, desired: &Desired, ledger: &Ledger) -> Vec<PauseItem> {
    let specs = desired
        .specs
        .iter()
        .filter_map(|(name, entry)| match &entry.state {
            SpecState::Valid(cattle) => Some((name, cattle)),
            SpecState::Broken(_) | SpecState::Absent { .. } => None,
        });
    specs
        .map(|(name, cattle)| PauseItem {
            cattle: name.clone(),
            hash: cattle.hash.clone(),
            // One of an older copy that waited for its server then.
            run: ledger
                .runs
                .values()
                .find(|run| run.cattle == *name && run.is_live() && run.server.is_none())
                .map(|run| run.id),
            message: "found with the ledger; it may have run before".to_owned(),
        })
        .filter(|item| is_open(item, desired, ledger))
        .filter(|item| {
            // Its server is about to be taken over.
            !observed.servers.iter().any(|server| {
                server.labels.cattle.as_ref() == Some(&item.cattle)
                    && server.labels.hash.as_ref() == Some(&item.hash)
                    && server.status != crate::observed::ServerState::Off
            })
        })
        .collect()
}

/// Whether this could start: its spec stands, it is not spent, and no server of it lives.
fn is_open(item: &PauseItem, desired: &Desired, ledger: &Ledger) -> bool {
    let stands = desired.specs.get(&item.cattle).is_some_and(
        |entry| matches!(&entry.state, SpecState::Valid(cattle) if cattle.hash == item.hash),
    );
    let key = (item.cattle.clone(), item.hash.clone());
    let spent = ledger
        .assignments
        .get(&key)
        .and_then(|assignment| assignment.ended.as_ref())
        .is_some_and(|end| !end.reopens);
    let lives = ledger
        .runs
        .values()
        .any(|run| run.cattle == item.cattle && run.is_live() && run.server.is_some());
    stands && !spent && !lives
}

/// What a 404 is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Whether the project is ours.
    pub project: Project,
    /// Since when guests could be heard without a break; `None` while they cannot.
    pub heard_since: Option<Timestamp>,
    /// Whether anything may be called over by the time that is carried.
    pub judges: bool,
}
