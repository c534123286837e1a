//! Every route, once: the router and the OpenAPI document are both made from this table.

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
    routing::{MethodFilter, MethodRouter, on},
};
use cattle_schemas::{
    api::{self as wire, MAX_SPEC_BYTES},
    job::{Job, JobList, JobRequest},
    pause::{PauseList, PauseRequest, PauseStatus, ResumeReply, ResumeRequest},
    problem::ErrorCode,
    status::{CattleStatus, ControllerStatus},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    Api, ApiError, apply, cost, destroy, events, guard, health, jobs, limits, logs, openapi,
    pauses, plan, prune, read, reap, rerun, result, retry,
};

/// The longest JSON body: a job carries one spec, a plan several.
pub(super) const MAX_JSON_BYTES: usize = 16 * MAX_SPEC_BYTES;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Whoever can open the socket; a bot for what is its own.
    Everyone,
    /// Operators.
    Operators,
}

/// What an answer may wait for, and so how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// A pass at most.
    Pass,
    /// Calls to Hetzner.
    Hetzner,
    /// As long as the query says.
    Poll,
    /// The answer may stay open.
    Stream,
}

/// A schema, made when the document is.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// No body.
    Nothing,
    /// A spec file, YAML or JSON.
    Spec,
    /// JSON.
    Json(Shape),
    /// JSON, or nothing.
    MaybeJson(Shape),
}

/// What an answer carries.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    /// JSON.
    Json(Shape),
    /// JSON, or server-sent events when they are asked for.
    Events(Shape),
    /// Bytes of this media type.
    Bytes(&'static str),
    /// Any JSON.
    AnyJson,
}

/// One route.
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    /// The OpenAPI `operationId`.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) waits: Waits,
    /// Whether `Idempotency-Key` is honoured.
    pub(super) once: bool,
    pub(super) query: Option<Shape>,
    pub(super) takes: Takes,
    pub(super) gives: Gives,
    /// What may go wrong besides what may go wrong everywhere.
    pub(super) problems: &'static [ErrorCode],
    pub(super) handler: fn(MethodFilter) -> MethodRouter<Api>,
}

/// A named schema.
fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A schema in place: queries are taken apart into parameters.
fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// What most routes are like.
const GET: Route = Route {
    verb: Verb::Get,
    path: "",
    id: "",
    summary: "",
    access: Access::Everyone,
    waits: Waits::Pass,
    once: false,
    query: None,
    takes: Takes::Nothing,
    gives: Gives::AnyJson,
    problems: &[],
    handler: |_| MethodRouter::new(),
};

const POST: Route = Route {
    verb: Verb::Post,
    once: true,
    ..GET
};

const NAMED: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Ambiguous];

/// Every route.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/v1/cattle",
        id: "listCattle",
        summary: "All cattle that the caller may see, by name, in pages",
        query: Some(inline::<wire::ListQuery>),
        gives: Gives::Json(of::<wire::CattleList>),
        handler: |m| on(m, read::list),
        ..GET
    },
    Route {
        path: "/v1/cattle/{name}",
        id: "getCattle",
        summary: "One cattle, by its name, a run (prefix), or a server's id or name; may wait for a phase",
        waits: Waits::Poll,
        query: Some(inline::<wire::WaitQuery>),
        gives: Gives::Json(of::<CattleStatus>),
        problems: NAMED,
        handler: |m| on(m, read::one),
        ..GET
    },
    Route {
        verb: Verb::Put,
        path: "/v1/cattle/{name}",
        id: "applyCattle",
        summary: "Make the spec of this name what the body says",
        query: Some(inline::<wire::ApplyQuery>),
        takes: Takes::Spec,
        gives: Gives::Json(of::<wire::ApplyReply>),
        problems: &[
            ErrorCode::SpecInvalid,
            ErrorCode::NameTaken,
            ErrorCode::LimitReached,
            ErrorCode::PreconditionFailed,
            ErrorCode::TooLarge,
        ],
        handler: |m| on(m, apply::put),
        ..GET
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/cattle/{name}",
        id: "destroyCattle",
        summary: "End the live run, or a pending cattle before it starts; a spec that the socket wrote is removed",
        query: Some(inline::<wire::DestroyQuery>),
        gives: Gives::Json(of::<wire::DestroyReply>),
        problems: NAMED,
        handler: |m| on(m, destroy::delete),
        ..GET
    },
    Route {
        path: "/v1/cattle/{name}/logs",
        id: "getLogs",
        summary: "What a run's task printed, as untrusted bytes; may be followed until the run is over",
        waits: Waits::Stream,
        query: Some(inline::<wire::LogsQuery>),
        gives: Gives::Bytes("text/plain"),
        problems: NAMED,
        handler: |m| on(m, logs::get),
        ..GET
    },
    Route {
        path: "/v1/cattle/{name}/result",
        id: "getResult",
        summary: "What the latest run's task handed over",
        gives: Gives::Json(of::<wire::ResultReply>),
        problems: &[
            ErrorCode::NotFound,
            ErrorCode::Ambiguous,
            ErrorCode::NoResult,
        ],
        handler: |m| on(m, result::get),
        ..GET
    },
    Route {
        path: "/v1/cattle/{name}/events",
        id: "getCattleEvents",
        summary: "What happened to one cattle; with `Accept: text/event-stream` as it happens",
        waits: Waits::Stream,
        query: Some(inline::<wire::EventsQuery>),
        gives: Gives::Events(of::<wire::EventList>),
        problems: NAMED,
        handler: |m| on(m, events::of_one),
        ..GET
    },
    Route {
        path: "/v1/cattle/{name}/rerun",
        id: "rerunCattle",
        summary: "Queue an ended cattle again",
        gives: Gives::Json(of::<wire::RerunReply>),
        problems: &[
            ErrorCode::NotFound,
            ErrorCode::Ambiguous,
            ErrorCode::WrongPhase,
        ],
        handler: |m| on(m, rerun::rerun),
        ..POST
    },
    Route {
        path: "/v1/cattle/{name}/retry",
        id: "retryCattle",
        summary: "Look at once at what a pending cattle waits for, once its cause is mended",
        gives: Gives::Json(of::<wire::RetryReply>),
        problems: &[
            ErrorCode::NotFound,
            ErrorCode::Ambiguous,
            ErrorCode::WrongPhase,
        ],
        handler: |m| on(m, retry::retry),
        ..POST
    },
    Route {
        path: "/v1/cattle/{name}/extend",
        id: "extendCattle",
        summary: "Give the live run more time, up to `maxTtl`",
        takes: Takes::Json(of::<wire::ExtendRequest>),
        gives: Gives::Json(of::<wire::ExtendReply>),
        problems: &[
            ErrorCode::NotFound,
            ErrorCode::Ambiguous,
            ErrorCode::WrongPhase,
            ErrorCode::LimitReached,
        ],
        handler: |m| on(m, rerun::extend),
        ..POST
    },
    Route {
        path: "/v1/events",
        id: "getEvents",
        summary: "What happened; with `Accept: text/event-stream` as it happens",
        waits: Waits::Stream,
        query: Some(inline::<wire::EventsQuery>),
        gives: Gives::Events(of::<wire::EventList>),
        handler: |m| on(m, events::of_all),
        ..GET
    },
    Route {
        path: "/v1/plan",
        id: "plan",
        summary: "What the next pass would do, as if these files were applied too; changes nothing",
        once: false,
        takes: Takes::MaybeJson(of::<wire::PlanRequest>),
        gives: Gives::Json(of::<wire::PlanReply>),
        problems: &[ErrorCode::TooLarge],
        handler: |m| on(m, plan::post),
        ..POST
    },
    Route {
        path: "/v1/prune",
        id: "prune",
        summary: "Remove specs that the caller applied from a directory and that it has no longer; too many ends at once are held back",
        takes: Takes::Json(of::<wire::PruneRequest>),
        gives: Gives::Json(of::<wire::PruneReply>),
        problems: &[ErrorCode::TooLarge],
        handler: |m| on(m, prune::post),
        ..POST
    },
    Route {
        path: "/v1/reap",
        id: "reap",
        summary: "Delete servers that are past their expiry",
        access: Access::Operators,
        waits: Waits::Hetzner,
        takes: Takes::MaybeJson(of::<wire::ReapRequest>),
        gives: Gives::Json(of::<wire::ReapReply>),
        problems: &[ErrorCode::Hetzner],
        handler: |m| on(m, reap::post),
        ..POST
    },
    Route {
        path: "/v1/resume",
        id: "resume",
        summary: "End a pause; one that shows a list by that list's digest",
        access: Access::Operators,
        takes: Takes::MaybeJson(of::<ResumeRequest>),
        gives: Gives::Json(of::<ResumeReply>),
        problems: &[ErrorCode::Changed, ErrorCode::ConfirmNeeded],
        handler: |m| on(m, pauses::resume),
        ..POST
    },
    Route {
        path: "/v1/pause",
        id: "pause",
        summary: "Start nothing, or end nothing because of spec files, until `resume`",
        access: Access::Operators,
        takes: Takes::Json(of::<PauseRequest>),
        gives: Gives::Json(of::<PauseStatus>),
        problems: &[ErrorCode::Changed],
        handler: |m| on(m, pauses::pause),
        ..POST
    },
    Route {
        path: "/v1/pauses",
        id: "listPauses",
        summary: "What is paused and why, with what is held back and the command that ends it",
        access: Access::Operators,
        gives: Gives::Json(of::<PauseList>),
        handler: |m| on(m, pauses::list),
        ..GET
    },
    Route {
        path: "/v1/cost",
        id: "getCost",
        summary: "What servers cost, by fleet, persona or day; a bot is told of its own",
        query: Some(inline::<wire::CostQuery>),
        gives: Gives::Json(of::<wire::CostReply>),
        handler: |m| on(m, cost::get),
        ..GET
    },
    Route {
        path: "/v1/limits",
        id: "getLimits",
        summary: "What bounds the fleet and the caller, used and left",
        gives: Gives::Json(of::<wire::Limits>),
        handler: |m| on(m, limits::get),
        ..GET
    },
    Route {
        path: "/v1/jobs",
        id: "enqueueJob",
        summary: "Record a request and carry it out",
        waits: Waits::Hetzner,
        takes: Takes::Json(of::<JobRequest>),
        gives: Gives::Json(of::<Job>),
        problems: &[
            ErrorCode::SpecInvalid,
            ErrorCode::NameTaken,
            ErrorCode::LimitReached,
            ErrorCode::Hetzner,
        ],
        handler: |m| on(m, jobs::enqueue),
        ..POST
    },
    Route {
        path: "/v1/jobs",
        id: "listJobs",
        summary: "The caller's jobs, newest first, in pages; an operator sees everyone's",
        query: Some(inline::<wire::PageQuery>),
        gives: Gives::Json(of::<JobList>),
        handler: |m| on(m, jobs::list),
        ..GET
    },
    Route {
        path: "/v1/jobs/{id}",
        id: "getJob",
        summary: "One job; may wait for its end",
        waits: Waits::Poll,
        query: Some(inline::<wire::WaitQuery>),
        gives: Gives::Json(of::<Job>),
        problems: &[ErrorCode::NotFound],
        handler: |m| on(m, jobs::one),
        ..GET
    },
    Route {
        path: "/v1/jobs/{id}/cancel",
        id: "cancelJob",
        summary: "End a job's cattle",
        gives: Gives::Json(of::<Job>),
        problems: &[ErrorCode::NotFound],
        handler: |m| on(m, jobs::cancel),
        ..POST
    },
    Route {
        path: "/healthz",
        id: "healthz",
        summary: "Whether the process answers",
        gives: Gives::Bytes("text/plain"),
        handler: |m| on(m, health::alive),
        ..GET
    },
    Route {
        path: "/readyz",
        id: "readyz",
        summary: "Whether the first pass and the first list of servers are done, and the conditions",
        gives: Gives::Json(of::<ControllerStatus>),
        problems: &[ErrorCode::Unavailable],
        handler: |m| on(m, health::ready),
        ..GET
    },
    Route {
        path: "/metrics",
        id: "metrics",
        summary: "Metrics in Prometheus' text format",
        gives: Gives::Bytes("text/plain; version=0.0.4"),
        problems: &[ErrorCode::Unavailable],
        handler: |m| on(m, health::metrics),
        ..GET
    },
    Route {
        path: "/openapi.json",
        id: "openapi",
        summary: "This document",
        handler: |m| on(m, openapi::get),
        ..GET
    },
];

/// The router of all routes.
pub(super) fn router(api: Api) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let guarded = axum::middleware::from_fn_with_state((api.clone(), route), guard::guard);
        let handler = (route.handler)(route.verb.filter()).layer(guarded);
        router = router.route(route.path, handler);
    }
    router
        .fallback(async |uri: axum::http::Uri| {
            let shown: String = uri.path().chars().take(100).collect();
            ApiError::new(
                ErrorCode::NoSuchRoute,
                format!("the API has no path `{shown}`"),
            )
        })
        .method_not_allowed_fallback(async |method: axum::http::Method| {
            ApiError::new(
                ErrorCode::MethodNotAllowed,
                format!("this path does not know {method}"),
            )
        })
        .layer(axum::middleware::map_response_with_state(api.clone(), date))
        .with_state(api)
}

/// Every answer has the time that everything is judged by: who asks reckons ages and expiries from it,
/// whatever its own clock says.
async fn date(State(api): State<Api>, mut response: Response) -> Response {
    let now = (api.now)().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(now) = HeaderValue::try_from(now) {
        response.headers_mut().insert(header::DATE, now);
    }
    response
}
