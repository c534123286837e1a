//! What may be written as a label, in specs and in the fleet's configuration.

use super::{
    decode::{At, Findings, quoted},
    tree::Key,
};

/// Hetzner's longest label name and value.
const MAX_LABEL: usize = 63;

/// In front of a spec's keys on the server.
pub const SPEC_PREFIX: &str = "spec.";

/// Keys that are ours.
pub const RESERVED: &[&str] = &[
    "managed-by",
    "cattle",
    "fleet",
    "cattle-name",
    "run",
    "persona",
    "task-id",
    "created-at",
    "expires-at",
    "spec-hash",
];

/// What `managed-by` says on every server of ours.
const MANAGED_BY: &str = "clawdlets";

/// Ascii alphanumerics and `._-`, first and last alphanumeric.
fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    bytes.iter().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

fn check(key: &Key, value: &At<String>, max_key: usize, findings: &mut Findings) -> bool {
    let name = quoted(&key.text);
    let rule = "letters, digits, `.`, `_` and `-`, first and last a letter or digit";
    if key.text.len() > max_key {
        let message = format!("label key `{name}` has more than {max_key} characters");
        findings.error(key.place, message);
        return false;
    }
    if !is_label_text(&key.text) {
        findings.error_hint(key.place, format!("`{name}` is not a label key"), rule);
        return false;
    }
    // Empty values are Hetzner's way to have a label that says only its key.
    if !value.value.is_empty() && (value.value.len() > MAX_LABEL || !is_label_text(&value.value)) {
        findings.error_hint(
            value.place,
            format!("`{}` is not a label value", quoted(&value.value)),
            format!("at most {MAX_LABEL} of {rule}"),
        );
        return false;
    }
    true
}

fn is_reserved(key: &str) -> bool {
    RESERVED.contains(&key) || key.starts_with(SPEC_PREFIX)
}

/// `metadata.labels` of a spec: room is left for [`SPEC_PREFIX`].
pub(crate) fn check_spec(key: &Key, value: &At<String>, findings: &mut Findings) -> bool {
    if is_reserved(&key.text) {
        findings.error(key.place, format!("label key `{}` is reserved", key.text));
        return false;
    }
    check(key, value, MAX_LABEL - SPEC_PREFIX.len(), findings)
}

/// `cattle.hetzner.labels`: `managed-by: clawdlets` says what is true anyway and is let pass. The
/// answer is whether the label is to be added.
pub(crate) fn check_fleet(key: &Key, value: &At<String>, findings: &mut Findings) -> bool {
    if key.text == "managed-by" && value.value == MANAGED_BY {
        return false;
    }
    if is_reserved(&key.text) {
        findings.error(key.place, format!("label key `{}` is reserved", key.text));
        return false;
    }
    check(key, value, MAX_LABEL, findings)
}
