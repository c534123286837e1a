//! The calls of the socket API, one method each.

use std::time::Duration;

use cattle_schemas::{
    api::{
        ApplyQuery, ApplyReply, CattleList, CostQuery, CostReply, DestroyQuery, DestroyReply,
        EventList, ExtendReply, ExtendRequest, ListQuery, LogsQuery, PlanReply, PlanRequest,
        PruneReply, PruneRequest, ReapReply, ReapRequest, RerunReply, ResultReply, RetryReply,
        WaitFor, WaitQuery,
    },
    job::{Job, JobList, JobRequest},
    pause::{PauseList, PauseRequest, PauseStatus, ResumeReply, ResumeRequest},
    status::CattleStatus,
};
use reqwest::{Method, Response, header};
use serde::Serialize;

use super::{CALL_TIMEOUT, Call, Client, LONG_POLL_GRACE, key::idempotency_key, sse::EventStream};
use crate::exit::Failure;

/// Deleting servers one after the other, each within Hetzner's own time.
const REAP_TIMEOUT: Duration = Duration::from_secs(300);

/// The body of a `PUT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SpecBody {
    /// The file as its author wrote it: what the controller says of places in it is true.
    AsWritten(Vec<u8>),
    /// Written by us, with its task inline.
    Json(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageQuery<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

impl Client {
    /// `PUT /v1/cattle/{name}`.
    pub(crate) async fn apply(
        &self,
        name: &str,
        body: SpecBody,
        query: &ApplyQuery,
    ) -> Result<ApplyReply, Failure> {
        let (media_type, bytes) = match body {
            SpecBody::AsWritten(bytes) => ("application/yaml", bytes),
            SpecBody::Json(text) => ("application/json", text.into_bytes()),
        };
        let mut call = self.call(Method::PUT, &["cattle", name]);
        call.request = call
            .request
            .query(query)
            .header(header::CONTENT_TYPE, media_type)
            .body(bytes);
        self.json(call).await
    }

    /// Asks for nothing but an answer, which tells what time it is there.
    pub(crate) async fn meet(&self) -> Result<(), Failure> {
        let request = self.http.get("http://controller/healthz");
        let call = Call {
            request,
            label: "GET /healthz".to_owned(),
            timeout: Some(CALL_TIMEOUT),
        };
        let answer = self.send(call).await;
        // Whatever it answered, it said what time it is.
        match answer {
            Err(failure) if self.now().is_none() => Err(failure),
            _ => Ok(()),
        }
    }

    /// `GET /v1/cattle`: every page of it, as one.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<CattleList, Failure> {
        let mut query = query.clone();
        let mut whole: Option<CattleList> = None;
        loop {
            let mut call = self.call(Method::GET, &["cattle"]);
            call.request = call.request.query(&query);
            let mut page: CattleList = self.json(call).await?;
            let next = page.next.take();
            match &mut whole {
                None => whole = Some(page),
                Some(whole) => whole.items.append(&mut page.items),
            }
            match (next, whole) {
                // A cursor that does not move would have us ask for ever.
                (Some(next), Some(so_far)) if query.cursor.as_ref() != Some(&next) => {
                    query.cursor = Some(next);
                    whole = Some(so_far);
                }
                (_, Some(all)) => return Ok(all),
                (_, None) => unreachable!("set above"),
            }
        }
    }

    /// `GET /v1/cattle/{name}`.
    pub(crate) async fn status(&self, name: &str) -> Result<CattleStatus, Failure> {
        self.json(self.call(Method::GET, &["cattle", name])).await
    }

    /// `GET /v1/cattle/{name}?waitFor=`: the status when it holds, or as it is after `timeout`.
    pub(crate) async fn wait(
        &self,
        name: &str,
        wait_for: WaitFor,
        timeout: Duration,
    ) -> Result<CattleStatus, Failure> {
        let mut call = self.call(Method::GET, &["cattle", name]);
        call.request = call.request.query(&WaitQuery {
            wait_for: Some(wait_for),
            timeout_seconds: Some(timeout.as_secs().max(1)),
        });
        call.timeout = Some(timeout + LONG_POLL_GRACE);
        self.json(call).await
    }

    /// `DELETE /v1/cattle/{name}`.
    pub(crate) async fn destroy(
        &self,
        name: &str,
        query: &DestroyQuery,
    ) -> Result<DestroyReply, Failure> {
        let mut call = self.call(Method::DELETE, &["cattle", name]);
        call.request = call.request.query(query);
        self.json(call).await
    }

    /// `POST /v1/prune`.
    pub(crate) async fn prune(&self, request: &PruneRequest) -> Result<PruneReply, Failure> {
        self.post(&["prune"], request, None).await
    }

    /// `POST /v1/plan`.
    pub(crate) async fn plan(&self, request: &PlanRequest) -> Result<PlanReply, Failure> {
        self.post(&["plan"], request, None).await
    }

    /// `GET /v1/cost`.
    pub(crate) async fn cost(&self, query: &CostQuery) -> Result<CostReply, Failure> {
        let mut call = self.call(Method::GET, &["cost"]);
        call.request = call.request.query(query);
        self.json(call).await
    }

    /// `GET /v1/cattle/{name}/logs`: the bytes as they come, for as long as they come.
    pub(crate) async fn logs(&self, name: &str, query: &LogsQuery) -> Result<Response, Failure> {
        let mut call = self.call(Method::GET, &["cattle", name, "logs"]);
        call.request = call.request.query(query);
        call.timeout = None;
        Ok(self.send(call).await?.1)
    }

    /// `GET /v1/cattle/{name}/result`.
    pub(crate) async fn result(&self, name: &str) -> Result<ResultReply, Failure> {
        self.json(self.call(Method::GET, &["cattle", name, "result"]))
            .await
    }

    /// `GET /v1/cattle/{name}/events`, or all of the fleet.
    pub(crate) async fn events(&self, name: Option<&str>) -> Result<EventList, Failure> {
        self.json(self.call(Method::GET, &events_path(name))).await
    }

    /// The same, as they happen; from after `last` where it is given.
    pub(crate) async fn event_stream(
        &self,
        name: Option<&str>,
        last: Option<u64>,
    ) -> Result<EventStream, Failure> {
        let mut call = self.call(Method::GET, &events_path(name));
        call.request = call.request.header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            call.request = call.request.header("Last-Event-ID", last);
        }
        call.timeout = None;
        let (label, response) = self.send(call).await?;
        Ok(EventStream::new(label, response))
    }

    /// `POST /v1/cattle/{name}/rerun`.
    pub(crate) async fn rerun(&self, name: &str) -> Result<RerunReply, Failure> {
        self.post(&["cattle", name, "rerun"], &(), None).await
    }

    /// `POST /v1/cattle/{name}/retry`.
    pub(crate) async fn retry(&self, name: &str) -> Result<RetryReply, Failure> {
        self.post(&["cattle", name, "retry"], &(), None).await
    }

    /// `POST /v1/cattle/{name}/extend`.
    pub(crate) async fn extend(
        &self,
        name: &str,
        request: &ExtendRequest,
    ) -> Result<ExtendReply, Failure> {
        self.post(&["cattle", name, "extend"], request, None).await
    }

    /// `POST /v1/reap`.
    pub(crate) async fn reap(&self, request: &ReapRequest) -> Result<ReapReply, Failure> {
        self.post(&["reap"], request, Some(REAP_TIMEOUT)).await
    }

    /// `GET /v1/pauses`.
    pub(crate) async fn pauses(&self) -> Result<PauseList, Failure> {
        self.json(self.call(Method::GET, &["pauses"])).await
    }

    /// `POST /v1/pause`.
    pub(crate) async fn pause(&self, request: &PauseRequest) -> Result<PauseStatus, Failure> {
        self.post(&["pause"], request, None).await
    }

    /// `POST /v1/resume`.
    pub(crate) async fn resume(&self, request: &ResumeRequest) -> Result<ResumeReply, Failure> {
        self.post(&["resume"], request, None).await
    }

    /// `POST /v1/jobs`.
    pub(crate) async fn enqueue(&self, request: &JobRequest) -> Result<Job, Failure> {
        self.post(&["jobs"], request, Some(REAP_TIMEOUT)).await
    }

    /// `GET /v1/jobs`, newest first, at most so many.
    pub(crate) async fn jobs(&self, limit: usize) -> Result<JobList, Failure> {
        let mut items: Vec<Job> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut call = self.call(Method::GET, &["jobs"]);
            call.request = call.request.query(&PageQuery {
                limit: Some(u32::try_from(limit - items.len()).unwrap_or(u32::MAX)),
                cursor: cursor.as_deref(),
            });
            let mut page: JobList = self.json(call).await?;
            items.append(&mut page.items);
            items.truncate(limit);
            let stuck = page.next == cursor;
            cursor = page.next;
            if cursor.is_none() || stuck || items.len() >= limit {
                return Ok(JobList {
                    items,
                    next: cursor,
                });
            }
        }
    }

    /// `GET /v1/jobs/{id}`.
    pub(crate) async fn job(&self, id: &str) -> Result<Job, Failure> {
        self.json(self.call(Method::GET, &["jobs", id])).await
    }

    /// `GET /v1/jobs/{id}?waitFor=ended`.
    pub(crate) async fn wait_job(&self, id: &str, timeout: Duration) -> Result<Job, Failure> {
        let mut call = self.call(Method::GET, &["jobs", id]);
        call.request = call.request.query(&WaitQuery {
            wait_for: Some(WaitFor::Ended),
            timeout_seconds: Some(timeout.as_secs().max(1)),
        });
        call.timeout = Some(timeout + LONG_POLL_GRACE);
        self.json(call).await
    }

    /// `POST /v1/jobs/{id}/cancel`.
    pub(crate) async fn cancel_job(&self, id: &str) -> Result<Job, Failure> {
        self.post(&["jobs", id, "cancel"], &(), None).await
    }

    async fn post<B: Serialize, T: serde::de::DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &B,
        timeout: Option<Duration>,
    ) -> Result<T, Failure> {
        let mut call = self.call(Method::POST, segments);
        call.request = call.request.header("Idempotency-Key", idempotency_key()?);
        // `()` stands for no body at all.
        if std::mem::size_of::<B>() > 0 {
            call.request = call.request.json(body);
        }
        call.timeout = timeout.or(call.timeout);
        self.json(call).await
    }
}

fn events_path(name: Option<&str>) -> Vec<&str> {
    match name {
        Some(name) => vec!["cattle", name, "events"],
        None => vec!["events"],
    }
}
