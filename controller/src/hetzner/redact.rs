//! Other people's sentences, made fit to be shown and kept.
//!
//! One wording of the rate limit's message was seen to contain part of the API token.

use cattle_core::untrusted;

/// Takes our token, and whatever looks like one, out of other people's sentences.
pub(super) struct Redactor {
    token: Vec<char>,
}

/// Shorter parts of the token than this are words by chance.
const MIN_TOKEN_PART: usize = 6;
/// Nothing that a message needs is one run of so many letters and digits: a ULID has 26, a digest
/// or a token 32 and more.
const MAX_PLAIN_RUN: usize = 30;
/// What is looked at of a message; the rest is dropped before the search.
const MAX_SEARCHED: usize = 2_000;
/// The longest message that is kept of what the API says.
const MAX_MESSAGE: usize = 300;
const REDACTED: &str = "[redacted]";

impl Redactor {
    pub(super) fn new(token: &str) -> Self {
        Self {
            token: token.chars().collect(),
        }
    }

    /// A message, fit to be shown and kept.
    pub(super) fn clean(&self, message: &str) -> String {
        let text: Vec<char> = message.chars().take(MAX_SEARCHED).collect();
        let mut out = String::new();
        let mut at = 0;
        while at < text.len() {
            let secret = self.part_at(&text[at..]).max(opaque_at(&text, at));
            if secret > 0 {
                if !out.ends_with(REDACTED) {
                    out.push_str(REDACTED);
                }
                at += secret;
            } else {
                out.push(text[at]);
                at += 1;
            }
        }
        let escaped = untrusted::escape(out.trim());
        let mut chars = escaped.chars();
        let mut short: String = chars.by_ref().take(MAX_MESSAGE).collect();
        if chars.next().is_some() {
            short.push('…');
        }
        short
    }

    /// How many characters at the beginning are also somewhere in the token.
    fn part_at(&self, text: &[char]) -> usize {
        let longest = (0..self.token.len())
            .map(|start| {
                self.token[start..]
                    .iter()
                    .zip(text)
                    .take_while(|(a, b)| a == b)
                    .count()
            })
            .max()
            .unwrap_or(0);
        if longest >= MIN_TOKEN_PART.min(self.token.len().max(1)) {
            longest
        } else {
            0
        }
    }
}

/// The length of an overlong run of letters and digits that begins here.
fn opaque_at(text: &[char], at: usize) -> usize {
    if at > 0 && text[at - 1].is_ascii_alphanumeric() {
        return 0;
    }
    let run = text[at..]
        .iter()
        .take_while(|c| c.is_ascii_alphanumeric())
        .count();
    if run > MAX_PLAIN_RUN { run } else { 0 }
}
