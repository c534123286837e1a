//! What is wrong with a file, gathered while reading on.

use cattle_schemas::problem::Diagnostic;

use super::tree::{Place, Value};

/// The most errors reported of one file; more help nobody.
const MAX_DIAGNOSTICS: usize = 100;

/// How much of a text is quoted in a message.
const MAX_QUOTED: usize = 60;

/// The least similarity (Jaro-Winkler) at which another key is suggested.
const SIMILAR: f64 = 0.75;

/// What is wrong so far.
#[derive(Debug)]
pub(crate) struct Findings {
    path: String,
    /// Whether values may be quoted; not those of a file that the reader of the message may not be
    /// meant to see.
    quotes: bool,
    found: Vec<Diagnostic>,
}

impl Findings {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            quotes: true,
            found: Vec::new(),
        }
    }

    /// Messages name fields and types, never values or keys that are not ours.
    pub(crate) fn silent() -> Self {
        Self {
            quotes: false,
            ..Self::new("")
        }
    }

    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.push(place, message.into(), None);
    }

    pub(crate) fn error_hint(
        &mut self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(place, message.into(), Some(hint.into()));
    }

    fn push(&mut self, place: Place, message: String, hint: Option<String>) {
        if self.found.len() < MAX_DIAGNOSTICS {
            self.found.push(Diagnostic {
                path: self.path.clone(),
                line: place.line,
                column: place.column,
                message,
                hint,
            });
        }
    }

    /// Whether values may be quoted.
    pub(crate) fn quotes(&self) -> bool {
        self.quotes
    }

    /// What somebody else found.
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// A value of the wrong type, for a message.
    pub(crate) fn shown(&self, value: &Value) -> String {
        match value {
            Value::Bool(_, text) | Value::Number(text) if self.quotes => {
                format!("`{}`", quoted(text))
            }
            Value::String(text) if self.quotes => format!("the string `{}`", quoted(text)),
            other => other.kind().to_owned(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the file, each once.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found
            .sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        self.found.dedup();
        self.found
    }
}

/// A text short enough for a message, without what would disturb a terminal.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTED).collect();
    let ellipsis = if short.len() < text.len() { "…" } else { "" };
    format!("{}{ellipsis}", crate::untrusted::escape(&short))
}

/// The most similar of the candidates, if any is similar enough.
pub(crate) fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // Longer than any key of ours: cannot be a misspelt one, and comparing costs its square.
    if text.len() > MAX_QUOTED {
        return None;
    }
    let lower = text.to_lowercase();
    candidates
        .iter()
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), *name))
        .filter(|(score, _)| *score >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
