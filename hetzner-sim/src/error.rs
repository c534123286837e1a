//! The API's error replies, worded and coded as Hetzner does.

use serde_json::{Value, json};

/// An error reply: `{"error": {"code", "message", "details"}}` and its HTTP status.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Stable machine-readable code.
    pub code: String,
    /// Text for people.
    pub message: String,
    /// Code-specific; `null` for most.
    pub details: Value,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            details: Value::Null,
        }
    }

    fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The body as sent.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {"code": self.code, "message": self.message, "details": self.details}})
    }

    /// 422 for one field, with the message repeated in `details` as the API does.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(
            422,
            "invalid_input",
            format!("invalid input in field '{field}'"),
        )
        .with(json!({"fields": [{"name": field, "messages": [message]}]}))
    }

    /// 422 whose message stands on its own; so the stock-like refusals arrive.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(422, "invalid_input", message).with(json!({"fields": []}))
    }

    pub(crate) fn json_error(message: impl Into<String>) -> Self {
        Self::new(400, "json_error", message)
    }

    /// The same words for a missing, mistyped and revoked token.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "unable to authenticate")
    }

    pub(crate) fn token_readonly() -> Self {
        Self::new(
            401,
            "token_readonly",
            "the token is only allowed to perform GET requests",
        )
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(
            403,
            "forbidden",
            "insufficient permissions for this request",
        )
    }

    pub(crate) fn quota(limit: &str, message: &str) -> Self {
        Self::new(403, "resource_limit_exceeded", message)
            .with(json!({"limits": [{"name": limit}]}))
    }

    pub(crate) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(404, "not_found", format!("{what} with ID '{id}' not found"))
    }

    pub(crate) fn no_route() -> Self {
        Self::new(404, "not_found", "resource not found")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "method_not_allowed", "method not allowed")
    }

    /// `details` is `{}`: so it was recorded live for a server's name.
    pub(crate) fn name_taken(message: &str) -> Self {
        Self::new(409, "uniqueness_error", message).with(json!({}))
    }

    pub(crate) fn gone(announcement: &str) -> Self {
        Self::new(
            410,
            "deprecated_api_endpoint",
            "this API endpoint has been removed",
        )
        .with(json!({"announcement": announcement}))
    }

    pub(crate) fn unavailable(message: &str) -> Self {
        Self::new(412, "resource_unavailable", message).with(json!({}))
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(422, "unsupported_error", message)
    }

    pub(crate) fn locked() -> Self {
        Self::new(
            423,
            "locked",
            "cannot perform operation because resource is locked",
        )
        .with(json!({}))
    }

    pub(crate) fn not_stopped() -> Self {
        Self::new(422, "server_not_stopped", "server is not stopped")
    }

    pub(crate) fn protected(what: &str) -> Self {
        Self::new(423, "protected", format!("{what} deletion is protected"))
    }

    pub(crate) fn rate_limited(limit: u32) -> Self {
        Self::new(
            429,
            "rate_limit_exceeded",
            format!("limit of {limit} requests per hour reached"),
        )
    }
}
