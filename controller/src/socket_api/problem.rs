//! Every error that leaves the socket: RFC 9457 problem+json with a stable code.
//!
//! Invariant: a problem's detail is ours or the caller's own words. What goes wrong inside (a query,
//! a path of ours) is logged with its causes and named here in general terms.

use std::error::Error;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cattle_core::writable::Writable;
use cattle_schemas::problem::{Diagnostic, ErrorCode, PROBLEM_JSON, Problem};

use crate::{store::StoreError, world::Stopped};

/// Seconds after which a ledger that is locked is worth another try: a backup's moments.
const LOCKED_FOR: u64 = 5;
/// And a full disk: somebody must make room.
const FULL_FOR: u64 = 30;

/// A problem on its way out.
#[derive(Debug)]
pub struct ApiError(Box<Problem>);

impl ApiError {
    /// A problem of this code, with this detail.
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// With every located error.
    pub(super) fn with_errors(mut self, errors: Vec<Diagnostic>) -> Self {
        self.0.errors = errors;
        self
    }

    /// The same request may succeed after so long.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retryable = true;
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// The same request will not succeed later, although others of its code may.
    pub(super) fn not_retryable(mut self) -> Self {
        self.0.retryable = false;
        self
    }

    /// Something failed that the caller can do nothing about; the causes go to the log.
    pub(super) fn internal(what: &str, error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "{what}");
        Self::new(
            ErrorCode::Internal,
            format!("{what}; the controller's log says why"),
        )
    }

    /// The state directory has no room for what was asked; nothing was changed.
    pub(super) fn full() -> Self {
        let detail = "the controller's state directory has no room, and nothing was changed: free some space on its file system, or destroy what is not needed; what runs goes on, and can be ended";
        Self::new(ErrorCode::StorageFull, detail).retry_after(FULL_FOR)
    }

    /// There is no such thing, or none that the caller may see: both answer the same.
    pub(super) fn not_found(what: &str, name: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("no {what} goes by `{name}`"))
    }

    /// The body.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Full { .. } => {
                tracing::error!(error = %chain(&error), "the state directory is full");
                Self::full()
            }
            StoreError::Locked { .. } => {
                tracing::error!(error = %chain(&error), "the ledger is locked");
                Self::new(
                    ErrorCode::Unavailable,
                    Writable::Locked.complaint().unwrap_or_default(),
                )
                .retry_after(LOCKED_FOR)
            }
            _ => Self::internal("the ledger failed", &error),
        }
    }
}

impl From<Stopped> for ApiError {
    fn from(stopped: Stopped) -> Self {
        Self::new(ErrorCode::Unavailable, stopped.to_string()).retry_after(5)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A struct of texts and numbers always serializes.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
