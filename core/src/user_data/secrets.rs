//! Finding secret values in what is about to leave, also where they are written another way.
//!
//! Two things are undone before the search: **encodings** (percent, `\u0041` and its relatives,
//! HTML entities), up to [`MAX_LAYERS`] on top of each other, and **what stands between** (white
//! space, line breaks, invisible characters). Both give further texts, and each text is searched,
//! since undoing may also spoil what stood there as it is. Where a value itself holds
//! what begins an escape, the kinds of encodings are undone one at a time as well: all at once would
//! undo the value with what is around it. Hexadecimal and base64 are not undone: the value is looked for as it
//! would be written in them, so that every text of any of these forms is found within a longer one.
//!
//! Absent on purpose: every other way to write a value (reversed, in pieces that belong to something
//! else, compressed, encrypted). A list of them has no end; docs/security.md says which are found.
//!
//! Invariants: a fixed number of passes over the text, each linear in its length, whatever is in it;
//! values and the texts made here are zeroed when they are dropped.

use std::collections::{BTreeMap, BTreeSet};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use super::{
    escapes::{self, Kind},
    squeeze::squeeze,
};

/// Shorter values are not looked for: no credential is that short, and a chance find in ordinary
/// text would refuse runs for nothing.
pub const MIN_SECRET: usize = 8;

/// Encodings on top of each other that are undone: a tool may encode what another one has, and
/// JSON within JSON within a URL is the most that was ever seen to happen by itself.
pub const MAX_LAYERS: usize = 3;

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

/// Bytes that may be, or hold, a secret.
pub(super) type Hidden = Zeroizing<Vec<u8>>;

/// The name of the first of the secrets whose value is in the bytes, in any of the forms that this
/// module knows. To search several texts for the same secrets, make a [`SecretSearch`].
#[must_use]
pub fn find_secret<'a>(bytes: &[u8], secrets: &[Secret<'a>]) -> Option<&'a str> {
    SecretSearch::new(secrets).find(bytes)
}

/// A search for all of some secrets at once: its time does not depend on how many there are.
pub struct SecretSearch<'a> {
    /// Looked for in the text as it is.
    plain: Needles<'a>,
    /// Looked for where nothing stands between.
    squeezed: Needles<'a>,
    /// A value holds what begins an escape: the kinds are undone one at a time too.
    by_kind: bool,
}

impl<'a> SecretSearch<'a> {
    /// For these secrets.
    #[must_use]
    pub fn new(secrets: &[Secret<'a>]) -> Self {
        let mut search = Self {
            plain: Needles::default(),
            squeezed: Needles::default(),
            by_kind: false,
        };
        for secret in secrets {
            let value = secret.value.trim();
            if value.len() < MIN_SECRET {
                continue;
            }
            for form in forms(value.as_bytes()) {
                search.plain.add(form, secret.name);
            }
            search.by_kind |= value.bytes().any(|byte| Kind::All.takes(byte));
            // A value in which something looks like an escape is undone with the text around it.
            let mut undone = Hidden::new(value.as_bytes().to_vec());
            for _ in 0..=MAX_LAYERS {
                let tight = squeeze(&undone);
                for form in forms(&tight) {
                    search.squeezed.add(form, secret.name);
                }
                match escapes::undo(&undone, Kind::All) {
                    Some(next) => undone = next,
                    None => break,
                }
            }
        }
        search
    }

    /// The name of a secret that is in the bytes.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<&'a str> {
        if self.plain.is_empty() {
            return None;
        }
        let tight = squeeze(bytes);
        let as_it_is = || {
            self.plain
                .find(bytes)
                .or_else(|| self.squeezed.find(&tight))
        };
        let undone = |kinds| {
            // An escape may itself be broken by a line break …
            self.undo_and_find(&tight, true, kinds, MAX_LAYERS)
                // … and where what stood between is gone, there may be an escape that was none.
                .or_else(|| self.undo_and_find(bytes, false, kinds, MAX_LAYERS))
        };
        as_it_is()
            .or_else(|| undone(&[Kind::All]))
            .or_else(|| self.by_kind.then(|| undone(&Kind::SINGLE)).flatten())
    }

    /// Undoes up to `layers` of the kinds, in every order of these.
    fn undo_and_find(
        &self,
        bytes: &[u8],
        squeezed: bool,
        kinds: &[Kind],
        layers: usize,
    ) -> Option<&'a str> {
        kinds.iter().find_map(|kind| {
            let text = escapes::undo(bytes, *kind)?;
            let tight = squeeze(&text);
            let found = self.squeezed.find(&tight);
            if found.is_some() || layers == 1 {
                return found;
            }
            let next = if squeezed { &tight } else { &text };
            self.undo_and_find(next, squeezed, kinds, layers - 1)
        })
    }
}

/// What is looked for, by its first bytes.
#[derive(Default)]
struct Needles<'a> {
    by_head: BTreeMap<[u8; MIN_SECRET], Vec<(Hidden, &'a str)>>,
    filter: Vec<u64>,
}

impl<'a> Needles<'a> {
    fn is_empty(&self) -> bool {
        self.by_head.is_empty()
    }

    /// Nothing shorter than [`MIN_SECRET`].
    fn add(&mut self, needle: Hidden, name: &'a str) {
        let Some(head) = needle.first_chunk::<MIN_SECRET>() else {
            return;
        };
        self.filter.resize(FILTER_BITS / 64, 0);
        let bit = filter_bit(u64::from_be_bytes(*head));
        self.filter[bit / 64] |= 1 << (bit % 64);
        let known = self.by_head.entry(*head).or_default();
        if !known.iter().any(|(other, _)| **other == *needle) {
            known.push((needle, name));
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<&'a str> {
        if self.is_empty() {
            return None;
        }
        let mut window = 0_u64;
        for (at, byte) in bytes.iter().enumerate() {
            window = (window << 8) | u64::from(*byte);
            let bit = filter_bit(window);
            if self.filter[bit / 64] & (1 << (bit % 64)) == 0 || at + 1 < MIN_SECRET {
                continue;
            }
            let from = &bytes[at + 1 - MIN_SECRET..];
            let found = self
                .by_head
                .get(&window.to_be_bytes())
                .into_iter()
                .flatten()
                .find(|(needle, _)| from.starts_with(needle));
            if let Some((_, name)) = found {
                return Some(name);
            }
        }
        None
    }
}

/// Mixes the bytes of a window into a filter position.
fn filter_bit(window: u64) -> usize {
    let mixed = window.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 48).unwrap_or(0) % FILTER_BITS
}

/// How a value may be written, itself included. None is shorter than [`MIN_SECRET`].
fn forms(value: &[u8]) -> Vec<Hidden> {
    let mut forms = BTreeSet::new();
    let mut add = |form: &[u8]| {
        if form.len() >= MIN_SECRET {
            forms.insert(form.to_vec());
        }
    };
    add(value);
    if let Ok(text) = std::str::from_utf8(value) {
        let escaped = Zeroizing::new(serde_json::to_string(text).unwrap_or_default());
        add(escaped.trim_matches('"').as_bytes());
    }
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        add(&hex(value, digits));
    }
    for skip in 0..3 {
        // Within base64 of a longer text a value begins at one of three offsets; characters that
        // also depend on what surrounds it are left out.
        let mut padded = Hidden::new(vec![0; skip]);
        padded.extend_from_slice(value);
        let first = (skip * 8).div_ceil(6);
        let whole = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = Zeroizing::new(engine.encode(&*padded));
            add(&text.as_bytes()[first.min(whole)..whole]);
        }
    }
    forms.into_iter().map(Zeroizing::new).collect()
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Hidden {
    let mut hex = Hidden::new(Vec::with_capacity(2 * bytes.len()));
    for byte in bytes {
        hex.push(digits[usize::from(byte >> 4)]);
        hex.push(digits[usize::from(byte & 15)]);
    }
    hex
}
