//! What people and programs get to see.
//!
//! stdout carries the answer and nothing else, so that it can be piped; everything said on the way
//! goes to stderr. Colours are for terminals, and only where nobody asked for none.
//!
//! Invariant: whatever is printed as text is escaped here, because any part of it may come from a
//! controller, a guest or a file of others. Only [`Output::bytes`] prints what it is given.

mod age;
mod format;
mod table;
mod untrusted;

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use cattle_schemas::problem::Diagnostic;

pub(crate) use self::{
    age::{age, clock, until},
    format::{Format, View},
    table::{Row, Table, Tint},
    untrusted::{LogText, clean, safe_json},
};
use crate::{context::Program, exit::Failure};

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How this process speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Who speaks.
    pub(crate) program: Program,
    /// `-o`.
    pub(crate) format: Format,
    /// `-q`.
    pub(crate) quiet: bool,
    /// Whether stdout is a terminal.
    pub(crate) terminal: bool,
    /// Whether stderr is one.
    pub(crate) stderr_terminal: bool,
    color_out: bool,
    color_err: bool,
}

impl Output {
    /// As the arguments, the environment and the terminal want it.
    pub(crate) fn new(program: Program, format: Format, quiet: bool, color: ColorChoice) -> Self {
        let terminal = io::stdout().is_terminal();
        let stderr_terminal = io::stderr().is_terminal();
        // no-color.org: set and not empty. A dumb terminal shows escapes as rubbish.
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|value| value == "dumb");
        let wanted = |terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !unwanted,
        };
        Self {
            program,
            format,
            quiet,
            terminal,
            stderr_terminal,
            color_out: wanted(terminal),
            color_err: wanted(stderr_terminal),
        }
    }

    /// One line on stdout, whatever is in it.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{}\n", clean(text)).as_bytes())
    }

    /// Several lines on stdout: their ends are ours.
    pub(crate) fn lines(&self, text: &str) -> Result<(), Failure> {
        text.split('\n').try_for_each(|line| self.line(line))
    }

    /// Bytes on stdout, as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(Failure::stdout)
    }

    /// A table on stdout.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        self.bytes(table.render(self.terminal, self.color_out).as_bytes())
    }

    /// An answer, in the format that was asked for.
    pub(crate) fn show<V: View>(&self, view: &V) -> Result<(), Failure> {
        match self.format {
            Format::Table => view.table(self, false),
            Format::Wide => view.table(self, true),
            Format::Name => {
                for name in view.names() {
                    self.line(&name)?;
                }
                Ok(())
            }
            Format::Json | Format::Yaml => self.document(view),
        }
    }

    /// The shape itself, as JSON (or YAML with `-o yaml`).
    pub(crate) fn document<T: serde::Serialize>(&self, value: &T) -> Result<(), Failure> {
        self.bytes(format::document(value, self.format == Format::Yaml)?.as_bytes())
    }

    /// One of many in a stream: a line of JSON, or a YAML document.
    pub(crate) fn stream_item<T: serde::Serialize>(&self, value: &T) -> Result<(), Failure> {
        self.bytes(format::stream_item(value, self.format == Format::Yaml)?.as_bytes())
    }

    /// Something said on the way; `-q` silences it.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            stderr_line(text);
        }
    }

    /// Several lines of that kind: their ends are ours.
    pub(crate) fn note_lines(&self, text: &str) {
        text.split('\n').for_each(|line| self.note(line));
    }

    /// Something that should not be missed.
    pub(crate) fn warning(&self, text: &str) {
        self.labelled("warning", "33", text);
    }

    /// A next step.
    pub(crate) fn hint(&self, text: &str) {
        self.labelled("hint", "36", text);
    }

    /// An error and its causes, outermost first.
    pub(crate) fn error(&self, text: &str, causes: &[String]) {
        self.labelled("error", "31", text);
        for cause in causes {
            stderr_line(&format!("  caused by: {cause}"));
        }
    }

    /// Located errors of one file, with the lines they are about where the text is at hand.
    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic], source: Option<&str>) {
        if diagnostics.is_empty() {
            return;
        }
        // It escapes what is in it, and has colours of its own.
        let text = cattle_core::spec::render(diagnostics, source, self.color_err);
        write_stderr(&format!("{}\n", text.trim_end()));
    }

    fn labelled(&self, label: &str, color: &str, text: &str) {
        let text = clean(text);
        if self.color_err {
            write_stderr(&format!("\x1b[1;{color}m{label}\x1b[0m: {text}"));
        } else {
            write_stderr(&format!("{label}: {text}"));
        }
    }
}

/// One line on stderr, whatever is in it.
pub(crate) fn stderr_line(text: &str) {
    write_stderr(&clean(text));
}

/// When even that fails there is nobody left to tell.
fn write_stderr(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
