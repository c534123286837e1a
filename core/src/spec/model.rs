//! Model names: `provider/model`.

use super::{
    decode::At,
    findings::{Findings, quoted},
};

/// The longest model name; the longest known ones have about 60 characters.
const MAX_MODEL: usize = 200;

/// Whether a provider may go by this name.
pub(crate) fn is_provider(text: &str) -> bool {
    let inner =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= MAX_MODEL
        && text.bytes().all(inner)
}

/// Whether this is `provider/model`; the model's own name may hold further slashes.
pub(crate) fn is_model(text: &str) -> bool {
    text.len() <= MAX_MODEL
        && text.split_once('/').is_some_and(|(provider, name)| {
            is_provider(provider) && !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
        })
}

/// A model as a file has it.
pub(crate) fn check(text: &At<String>, field: &str, findings: &mut Findings) -> Option<String> {
    if is_model(&text.value) {
        return Some(text.value.clone());
    }
    findings.error_hint(
        text.place,
        format!("`{field}`: `{}` is not a model", quoted(&text.value)),
        "write `provider/model`, as in `zai/glm-4.7`",
    );
    None
}
