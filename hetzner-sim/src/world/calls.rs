//! The log of API calls.

use std::collections::VecDeque;

use chrono::SecondsFormat;
use serde::Serialize;

use super::World;
use crate::message::{Answer, Delivery, Request};

/// Calls that are remembered; older ones are dropped, and the log says how many.
const KEPT: usize = 100_000;

/// One call of the API, as it was answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts from 1 and never repeats; `?since=` takes it.
    pub seq: u64,
    /// RFC 3339, with milliseconds.
    pub at: String,
    /// Milliseconds since the simulator started.
    pub at_ms: i64,
    /// `POST`
    pub method: String,
    /// `/v1/servers`
    pub path: String,
    /// Decoded pairs.
    pub query: Vec<(String, String)>,
    /// `create_server`, `list_servers`, …; `unknown` for a path that is none of the API's.
    pub operation: String,
    /// None when no status reached the client.
    pub status: Option<u16>,
    /// The error's code, where the reply was an error.
    pub error_code: Option<String>,
    /// The server concerned.
    pub server_id: Option<u64>,
    /// Its name.
    pub server_name: Option<String>,
    /// The fault rule that struck.
    pub fault: Option<u64>,
}

/// The remembered calls, oldest first.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    calls: VecDeque<Call>,
    last: u64,
    pub(crate) dropped: u64,
}

impl CallLog {
    /// Those after `since`.
    pub(crate) fn since(&self, since: u64) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.seq > since)
    }

    pub(crate) fn total(&self) -> u64 {
        self.last
    }

    pub(crate) fn clear(&mut self) {
        self.calls.clear();
        self.dropped = 0;
    }
}

impl World {
    pub(crate) fn record(
        &mut self,
        request: &Request,
        operation: &str,
        answer: &Answer,
        fault: Option<u64>,
    ) {
        let delivered = !matches!(answer.delivery, Delivery::Cut | Delivery::Hang(_));
        let (server_id, server_name) = match self.subject.take() {
            Some((id, name)) => (id, Some(name).filter(|name| !name.is_empty())),
            None => (None, None),
        };
        self.log.last += 1;
        self.log.calls.push_back(Call {
            seq: self.log.last,
            at: self.now.to_rfc3339_opts(SecondsFormat::Millis, true),
            at_ms: (self.now - self.started).num_milliseconds(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            operation: operation.to_owned(),
            status: delivered.then_some(answer.status),
            error_code: answer.value()["error"]["code"].as_str().map(str::to_owned),
            server_id,
            server_name,
            fault,
        });
        if self.log.calls.len() > KEPT {
            self.log.calls.pop_front();
            self.log.dropped += 1;
        }
    }

    /// The calls that are remembered, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.log.since(0).cloned().collect()
    }

    /// How many calls there were, remembered or not.
    #[must_use]
    pub fn calls_total(&self) -> u64 {
        self.log.total()
    }
}
