//! Labels and the `label_selector` language, by the strict rules of the reference documentation.

use std::collections::BTreeMap;

use crate::error::ApiError;

/// A resource's labels.
pub type Labels = BTreeMap<String, String>;

/// The reference: names and values have at most 63 characters, prefixes at most 253.
const NAME_MAX: usize = 63;
const PREFIX_MAX: usize = 253;

/// Checks every key and value; the API refuses the whole request for one bad label.
pub(crate) fn check(labels: &Labels) -> Result<(), ApiError> {
    for (key, value) in labels {
        if !valid_key(key) {
            return Err(ApiError::invalid(
                "labels",
                format!("invalid label key '{key}'"),
            ));
        }
        if !(value.is_empty() || valid_name(value)) {
            return Err(ApiError::invalid(
                "labels",
                format!("invalid value of label '{key}'"),
            ));
        }
    }
    Ok(())
}

fn valid_key(key: &str) -> bool {
    match key.split_once('/') {
        None => valid_name(key),
        Some((prefix, name)) => {
            valid_name(name) && valid_prefix(prefix) && prefix != "hetzner.cloud"
        }
    }
}

fn valid_prefix(prefix: &str) -> bool {
    prefix.len() <= PREFIX_MAX
        && prefix.split('.').all(|part| {
            !part.is_empty()
                && part.len() <= NAME_MAX
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

/// First and last alphanumeric, in between also `-`, `_`, `.`.
fn valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= NAME_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A parsed selector: a conjunction of terms. The empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    terms: Vec<Term>,
    /// As written; a firewall gives it back.
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Equals(String, String),
    Differs(String, String),
    Present(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// 422 `invalid_input` for anything outside the grammar; the code is inferred, the reference
    /// names none.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = || ApiError::invalid("label_selector", format!("malformed selector '{text}'"));
        let mut terms = Vec::new();
        if !text.trim().is_empty() {
            for part in split_terms(text).ok_or_else(bad)? {
                terms.push(parse_term(part.trim()).ok_or_else(bad)?);
            }
        }
        Ok(Self {
            terms,
            text: text.to_owned(),
        })
    }

    /// Whether a resource with these labels is selected. `!=` and `notin` also select resources
    /// without the key: the reference shows it for `!=`, and for `notin` it is what the same
    /// language means elsewhere.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Equals(key, value) => labels.get(key) == Some(value),
            Term::Differs(key, value) => labels.get(key) != Some(value),
            Term::Present(key) => labels.contains_key(key),
            Term::Absent(key) => !labels.contains_key(key),
            Term::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Term::NotIn(key, values) => !labels.get(key).is_some_and(|v| values.contains(v)),
        })
    }
}

/// Splits at commas outside parentheses.
fn split_terms(text: &str) -> Option<Vec<&str>> {
    let (mut terms, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if inside => return None,
            '(' => inside = true,
            ')' if !inside => return None,
            ')' => inside = false,
            ',' if !inside => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return None;
    }
    terms.push(&text[start..]);
    Some(terms)
}

fn parse_term(term: &str) -> Option<Term> {
    if let Some(key) = term.strip_prefix('!') {
        return key_of(key).map(Term::Absent);
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Some(Term::Differs(key_of(key)?, value_of(value)?));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(Term::Equals(key_of(key)?, value_of(value)?));
    }
    if let Some((head, set)) = term.split_once('(') {
        let values = set
            .strip_suffix(')')?
            .split(',')
            .map(value_of)
            .collect::<Option<Vec<_>>>()?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        let key = key_of(key)?;
        return match operator {
            "in" => Some(Term::In(key, values)),
            "notin" => Some(Term::NotIn(key, values)),
            _ => None,
        };
    }
    key_of(term).map(Term::Present)
}

fn key_of(text: &str) -> Option<String> {
    let key = text.trim();
    valid_key(key).then(|| key.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let value = text.trim();
    (value.is_empty() || valid_name(value)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[rstest]
    #[case("env=prod", true)]
    #[case("env==prod", true)]
    #[case("env = prod , tier=web", true)]
    #[case("env=dev", false)]
    #[case("env!=dev", true)]
    #[case("env!=prod", false)]
    #[case("absent!=anything", true)]
    #[case("env", true)]
    #[case("absent", false)]
    #[case("!absent", true)]
    #[case("!env", false)]
    #[case("env in (prod,dev)", true)]
    #[case("env in (dev)", false)]
    #[case("env notin (dev)", true)]
    #[case("env notin (prod,dev)", false)]
    #[case("absent notin (x)", true)]
    #[case("empty=", true)]
    #[case("env=", false)]
    #[case("example.com/role=a", true)]
    #[case("env in (prod,dev),tier=db", false)]
    #[case("", true)]
    fn a_selector_selects(#[case] selector: &str, #[case] expected: bool) {
        let labels = labels(&[
            ("env", "prod"),
            ("tier", "web"),
            ("empty", ""),
            ("example.com/role", "a"),
        ]);
        assert_eq!(
            Selector::parse(selector).unwrap().matches(&labels),
            expected
        );
    }

    #[rstest]
    #[case("a=b,")]
    #[case("=b")]
    #[case("a in b")]
    #[case("a in (b")]
    #[case("a within (b)")]
    #[case("a=b c")]
    #[case("a)(")]
    #[case("-a=b")]
    fn a_malformed_selector_is_invalid_input(#[case] selector: &str) {
        assert_eq!(Selector::parse(selector).unwrap_err().code, "invalid_input");
    }

    #[rstest]
    #[case("ok", "", true)]
    #[case("a_b.c-d", "x", true)]
    #[case("apricote.de/created-by", "x", true)]
    #[case("hetzner.cloud/x", "x", false)]
    #[case("-a", "x", false)]
    #[case("a", "x-", false)]
    #[case("a", "x y", false)]
    #[case("A.B/c", "x", false)]
    fn labels_follow_the_documented_rules(
        #[case] key: &str,
        #[case] value: &str,
        #[case] valid: bool,
    ) {
        assert_eq!(check(&labels(&[(key, value)])).is_ok(), valid);
    }

    #[test]
    fn sixty_four_characters_are_one_too_many() {
        assert!(check(&labels(&[("k", &"v".repeat(63))])).is_ok());
        assert!(check(&labels(&[("k", &"v".repeat(64))])).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            let _ = Selector::parse(&text);
        }

        #[test]
        fn a_selector_of_a_label_selects_what_has_it(
            key in "[a-z][a-z0-9]{0,8}", value in "[a-z0-9]{0,8}", other in "[A-Z]{1,4}"
        ) {
            let have = labels(&[(&key, &value)]);
            let equal = Selector::parse(&format!("{key}={value}")).unwrap();
            let differ = Selector::parse(&format!("{key}!={value}")).unwrap();
            let among = Selector::parse(&format!("{key} in ({other},{value})")).unwrap();
            prop_assert!(equal.matches(&have) && among.matches(&have));
            prop_assert!(!differ.matches(&have));
        }
    }
}
