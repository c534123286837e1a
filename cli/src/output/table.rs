//! Tables for people: columns and no lines.
//!
//! On a terminal sentences are wrapped to its width, names and numbers never: whoever marks one to copy
//! it gets all of it. Where that does not fit the terminal breaks the line by itself.

use cattle_schemas::status::Phase;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Width, presets};

use super::clean;

/// The columns that hold sentences.
const SENTENCES: [&str; 4] = ["MESSAGE", "OUTCOME", "REASON", "WHY"];
/// Sentences in less room than this, in characters, are read downwards.
const MIN_SENTENCE: u16 = 20;

/// What a cell's colour says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tint {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Worth a look.
    Bad,
    /// Over.
    Faint,
}

impl From<Phase> for Tint {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending | Phase::Provisioning | Phase::Booting | Phase::Finishing => Self::Busy,
            Phase::Running | Phase::Succeeded => Self::Good,
            Phase::Canceled => Self::Faint,
            Phase::Failed => Self::Bad,
        }
    }
}

/// One line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Vec<(String, Tint)>);

impl Row {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With one more cell. Its text may come from anywhere; an empty one shows as `-`.
    pub(crate) fn cell(self, text: impl AsRef<str>) -> Self {
        self.tinted(text, Tint::Plain)
    }

    /// With one more cell that has a colour.
    pub(crate) fn tinted(mut self, text: impl AsRef<str>, tint: Tint) -> Self {
        let text = clean(text.as_ref());
        let text = if text.is_empty() {
            "-".to_owned()
        } else {
            text
        };
        self.0.push((text, tint));
        self
    }

    /// With one more cell, where there is something to put into it.
    pub(crate) fn maybe(self, text: Option<impl AsRef<str>>) -> Self {
        match text {
            Some(text) => self.cell(text),
            None => self.cell(""),
        }
    }
}

/// Lines under a heading.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Table {
    /// With these column names, in capitals by custom; none for a table without a heading.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Appends a line.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Its text, ending in a newline unless it is empty.
    pub(crate) fn render(&self, terminal: bool, color: bool) -> String {
        self.render_in(terminal, None, color)
    }

    /// In so many columns; as many as the terminal has when that is not given.
    fn render_in(&self, terminal: bool, width: Option<u16>, color: bool) -> String {
        if self.rows.is_empty() && self.header.is_empty() {
            return String::new();
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING);
        // Not the blanks around it, of which those at the end of a line are cut off.
        table.style_text_only();
        if let Some(width) = width {
            table.set_width(width);
        }
        if terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.force_no_tty();
        }
        if color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if !self.header.is_empty() {
            table.set_header(self.header.iter().map(Cell::new));
        }
        for row in &self.rows {
            table.add_row(row.0.iter().map(|(text, tint)| cell(text, *tint, color)));
        }
        let widths = table.column_max_content_widths();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            let is_sentence = match self.header.get(index) {
                Some(header) => SENTENCES.contains(header),
                // Without a heading the first is the label.
                None => index > 0,
            };
            let content = widths.get(index).copied().unwrap_or(0);
            column.set_constraint(if is_sentence && content > MIN_SENTENCE {
                ColumnConstraint::LowerBoundary(Width::Fixed(MIN_SENTENCE + 2))
            } else {
                ColumnConstraint::ContentWidth
            });
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cell(text: &str, tint: Tint, color: bool) -> Cell {
    let cell = Cell::new(text);
    if !color {
        return cell;
    }
    match tint {
        Tint::Plain => cell,
        Tint::Good => cell.fg(Color::Green),
        Tint::Busy => cell.fg(Color::Yellow),
        Tint::Bad => cell.fg(Color::Red),
        Tint::Faint => cell.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.push(Row::new().cell("rex").tinted("Failed", Tint::Bad));
        table.push(Row::new().cell("rex-long-name").cell(""));
        table
    }

    #[test]
    fn columns_line_up_without_lines_or_trailing_blanks() {
        insta::assert_snapshot!(table().render(false, false), @r"
        NAME           PHASE
        rex            Failed
        rex-long-name  -
        ");
    }

    #[test]
    fn a_name_is_never_wrapped_whatever_the_terminal() {
        let name = "n".repeat(200);
        let mut table = Table::new(&["NAME", "MESSAGE"]);
        let sentence = "a sentence of some words ".repeat(20);
        table.push(Row::new().cell(&name).cell(sentence));
        let text = table.render_in(true, Some(60), false);
        assert!(text.contains(&name), "{text}");
        assert!(text.lines().count() > 2, "{text}");
    }

    #[test]
    fn colours_come_only_when_they_are_wanted() {
        assert!(!table().render(true, false).contains('\u{1b}'));
        assert!(table().render(true, true).contains("\u{1b}[38;5;9m"));
    }

    #[test]
    fn a_cell_cannot_draw_on_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.push(Row::new().cell("a\u{1b}[2Jb\nc"));
        let text = table.render(false, false);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text:?}");
    }
}
