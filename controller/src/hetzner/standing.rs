//! What an exchange says of the token.

use cattle_core::account::{Heard, Refusal};

use super::{
    error::{ApiError, Kind},
    table::Code,
    transport::Reply,
};

/// What there is to learn; `None` where whoever answered did not look at the token.
pub(super) fn heard(writes: bool, result: &Result<Reply, ApiError>) -> Option<Heard> {
    let error = match result {
        Ok(_) if writes => return Some(Heard::Written),
        Ok(_) => return Some(Heard::Read),
        Err(error) => error,
    };
    if error.is_credentials() {
        let why = match error.code() {
            Some(Code::TokenReadonly) => Refusal::ReadOnly,
            _ => Refusal::Unauthorized,
        };
        // The correlation id is another one each time: a condition would never come to rest.
        return Some(Heard::Refused(why, error.cause()));
    }
    // The rate limit counts calls of strangers too, and what fails may fail before it looks.
    let looked = matches!(error.kind, Kind::Refused(_))
        && matches!(error.status, Some(400..=499))
        && error.status != Some(429);
    looked.then_some(Heard::Read)
}
