//! Idempotency keys, and the random part of names.

use anyhow::Context as _;

/// How many random characters end a name that nobody chose: 36^6, two thousand million, so that a
/// persona's names practically never meet (and `createOnly` refuses when they do).
pub(crate) const SUFFIX_LENGTH: usize = 6;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// 128 random bits in hex.
pub(crate) fn idempotency_key() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("cannot draw random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Six characters of `a-z0-9`, each as likely as the others.
pub(crate) fn name_suffix() -> anyhow::Result<String> {
    let mut suffix = String::with_capacity(SUFFIX_LENGTH);
    while suffix.len() < SUFFIX_LENGTH {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).context("cannot draw random bytes")?;
        // 252 is the largest multiple of 36 in a byte; what lies above would favour some letters.
        let fair = bytes.iter().filter(|byte| **byte < 252);
        for byte in fair.take(SUFFIX_LENGTH - suffix.len()) {
            suffix.push(char::from(ALPHABET[usize::from(byte % 36)]));
        }
    }
    Ok(suffix)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_and_suffixes_have_their_length_and_differ() {
        let key = idempotency_key().unwrap();
        assert_eq!(key.len(), 32);
        assert_ne!(key, idempotency_key().unwrap());
        let suffix = name_suffix().unwrap();
        assert_eq!(suffix.len(), SUFFIX_LENGTH);
        assert!(suffix.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(suffix, name_suffix().unwrap());
    }
}
