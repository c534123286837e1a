//! The walk from a tree of nodes to values, which never stops at the first error.
//!
//! Each reader notes what is wrong, with its place, and answers `None`; what depends on it is then
//! skipped, everything else is still looked at.

use std::{collections::BTreeMap, str::FromStr};

use super::{
    findings::{Findings, nearest, quoted},
    tree::{Key, Node, Place, Value},
};
use crate::labels::{self, LabelError};

/// Where a JSON file tells an editor its schema; a YAML file has a comment for that.
const SCHEMA_KEY: &str = "$schema";

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// The fields of one mapping, each taken once.
pub(crate) struct Fields {
    /// Where the mapping is, for what is missing in it.
    pub(crate) place: Place,
    path: String,
    entries: BTreeMap<String, (Place, Option<Node>)>,
}

/// What to do with keys that are not in the list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are errors.
    Refuse,
    /// They belong to somebody else.
    Leave,
}

impl Fields {
    /// Opens a mapping whose keys are known. `path` names it in messages (`spec.task`), empty for
    /// the whole file.
    pub(crate) fn open(
        node: Node,
        path: &str,
        known: &[&str],
        unknown: Unknown,
        findings: &mut Findings,
    ) -> Option<Self> {
        let place = node.place;
        let Value::Map(entries) = node.value else {
            let what = if path.is_empty() {
                "the file".to_owned()
            } else {
                format!("`{path}`")
            };
            let kind = node.value.kind();
            findings.error(place, format!("{what} must be a mapping, this is {kind}"));
            return None;
        };
        let mut fields = Self {
            place,
            path: path.to_owned(),
            entries: BTreeMap::new(),
        };
        let names: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
        let missing: Vec<&str> = known
            .iter()
            .copied()
            .filter(|name| !names.contains(name))
            .collect();
        for (key, _) in &entries {
            if path.is_empty() && key.text == SCHEMA_KEY {
                continue;
            }
            if unknown == Unknown::Refuse && !known.contains(&key.text.as_str()) {
                let meant = fields.report_unknown(key, known, &missing, findings);
                // It is there, only misspelt: not missing as well.
                if let Some(meant) = meant {
                    fields.entries.insert(meant.to_owned(), (key.place, None));
                }
            }
        }
        for (key, value) in entries {
            if !known.contains(&key.text.as_str()) {
                continue;
            }
            if let Some((first, _)) = fields.entries.get(&key.text) {
                let message = format!("duplicate key `{}`", key.text);
                findings.error_hint(key.place, message, format!("first on line {}", first.line));
                continue;
            }
            fields.entries.insert(key.text, (key.place, Some(value)));
        }
        Some(fields)
    }

    /// The answer is the missing key that was probably meant.
    fn report_unknown<'k>(
        &self,
        key: &Key,
        known: &[&'k str],
        missing: &[&'k str],
        findings: &mut Findings,
    ) -> Option<&'k str> {
        let inside = if self.path.is_empty() {
            String::new()
        } else {
            format!(" in `{}`", self.path)
        };
        let message = if findings.quotes() {
            format!("unknown field `{}`{inside}", quoted(&key.text))
        } else {
            "unknown field".to_owned()
        };
        // A key that is already there is rarely what was meant.
        let meant = nearest(&key.text, missing);
        let hint = match meant.or_else(|| nearest(&key.text, known)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                let list: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                format!("known fields: {}", list.join(", "))
            }
        };
        findings.error_hint(key.place, message, hint);
        meant
    }

    /// `spec.task` and `message` give `spec.task.message`.
    pub(crate) fn name(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }

    /// Whether the key is there, be it misspelt or read already.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.entries.contains_key(field)
    }

    /// The place of a key, or of the mapping where the key is not there.
    pub(crate) fn key_place(&self, field: &str) -> Place {
        self.entries
            .get(field)
            .map_or(self.place, |(place, _)| *place)
    }

    pub(crate) fn take(&mut self, field: &str) -> Option<Node> {
        self.entries
            .get_mut(field)
            .and_then(|(_, node)| node.take())
    }

    /// A field that must be there.
    pub(crate) fn require(&mut self, field: &str, findings: &mut Findings) -> Option<Node> {
        if !self.has(field) {
            findings.error(self.place, format!("missing field `{}`", self.name(field)));
        }
        self.take(field)
    }

    pub(crate) fn string(&mut self, field: &str, findings: &mut Findings) -> Option<At<String>> {
        let name = self.name(field);
        string(self.take(field)?, &name, findings)
    }

    pub(crate) fn require_string(
        &mut self,
        field: &str,
        findings: &mut Findings,
    ) -> Option<At<String>> {
        let name = self.name(field);
        string(self.require(field, findings)?, &name, findings)
    }

    pub(crate) fn boolean(&mut self, field: &str, findings: &mut Findings) -> Option<At<bool>> {
        let name = self.name(field);
        let node = self.take(field)?;
        match &node.value {
            Value::Bool(value, _) => Some(At {
                value: *value,
                place: node.place,
            }),
            other => {
                let message = format!(
                    "`{name}` must be `true` or `false`, this is {}",
                    findings.shown(other)
                );
                findings.error(node.place, message);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(
        &mut self,
        field: &str,
        bounds: std::ops::RangeInclusive<u32>,
        findings: &mut Findings,
    ) -> Option<At<u32>> {
        let name = self.name(field);
        let node = self.take(field)?;
        let (low, high) = (*bounds.start(), *bounds.end());
        if let Value::Number(text) = &node.value
            && let Ok(value) = text.parse::<u32>()
            && bounds.contains(&value)
        {
            return Some(At {
                value,
                place: node.place,
            });
        }
        let found = findings.shown(&node.value);
        let message = if low == high {
            format!("`{name}` must be {low}, this is {found}")
        } else {
            format!("`{name}` must be a whole number from {low} to {high}, this is {found}")
        };
        findings.error(node.place, message);
        None
    }

    /// What parses itself from a string; its own error is the message.
    pub(crate) fn parsed<T>(&mut self, field: &str, findings: &mut Findings) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let name = self.name(field);
        let text = self.string(field, findings)?;
        parse_text(&text, &name, findings)
    }

    /// Like [`Fields::parsed`], for what must be there.
    pub(crate) fn require_parsed<T>(
        &mut self,
        field: &str,
        findings: &mut Findings,
    ) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let name = self.name(field);
        let text = self.require_string(field, findings)?;
        parse_text(&text, &name, findings)
    }

    /// A list of strings with at least one element.
    pub(crate) fn strings(
        &mut self,
        field: &str,
        findings: &mut Findings,
    ) -> Option<Vec<At<String>>> {
        let name = self.name(field);
        let node = self.take(field)?;
        let place = node.place;
        let Value::List(items) = node.value else {
            let message = format!(
                "`{name}` must be a list, this is {}",
                findings.shown(&node.value)
            );
            findings.error(place, message);
            return None;
        };
        if items.is_empty() {
            findings.error(place, format!("`{name}` must not be empty"));
            return None;
        }
        let count = items.len();
        let texts: Vec<_> = items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| string(item, &format!("{name}[{index}]"), findings))
            .collect();
        (texts.len() == count).then_some(texts)
    }

    /// `one: x` or `many: [x, y]`; both are an error.
    pub(crate) fn one_or_many(
        &mut self,
        one: &str,
        many: &str,
        findings: &mut Findings,
    ) -> Option<Vec<At<String>>> {
        if self.has(one) && self.has(many) {
            let message = format!(
                "`{}` and `{}` exclude each other",
                self.name(one),
                self.name(many)
            );
            let place = self.key_place(one).max(self.key_place(many));
            findings.error_hint(
                place,
                message,
                format!("keep `{many}`, which takes several"),
            );
        }
        let single = self.string(one, findings).map(|text| vec![text]);
        self.strings(many, findings).or(single)
    }

    /// A mapping of strings to strings, with the places of its keys.
    pub(crate) fn string_map(
        &mut self,
        field: &str,
        findings: &mut Findings,
    ) -> Vec<(Key, At<String>)> {
        let name = self.name(field);
        self.take(field)
            .map_or_else(Vec::new, |node| entries(node, &name, findings))
            .into_iter()
            .filter_map(|(key, node)| {
                let text = string(node, &format!("{name}.{}", quoted(&key.text)), findings)?;
                Some((key, text))
            })
            .collect()
    }

    /// Labels, each of which `check` accepts.
    pub(crate) fn labels(
        &mut self,
        field: &str,
        check: fn(&str, &str) -> Result<(), LabelError>,
        findings: &mut Findings,
    ) -> BTreeMap<String, String> {
        let place = self.key_place(field);
        let mut labels = BTreeMap::new();
        for (key, value) in self.string_map(field, findings) {
            match check(&key.text, &value.value) {
                Ok(()) => drop(labels.insert(key.text, value.value)),
                Err(error @ LabelError::Value(_)) => findings.error(value.place, error.to_string()),
                Err(error) => findings.error(key.place, error.to_string()),
            }
        }
        if let Err(error) = labels::check_count(&labels) {
            findings.error(place, error.to_string());
        }
        labels
    }

    /// The entries of a mapping whose keys are free.
    pub(crate) fn entries(&mut self, field: &str, findings: &mut Findings) -> Vec<(Key, Node)> {
        let name = self.name(field);
        self.take(field)
            .map_or_else(Vec::new, |node| entries(node, &name, findings))
    }

    /// A mapping within this one.
    pub(crate) fn open_field(
        &mut self,
        field: &str,
        known: &[&str],
        unknown: Unknown,
        findings: &mut Findings,
    ) -> Option<Self> {
        let name = self.name(field);
        Self::open(self.take(field)?, &name, known, unknown, findings)
    }
}

fn entries(node: Node, name: &str, findings: &mut Findings) -> Vec<(Key, Node)> {
    let Value::Map(entries) = node.value else {
        let kind = findings.shown(&node.value);
        findings.error(
            node.place,
            format!("`{name}` must be a mapping, this is {kind}"),
        );
        return Vec::new();
    };
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    entries
        .into_iter()
        .filter(|(key, _)| match seen.get(&key.text) {
            Some(first) => {
                let message = format!("duplicate key `{}`", quoted(&key.text));
                findings.error_hint(key.place, message, format!("first on line {}", first.line));
                false
            }
            None => {
                seen.insert(key.text.clone(), key.place);
                true
            }
        })
        .collect()
}

/// Any scalar but nothing, as it is written.
pub(crate) fn string(node: Node, name: &str, findings: &mut Findings) -> Option<At<String>> {
    let place = node.place;
    match node.value {
        Value::String(value) | Value::Number(value) | Value::Bool(_, value) => {
            Some(At { value, place })
        }
        Value::Null => {
            let hint = "give it a value, or remove the key";
            findings.error_hint(place, format!("`{name}` is empty"), hint);
            None
        }
        other => {
            let message = format!(
                "`{name}` must be a string, this is {}",
                findings.shown(&other)
            );
            findings.error(place, message);
            None
        }
    }
}

pub(crate) fn parse_text<T>(text: &At<String>, name: &str, findings: &mut Findings) -> Option<At<T>>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    match text.value.parse() {
        Ok(value) => Some(At {
            value,
            place: text.place,
        }),
        Err(error) => {
            findings.error(text.place, format!("`{name}`: {error}"));
            None
        }
    }
}
