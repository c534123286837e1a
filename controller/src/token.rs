//! Bearer tokens: 256 random bits, handed out once, kept only as their digest.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// A new token and the digest that the ledger keeps.
///
/// # Errors
/// The system has no randomness to give.
pub fn draw() -> Result<(SecretString, [u8; 32]), getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    let mut hex = String::with_capacity(64);
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let token = SecretString::from(hex);
    let digest = digest(token.expose_secret());
    Ok((token, digest))
}

/// The digest of a presented token.
#[must_use]
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
