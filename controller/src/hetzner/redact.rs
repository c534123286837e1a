//! Other people's sentences, made fit to be shown and kept.
//!
//! One wording of the rate limit's message was seen to contain part of the API token.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use cattle_core::untrusted;
use zeroize::Zeroizing;

/// Takes our token, and whatever looks like one, out of other people's sentences.
pub(super) struct Redactor {
    /// The token as it is and as others may have written it, without what is neither letter nor
    /// digit: what stands between groups of it is not looked at in a text either.
    forms: Vec<Zeroizing<Vec<char>>>,
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
                .map(|form| Zeroizing::new(form.chars().filter(counts).collect()))
                .collect(),
        }
    }

    /// Whether a part of the token is in it.
    pub(super) fn knows(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.parts_of(&text).contains(&true)
    }

    /// Which characters belong to a part of the token, or stand within it.
    fn parts_of(&self, text: &[char]) -> Vec<bool> {
        let mut covered = vec![false; text.len()];
        let mut at = 0;
        while at < text.len() {
            let length = self.part_at(&text[at..]);
            covered[at..at + length].fill(true);
            at += length.max(1);
        }
        // In groups, whatever stands between them; of whole words, so that a word that happens to
        // end as the token goes on is not taken for a group of it.
        let places: Vec<usize> = (0..text.len()).filter(|at| counts(&text[*at])).collect();
        let counted: Vec<char> = places.iter().map(|at| text[*at]).collect();
        let counts_at = |at: usize| text.get(at).is_some_and(counts);
        let mut next = 0;
        while next < counted.len() {
            let begins = places[next] == 0 || !counts_at(places[next] - 1);
            let longest = if begins {
                self.part_at(&counted[next..])
            } else {
                0
            };
            let whole = (MIN_TOKEN_PART..=longest)
                .rev()
                .find(|length| !counts_at(places[next + length - 1] + 1));
            match whole {
                Some(length) => {
                    covered[places[next]..=places[next + length - 1]].fill(true);
                    next += length;
                }
                None => next += 1,
            }
        }
        covered
    }

    /// A message, fit to be shown and kept.
    pub(super) fn clean(&self, message: &str) -> String {
        let text: Vec<char> = message.chars().take(MAX_SEARCHED).collect();
        let parts = self.parts_of(&text);
        let part_at = |at: usize| parts[at..].iter().take_while(|part| **part).count();
        let mut out = String::new();
        let mut at = 0;
        while at < text.len() {
            let secret = part_at(at).max(opaque_at(&text, at));
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
        let longest = |form: &Zeroizing<Vec<char>>| {
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

/// Whether a character may be one of the token's: it is made of letters and digits.
fn counts(c: &char) -> bool {
    c.is_ascii_alphanumeric()
}

/// The token itself, in hexadecimal, and in base64 at each of the three places where it can begin in
/// a longer text that was encoded whole (`Bearer …`).
fn forms(token: &str) -> Vec<Zeroizing<String>> {
    let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms: Vec<Zeroizing<String>> = vec![
        token.to_owned().into(),
        hex.to_uppercase().into(),
        hex.into(),
    ];
    for before in 0..3 {
        let text = Zeroizing::new([&[0; 2][..before], token.as_bytes()].concat());
        let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(&*text));
        // What is mixed with a neighbour at either end is not the token's own.
        let own: String = encoded.chars().skip(before + before.min(1)).collect();
        forms.push(own.into());
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
    fn a_token_in_groups_is_found_whatever_stands_between() {
        let redactor = Redactor::new(TOKEN);
        let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02X}")).collect();
        let base64 = STANDARD_NO_PAD.encode(TOKEN);
        for written in [TOKEN, &hex, &base64] {
            for between in [" ", "-", "\n", ", ", "\u{200b}", "…", " | "] {
                for every in 1..=5 {
                    let groups: Vec<&str> = (0..40)
                        .step_by(every)
                        .map(|at| &written[at..(at + every).min(40)])
                        .collect();
                    let grouped = groups.join(between);
                    assert!(redactor.knows(&grouped), "{grouped}");
                    let told = redactor.clean(&format!("see {grouped}, please"));
                    assert_eq!(told, "see [redacted], please", "{grouped}");
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
