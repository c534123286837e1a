//! Finding secret values in what is about to leave.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Shorter values are not looked for: no credential is that short, and a chance find in ordinary
/// text would refuse runs for nothing.
pub const MIN_SECRET: usize = 8;

/// Bits of the filter that lets most positions pass without a look into the map; 64 Kibit stay
/// sparse with the few thousand needles of a hundred secrets.
const FILTER_BITS: usize = 1 << 16;

/// A secret that the controller knows.
#[derive(Clone, Copy)]
pub struct Secret<'a> {
    /// As messages may name it.
    pub name: &'a str,
    /// Never printed.
    pub value: &'a str,
}

/// The name of the first of the secrets whose value is in the bytes: as it is, escaped as in JSON,
/// in hex, or within base64 of a longer text. One pass over the bytes, however many secrets.
#[must_use]
pub fn find_secret<'a>(bytes: &[u8], secrets: &[Secret<'a>]) -> Option<&'a str> {
    let mut needles: BTreeMap<[u8; MIN_SECRET], Vec<(Vec<u8>, &'a str)>> = BTreeMap::new();
    for secret in secrets {
        for form in forms(secret.value.trim()) {
            if let Some(head) = form.first_chunk::<MIN_SECRET>() {
                needles
                    .entry(*head)
                    .or_default()
                    .push((form.clone(), secret.name));
            }
        }
    }
    if needles.is_empty() {
        return None;
    }
    let mut filter = vec![0_u64; FILTER_BITS / 64];
    for head in needles.keys() {
        let bit = filter_bit(head);
        filter[bit / 64] |= 1 << (bit % 64);
    }
    for (at, window) in bytes.windows(MIN_SECRET).enumerate() {
        let bit = filter_bit(window);
        if filter[bit / 64] & (1 << (bit % 64)) == 0 {
            continue;
        }
        let found = needles
            .get(window)
            .into_iter()
            .flatten()
            .find(|(needle, _)| bytes[at..].starts_with(needle));
        if let Some((_, name)) = found {
            return Some(name);
        }
    }
    None
}

/// Mixes the first four and the last four bytes of a window into a filter position.
fn filter_bit(window: &[u8]) -> usize {
    let mixed = window
        .iter()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 48).unwrap_or(0) % FILTER_BITS
}

/// How a secret may be written.
fn forms(value: &str) -> Vec<Vec<u8>> {
    if value.len() < MIN_SECRET {
        return Vec::new();
    }
    let bytes = value.as_bytes();
    let mut forms = vec![bytes.to_vec()];
    let escaped = serde_json::to_string(value).unwrap_or_default();
    let escaped = escaped.trim_matches('"');
    if escaped != value {
        forms.push(escaped.as_bytes().to_vec());
    }
    forms.push(hex(bytes, "0123456789abcdef"));
    forms.push(hex(bytes, "0123456789ABCDEF"));
    for skip in 0..3 {
        // Within base64 of a longer text a value begins at one of three offsets; characters that
        // also depend on what surrounds it are left out.
        let mut padded = vec![0; skip];
        padded.extend_from_slice(bytes);
        let first = (skip * 8).div_ceil(6);
        let whole = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let form = text.as_bytes()[first..whole].to_vec();
            if form.len() >= MIN_SECRET && !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    forms
}

fn hex(bytes: &[u8], digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes();
    bytes
        .iter()
        .flat_map(|byte| {
            [
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]
        })
        .collect()
}
