//! What a spec or a fleet may have as a label.

use std::collections::BTreeMap;

use super::{
    MANAGED_BY, MAX_KEY_PREFIX, MAX_LABEL, MAX_LABELS, MAX_SPEC_KEY, RESERVED, RESERVED_PREFIXES,
    key,
};

/// Why a label of a spec or a fleet is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Characters, ends or length of a key.
    #[error(
        "`{text}` is not a label key: 1 to {max} of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric"
    )]
    Key {
        /// As it was written, cut.
        text: String,
        /// How long it may be here: a spec's keys get a prefix.
        max: usize,
    },
    /// Characters, ends or length of a value.
    #[error(
        "`{0}` is not a label value: at most 63 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric"
    )]
    Value(String),
    /// One of the keys that we write.
    #[error("label key `{0}` is reserved")]
    Reserved(String),
    /// A prefix of keys that we or others write.
    #[error("label keys beginning with `{0}` are reserved")]
    ReservedPrefix(&'static str),
    /// More than [`MAX_LABELS`].
    #[error("{0} labels: at most {MAX_LABELS} are allowed")]
    TooMany(usize),
}

/// At most this much of a refused text is repeated in an error.
const MAX_SHOWN: usize = 80;

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

fn key_error(name: &str, max: usize) -> LabelError {
    LabelError::Key {
        text: shown(name),
        max,
    }
}

pub(super) fn is_segment(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= MAX_LABEL
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether a text may be a label's value.
///
/// # Errors
/// [`LabelError::Value`].
pub fn check_value(text: &str) -> Result<(), LabelError> {
    if text.is_empty() || is_segment(text) {
        Ok(())
    } else {
        Err(LabelError::Value(shown(text)))
    }
}

/// Whether a spec may have this label. Its key gets the prefix `spec.`, which counts towards the
/// length.
///
/// # Errors
/// A reserved or malformed key, or a malformed value.
pub fn check_spec_label(name: &str, value: &str) -> Result<(), LabelError> {
    check_reserved(name)?;
    if !is_segment(name) || name.len() > MAX_SPEC_KEY {
        return Err(key_error(name, MAX_SPEC_KEY));
    }
    check_value(value)
}

/// Whether a fleet may have this label. `managed-by: clawdlets` says what we write anyway.
///
/// # Errors
/// A reserved or malformed key, or a malformed value.
pub fn check_fleet_label(name: &str, value: &str) -> Result<(), LabelError> {
    if name == key::MANAGED_BY && value == MANAGED_BY {
        return Ok(());
    }
    check_reserved(name)?;
    check_key(name)?;
    check_value(value)
}

/// Whether a text may be a label's key at all, whoever writes it.
///
/// # Errors
/// [`LabelError::Key`].
pub fn check_key(name: &str) -> Result<(), LabelError> {
    let segment = match name.split_once('/') {
        None => name,
        Some((prefix, rest)) if prefix.len() <= MAX_KEY_PREFIX && is_dns(prefix) => rest,
        Some(_) => return Err(key_error(name, MAX_LABEL)),
    };
    if is_segment(segment) {
        Ok(())
    } else {
        Err(key_error(name, MAX_LABEL))
    }
}

/// Whether there are too many.
///
/// # Errors
/// [`LabelError::TooMany`].
pub fn check_count(labels: &BTreeMap<String, String>) -> Result<(), LabelError> {
    if labels.len() > MAX_LABELS {
        return Err(LabelError::TooMany(labels.len()));
    }
    Ok(())
}

fn is_dns(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && part.len() <= MAX_LABEL
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn check_reserved(name: &str) -> Result<(), LabelError> {
    if RESERVED.contains(&name) {
        return Err(LabelError::Reserved(name.to_owned()));
    }
    match RESERVED_PREFIXES
        .into_iter()
        .find(|prefix| name.starts_with(prefix))
    {
        Some(prefix) => Err(LabelError::ReservedPrefix(prefix)),
        None => Ok(()),
    }
}
