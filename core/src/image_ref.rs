//! How a placement names its image: Hetzner's number, a name, or a selector of labels.
//!
//! The text is read the same way wherever it stands: only digits are an id; `=`, `!`, `,`, `(` or a
//! space make it a selector; everything else is a name. A lone key, which Hetzner would take as "has
//! this label", is therefore a name: there is no telling it from `debian-13`.

use crate::labels::{LabelError, check_key, check_value};

/// The longest image name that Hetzner could know.
const MAX_NAME: usize = 64;
/// The longest selector: several keys and values at their own limits, and short enough for a URL.
const MAX_SELECTOR: usize = 512;
/// Hetzner's numbers end at 2^53 − 1.
const MAX_ID: u64 = (1 << 53) - 1;

/// What an image text asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef<'a> {
    /// Exactly this one.
    Id(u64),
    /// One of Hetzner's own; there is one of each architecture.
    Name(&'a str),
    /// The newest snapshot with these labels, in Hetzner's own form of a selector.
    Selector(String),
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    /// Only digits, and too many.
    #[error("an image id is a number below 2^53")]
    Id,
    /// Not a name either.
    #[error("not an image's id, name, or selector of labels")]
    Name,
    /// Longer than [`MAX_SELECTOR`].
    #[error("a selector has at most {MAX_SELECTOR} characters")]
    TooLong,
    /// Nothing between two commas, or at an end.
    #[error("a selector with nothing before or after a comma")]
    Empty,
    /// `in` or `notin` without its list.
    #[error(
        "`{0}` is no requirement of a selector: write `key=value`, `key!=value`, `key in (a,b)` or `!key`"
    )]
    Requirement(String),
    /// A key or value that no label has.
    #[error(transparent)]
    Label(#[from] LabelError),
}

impl<'a> ImageRef<'a> {
    /// Reads a text.
    ///
    /// # Errors
    /// It names nothing that there could be.
    pub fn parse(text: &'a str) -> Result<Self, ImageRefError> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse() {
                Ok(id) if id <= MAX_ID => Ok(Self::Id(id)),
                _ => Err(ImageRefError::Id),
            };
        }
        if is_selector(text) {
            return canonical(text).map(Self::Selector);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(allowed) {
            return Err(ImageRefError::Name);
        }
        Ok(Self::Name(text))
    }
}

/// Whether a text is a selector of labels. Unlike ids and names, Hetzner does not take one in a
/// create: it must be resolved first.
#[must_use]
pub fn is_selector(text: &str) -> bool {
    text.contains(['=', '!', ',', '(', ' '])
}

/// A selector without its needless spaces.
fn canonical(text: &str) -> Result<String, ImageRefError> {
    if text.len() > MAX_SELECTOR {
        return Err(ImageRefError::TooLong);
    }
    let requirements: Vec<String> = split(text)
        .map(requirement)
        .collect::<Result<_, ImageRefError>>()?;
    Ok(requirements.join(","))
}

/// At the commas that are in no parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        match c {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        c == ',' && !inside
    })
    .map(str::trim)
}

fn requirement(text: &str) -> Result<String, ImageRefError> {
    let malformed = || ImageRefError::Requirement(text.chars().take(60).collect());
    if text.is_empty() {
        return Err(ImageRefError::Empty);
    }
    if let Some(key) = text.strip_prefix('!') {
        let key = key.trim();
        check_key(key)?;
        return Ok(format!("!{key}"));
    }
    if let Some((head, list)) = text.split_once('(') {
        let list = list.strip_suffix(')').ok_or_else(malformed)?;
        let mut words = head.split_whitespace();
        let (Some(key), Some(word @ ("in" | "notin")), None) =
            (words.next(), words.next(), words.next())
        else {
            return Err(malformed());
        };
        check_key(key)?;
        let values: Vec<&str> = list.split(',').map(str::trim).collect();
        for value in &values {
            check_value(value)?;
        }
        return Ok(format!("{key} {word} ({})", values.join(",")));
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = text.split_once(operator) {
            let (key, value) = (key.trim(), value.trim());
            check_key(key)?;
            check_value(value)?;
            return Ok(format!("{key}{operator}{value}"));
        }
    }
    if text.contains(char::is_whitespace) {
        return Err(malformed());
    }
    check_key(text)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn selector(text: &str) -> String {
        match ImageRef::parse(text).unwrap() {
            ImageRef::Selector(selector) => selector,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn digits_are_an_id_and_words_are_a_name() {
        assert_eq!(ImageRef::parse("123456"), Ok(ImageRef::Id(123_456)));
        assert_eq!(ImageRef::parse("0123"), Ok(ImageRef::Id(123)));
        assert_eq!(
            ImageRef::parse("debian-13"),
            Ok(ImageRef::Name("debian-13"))
        );
        assert_eq!(ImageRef::parse("9007199254740992"), Err(ImageRefError::Id));
        for text in ["", "a/b", "ubuntu\n24", &"a".repeat(65)] {
            assert_eq!(ImageRef::parse(text), Err(ImageRefError::Name), "{text:?}");
        }
    }

    #[test]
    fn selectors_lose_their_needless_spaces() {
        assert_eq!(selector("role=cattle-image"), "role=cattle-image");
        assert_eq!(
            selector(" role = cattle-image , env in ( dev , prod ),!old, team"),
            "role=cattle-image,env in (dev,prod),!old,team"
        );
        assert_eq!(selector("a!=b,c==d,e="), "a!=b,c==d,e=");
        assert_eq!(
            selector("example.org/a notin (b)"),
            "example.org/a notin (b)"
        );
    }

    #[test]
    fn a_malformed_selector_says_what_is_wrong() {
        let wrong = |text: &str| ImageRef::parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(wrong("role=a,"), @"a selector with nothing before or after a comma");
        insta::assert_snapshot!(wrong("=a"), @"`` is not a label key: 1 to 63 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric");
        insta::assert_snapshot!(wrong("role=a b"), @"`a b` is not a label value: at most 63 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric");
        insta::assert_snapshot!(wrong("role in a,b"), @"`role in a` is no requirement of a selector: write `key=value`, `key!=value`, `key in (a,b)` or `!key`");
        insta::assert_snapshot!(wrong("role in (a"), @"`role in (a` is no requirement of a selector: write `key=value`, `key!=value`, `key in (a,b)` or `!key`");
        insta::assert_snapshot!(wrong("cattle image"), @"`cattle image` is no requirement of a selector: write `key=value`, `key!=value`, `key in (a,b)` or `!key`");
        insta::assert_snapshot!(wrong(&format!("role={}", "a".repeat(600))), @"a selector has at most 512 characters");
    }

    proptest! {
        #[test]
        fn what_was_read_reads_the_same_again(text in "[a-c!=, ()]{1,20}|\\PC{0,40}") {
            if let Ok(ImageRef::Selector(once)) = ImageRef::parse(&text)
                && is_selector(&once)
            {
                prop_assert_eq!(selector(&once), once);
            }
        }
    }
}
