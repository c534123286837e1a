//! `-o`: one answer, five forms.

use anyhow::Context as _;
use serde::Serialize;

use super::{Output, clean, safe_json};
use crate::exit::Failure;

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More of them.
    Wide,
    /// The API's own shapes.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names alone, one a line.
    Name,
}

impl Format {
    /// Whether a program reads it.
    pub(crate) fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// An answer that knows its forms. Its serialization is the API's own shape.
pub(crate) trait View: Serialize {
    /// Prints it for people.
    fn table(&self, out: &Output, wide: bool) -> Result<(), Failure>;

    /// Its names.
    fn names(&self) -> Vec<String>;
}

/// A whole document. JSON is indented, since people look at it too.
pub(super) fn document<T: Serialize>(value: &T, yaml: bool) -> Result<String, Failure> {
    let mut text = if yaml {
        to_yaml(value)?
    } else {
        safe_json(&serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?)
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// A line of JSON, or a document of a YAML stream.
pub(super) fn stream_item<T: Serialize>(value: &T, yaml: bool) -> Result<String, Failure> {
    if yaml {
        Ok(format!("---\n{}", document(value, true)?))
    } else {
        let line = serde_json::to_string(value).context("cannot write the answer as JSON")?;
        Ok(format!("{}\n", safe_json(&line)))
    }
}

fn to_yaml<T: Serialize>(value: &T) -> anyhow::Result<String> {
    // By way of JSON's model, so that both formats say exactly the same.
    let value = serde_json::to_value(value).context("cannot write the answer as YAML")?;
    let yaml = serde_yaml::to_string(&value).context("cannot write the answer as YAML")?;
    if yaml.lines().all(|line| clean(line) == line) {
        return Ok(yaml);
    }
    // Something in it would act on the reader's display. JSON is YAML too, and has an escape for
    // every character wherever it stands.
    let json = serde_json::to_string_pretty(&value).context("cannot write the answer as YAML")?;
    Ok(safe_json(&json))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_says_what_json_says() {
        let value =
            json!({"items": [{"name": "no", "n": 1, "o": null, "t": "a: b\n\u{1b}[31m\u{202e}"}]});
        let yaml = document(&value, true).unwrap();
        assert!(!yaml.contains(['\u{1b}', '\u{202e}']), "{yaml:?}");
        let back: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn json_never_carries_a_raw_control_character() {
        let text = document(&json!({"t": "\u{1b}[31m\u{7}"}), false).unwrap();
        assert_eq!(text, "{\n  \"t\": \"\\u001b[31m\\u0007\"\n}\n");
    }
}
