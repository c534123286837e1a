//! Label selectors: `key=value,key!=value,key,!key`, as kubectl has them.

use std::collections::BTreeMap;

use cattle_schemas::problem::ErrorCode;

use super::problem::ApiError;

/// The most terms of one selector.
const MAX_TERMS: usize = 32;

/// All of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl Selector {
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let terms: Vec<&str> = text.split(',').map(str::trim).collect();
        if terms.len() > MAX_TERMS {
            return Err(refused(format!("has more than {MAX_TERMS} terms")));
        }
        terms
            .into_iter()
            .map(term)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match term {
            Term::Is(key, value) => labels.get(key) == Some(value),
            Term::IsNot(key, value) => labels.get(key) != Some(value),
            Term::Has(key) => labels.contains_key(key),
            Term::HasNot(key) => !labels.contains_key(key),
        })
    }
}

fn refused(what: String) -> ApiError {
    ApiError::new(
        ErrorCode::BadRequest,
        format!(
            "the selector {what}; write `key=value`, `key!=value`, `key` or `!key`, separated by commas"
        ),
    )
}

fn term(text: &str) -> Result<Term, ApiError> {
    let malformed = || refused(format!("has a term that cannot be read: `{text}`"));
    let key = |key: &str| {
        let key = key.trim();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
        if key.is_empty() || !key.bytes().all(allowed) {
            Err(malformed())
        } else {
            Ok(key.to_owned())
        }
    };
    let value = |value: &str| {
        let value = value.trim();
        if value.contains(['=', '!']) {
            Err(malformed())
        } else {
            Ok(value.to_owned())
        }
    };
    if let Some((left, right)) = text.split_once("!=") {
        Ok(Term::IsNot(key(left)?, value(right)?))
    } else if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
        Ok(Term::Is(key(left)?, value(right)?))
    } else if let Some(left) = text.strip_prefix('!') {
        Ok(Term::HasNot(key(left)?))
    } else {
        Ok(Term::Has(key(text)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn matches(selector: &str) -> bool {
        let labels = [("team", "docs"), ("tier", "")];
        let labels = labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn every_term_must_hold() {
        for holds in [
            "team=docs",
            "team == docs",
            "team",
            "!zone",
            "zone!=eu",
            "tier=",
            "team=docs,tier",
        ] {
            assert!(matches(holds), "{holds}");
        }
        for fails in [
            "team=web",
            "team!=docs",
            "!team",
            "zone",
            "zone=",
            "team=docs,zone=eu",
        ] {
            assert!(!matches(fails), "{fails}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            ",",
            "team=docs,",
            "=docs",
            "a b=c",
            "a=b=c",
            "!",
            "!=x",
            "a=!b",
        ] {
            assert!(Selector::parse(text).is_err(), "{text:?}");
        }
        assert!(Selector::parse(&"a,".repeat(40)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Selector::parse(&text);
        }
    }
}
