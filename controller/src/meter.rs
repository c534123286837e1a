//! What a pass tells the metrics: runs by phase, what waits and why, ends by reason.
//!
//! Names and label values are stable; they are the words of the status.

use std::collections::{BTreeMap, BTreeSet};

use cattle_core::{
    action::Plan,
    identity::Project,
    ledger::{Ledger, Run},
    lifecycle::phase_of,
    names::{RunId, ServerId},
    observed::{Observed, ObservedServer},
    ownership,
};
use cattle_schemas::status::{EndReason, PauseReason, PendingReason, Phase};

/// Counts across passes.
#[derive(Debug, Default)]
pub struct Meter {
    /// Ended runs that were counted and are still in the ledger's view; `None` before the first
    /// pass, whose ended runs are an earlier process's.
    counted: Option<BTreeSet<RunId>>,
}

impl Meter {
    /// Reads one pass.
    pub fn read(&mut self, ledger: &Ledger, observed: &Observed, plan: &Plan) {
        let servers: BTreeMap<ServerId, &ObservedServer> = observed
            .servers
            .iter()
            .map(|server| (server.id, server))
            .collect();
        let phases = ledger.runs.values().filter(|run| run.holds_slot());
        let phases = tally(phases.map(|run| {
            let server = run.server.as_ref().and_then(|known| servers.get(&known.id));
            phase_of(run, server.copied())
        }));
        for phase in Phase::ALL {
            let runs = phases.get(phase).copied().unwrap_or(0);
            metrics::gauge!("cattle_runs", "phase" => phase.as_str()).set(f64::from(runs));
        }
        let waits = tally(plan.waiting.iter().map(|waiting| waiting.reason));
        for reason in PendingReason::ALL {
            let cattle = waits.get(reason).copied().unwrap_or(0);
            metrics::gauge!("cattle_waiting", "reason" => reason.as_str()).set(f64::from(cattle));
        }
        let listed = u32::try_from(observed.servers.len()).unwrap_or(u32::MAX);
        metrics::gauge!("cattle_servers").set(f64::from(listed));
        let duplicates = ownership::duplicates(observed, ledger);
        let duplicates = duplicates.values().map(Vec::len).sum::<usize>();
        let duplicates = u32::try_from(duplicates).unwrap_or(u32::MAX);
        metrics::gauge!("cattle_servers_duplicate").set(f64::from(duplicates));
        let waits = |run: &&Run| run.taken.is_some() && run.gone_at.is_none();
        let taken = ledger.runs.values().filter(waits).count();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        metrics::gauge!("cattle_servers_taken_over").set(f64::from(taken));
        let listed = |run: &Run| {
            let server = run.server.as_ref();
            server.is_some_and(|server| servers.contains_key(&server.id))
        };
        let missing = ledger.runs.values();
        let missing = missing
            .filter(|run| run.is_missing() && !listed(run))
            .count();
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        metrics::gauge!("cattle_servers_missing").set(f64::from(missing));
        for reason in PauseReason::ALL {
            let held = || ledger.holding().filter(|pause| pause.reason == *reason);
            for (holds, count) in [
                ("starts", held().filter(|pause| pause.starts).count()),
                ("ends", held().filter(|pause| pause.ends).count()),
            ] {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                metrics::gauge!("cattle_paused", "reason" => reason.as_str(), "holds" => holds)
                    .set(f64::from(count));
            }
        }
        metrics::counter!("cattle_passes_total").increment(1);
        self.count_ends(ledger);
    }

    /// Whether the token opens the fleet's project, as far as that is known.
    pub fn read_project(&self, project: Project) {
        let ours = match project {
            Project::Unknown => return,
            Project::Ours => 1.0,
            Project::Foreign => 0.0,
        };
        metrics::gauge!("cattle_project_is_ours").set(ours);
    }

    fn count_ends(&mut self, ledger: &Ledger) {
        let ended: Vec<(RunId, EndReason)> = ledger
            .runs
            .values()
            .filter_map(|run| Some((run.id, run.ended.as_ref()?.reason)))
            .collect();
        if let Some(counted) = &self.counted {
            for (_, reason) in ended.iter().filter(|(run, _)| !counted.contains(run)) {
                metrics::counter!("cattle_runs_ended_total", "reason" => reason.as_str())
                    .increment(1);
            }
        }
        self.counted = Some(ended.into_iter().map(|(run, _)| run).collect());
    }
}

fn tally<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u32> {
    let mut tally = BTreeMap::new();
    for item in items {
        *tally.entry(item).or_default() += 1;
    }
    tally
}
