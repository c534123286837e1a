//! A call and its answer as plain values, so that the state machine needs no sockets.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ApiError;

/// One API call. The path begins after the host: `/v1/servers/42`.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Decoded, in order; keys repeat.
    pub query: Vec<(String, String)>,
    /// What followed `Bearer `, if anything did.
    pub bearer: Option<String>,
    /// As sent.
    pub body: Vec<u8>,
}

impl Request {
    /// A call without a body, with a token.
    #[must_use]
    pub fn new(method: &str, path_and_query: &str) -> Self {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            bearer: Some("token".to_owned()),
            body: Vec::new(),
        }
    }

    /// The same call with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    /// The first value of a query key; an empty value counts as none, as it does in the API.
    pub(crate) fn param(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(k, v)| k == key && !v.is_empty())
            .map(|(_, v)| v.as_str())
    }

    /// All values of a repeated query key.
    pub(crate) fn params<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query
            .iter()
            .filter(move |(k, v)| k == key && !v.is_empty())
            .map(|(_, v)| v.as_str())
    }

    /// Decodes the body: 400 when it is not JSON, 422 when it is the wrong JSON.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            if error.is_data() {
                ApiError::refused(format!("invalid input: {error}"))
            } else {
                ApiError::json_error(format!("unable to parse JSON: {error}"))
            }
        })
    }

    /// As [`Self::parse`], for calls whose body may be left out.
    pub(crate) fn parse_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            Ok(T::default())
        } else {
            self.parse()
        }
    }
}

/// What goes back, and how.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Everything but `Content-Type`, which follows from the body.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
    /// Whether the reply arrives whole, late, in part or not at all.
    pub delivery: Delivery,
    /// Not of the shape that the API has today, on purpose: a fault rule, the control API or
    /// [`legacy_deprecated`](crate::Config::legacy_deprecated) made it so.
    pub odd: bool,
    /// Whose answer it is, as in the call log: `create_server`, `list_images`, ….
    pub operation: String,
}

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Json(body),
            delivery: Delivery::Whole,
            odd: false,
            operation: String::new(),
        }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn created(body: Value) -> Self {
        Self::json(201, body)
    }

    pub(crate) fn empty() -> Self {
        Self {
            status: 204,
            headers: Vec::new(),
            body: Body::Empty,
            delivery: Delivery::Whole,
            odd: false,
            operation: String::new(),
        }
    }

    pub(crate) fn raw(status: u16, content_type: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Raw {
                content_type,
                bytes: bytes.into(),
            },
            delivery: Delivery::Whole,
            odd: false,
            operation: String::new(),
        }
    }

    /// The JSON body; `null` when there is none.
    #[must_use]
    pub fn value(&self) -> &Value {
        match &self.body {
            Body::Json(value) => value,
            Body::Empty | Body::Raw { .. } => &Value::Null,
        }
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Self::json(error.status, error.body())
    }
}

/// A reply's body.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing, as with 204.
    Empty,
    /// The usual.
    Json(Value),
    /// What a gateway in front of the API might say.
    Raw {
        /// Its media type.
        content_type: &'static str,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// How the reply travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At once and whole.
    Whole,
    /// Whole, but late.
    Late(Duration),
    /// The connection closes without a byte of reply.
    Cut,
    /// Nothing for this long, then the connection closes.
    Hang(Duration),
    /// The head announces the whole body; half of it arrives, then the connection closes.
    Half,
}
