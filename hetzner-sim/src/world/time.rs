//! How the API writes moments.

use chrono::{DateTime, SecondsFormat, Utc};

/// Whole seconds and `Z`, as in bodies.
pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// As in the `Date` header (RFC 9110).
pub(crate) fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
