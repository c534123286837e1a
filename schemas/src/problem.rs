//! Errors on the socket: RFC 9457 problem+json with stable codes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The media type.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Stable codes; programs match on these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// 400: the request itself cannot be read.
    BadRequest,
    /// 422: the spec does not parse or validate; `errors` has every place.
    SpecInvalid,
    /// 403: only operators may do this, or it is somebody else's run.
    Forbidden,
    /// 404: no cattle, run, server or job goes by that name.
    NotFound,
    /// 404: the API has no such path.
    NoSuchRoute,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 409: the name lives in another directory, or belongs to somebody else.
    NameTaken,
    /// 409: a prefix or name fits several.
    Ambiguous,
    /// 409: the run is in the wrong phase for this.
    WrongPhase,
    /// 409: the idempotency key was used with another request.
    IdempotencyConflict,
    /// 409: what was confirmed is not what would happen now.
    Changed,
    /// 409: say which, or confirm what is shown.
    ConfirmNeeded,
    /// 412: `If-Match` does not match.
    PreconditionFailed,
    /// 413: the body is larger than allowed.
    TooLarge,
    /// 409: `maxInstances` or another limit of the fleet is reached.
    LimitReached,
    /// 429: too many requests from this peer.
    TooManyRequests,
    /// 404: the run left no result, or it is past its retention.
    NoResult,
    /// 503: not ready yet, or shutting down.
    Unavailable,
    /// 507: the state directory has no room.
    StorageFull,
    /// 502: Hetzner refused or did not answer.
    Hetzner,
    /// 500: a defect of the controller.
    Internal,
}

/// One located error or warning of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// The file as it was named to us.
    pub path: String,
    /// From 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// From 1, in characters; 0 where the file as a whole is meant.
    pub column: u32,
    /// The cause.
    pub message: String,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `about:blank`: `code` is what tells problems apart.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// A short sentence that is the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This problem, in a sentence.
    pub detail: String,
    /// The stable code.
    pub code: ErrorCode,
    /// Every located error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Diagnostic>,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl ErrorCode {
    /// The HTTP status and the title that go with it.
    #[must_use]
    pub fn status_and_title(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "The request cannot be read"),
            Self::SpecInvalid => (422, "The spec is not valid"),
            Self::Forbidden => (403, "Not allowed"),
            Self::NotFound => (404, "Not found"),
            Self::NoSuchRoute => (404, "No such path"),
            Self::MethodNotAllowed => (405, "Method not allowed"),
            Self::NameTaken => (409, "The name is taken"),
            Self::Ambiguous => (409, "The name is ambiguous"),
            Self::WrongPhase => (409, "Not possible in this phase"),
            Self::IdempotencyConflict => (409, "The idempotency key was used for another request"),
            Self::Changed => (409, "The situation has changed"),
            Self::ConfirmNeeded => (409, "A confirmation is needed"),
            Self::PreconditionFailed => (412, "The precondition does not hold"),
            Self::TooLarge => (413, "The body is too large"),
            Self::LimitReached => (409, "A limit is reached"),
            Self::TooManyRequests => (429, "Too many requests"),
            Self::NoResult => (404, "There is no result"),
            Self::Unavailable => (503, "Not available right now"),
            Self::StorageFull => (507, "The state directory is full"),
            Self::Hetzner => (502, "Hetzner did not do it"),
            Self::Internal => (500, "The controller failed"),
        }
    }
}

impl Problem {
    /// A problem of this code, with this detail.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let (status, title) = code.status_and_title();
        Self {
            kind: about_blank(),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code,
            errors: Vec::new(),
            retryable: matches!(
                code,
                ErrorCode::TooManyRequests
                    | ErrorCode::Unavailable
                    | ErrorCode::Hetzner
                    | ErrorCode::StorageFull
                    | ErrorCode::LimitReached
            ),
            retry_after_seconds: None,
        }
    }
}
