//! Jobs as people see them.

use cattle_schemas::{
    Timestamp,
    job::{Job, JobKind, JobList, JobState},
};

use crate::{
    exit::{Exit, Failure},
    output::{Output, Row, Table, Tint, View, age},
};

/// The exit code that a job's state stands for.
pub(super) fn exit_of(state: JobState) -> Exit {
    match state {
        JobState::Queued | JobState::Running | JobState::Done => Exit::Done,
        JobState::Failed | JobState::Canceled => Exit::RunFailed,
    }
}

/// The word on the wire.
pub(super) fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::CattleSpawn => "cattle.spawn",
        JobKind::CattleReap => "cattle.reap",
    }
}

/// Jobs with the time they are seen at.
pub(super) struct Jobs {
    pub(super) list: JobList,
    pub(super) now: Timestamp,
    pub(super) single: bool,
}

impl Jobs {
    /// Just one.
    pub(super) fn one(job: Job, now: Timestamp) -> Self {
        let list = JobList {
            items: vec![job],
            next: None,
        };
        Self {
            list,
            now,
            single: true,
        }
    }
}

impl serde::Serialize for Jobs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.list.items.as_slice() {
            [one] if self.single => one.serialize(serializer),
            _ => self.list.serialize(serializer),
        }
    }
}

impl View for Jobs {
    fn table(&self, out: &Output, wide: bool) -> Result<(), Failure> {
        if self.list.items.is_empty() {
            out.note("no jobs");
            return Ok(());
        }
        let mut header = vec!["ID", "KIND", "STATE", "CATTLE", "REASON", "AGE"];
        if wide {
            header.extend(["RUN", "REQUESTER"]);
        }
        header.push("MESSAGE");
        let mut table = Table::new(&header);
        for job in &self.list.items {
            let tint = match job.state {
                JobState::Queued => Tint::Busy,
                JobState::Running | JobState::Done => Tint::Good,
                JobState::Failed => Tint::Bad,
                JobState::Canceled => Tint::Faint,
            };
            let mut row = Row::new()
                .cell(&job.id)
                .cell(kind(job.kind))
                .tinted(job.state.as_str(), tint)
                .maybe(job.cattle.as_ref())
                .maybe(job.end_reason.map(|reason| reason.as_str()))
                .cell(age(job.created_at, self.now));
            if wide {
                row = row.maybe(job.run.as_ref()).cell(&job.requester);
            }
            table.push(row.maybe(job.message.as_ref()));
        }
        out.table(&table)
    }

    fn names(&self) -> Vec<String> {
        self.list.items.iter().map(|job| job.id.clone()).collect()
    }
}
