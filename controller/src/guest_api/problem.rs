//! Refusals, as problem+json: a stable code, a sentence, and never a secret.

use axum::{
    Json,
    extract::rejection::BytesRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cattle_schemas::problem::{ErrorCode, PROBLEM_JSON, Problem};

use crate::store::StoreError;

/// A guest waits this long before it asks again for what an operator must mend.
const RETRY_AFTER_SECONDS: u64 = 10;

/// A call that is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    problem: Box<Problem>,
    ledger_failed: bool,
}

/// On a response: what the guest said could not be taken in, for the ledger's sake.
#[derive(Clone, Copy, Debug)]
pub(super) struct LedgerFailed;

pub(super) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let mut problem = Problem::new(code, detail);
        if problem.retryable {
            problem.retry_after_seconds = Some(RETRY_AFTER_SECONDS);
        }
        Self {
            problem: Box::new(problem),
            ledger_failed: false,
        }
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, detail)
    }

    /// 410: nothing follows for this run; the guest has nobody to hand over to.
    pub(super) fn gone() -> Self {
        let mut refusal = Self::new(ErrorCode::WrongPhase, "the run is over");
        refusal.problem.status = StatusCode::GONE.as_u16();
        refusal
    }

    /// The guest may come again after so many seconds.
    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.problem.retryable = true;
        self.problem.retry_after_seconds = Some(seconds);
        self
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a guest's call failed"
        );
        let refusal = match error {
            StoreError::Full { .. } => Self::new(ErrorCode::StorageFull, "the ledger has no room"),
            _ => Self::new(
                ErrorCode::Unavailable,
                "the ledger cannot be used right now",
            ),
        };
        Self {
            ledger_failed: true,
            ..refusal
        }
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                ErrorCode::TooLarge,
                "the body is larger than this call allows",
            ),
            _ => Self::new(ErrorCode::BadRequest, "the body could not be read"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.problem.retry_after_seconds;
        let mut response = (status, Json(*self.problem)).into_response();
        if self.ledger_failed {
            response.extensions_mut().insert(LedgerFailed);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
