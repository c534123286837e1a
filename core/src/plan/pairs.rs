//! Where something may be tried now, of the pairs that were refused a short while ago.
//!
//! There is one truth about that ([`Limits::cold`](crate::action::Limits)), and the queue's order: when
//! a pair thaws, who waits longest tries it, alone; if that succeeds it is free for all.

use std::collections::BTreeSet;

use super::Pass;
use crate::{
    action::Budget,
    candidates::{Candidate, Cold, ColdPairs, choose, told},
    desired::Placement,
    ledger::CreateState,
};

/// A server type and a location.
type Pair = (String, String);

/// The pairs that somebody tries already.
pub(super) struct Pairs<'a> {
    cold: &'a ColdPairs,
    claimed: BTreeSet<Pair>,
}

impl<'a> Pairs<'a> {
    /// Those of creates that are under way are claimed.
    pub(super) fn new(pass: &Pass<'a>) -> Self {
        let mut pairs = Self {
            cold: &pass.limits.cold,
            claimed: BTreeSet::new(),
        };
        if pairs.cold.is_empty() {
            return pairs;
        }
        for run in pass.ledger.runs.values() {
            let trying =
                run.is_live() && run.server.is_none() && run.create == CreateState::Intended;
            if trying {
                for (server_type, location) in run.spec.placement.candidates() {
                    let pair = (server_type.to_owned(), location.to_owned());
                    if pairs.cold.contains_key(&pair) {
                        pairs.claimed.insert(pair);
                    }
                }
            }
        }
        pairs
    }

    /// What may be tried of a placement; may be empty where nobody asks.
    ///
    /// # Errors
    /// Nothing, for what was refused; in words.
    pub(super) fn open(
        &self,
        pass: &mut Pass<'_>,
        placement: &Placement,
    ) -> Result<Vec<Candidate>, String> {
        if self.cold.is_empty() && pass.limits.budget == Budget::default() {
            // Nobody asks which.
            return Ok(Vec::new());
        }
        let mut candidates = choose(placement, &pass.limits.catalogue, pass.now).candidates;
        let before = candidates.len();
        let mut closed: Vec<String> = Vec::new();
        candidates.retain(|candidate| {
            let pair = pair(candidate);
            match self.cold.get(&pair) {
                None => true,
                Some(cold) if cold.wait.ends(pass.now) > pass.now => {
                    closed.push(cold.to_string());
                    false
                }
                Some(cold) if self.claimed.contains(&pair) => {
                    closed.push(being_tried(cold));
                    false
                }
                Some(_) => true,
            }
        });
        if !candidates.is_empty() || before == 0 {
            return Ok(candidates);
        }
        for (server_type, location) in placement.candidates() {
            let pair = (server_type.to_owned(), location.to_owned());
            let ends = self.cold.get(&pair).map(|cold| cold.wait.ends(pass.now));
            // Of one that is over already, whoever tries it rings.
            if let Some(ends) = ends.filter(|ends| *ends > pass.now) {
                pass.due(ends);
            }
        }
        Err(told(&closed))
    }

    /// A start is going to try these. One that has a free pair has no need of a refused one.
    pub(super) fn claim(&mut self, open: &[Candidate]) {
        let tried = open.iter().map(pair);
        let thawed: Vec<Pair> = tried.filter(|pair| self.cold.contains_key(pair)).collect();
        if thawed.len() == open.len() {
            self.claimed.extend(thawed);
        }
    }
}

fn pair(candidate: &Candidate) -> Pair {
    (candidate.server_type.clone(), candidate.location.clone())
}

fn being_tried(cold: &Cold) -> String {
    format!(
        "{} in {}: {}, being tried again",
        cold.server_type, cold.location, cold.why
    )
}
