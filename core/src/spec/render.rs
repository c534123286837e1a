//! Diagnostics for people.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use cattle_schemas::problem::Diagnostic;

/// The longest source line that is shown with an error; what is beyond is machine-made.
const MAX_SHOWN_LINE: usize = 400;

/// `path:line:column: message (hint)` in one line; without a place where the file as a whole is
/// meant.
#[must_use]
pub fn line(diagnostic: &Diagnostic) -> String {
    let path = crate::untrusted::escape(&diagnostic.path);
    let place = if diagnostic.line == 0 {
        String::new()
    } else {
        format!("{}:{}:", diagnostic.line, diagnostic.column)
    };
    let hint = diagnostic
        .hint
        .as_ref()
        .map(|hint| format!(" ({})", crate::untrusted::escape(hint)))
        .unwrap_or_default();
    let message = crate::untrusted::escape(&diagnostic.message);
    format!("{path}:{place} {message}{hint}")
}

/// All of them, with the lines they are about where `source` is the text of the file.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], source: Option<&str>, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    diagnostics
        .iter()
        .map(|diagnostic| render_one(diagnostic, source, &renderer))
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn render_one(diagnostic: &Diagnostic, source: Option<&str>, renderer: &Renderer) -> String {
    let message = crate::untrusted::escape(&diagnostic.message);
    let path = crate::untrusted::escape(&diagnostic.path);
    let shown = source.and_then(|source| shown_line(diagnostic, source));
    let mut group = Group::with_title(Level::ERROR.primary_title(&*message));
    let snippet_line;
    match shown {
        Some((text, start, end)) => {
            snippet_line = text;
            group = group.element(
                Snippet::source(&*snippet_line)
                    .path(&*path)
                    .line_start(diagnostic.line as usize)
                    .annotation(AnnotationKind::Primary.span(start..end)),
            );
        }
        None => {
            let mut origin = annotate_snippets::Origin::path(&*path);
            if diagnostic.line > 0 {
                origin = origin
                    .line(diagnostic.line as usize)
                    .char_column(diagnostic.column as usize);
            }
            group = group.element(origin);
        }
    }
    let hint = diagnostic.hint.as_deref().map(crate::untrusted::escape);
    if let Some(hint) = &hint {
        group = group.element(Level::HELP.message(&**hint));
    }
    renderer.render(&[group])
}

/// The line an error is about and the bytes within it to point at: the word that begins there.
fn shown_line(diagnostic: &Diagnostic, source: &str) -> Option<(String, usize, usize)> {
    let text = source
        .split('\n')
        .nth((diagnostic.line as usize).checked_sub(1)?)?
        .trim_end_matches('\r')
        .trim_start_matches('\u{feff}');
    if text.len() > MAX_SHOWN_LINE {
        return None;
    }
    let before = (diagnostic.column as usize).checked_sub(1)?;
    let start = text
        .char_indices()
        .nth(before)
        .map_or(text.len(), |(at, _)| at);
    let rest = &text[start..];
    let word = rest
        .find(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '}' | ']'))
        .unwrap_or(rest.len());
    // Never nothing, where there is something.
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let end = start + word.max(first);
    // Escapes would move what is pointed at; a line that needs them is not shown.
    matches!(
        crate::untrusted::escape(&text.replace('\t', " ")),
        std::borrow::Cow::Borrowed(_)
    )
    .then(|| (text.to_owned(), start, end))
}
