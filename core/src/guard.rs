//! A second opinion on a plan, from the same inputs by other means.
//!
//! [`crate::plan`] is long and will change; this is short and says what must never happen, whatever
//! the planner believes. An offending action is taken out and reported as a violation, which is a
//! defect of ours and never an operator's fault. Removing it is safe: the next pass plans anew.

mod brakes;
mod handover;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use cattle_schemas::{Timestamp, status::EndReason};

use crate::{
    action::{Action, Budget, Limits, Plan},
    charge,
    clock::Trust,
    cost::Amount,
    desired::{Desired, Placement, Requester, RootState, SpecState},
    labels,
    ledger::{Ledger, Run},
    lifecycle::deadlines,
    names::{CattleName, RunId, ServerId, SpecHash},
    observed::{FirewallView, Observed, ObservedServer},
    pause::Pause,
    spec::hash,
    writable::Writable,
};

/// What the plan was made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What should be.
    pub desired: &'a Desired,
    /// What is.
    pub observed: &'a Observed,
    /// What is remembered.
    pub ledger: &'a Ledger,
    /// What is allowed.
    pub limits: &'a Limits,
    /// When.
    pub now: Timestamp,
}

/// An action that must not happen, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("guard: {rule} (refused: {action})")]
pub struct Violation {
    /// The action.
    pub action: Action,
    /// The rule.
    pub rule: &'static str,
}

/// The plan without what must never happen.
#[must_use]
pub fn guard(mut plan: Plan, inputs: &Inputs<'_>) -> (Plan, Vec<Violation>) {
    let mut violations = Vec::new();
    let mut tally = Tally::new(inputs);
    plan.actions.retain(|action| {
        let verdict = tally.check(action);
        if let Err(rule) = verdict {
            violations.push(Violation {
                action: action.clone(),
                rule,
            });
        }
        verdict.is_ok()
    });
    (plan, violations)
}

/// What the actions so far add up to.
struct Tally<'a> {
    inputs: &'a Inputs<'a>,
    servers: usize,
    /// What an hour of them costs; `None` when that is not known of one.
    hourly: Option<Amount>,
    started: BTreeSet<CattleName>,
    listed: BTreeMap<ServerId, &'a ObservedServer>,
    live_names: BTreeSet<&'a CattleName>,
    live_servers: BTreeSet<ServerId>,
    /// Images that do not boot, of which this plan makes a server.
    probed: BTreeSet<String>,
    /// Servers of images that no guest has reported from yet, which this plan makes.
    unproven: BTreeMap<String, usize>,
    /// Ends for specs of this plan, by what they count for.
    ends: BTreeMap<Requester, usize>,
}

type Verdict = Result<(), &'static str>;

fn require(holds: bool, rule: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(rule) }
}

impl<'a> Tally<'a> {
    fn new(inputs: &'a Inputs<'a>) -> Self {
        let live = || inputs.ledger.runs.values().filter(|run| run.is_live());
        Self {
            inputs,
            servers: holders(inputs).count() + apart(inputs).count(),
            hourly: hourly(inputs),
            started: BTreeSet::new(),
            listed: inputs.observed.servers.iter().map(|s| (s.id, s)).collect(),
            live_names: live().map(|run| &run.cattle).collect(),
            live_servers: live()
                .filter_map(|run| Some(run.server.as_ref()?.id))
                .collect(),
            probed: BTreeSet::new(),
            unproven: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    fn check(&mut self, action: &Action) -> Verdict {
        match action {
            Action::Start {
                cattle,
                hourly_limit,
                ..
            } => {
                self.may_create()?;
                self.starts_allowed()?;
                self.may_start(&cattle.name, &cattle.hash)?;
                self.takes_slot()?;
                self.takes_money(*hourly_limit)?;
                self.takes_image(&cattle.placement)?;
                self.takes_unproven(&cattle.placement)?;
                require(
                    self.started.insert(cattle.name.clone()),
                    "a cattle starts at most once in a plan",
                )
            }
            Action::Retry {
                run,
                placement,
                hourly_limit,
            } => self.may_retry(*run, placement, *hourly_limit),
            Action::AdoptUnknown {
                cattle,
                run,
                server,
                ..
            } => {
                require(
                    !self.inputs.ledger.runs.contains_key(run),
                    "only a run that is not in the ledger is taken over",
                )?;
                self.may_start(&cattle.name, &cattle.hash)?;
                self.is_ours(*server)?;
                require(
                    self.started.insert(cattle.name.clone()),
                    "a cattle starts at most once in a plan",
                )
            }
            Action::Delete { run, server } => self.may_delete(*run, *server),
            Action::DeleteExpired { run, server } => self.may_delete_expired(*run, *server),
            Action::ReapOrphan { server, .. } => self.may_reap(*server),
            Action::End {
                run,
                reason,
                counts_for,
                ..
            } => self.may_end(*run, *reason, counts_for.as_ref()),
            Action::Relabel { run, server, .. } => {
                self.is_nobody_elses(*server)?;
                self.is_not_taken(*run)
            }
            Action::PowerOn { run, server } => {
                self.is_nobody_elses(*server)?;
                self.is_not_taken(*run)
            }
            Action::Adopt { server, .. } => self.is_ours(*server),
            Action::Rejoin { run, server } => {
                self.is_nobody_elses(*server)?;
                // It need not be listed: that it may be gone is why its task counts as begun.
                let own = self.run(*run)?.server.as_ref();
                require(
                    own.is_some_and(|own| own.id == *server),
                    "a run is taken as it is with its own server",
                )
            }
            Action::Redate { run } => self.may_redate(*run),
            Action::MarkGone { run } => self.may_mark_gone(*run),
            Action::HandedOver { run, stored } => self.may_close_handover(*run, *stored),
            Action::Release { run, .. } => self.may_release(*run),
            Action::Enqueue { .. }
            | Action::Close { .. }
            | Action::NoteDuplicate { .. }
            | Action::Regain { .. }
            | Action::MarkBooted { .. }
            | Action::Update { .. }
            | Action::Pause(_)
            | Action::Resume { .. }
            | Action::ConfirmGone { .. }
            | Action::FollowCreate { .. }
            | Action::Lookup { .. } => Ok(()),
        }
    }

    fn run(&self, id: RunId) -> Result<&'a Run, &'static str> {
        self.inputs
            .ledger
            .runs
            .get(&id)
            .ok_or("an action is about a run that the ledger knows")
    }

    fn listed(&self, id: ServerId) -> Option<&'a ObservedServer> {
        self.listed.get(&id).copied()
    }

    /// As far as it is listed: no tool, no fleet and no person says that it is theirs.
    fn is_nobody_elses(&self, id: ServerId) -> Verdict {
        let Some(server) = self.listed(id) else {
            return Ok(());
        };
        let raw = &server.labels.raw;
        let ours = |key: &str, value: &str| raw.get(key).is_none_or(|said| said == value);
        require(
            !labels::is_foreign(raw)
                && ours("managed-by", "clawdlets")
                && ours("cattle", "true")
                && ours("fleet", self.inputs.limits.fleet.as_str()),
            "another owner's server is never touched",
        )
    }

    fn is_not_taken(&self, id: RunId) -> Verdict {
        let run = self.run(id)?;
        // What was given up and comes back all the same is looked at anew.
        require(
            run.taken.is_none() || run.gone_at.is_some(),
            "a server that another owner has marked is never touched",
        )
    }

    fn is_ours(&self, id: ServerId) -> Verdict {
        require(
            self.listed(id).is_some_and(|server| {
                labels::is_ours(&server.labels.raw, &self.inputs.limits.fleet)
            }),
            "only a listed server of this fleet is ours",
        )
    }

    fn live_run_of(&self, server: ServerId) -> bool {
        let by_label = || {
            let run = self.listed(server)?.labels.run?;
            let run = self.inputs.ledger.runs.get(&run)?;
            Some(run.is_live() && run.server.is_none())
        };
        self.live_servers.contains(&server) || by_label().unwrap_or(false)
    }

    fn takes_slot(&mut self) -> Verdict {
        require(
            self.servers < self.inputs.limits.max_instances as usize,
            "there are never more servers than maxInstances",
        )?;
        self.servers += 1;
        Ok(())
    }

    fn takes_money(&mut self, limit: Option<Amount>) -> Verdict {
        let budget = &self.inputs.limits.budget;
        if *budget == Budget::default() {
            return Ok(());
        }
        let sum = self.hourly.zip(limit).map(|(sum, limit)| sum + limit);
        require(
            sum.is_some(),
            "what costs nobody knows how much does not start under a budget",
        )?;
        require(
            budget.max_hourly.is_none_or(|max| sum <= Some(max)),
            "servers never cost more than maxHourly at once",
        )?;
        self.hourly = sum;
        Ok(())
    }

    fn is_recorded(&self) -> Verdict {
        require(
            self.inputs.limits.ledger == Writable::Yes,
            "nothing starts that could not be recorded",
        )
    }

    fn may_start(&self, name: &CattleName, hash: &SpecHash) -> Verdict {
        let Inputs {
            desired, ledger, ..
        } = self.inputs;
        self.is_recorded()?;
        let wanted = desired.specs.get(name).is_some_and(
            |entry| matches!(&entry.state, SpecState::Valid(cattle) if cattle.hash == *hash),
        );
        require(wanted, "only a valid spec is started, as it stands")?;
        require(
            !self.live_names.contains(name),
            "a cattle has at most one live run",
        )?;
        let key = (name.clone(), hash.clone());
        let spent = ledger
            .assignments
            .get(&key)
            .and_then(|assignment| assignment.ended.as_ref())
            .is_some_and(|end| !end.reopens);
        require(!spent, "an ended (name, hash) starts only by `rerun`")
    }

    /// Whose fleet and whose project this is, by what was read itself.
    fn may_create(&self) -> Verdict {
        let Inputs {
            observed,
            ledger,
            limits,
            ..
        } = self.inputs;
        require(
            !matches!(limits.clocks.trust, Trust::Unsettled(_)),
            "nothing is created while nobody knows what time it is",
        )?;
        let Some(own) = &limits.own else {
            return Ok(());
        };
        require(
            own.rival.is_none(),
            "nothing is created beside a second controller",
        )?;
        let mark = match &observed.firewall {
            FirewallView::Unread(_) => {
                return Err("nothing is created before the fleet's firewall was read");
            }
            FirewallView::Absent => None,
            FirewallView::Seen(marks) => marks.ledger.as_ref(),
        };
        let ours = mark.is_some_and(|mark| own.ledger.as_ref() == Some(&mark.id));
        require(
            mark.is_none_or(|mark| ours && mark.count <= own.steps),
            "nothing is created by a ledger that does not know what the fleet has done",
        )?;
        // Without the firewall, a server that a run was bound to before the list must be in it.
        let bound: Vec<&Run> = ledger
            .runs
            .values()
            .filter(|run| run.gone_at.is_none() && run.server.is_some())
            .collect();
        let due = |run: &&Run| {
            run.fleet.as_ref().is_none_or(|then| *then == limits.fleet)
                && run.called_at.max(Some(run.posted_at)) < observed.listed_at
        };
        let seen = |run: &&Run| {
            run.server
                .as_ref()
                .is_some_and(|server| self.listed.contains_key(&server.id))
        };
        require(
            ours || bound.iter().any(seen) || !bound.iter().any(due),
            "nothing is created in a project in which nothing of the fleet is found",
        )
    }

    fn may_retry(
        &mut self,
        id: RunId,
        placement: &Placement,
        hourly_limit: Option<Amount>,
    ) -> Verdict {
        self.may_create()?;
        self.starts_allowed()?;
        let run = self.run(id)?;
        self.is_recorded()?;
        require(
            run.is_live() && run.server.is_none() && run.env_at.is_none(),
            "only a live run without a server is attempted again",
        )?;
        let wanted = self.inputs.desired.specs.get(&run.cattle).is_some_and(
            |entry| matches!(&entry.state, SpecState::Valid(cattle) if cattle.hash == run.hash),
        );
        require(wanted, "only a valid spec is started, as it stands")?;
        if run.holds_slot() {
            require(
                run.spec.placement == *placement,
                "what may exist already is not asked for elsewhere",
            )?;
            require(
                run.hourly_limit == hourly_limit,
                "what is set aside for a server does not change while it may exist",
            )
        } else {
            self.takes_slot()?;
            self.takes_money(hourly_limit)?;
            self.takes_image(placement)?;
            self.takes_unproven(placement)
        }
    }

    fn may_delete(&self, id: RunId, server: ServerId) -> Verdict {
        let run = self.run(id)?;
        require(!run.is_live(), "the server of a live run is never deleted")?;
        require(
            !run.is_kept(self.inputs.now),
            "a kept server is not deleted before its time",
        )?;
        require(
            !run.is_handing_over(self.inputs.now),
            "a server is not deleted while its guest hands over",
        )?;
        require(
            !self.live_run_of(server),
            "the server of a live run is never deleted",
        )?;
        self.is_nobody_elses(server)?;
        // The reply to our own create, or its name, is proof enough where the labels are gone.
        if run.server.as_ref().is_some_and(|bound| bound.id == server) {
            return self.is_not_taken(id);
        }
        self.is_ours(server)?;
        require(
            self.listed(server).and_then(|server| server.labels.run) == Some(id),
            "a server is deleted for the run that its label names",
        )
    }

    /// The one delete that no record goes before: of a live run, so only past its expiry.
    fn may_delete_expired(&self, id: RunId, server: ServerId) -> Verdict {
        let run = self.run(id)?;
        self.time_is_known()?;
        require(
            run.expires_at <= self.inputs.now,
            "a live run's server is deleted unrecorded only past its expiry",
        )?;
        self.is_nobody_elses(server)?;
        if run.server.as_ref().is_some_and(|bound| bound.id == server) {
            return Ok(());
        }
        self.is_ours(server)?;
        require(
            self.listed(server).and_then(|server| server.labels.run) == Some(id),
            "a server is deleted for the run that its label names",
        )
    }

    fn may_reap(&self, server: ServerId) -> Verdict {
        self.time_is_known()?;
        self.is_ours(server)?;
        require(
            !self.live_run_of(server),
            "the server of a live run is never deleted",
        )?;
        require(
            self.listed(server)
                .and_then(|server| server.labels.expires_at)
                .is_some_and(|at| at <= self.inputs.now),
            "an orphan is left to its expiry",
        )
    }

    fn may_end(&mut self, id: RunId, reason: EndReason, counts_for: Option<&Requester>) -> Verdict {
        let run = self.run(id)?;
        require(run.is_live(), "a run ends once")?;
        match reason {
            EndReason::SpecRemoved => {
                self.ends_allowed()?;
                if !self.is_confirmed(run) {
                    self.is_removed(run)?;
                }
                self.counts(run, counts_for)
            }
            EndReason::SpecChanged => {
                self.ends_allowed()?;
                self.is_changed(run)?;
                self.counts(run, counts_for)
            }
            EndReason::BootTimeout => {
                self.time_is_known()?;
                require(
                    run.started_at.is_none(),
                    "a run that has started does not time out at boot",
                )
            }
            EndReason::GuestLost => self.is_silent(run),
            EndReason::CreateFailed => require(
                run.env_at.is_none(),
                "a server whose guest has called was made",
            ),
            EndReason::TtlExpired => self.is_past_its_time(run),
            EndReason::Completed | EndReason::TaskFailed => {
                require(run.outcome.is_some(), "only a result says how a task ended")
            }
            _ => Ok(()),
        }
    }

    fn may_release(&self, id: RunId) -> Verdict {
        let run = self.run(id)?;
        if self.is_off(run) {
            // Nobody looks at a machine that is off, and it bills.
            return Ok(());
        }
        self.ends_allowed()?;
        self.is_removed(run).or_else(|_| self.is_changed(run))
    }

    fn starts_allowed(&self) -> Verdict {
        require(
            !paused(self.inputs, |pause| pause.starts),
            "nothing starts while that is paused",
        )
    }

    fn ends_allowed(&self) -> Verdict {
        require(
            !paused(self.inputs, |pause| pause.ends),
            "nothing ends for its spec while that is paused",
        )
    }

    fn is_removed(&self, run: &Run) -> Verdict {
        let Inputs { desired, now, .. } = self.inputs;
        let (root, since) = match desired.specs.get(&run.cattle) {
            None => (run.root.as_str(), desired.since),
            Some(entry) => match &entry.state {
                SpecState::Absent { since } => (entry.origin.root.as_str(), Some(*since)),
                _ => return Err("a spec that is there was not removed"),
            },
        };
        require(
            desired.roots.get(root) == Some(&RootState::Readable),
            "nothing ends for a directory that cannot be read",
        )?;
        require(
            since.is_some_and(|since| *now >= since + deadlines::ABSENCE),
            "a spec counts as removed only after its absence",
        )
    }

    fn is_changed(&self, run: &Run) -> Verdict {
        require(
            self.inputs.desired.specs.get(&run.cattle).is_some_and(
                |entry| matches!(&entry.state, SpecState::Valid(cattle) if cattle.hash != run.hash),
            ),
            "only a valid spec with another hash replaces a run",
        )?;
        let entry = self.inputs.desired.specs.get(&run.cattle);
        let Some(SpecState::Valid(cattle)) = entry.map(|entry| &entry.state) else {
            return Ok(());
        };
        // Whatever the hashes say: what would be made in its place must differ from it.
        let content = hash::content_hash(&run.spec.persona, &run.spec.task);
        require(
            cattle.substance.content != content
                || cattle.model != run.spec.model
                || cattle.with_github_token != run.spec.with_github_token
                || cattle.auto_shutdown != run.spec.auto_shutdown,
            "no run is replaced by another that is just like it",
        )
    }

    fn may_mark_gone(&self, id: RunId) -> Verdict {
        let run = self.run(id)?;
        require(
            !run.is_live() && run.is_refused(),
            "only a refused create is certain to have made no server",
        )?;
        require(
            !self
                .inputs
                .observed
                .servers
                .iter()
                .any(|server| server.labels.run == Some(id)),
            "a run with a listed server is not gone",
        )
    }
}

/// Whether a pause of everything holds.
fn paused(inputs: &Inputs<'_>, what: impl Fn(&Pause) -> bool) -> bool {
    let pauses = &inputs.ledger.pauses;
    pauses
        .iter()
        .any(|pause| pause.resumed.is_none() && pause.subject.is_empty() && what(pause))
}

/// Runs that hold a slot.
fn holders<'a>(inputs: &'a Inputs<'_>) -> impl Iterator<Item = &'a Run> {
    let runs = inputs.ledger.runs.values();
    runs.filter(|run| run.holds_slot())
}

/// Servers of this fleet that no run with a slot has, each with the run that it was or will be of;
/// found without the planner's view.
fn apart<'a>(
    inputs: &'a Inputs<'_>,
) -> impl Iterator<Item = (&'a ObservedServer, Option<&'a Run>)> {
    let Inputs {
        observed,
        ledger,
        limits,
        ..
    } = inputs;
    // Whose a server is: the run that is bound to it, else the one that its label names.
    let bound: BTreeMap<ServerId, &Run> = ledger
        .runs
        .values()
        .filter_map(|run| Some((run.server.as_ref()?.id, run)))
        .collect();
    let owner = move |server: &ObservedServer| {
        bound.get(&server.id).copied().or_else(|| {
            let run = ledger.runs.get(&server.labels.run?)?;
            run.server.is_none().then_some(run)
        })
    };
    let counted_apart = |owner: Option<&Run>| match owner {
        None => true,
        Some(run) => match run.gone_at {
            // A list older than the proof that it is gone is old news.
            Some(gone) => observed.listed_at.is_some_and(|listed| listed > gone),
            None => !run.holds_slot(),
        },
    };
    observed
        .servers
        .iter()
        .filter(|server| labels::is_ours(&server.labels.raw, &limits.fleet))
        .map(move |server| (server, owner(server)))
        .filter(move |(_, owner)| counted_apart(*owner))
}

/// What an hour of all servers costs, those included that are about to be made.
fn hourly(inputs: &Inputs<'_>) -> Option<Amount> {
    let catalogue = &inputs.limits.catalogue;
    let of_runs = holders(inputs).map(|run| charge::price_of_run(run, catalogue));
    let of_others = apart(inputs).map(|(server, owner)| match owner {
        Some(run) => charge::price_of_run(run, catalogue),
        None => charge::price_of_server(server, catalogue),
    });
    of_runs
        .chain(of_others)
        .map(|price| Some(price?.hourly()))
        .sum()
}
