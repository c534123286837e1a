//! Reading requests: strict queries, capped bodies, and problems for whatever does not fit.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Path, Query, rejection::PathRejection},
    http::request::Parts,
};
use cattle_schemas::problem::ErrorCode;
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// A query in which every key is known (the types deny unknown fields) and none is repeated.
pub(super) struct Strict<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Strict<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let cause = text
                    .rsplit_once("query string: ")
                    .map_or(text.as_str(), |(_, rest)| rest);
                Err(ApiError::new(
                    ErrorCode::BadRequest,
                    format!("the query does not fit: {cause}"),
                ))
            }
        }
    }
}

/// The part of the path in braces.
pub(super) struct Named(pub(super) String);

/// The longest name that is looked up: longer than a server's name (63) or a run (26).
const MAX_LOOKUP: usize = 80;

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        match path {
            Ok(Path(name)) if name.len() <= MAX_LOOKUP => Ok(Self(name)),
            Ok(_) => Err(ApiError::new(
                ErrorCode::BadRequest,
                format!("a name in the path has at most {MAX_LOOKUP} bytes"),
            )),
            Err(rejection) => Err(ApiError::new(ErrorCode::BadRequest, rejection.body_text())),
        }
    }
}

/// A body of at most `limit` bytes.
pub(super) async fn read_body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let too_large = std::iter::successors(
            Some(&error as &(dyn std::error::Error + 'static)),
            |error| error.source(),
        )
        .any(|error| error.to_string().contains("length limit exceeded"));
        if too_large {
            ApiError::new(
                ErrorCode::TooLarge,
                format!("the body is longer than {limit} bytes"),
            )
        } else {
            ApiError::new(ErrorCode::BadRequest, "the body broke off")
        }
    })
}

/// A body as JSON; nothing at all stands for the default where there is one.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::new(
            ErrorCode::BadRequest,
            format!("the body does not fit: {error}"),
        )
    })
}

/// Likewise, and an empty body is the default.
pub(super) fn json_or_default<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    json(bytes)
}
