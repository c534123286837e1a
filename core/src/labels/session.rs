//! The digest of a guest's session token, as a label of its server.
//!
//! By it a guest is heard again by a controller whose ledger was lost: its server brings along what
//! the ledger had. A digest of 256 random bits tells nobody the token.

use std::collections::BTreeMap;

use super::key;

/// RFC 4648's alphabet in lower case: a label's value is made of letters and digits.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BITS: u32 = 5;

/// A digest as a label's value: 52 characters.
#[must_use]
pub fn session_text(digest: &[u8; 32]) -> String {
    let mut text = String::with_capacity(52);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in digest {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= BITS {
            bits -= BITS;
            text.push(letter(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(letter(held << (BITS - bits)));
    }
    text
}

fn letter(bits: u32) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

/// The digest that a server's label has; `None` where it has none that can be read.
#[must_use]
pub fn session(raw: &BTreeMap<String, String>) -> Option<[u8; 32]> {
    let text = raw.get(key::SESSION)?;
    let mut digest = [0_u8; 32];
    let (mut held, mut bits, mut at) = (0_u32, 0, 0);
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        held = (held << BITS | u32::try_from(value).ok()?) & 0xfff;
        bits += BITS;
        if bits >= 8 {
            bits -= 8;
            *digest.get_mut(at)? = u8::try_from(held >> bits & 0xff).ok()?;
            at += 1;
        }
    }
    (at == digest.len() && session_text(&digest) == *text).then_some(digest)
}
