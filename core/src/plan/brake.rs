//! The blast brake: no slip with spec files ends more than a few runs.
//!
//! Ends for removed and changed specs are counted over ten minutes, for each source of specs apart (a
//! spec directory, a requester on the socket), so that nobody brakes others. When more than
//! [`allowed`] of a source would end, when its directory cannot be read, or when it lost all of three
//! or more specs at once, nothing of it ends for its spec any more: a pause in the ledger, with the
//! list. It is over when nothing of that list is left to end, because the files are back or the runs
//! are over, or when an operator has confirmed the list.
//!
//! Never braked: a spec that was put over the socket (that is one explicit call each), results, TTLs
//! and `destroy`.

use std::{collections::BTreeMap, time::Duration};

use cattle_schemas::{
    Timestamp,
    status::{EndReason, PauseReason},
};

use super::{Pass, Wish};
use crate::{
    action::Action,
    clock::AGREES,
    desired::{Requester, RootState, SpecState},
    ledger::Run,
    lifecycle::deadlines,
    names::CattleName,
    pause::{Pause, PauseItem},
};

/// What is counted: long enough that a slip repeated by a loop is one, short enough that a day's
/// work is not.
pub const WINDOW: Duration = Duration::from_secs(600);

/// So many runs may always end: small fleets are edited by hand.
const ALWAYS: usize = 3;

/// A directory that loses all of so many specs at once was emptied, or is not mounted.
const ALL_OF: usize = 3;

/// How many of a source's runs may end for their specs within [`WINDOW`]: three, or 30 %.
#[must_use]
pub fn allowed(runs: usize) -> usize {
    ALWAYS.max(runs * 3 / 10)
}

/// What the brake says of each source in one plan.
#[derive(Default)]
pub(super) struct Brake {
    /// Nothing of these ends for its spec, and why.
    held: BTreeMap<Requester, String>,
}

/// An end that a spec asks for.
pub(super) struct Wanted {
    pub(super) reason: EndReason,
    pub(super) message: String,
    /// The source that it counts for; `None` of one that somebody asked for alone, or confirmed.
    pub(super) counts_for: Option<Requester>,
}

/// One source.
#[derive(Default)]
struct Source<'a> {
    live: usize,
    recent: usize,
    wanted: Vec<(&'a Run, String)>,
    /// Runs whose spec is away and not yet counted as removed: a slip takes its time, and those that
    /// it reaches first are not to end before it is seen whole.
    away: Vec<&'a Run>,
    /// Specs that are there.
    present: usize,
    /// Specs that went within the window, and live runs whose spec this process never saw.
    lost: usize,
    /// Its directory cannot be read: why, and its runs.
    unreadable: Option<(String, Vec<&'a Run>)>,
}

impl Brake {
    /// Why nothing of a source may end for its spec now.
    pub(super) fn held(&self, source: &Requester) -> Option<&String> {
        self.held.get(source)
    }
}

/// Whose spec directory, or whose calls, a run's end would be for.
pub(super) fn source<'a>(pass: &Pass<'a>, run: &'a Run) -> &'a Requester {
    let entry = pass.desired.specs.get(&run.cattle);
    entry.map_or(&run.requester, |entry| &entry.origin.requester)
}

/// The same of a name that has no run.
pub(super) fn source_of_name<'a>(
    pass: &Pass<'a>,
    name: &CattleName,
    requester: &'a Requester,
) -> &'a Requester {
    let entry = pass.desired.specs.get(name);
    entry.map_or(requester, |entry| &entry.origin.requester)
}

/// The end that a run's spec asks for, brake or not. Notes the deadline of an absence.
pub(super) fn wanted<'a>(pass: &mut Pass<'a>, run: &'a Run) -> Option<Wanted> {
    let confirmed = confirmation(pass, run);
    // A directory that cannot be read ends nothing, unless somebody has said so.
    if let (Some(by), Some(why)) = (confirmed, unreadable(pass, run)) {
        return Some(Wanted {
            reason: EndReason::SpecRemoved,
            message: format!("its spec directory cannot be read ({why}), confirmed by {by}"),
            counts_for: None,
        });
    }
    let (reason, message, explicit) = match pass.wish(&run.cattle, Some(&run.root)) {
        Wish::Frozen => return None,
        Wish::Gone(since) => {
            if !pass.due(since + deadlines::ABSENCE) {
                return None;
            }
            let message = "its spec was removed".to_owned();
            (EndReason::SpecRemoved, message, false)
        }
        Wish::Spec(cattle) if cattle.hash != run.hash => {
            let entry = pass.desired.specs.get(&run.cattle);
            (
                EndReason::SpecChanged,
                format!("its spec changed from {} to {}", run.hash, cattle.hash),
                entry.is_some_and(|entry| entry.origin.from_socket),
            )
        }
        Wish::Spec(..) => return None,
    };
    let counts = !explicit && confirmed.is_none();
    Some(Wanted {
        reason,
        message,
        counts_for: counts.then(|| source(pass, run).clone()),
    })
}

/// Who confirmed lately that this run ends for its spec.
fn confirmation<'a>(pass: &Pass<'a>, run: &Run) -> Option<&'a str> {
    pass.ledger.pauses.iter().find_map(|pause| {
        let resumed = pause.resumed.as_ref()?;
        let counts = pause.reason == PauseReason::Deletes
            && resumed.confirmed
            && resumed.at + WINDOW > pass.now
            && pause.items.iter().any(|item| item.run == Some(run.id));
        counts.then_some(resumed.by.as_str())
    })
}

/// Why the directory cannot be read that a run's spec is, or was, in.
fn unreadable<'a>(pass: &Pass<'a>, run: &'a Run) -> Option<&'a str> {
    let entry = pass.desired.specs.get(&run.cattle);
    let root = entry.map_or(run.root.as_str(), |entry| entry.origin.root.as_str());
    match pass.desired.roots.get(root)? {
        RootState::Unreadable(why) => Some(why),
        RootState::Readable => None,
    }
}

/// Since when lists of a source's specs count: nothing from before a list that was confirmed.
fn counts_since(pass: &Pass<'_>, source: &Requester) -> Timestamp {
    let confirmed = pass.ledger.pauses.iter().filter_map(|pause| {
        let resumed = pause.resumed.as_ref()?;
        let counts = pause.reason == PauseReason::Deletes
            && resumed.confirmed
            && pause.subject == source.0
            // One of the future was confirmed before the clock went back.
            && resumed.at - pass.now <= AGREES;
        counts.then_some(resumed.at)
    });
    let window = pass.now - WINDOW;
    confirmed.max().map_or(window, |at| at.max(window))
}

/// Looks at every source: which are held back from here on, and what the ledger says of it.
pub(super) fn judge<'a>(pass: &mut Pass<'a>) -> Brake {
    let mut brake = Brake::default();
    for (source, seen) in look(pass) {
        let held = pass
            .ledger
            .holding()
            .find(|pause| pause.reason == PauseReason::Deletes && pause.subject == source.0);
        let Some((message, items)) = verdict(&source, &seen, held.is_some()) else {
            if held.is_some() {
                let message =
                    "nothing of it is left to end: its specs are back, or its runs are over";
                pass.sections.ledger.push(Action::Resume {
                    reason: PauseReason::Deletes,
                    subject: source.0.clone(),
                    message: message.to_owned(),
                });
            }
            continue;
        };
        let fresh = Pause {
            subject: source.0.clone(),
            ends: true,
            items,
            ..Pause::by_controller(PauseReason::Deletes, message, pass.now)
        };
        let sentence = held.unwrap_or(&fresh).sentence();
        pass.pause(fresh);
        brake.held.insert(source, sentence);
    }
    brake
}

/// What there is of each source that has live runs, or is held back already.
fn look<'a>(pass: &mut Pass<'a>) -> BTreeMap<Requester, Source<'a>> {
    let (ledger, desired, now) = (pass.ledger, pass.desired, pass.now);
    let mut sources: BTreeMap<Requester, Source<'a>> = BTreeMap::new();
    for pause in ledger.holding() {
        if pause.reason == PauseReason::Deletes {
            sources.entry(Requester(pause.subject.clone())).or_default();
        }
    }
    for run in ledger.runs.values().filter(|run| run.is_live()) {
        let wanted = wanted(pass, run);
        let out_of_sight = unreadable_for_long(pass, run);
        let is_away = matches!(pass.wish(&run.cattle, Some(&run.root)), Wish::Gone(_))
            && confirmation(pass, run).is_none();
        let of = source(pass, run);
        let seen = sources.entry(of.clone()).or_default();
        seen.live += 1;
        // What is over is not the spec's to end.
        if run.outcome.is_some() {
            continue;
        }
        if !desired.specs.contains_key(&run.cattle) && wanted.is_some() {
            seen.lost += 1;
        }
        if let Some(why) = out_of_sight {
            let (_, runs) = seen.unreadable.get_or_insert((why, Vec::new()));
            runs.push(run);
        }
        match wanted {
            Some(wanted) if wanted.counts_for.is_some() => seen.wanted.push((run, wanted.message)),
            None if is_away => seen.away.push(run),
            _ => {}
        }
    }
    for (at, of) in &ledger.recent_ends {
        if *at + WINDOW > now
            && let Some(seen) = sources.get_mut(of)
        {
            seen.recent += 1;
        }
    }
    for entry in desired.specs.values() {
        let of = &entry.origin.requester;
        let since = counts_since(pass, of);
        let Some(seen) = sources.get_mut(of) else {
            continue;
        };
        match &entry.state {
            SpecState::Absent { since: gone } if *gone > since => seen.lost += 1,
            SpecState::Absent { .. } => {}
            SpecState::Valid(_) | SpecState::Broken(_) => seen.present += 1,
        }
    }
    sources
}

/// Why the directory of a run's spec cannot be read, once that has gone on for as long as a spec may
/// be away; unless its end was confirmed.
fn unreadable_for_long(pass: &mut Pass<'_>, run: &Run) -> Option<String> {
    let why = unreadable(pass, run)?.to_owned();
    if confirmation(pass, run).is_some() {
        return None;
    }
    let entry = pass.desired.specs.get(&run.cattle);
    let root = entry.map_or(run.root.as_str(), |entry| entry.origin.root.as_str());
    let since = pass.desired.unreadable_since.get(root).copied();
    let long = since.is_some_and(|since| pass.due(since + deadlines::ABSENCE));
    long.then_some(why)
}

/// Why a source is held back, with what is: `None` when it is not, or no more.
fn verdict(source: &Requester, seen: &Source<'_>, held: bool) -> Option<(String, Vec<PauseItem>)> {
    let items = |runs: &mut dyn Iterator<Item = (&Run, String)>| {
        let item = |(run, message): (&Run, String)| PauseItem {
            cattle: run.cattle.clone(),
            hash: run.hash.clone(),
            run: Some(run.id),
            message,
        };
        runs.map(item).collect::<Vec<_>>()
    };
    let who = &source.0;
    if let Some((why, runs)) = &seen.unreadable {
        let message = format!(
            "{who} cannot be read ({why}): none of its {} runs ends for its spec",
            runs.len()
        );
        let away = "its spec directory cannot be read".to_owned();
        return Some((
            message,
            items(&mut runs.iter().map(|run| (*run, away.clone()))),
        ));
    }
    // Once held back, what is only away is not back.
    if seen.wanted.is_empty() && (!held || seen.away.is_empty()) {
        return None;
    }
    let wanted = seen.wanted.len() + seen.away.len();
    let limit = allowed(seen.live + seen.recent);
    let message = if seen.present == 0 && seen.lost >= ALL_OF {
        format!("{who} lost all of its specs at once: {wanted} runs would end")
    } else if seen.recent + wanted > limit {
        format!(
            "{wanted} runs of {who} would end for their specs, and no more than {limit} may within ten minutes"
        )
    } else if held {
        format!("{wanted} runs of {who} would still end for their specs")
    } else {
        return None;
    };
    let removed = "its spec was removed".to_owned();
    let away = seen.away.iter().map(|run| (*run, removed.clone()));
    let wanted = seen.wanted.iter();
    let wanted = wanted.map(|(run, message)| (*run, message.clone()));
    Some((message, items(&mut wanted.chain(away))))
}
