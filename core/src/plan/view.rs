//! Whose is each listed server?

use std::collections::BTreeMap;

use crate::{
    action::Limits,
    labels,
    ledger::{Ledger, Run},
    names::{CattleName, RunId},
    observed::{Observed, ObservedServer},
};

/// Ledger and list side by side.
pub(super) struct View<'a> {
    /// The server of each run that is not gone.
    pub(super) servers: BTreeMap<RunId, &'a ObservedServer>,
    /// Servers that no run with a slot stands behind.
    pub(super) extra: Vec<(&'a ObservedServer, Extra<'a>)>,
    /// The live run of each name.
    pub(super) live: BTreeMap<&'a CattleName, &'a Run>,
    /// An ended run of each name whose server is not proved gone.
    pub(super) leaving: BTreeMap<&'a CattleName, &'a Run>,
}

/// Why no run stands behind a server.
#[derive(Clone, Copy)]
pub(super) enum Extra<'a> {
    /// Its run is gone, and it was listed after that, or is not the one that was proved gone.
    Returned(&'a Run),
    /// Its run has another server.
    Second(&'a Run),
    /// Its run is not in the ledger, or its label cannot be read.
    Unknown,
}

impl<'a> View<'a> {
    pub(super) fn new(observed: &'a Observed, ledger: &'a Ledger, limits: &Limits) -> Self {
        let mut view = Self {
            servers: BTreeMap::new(),
            extra: Vec::new(),
            live: BTreeMap::new(),
            leaving: BTreeMap::new(),
        };
        let mut by_server = BTreeMap::new();
        for run in ledger.runs.values() {
            if run.is_live() {
                view.live.insert(&run.cattle, run);
            } else if run.gone_at.is_none() {
                view.leaving.insert(&run.cattle, run);
            }
            if let Some(server) = &run.server {
                by_server.insert(server.id, run);
            }
        }
        let mut unbound = Vec::new();
        for server in &observed.servers {
            if labels::others_claim(&server.labels.raw, Some(&limits.fleet)).is_some() {
                continue;
            }
            match by_server.get(&server.id) {
                Some(run) => view.place(server, run, observed),
                None if labels::is_ours(&server.labels.raw, &limits.fleet) => unbound.push(server),
                None => {}
            }
        }
        // After the bound ones, so that a second server of a run never takes the first one's place; and
        // what has the name that our create call gave goes before what only has the label.
        let named = |server: &ObservedServer| {
            let run = server.labels.run.and_then(|run| ledger.runs.get(&run));
            run.is_some_and(|run| run.server_name() == server.name)
        };
        unbound.sort_by_key(|server| !named(server));
        for server in unbound {
            let run = server.labels.run.and_then(|run| ledger.runs.get(&run));
            match run {
                None => view.extra.push((server, Extra::Unknown)),
                Some(run) if run.gone_at.is_none() && run.server.is_some() => {
                    view.extra.push((server, Extra::Second(run)));
                }
                Some(run) => view.place(server, run, observed),
            }
        }
        view
    }

    fn place(&mut self, server: &'a ObservedServer, run: &'a Run, observed: &Observed) {
        match run.gone_at {
            None if self.servers.contains_key(&run.id) => {
                self.extra.push((server, Extra::Second(run)));
            }
            None => {
                self.servers.insert(run.id, server);
            }
            // The list was asked for before the proof, which is of its own server: it is old news.
            Some(gone)
                if run.server.as_ref().is_none_or(|own| own.id == server.id)
                    && observed.listed_at.is_none_or(|listed| listed <= gone) => {}
            Some(_) => self.extra.push((server, Extra::Returned(run))),
        }
    }

    /// How many of `maxInstances` are taken: by runs, and by servers without one.
    pub(super) fn slots(&self, ledger: &Ledger) -> usize {
        let runs = ledger.runs.values().filter(|run| run.holds_slot()).count();
        // A refused create may have made a server all the same; then it is listed.
        let refused = self
            .servers
            .keys()
            .filter(|run| ledger.runs.get(run).is_some_and(Run::is_refused))
            .count();
        runs + refused + self.extra.len()
    }

    /// A server that carries this name and that no run with a slot stands behind.
    pub(super) fn extra_of(&self, name: &CattleName) -> Option<&'a ObservedServer> {
        self.extra
            .iter()
            .find(|(server, _)| server.labels.cattle.as_ref() == Some(name))
            .map(|(server, _)| *server)
    }
}
