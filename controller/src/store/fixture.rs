//! Valid records that tests deviate from.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use cattle_core::{
    cost::{Price, ServerPrice},
    desired::{Authority, Cattle, Origin, Placement, Requester},
    ledger::{Run, RunServer},
    lifecycle::{self, Ending, Transition},
    names::{RunId, ServerId},
    substance::Substance,
};
use cattle_schemas::{
    Timestamp, event::NewEvent, spec_file::OnFailure, status::EndReason, task::Task,
};

use super::Edit;

pub(crate) const MAX_TTL: Duration = Duration::from_secs(24 * 3_600);

/// The start of every test's time; beyond microseconds, which the database does not keep.
pub(crate) fn start() -> Timestamp {
    "2026-01-10T12:00:00.123456789Z".parse().unwrap()
}

pub(crate) fn after(seconds: i64) -> Timestamp {
    start() + chrono::TimeDelta::seconds(seconds)
}

/// The `nth` run id; they sort by `nth`.
pub(crate) fn run_id(nth: u64) -> RunId {
    RunId::from_parts(1_768_000_000_000 + nth, u128::from(nth))
}

pub(crate) fn cattle(name: &str) -> Cattle {
    Cattle {
        name: name.parse().unwrap(),
        labels: BTreeMap::new(),
        persona: "rex".parse().unwrap(),
        task: Task {
            schema_version: 1,
            task_id: name.to_owned(),
            kind: "clawdbot.gateway.agent".to_owned(),
            message: "Fix the flaky test".to_owned(),
            callback_url: String::new(),
        },
        ttl: Duration::from_secs(7_200),
        start_within: Duration::from_secs(86_400),
        model: "zai/glm-4.7".to_owned(),
        with_github_token: false,
        auto_shutdown: true,
        on_failure: OnFailure::Destroy,
        placement: Placement {
            image: "123456".to_owned(),
            server_types: vec!["cx23".to_owned()],
            locations: vec!["nbg1".to_owned()],
        },
        hash: "0123456789ab".parse().unwrap(),
        substance: Substance::default(),
    }
}

pub(crate) fn origin() -> Origin {
    Origin {
        root: "specs".to_owned(),
        path: "specs/x.yaml".to_owned(),
        requester: Requester::operator(),
        authority: Authority::Operator,
        from_socket: false,
    }
}

/// A run with its first intent recorded.
pub(crate) fn run(name: &str, nth: u64) -> Run {
    lifecycle::begin(run_id(nth), &cattle(name), &origin(), MAX_TTL, after(0)).0
}

pub(crate) fn insert(run: Run) -> Edit {
    Edit::InsertRun {
        run: Box::new(run),
        events: Vec::new(),
    }
}

/// A transition as an edit, with its notes as events.
pub(crate) fn edit(
    id: RunId,
    transition: impl FnOnce(&mut Run) -> Transition + Send + 'static,
) -> Edit {
    Edit::Run {
        id,
        edit: Box::new(move |run, _| {
            let told = transition(run);
            told.applied.then(|| events(run, &told))
        }),
    }
}

pub(crate) fn events(run: &Run, told: &Transition) -> Vec<NewEvent> {
    told.events
        .iter()
        .map(|note| NewEvent {
            cattle: Some(run.cattle.to_string()),
            run: Some(run.id.to_string()),
            reason: note.reason,
            message: note.message.clone(),
        })
        .collect()
}

/// The run and its assignment end together.
pub(crate) fn end(id: RunId, reason: EndReason, at: Timestamp) -> Edit {
    Edit::Run {
        id,
        edit: Box::new(move |run, assignment| {
            let ending = Ending::new(reason, "for the test");
            let told = lifecycle::end(run, assignment.as_mut(), &ending, at);
            told.applied.then(|| events(run, &told))
        }),
    }
}

/// Its server was made, ten seconds after the run was begun.
pub(crate) fn accepted(id: RunId) -> Edit {
    let price = |hourly: &str| Price {
        hourly: hourly.parse().unwrap(),
        monthly: None,
    };
    let server = RunServer {
        id: ServerId(7),
        name: "cattle-rex-000001".to_owned(),
        ipv4: None,
        server_type: Some("cx23".to_owned()),
        location: Some("nbg1".to_owned()),
        created: Some(after(10)),
        price: Some(ServerPrice {
            server: price("0.0088"),
            ipv4: price("0.0008"),
        }),
        made_of: None,
        image: None,
        actions: Vec::new(),
    };
    edit(id, move |run| lifecycle::accept_create(run, server))
}

pub(crate) fn gone(id: RunId, at: Timestamp) -> Edit {
    edit(id, move |run| lifecycle::mark_gone(run, at))
}
