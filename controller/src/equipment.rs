//! What a cattle's env will lack: found out before anything is made for it, so that a secret that is put
//! into its place starts at once what waits for it.
//!
//! Files are read for what waits only, and each secret once in a pass.

use std::collections::{BTreeMap, BTreeSet};

use cattle_core::{
    desired::{Authority, Desired, SpecState},
    fleet::Fleet,
    ledger::Ledger,
    names::CattleName,
};

use crate::{guest_api::env, secrets::Secrets};

/// The sentence for each cattle that may start and could not be given its env.
pub(crate) fn lacking(
    fleet: &Fleet,
    secrets: &Secrets,
    desired: &Desired,
    ledger: &Ledger,
) -> BTreeMap<CattleName, String> {
    let busy: BTreeSet<&CattleName> = ledger
        .runs
        .values()
        .filter(|run| run.is_live() && !run.is_refused())
        .map(|run| &run.cattle)
        .collect();
    let mut known: BTreeMap<(&str, bool, Authority), Option<String>> = BTreeMap::new();
    let mut lacking = BTreeMap::new();
    for (name, entry) in &desired.specs {
        let SpecState::Valid(cattle) = &entry.state else {
            continue;
        };
        let assignment = ledger.assignments.get(&(name.clone(), cattle.hash.clone()));
        let ended = assignment.and_then(|it| it.ended.as_ref());
        if busy.contains(name) || ended.is_some_and(|end| !end.reopens) {
            continue;
        }
        let (model, github) = (cattle.model.as_str(), cattle.with_github_token);
        let authority = entry.origin.authority;
        let lacks = known.entry((model, github, authority)).or_insert_with(|| {
            env::of_spec(fleet, secrets, model, github, authority)
                .map(drop)
                .err()
        });
        if let Some(lacks) = lacks {
            lacking.insert(name.clone(), lacks.clone());
        }
    }
    lacking
}
