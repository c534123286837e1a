//! Other people's sentences, made fit to be shown and kept.
//!
//! One wording of the rate limit's message was seen to contain part of the API token.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use cattle_core::untrusted;

/// Takes our token, and whatever looks like one, out of other people's sentences.
pub(super) struct Redactor {
    /// The token as it is and as others may have written it.
    forms: Vec<Vec<char>>,
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
            forms: forms(token)
                .into_iter()
                .map(|form| form.chars().collect())
                .collect(),
        }
    }

    /// Whether a part of the token is in it.
    pub(super) fn knows(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        (0..text.len()).any(|at| self.part_at(&text[at..]) > 0)
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

    /// How many characters at the beginning are also somewhere in a form of the token.
    fn part_at(&self, text: &[char]) -> usize {
        let longest = |form: &Vec<char>| {
            let longest = (0..form.len())
                .map(|start| {
                    let pairs = form[start..].iter().zip(text);
                    pairs.take_while(|(a, b)| a == b).count()
                })
                .max()
                .unwrap_or(0);
            if longest >= MIN_TOKEN_PART.min(form.len().max(1)) {
                longest
            } else {
                0
            }
        };
        self.forms.iter().map(longest).max().unwrap_or(0)
    }
}

/// The token itself, in hexadecimal, and in base64 at each of the three places where it can begin in
/// a longer text that was encoded whole (`Bearer …`).
fn forms(token: &str) -> Vec<String> {
    let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![token.to_owned(), hex.to_uppercase(), hex];
    for before in 0..3 {
        let text = [&[0; 2][..before], token.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(text);
        // What is mixed with a neighbour at either end is not the token's own.
        let own: String = encoded.chars().skip(before + before.min(1)).collect();
        forms.push(own.replace('+', "-").replace('/', "_"));
        forms.push(own);
    }
    forms.dedup();
    forms
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "jEheVytlAoFl7F8MqUQ7jAo2hOXASztX4jEheVytlAoFl7F8MqUQ7jAo2hOXASzt";

    #[test]
    fn a_part_of_the_token_is_found_however_it_is_written() {
        let redactor = Redactor::new(TOKEN);
        for prefix in ["", "B", "Be", "Bearer "] {
            let whole = format!("{prefix}{TOKEN}!");
            let hex: String = whole.bytes().map(|byte| format!("{byte:02x}")).collect();
            for (written, from) in [
                (whole.clone(), prefix.len()),
                (hex, prefix.len() * 2),
                (STANDARD_NO_PAD.encode(&whole), prefix.len().div_ceil(3) * 4),
            ] {
                for start in from..=from + 54 {
                    let part = &written[start..start + 10];
                    let told = redactor.clean(&format!("see {part}, please"));
                    assert_eq!(told, "see [redacted], please", "{part}");
                }
            }
        }
    }

    #[test]
    fn words_and_short_parts_are_left_alone() {
        let redactor = Redactor::new(TOKEN);
        for told in [
            "limit of 3600 requests per hour reached",
            "image has incompatible architecture",
            "jEheV",
            "cattle-rex-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            assert_eq!(redactor.clean(told), told);
            assert!(!redactor.knows(told));
        }
    }
}
