//! What goes by a name, as far as a `PUT` of that name has to know it.

use std::sync::Arc;

use cattle_core::{
    desired::{Authority, Cattle, Requester},
    ledger::{Assignment, Run},
    names::{CattleName, SpecHash},
    substance::{self, Known},
};
use cattle_schemas::{api::Change, spec_file::CattleFile};

use super::{
    Api, apply,
    problem::ApiError,
    resolve::{self, is_there},
    spec,
};
use crate::{store::SocketSpec, world::World};

/// What goes by the name at this moment.
pub(super) struct Present {
    /// Whether a spec is there, right or wrong.
    pub(super) there: bool,
    /// Of the spec that is there, if it is valid.
    pub(super) cattle: Option<Arc<Cattle>>,
    pub(super) version: Option<String>,
    /// As it is written in the socket's directory.
    pub(super) document: Option<CattleFile>,
    pub(super) record: Option<SocketSpec>,
    /// Who asked for the spec that is there.
    pub(super) owner: Option<Requester>,
    /// The latest run.
    pub(super) run: Option<Run>,
    /// What became of all that ever went by the name.
    pub(super) assignments: Vec<(SpecHash, Assignment)>,
}

impl Present {
    /// The file itself goes before what the last pass saw of it: another `PUT` may just have
    /// written it.
    pub(super) async fn look(
        api: &Api,
        world: &World,
        name: &CattleName,
        records: Vec<SocketSpec>,
    ) -> Result<Self, ApiError> {
        let record = records.into_iter().find(|spec| spec.cattle == *name);
        let bytes = {
            let (specs, name) = (Arc::clone(&api.specs), name.clone());
            apply::blocking(move || specs.read(&name)).await?
        };
        let entry = world
            .desired
            .specs
            .get(name)
            .filter(|entry| is_there(entry));
        let mut present = Self {
            there: false,
            cattle: None,
            version: None,
            document: None,
            owner: None,
            run: resolve::latest(api, name).await?,
            assignments: api.store.assignments(name.clone()).await?,
            record,
        };
        if let Some(bytes) = bytes {
            let record = present.record.as_ref();
            let authority = record.map_or(Authority::Bot, |record| record.authority);
            present.there = true;
            present.owner = record.map(|record| record.requester.clone());
            if let Ok(read) = spec::read(api, world, name, &bytes, authority).await {
                present.document = Some(read.document);
                present.cattle = Some(read.cattle);
            }
        } else if let Some(entry) = entry.filter(|entry| !entry.origin.from_socket) {
            present.there = true;
            present.owner = Some(entry.origin.requester.clone());
            present.cattle = spec::valid(entry).cloned();
        }
        present.cattle = present.cattle.take().map(|cattle| {
            let hash = substance::known_as(&cattle, &present.known());
            Arc::new(Cattle {
                hash,
                ..Arc::unwrap_or_clone(cattle)
            })
        });
        present.version = present.cattle.as_ref().map(|cattle| spec::version(cattle));
        Ok(present)
    }

    /// What the ledger knows under this name.
    fn known(&self) -> Vec<Known<'_>> {
        let run = |hash: &SpecHash| self.run.as_ref().filter(|run| run.hash == *hash);
        let mut known: Vec<_> = self
            .assignments
            .iter()
            .map(|(hash, assignment)| Known {
                hash,
                assignment: Some(assignment),
                run: run(hash),
            })
            .collect();
        if let Some(run) = &self.run
            && known.iter().all(|known| *known.hash != run.hash)
        {
            known.push(Known {
                hash: &run.hash,
                assignment: None,
                run: Some(run),
            });
        }
        known
    }

    /// What was sent, under the hash by which the ledger knows it; or that of what is there, which no
    /// pass may have seen yet.
    pub(super) fn recognise(&self, sent: spec::Read) -> spec::Read {
        let mut hash = substance::known_as(&sent.cattle, &self.known());
        if let Some(present) = &self.cattle
            && hash == sent.cattle.substance.as_written
            && sent
                .cattle
                .substance
                .asks_for_the_same(&present.substance, true)
        {
            hash.clone_from(&present.hash);
        }
        spec::Read {
            cattle: Arc::new(Cattle {
                hash,
                ..Arc::unwrap_or_clone(sent.cattle)
            }),
            ..sent
        }
    }

    pub(super) fn change(&self, wanted: &spec::Read, version: &str) -> Change {
        let live = self.run.as_ref().filter(|run| run.is_live());
        match &self.cattle {
            None if !self.there && live.is_none() => Change::Created,
            // A broken spec, or none, and a run that goes on: what it runs is what counts.
            None => match live {
                Some(run) if run.hash != wanted.cattle.hash => Change::Replaced,
                _ => Change::Configured,
            },
            Some(cattle) if cattle.hash != wanted.cattle.hash => Change::Replaced,
            Some(_) if self.version.as_deref() != Some(version) => Change::Configured,
            Some(_) if self.document.as_ref() != Some(&wanted.document) => Change::Configured,
            Some(_) => Change::Unchanged,
        }
    }
}
