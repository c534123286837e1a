//! Which specs ask for the same.
//!
//! A task is done at most once, so it must be plain when a spec asks for another one. That is decided
//! by what a spec amounts to, under the defaults that its run was made with: a default that is written
//! out, or left out again, is no edit, and neither is a default that changed. The ledger keeps what a
//! (name, hash) was made of beside it ([`Substance`]); the hash only names it.
//!
//! [`settle`] is the one place where a spec is recognised. After it a spec's hash is the one under
//! which the ledger knows it, and everybody else compares hashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    desired::{Cattle, Desired, SpecState},
    ledger::{Assignment, Ledger, Run},
    names::{CattleName, SpecHash},
    spec::hash::{content_hash, spare_hash, spec_hash},
};

/// What a spec amounts to, as far as that makes it another task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Substance {
    /// The hash of the spec as it is written.
    pub as_written: SpecHash,
    /// Of persona name and task.
    pub content: SpecHash,
    /// What it says.
    pub written: Written,
    /// What stands for what it does not say.
    pub defaults: Defaults,
}

/// What a spec says of what has a default; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Written {
    pub model: Option<String>,
    pub with_github_token: Option<bool>,
    pub auto_shutdown: Option<bool>,
}

/// What stands for what a spec does not say. `None` where nothing does, or where that is not known:
/// of a run from before it was kept. `withGithubToken` has been false ever since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// The persona's model, else the host's.
    pub model: Option<String>,
    /// The fleet's.
    pub auto_shutdown: Option<bool>,
}

/// Model, `withGithubToken`, `autoShutdown`, with nothing left out.
type Effective<'a> = (Option<&'a str>, bool, bool);

impl Default for Substance {
    /// Of no spec: equal to none that was read.
    fn default() -> Self {
        let nothing = SpecHash::from_digest(&[0; 32]);
        Self {
            as_written: nothing.clone(),
            content: nothing,
            written: Written::default(),
            defaults: Defaults::default(),
        }
    }
}

impl Written {
    /// With these defaults; what the first do not know, the second do.
    fn under<'a>(&'a self, first: &'a Defaults, second: &'a Defaults) -> Effective<'a> {
        let model = [&self.model, &first.model, &second.model];
        let auto_shutdown = self.auto_shutdown.or(first.auto_shutdown);
        (
            model.into_iter().find_map(Option::as_deref),
            self.with_github_token.unwrap_or(false),
            auto_shutdown.or(second.auto_shutdown).unwrap_or(true),
        )
    }
}

impl Substance {
    /// Whether this spec asks for nothing else than a known one was made of. `unmade`: nothing is made
    /// of that one yet, so the present defaults will be its own.
    #[must_use]
    pub fn asks_for_the_same(&self, known: &Self, unmade: bool) -> bool {
        let (then, now) = (&known.defaults, &self.defaults);
        let made_of = known.written.under(then, now);
        let anew = self.written.under(now, now);
        self.content == known.content
            && (self.written.under(then, now) == made_of
                // What would be made now is what there is.
                || anew == made_of
                || unmade && anew == known.written.under(now, now))
    }

    /// Of a run from before this was kept: which way of writing its spec has its hash says what was a
    /// default. `None` when none has.
    #[must_use]
    pub fn of_run(run: &Run) -> Option<Self> {
        let spec = &run.spec;
        let model = [None, Some(spec.model.as_str())];
        let github = [None, Some(spec.with_github_token)];
        let shutdown = [None, Some(spec.auto_shutdown)];
        for model in model {
            for github in github {
                for shutdown in shutdown {
                    if spec_hash(&spec.persona, &spec.task, model, github, shutdown) != run.hash {
                        continue;
                    }
                    return Some(Self {
                        as_written: run.hash.clone(),
                        content: content_hash(&spec.persona, &spec.task),
                        written: Written {
                            model: model.map(str::to_owned),
                            with_github_token: github,
                            auto_shutdown: shutdown,
                        },
                        defaults: Defaults {
                            model: model.is_none().then(|| spec.model.clone()),
                            auto_shutdown: shutdown.is_none().then_some(spec.auto_shutdown),
                        },
                    });
                }
            }
        }
        None
    }
}

impl Cattle {
    /// The hashes of all ways to write this spec, under the present defaults.
    #[must_use]
    pub fn ways(&self) -> BTreeSet<SpecHash> {
        let defaults = &self.substance.defaults;
        let mut ways = BTreeSet::from([self.substance.as_written.clone()]);
        let mut models = vec![Some(self.model.as_str())];
        if defaults.model.as_ref() == Some(&self.model) {
            models.push(None);
        }
        let switches = |value: bool, default: Option<bool>| {
            let mut ways = vec![Some(value)];
            if default == Some(value) {
                ways.push(None);
            }
            ways
        };
        let github = switches(self.with_github_token, Some(false));
        let shutdown = switches(self.auto_shutdown, defaults.auto_shutdown);
        for model in &models {
            for github in &github {
                for shutdown in &shutdown {
                    ways.insert(spec_hash(
                        &self.persona,
                        &self.task,
                        *model,
                        *github,
                        *shutdown,
                    ));
                }
            }
        }
        ways
    }
}

/// What the ledger knows under one hash of a name.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The hash.
    pub hash: &'a SpecHash,
    /// What became of it.
    pub assignment: Option<&'a Assignment>,
    /// A run of it.
    pub run: Option<&'a Run>,
}

impl Known<'_> {
    fn is_live(&self) -> bool {
        self.run.is_some_and(Run::is_live)
    }

    fn is_open(&self) -> bool {
        self.assignment.is_some_and(|it| it.ended.is_none())
    }

    fn is(&self, cattle: &Cattle) -> bool {
        let unmade = self.is_open() && !self.is_live();
        let kept = self.assignment.and_then(|it| it.substance.as_ref());
        let of_run = || self.run.and_then(Substance::of_run);
        match kept.cloned().or_else(of_run) {
            Some(known) => cattle.substance.asks_for_the_same(&known, unmade),
            None => cattle.ways().contains(self.hash),
        }
    }

    /// What goes on comes first, then what would start, then what is over for good.
    fn rank(&self) -> (u8, Option<cattle_schemas::Timestamp>) {
        let spent = |it: &Assignment| it.ended.as_ref().is_some_and(|end| !end.reopens);
        let rank = match self.assignment {
            _ if self.is_live() => 3,
            Some(it) if it.ended.is_none() => 2,
            Some(it) if spent(it) => 1,
            _ => 0,
        };
        (rank, self.assignment.map(|it| it.queued_at))
    }
}

/// The hash under which the ledger knows a spec; its own, where it is not known.
#[must_use]
pub fn known_as(cattle: &Cattle, known: &[Known<'_>]) -> SpecHash {
    let same = known.iter().filter(|known| known.is(cattle));
    if let Some(known) = same.max_by_key(|known| known.rank()) {
        return known.hash.clone();
    }
    let own = &cattle.substance.as_written;
    if known.iter().any(|known| known.hash == own) {
        // It was made of something else since: written another way, and run again under other
        // defaults.
        return spare_hash(own, &cattle.model, cattle.auto_shutdown);
    }
    own.clone()
}

/// What is desired, each spec under the hash by which the ledger knows it.
#[must_use]
pub fn settle(desired: &Arc<Desired>, ledger: &Ledger) -> Arc<Desired> {
    let mut runs: BTreeMap<&CattleName, Vec<&Run>> = BTreeMap::new();
    for run in ledger.runs.values() {
        runs.entry(&run.cattle).or_default().push(run);
    }
    let mut settled: Option<Desired> = None;
    for (name, entry) in &desired.specs {
        let SpecState::Valid(cattle) = &entry.state else {
            continue;
        };
        let runs = runs.get(name).map_or(&[][..], Vec::as_slice);
        let hash = known_as(cattle, &known_of(name, ledger, runs));
        if hash != cattle.hash {
            let cattle = Arc::new(Cattle {
                hash,
                ..Cattle::clone(cattle)
            });
            let settled = settled.get_or_insert_with(|| Desired::clone(desired));
            if let Some(entry) = settled.specs.get_mut(name) {
                entry.state = SpecState::Valid(cattle);
            }
        }
    }
    settled.map_or_else(|| desired.clone(), Arc::new)
}

fn known_of<'a>(name: &CattleName, ledger: &'a Ledger, runs: &[&'a Run]) -> Vec<Known<'a>> {
    let first = (name.clone(), SpecHash::from_digest(&[0; 32]));
    let of = |hash: &SpecHash| {
        // The latest, which is the live one if any is.
        runs.iter().rev().find(|run| run.hash == *hash).copied()
    };
    let mut known: Vec<Known<'a>> = ledger
        .assignments
        .range(first..)
        .take_while(|((of, _), _)| of == name)
        .map(|((_, hash), assignment)| Known {
            hash,
            assignment: Some(assignment),
            run: of(hash),
        })
        .collect();
    for run in runs {
        if known.iter().all(|known| *known.hash != run.hash) {
            known.push(Known {
                hash: &run.hash,
                assignment: None,
                run: of(&run.hash),
            });
        }
    }
    known
}
