//! Bytes to a tree of nodes that know their place.
//!
//! One parser reads YAML and JSON. What a scalar's type would be is only noted: a field decides
//! what it wants, and a string field gets the text as it was written (`no`, `012`, `1e3`).
//! Duplicate keys are kept, so that the decoder can report each with its place. Absent on purpose:
//! merge keys and application tags, which nobody needs to describe one VM.

use std::fmt;

use cattle_schemas::{api::MAX_SPEC_BYTES, problem::Diagnostic};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{
    Spanned, budget,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

/// How deep collections may nest. A spec needs four levels, a fleet configuration with other tools'
/// keys a dozen; the tree is walked recursively, so this also bounds the stack.
const MAX_DEPTH: usize = 48;

/// Events (scalars, collection starts and ends) of one document, aliases expanded: above what
/// any honest spec or configuration holds, and few enough to be parsed in milliseconds.
const MAX_EVENTS: usize = 20_000;

/// Anchors and aliases; sharing a handful of values is all that makes sense within one spec.
const MAX_ALIASES: usize = 256;

/// Where something is, from 1, in characters. `0:0` is the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// A key and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    /// Plain `true` or `false`, with its text.
    Bool(bool, String),
    /// A plain number; only its text, since every use parses it its own way.
    Number(String),
    String(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What this is, for messages about a wrong type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(..) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one document.
///
/// # Errors
/// One diagnostic: beyond a syntax error there is nothing to say that could be relied on.
pub(crate) fn read(path: &str, bytes: &[u8]) -> Result<Node, Box<Diagnostic>> {
    let fail = |place: Place, message: String, hint: Option<&str>| {
        Box::new(Diagnostic {
            path: path.to_owned(),
            line: place.line,
            column: place.column,
            message,
            hint: hint.map(str::to_owned),
        })
    };
    let whole = Place::default();
    if bytes.len() > MAX_SPEC_BYTES {
        // A reader with the same cap has seen one byte more, not the whole.
        let message = format!("the file has more than {MAX_SPEC_BYTES} bytes");
        return Err(fail(whole, message, None));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let message = "the file is UTF-16".to_owned();
        return Err(fail(whole, message, Some("save it as UTF-8")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let place = place_of(bytes, error.valid_up_to());
            let message = "the file is not UTF-8 text".to_owned();
            return Err(fail(place, message, None));
        }
    };
    // JSON may hold DEL and C1 as they are; C0 it may not, and no text does.
    if let Some(at) = text.find(|c: char| c < ' ' && !matches!(c, '\n' | '\r' | '\t')) {
        let place = place_of(bytes, at);
        let character = text[at..].chars().next().map_or(0, u32::from);
        let message = format!("control character U+{character:04X}: this is not a text file");
        return Err(fail(place, message, None));
    }
    if text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    }) {
        let message = "the file is empty".to_owned();
        return Err(fail(whole, message, None));
    }
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(root) => Ok(node(root, text)),
        Err(error) => {
            let (place, message, hint) = describe(error.without_snippet());
            Err(fail(place, message, hint))
        }
    }
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: budget! {
            flow_nesting_limit: MAX_DEPTH,
            max_depth: MAX_DEPTH,
            max_events: MAX_EVENTS,
            max_nodes: MAX_EVENTS,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_EVENTS,
            max_recorded_anchor_bytes: MAX_SPEC_BYTES,
            // Aliases expanded: a few times what the file itself can hold.
            max_total_scalar_bytes: 4 * MAX_SPEC_BYTES,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_EVENTS,
            max_replay_stack_depth: 8,
        },
        emit_comments: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What the parser says, in our words where its own are about YAML's grammar or Rust's types.
fn describe(error: &serde_yaml::Error) -> (Place, String, Option<&'static str>) {
    use serde_yaml::{Error, budget::BudgetBreach};

    let at = error.location().map(place).unwrap_or_default();
    let error = match error {
        Error::AliasError { error, .. } => error,
        other => other,
    };
    let several = (
        "the file has more than one document",
        Some("one cattle a file: put each into a file of its own"),
    );
    let expands = (
        "the aliases of the file expand to too much",
        Some("write the values out"),
    );
    let (message, hint) = match error {
        Error::MultipleDocuments { .. } => several,
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Documents { .. } => several,
            BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } => {
                ("the file has too many anchors or aliases", None)
            }
            _ => (TOO_COMPLEX, None),
        },
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => expands,
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("the alias is part of what it refers to", None)
        }
        Error::MergeKeyNotAllowed { .. } => (
            "merge keys (`<<`) are not supported",
            Some("write the keys out"),
        ),
        Error::Eof { .. } => ("the file ends too early", None),
        // Values take any type, so only a key can be of a wrong one.
        Error::NullIntoString { .. } => ("a key must be text", None),
        Error::Unexpected { expected, .. } if *expected == "string scalar" => {
            ("a key must be text", None)
        }
        other => {
            let text = other.to_string();
            let text = strip_position(&text);
            return match GRAMMAR.iter().find(|(theirs, ..)| text.starts_with(theirs)) {
                Some((_, ours, hint)) => (at, (*ours).to_owned(), *hint),
                None => (at, first_line(text), None),
            };
        }
    };
    (at, message.to_owned(), hint)
}

const TOO_COMPLEX: &str = "the file is nested too deeply or has too many parts";

/// The parser's words, ours, and what usually helps.
const GRAMMAR: &[(&str, &str, Option<&str>)] = &[
    ("recursion limit exceeded", TOO_COMPLEX, None),
    (
        "mapping values are not allowed in this context",
        "`:` is not expected here",
        Some("quote text that contains `: `"),
    ),
    (
        "did not find expected <document start>",
        "this does not belong to what is before it",
        Some("check the indentation"),
    ),
    (
        "unexpected character",
        "text must not begin with this character",
        Some("quote the text"),
    ),
];

/// The place is told apart from the message; the library repeats it at the end of some.
fn strip_position(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |end| &message[..end])
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn place(location: serde_yaml::Location) -> Place {
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: narrow(location.line()),
        column: narrow(location.column()),
    }
}

/// The place of a byte, for what is found before the parser runs.
fn place_of(bytes: &[u8], offset: usize) -> Place {
    let before = String::from_utf8_lossy(&bytes[..offset]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: narrow(line),
        column: narrow(column),
    }
}

/// The text of a plain scalar as it was written; `fallback` where it cannot be cut from the source
/// (a tag or quotes around it).
fn written(spanned: serde_yaml::Location, source: &str, fallback: &str) -> String {
    let span = spanned.span();
    let cut = span
        .byte_offset()
        .zip(span.byte_len())
        .and_then(|(at, len)| {
            let (at, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
            source.get(at..at.checked_add(len)?)
        });
    match cut.map(str::trim) {
        Some(text)
            if !text.is_empty() && !text.starts_with(['!', '"', '\'', '|', '>', '&', '*']) =>
        {
            text.to_owned()
        }
        _ => fallback.to_owned(),
    }
}

fn node(spanned: Spanned<Raw>, source: &str) -> Node {
    let text = |fallback: &str| written(spanned.defined, source, fallback);
    let value = match spanned.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value, text(if value { "true" } else { "false" })),
        Raw::Number(fallback) => Value::Number(text(&fallback)),
        Raw::String(text) => Value::String(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key {
                        text: key.value,
                        place: place(key.referenced),
                    };
                    (key, node(value, source))
                })
                .collect(),
        ),
    };
    Node {
        value,
        place: place(spanned.referenced),
    }
}

/// What the parser hands over, before texts are cut from the source.
enum Raw {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::String(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
