//! A stream that people read: what would act on their terminal is shown instead.
//!
//! Names of servers, labels and messages are others' words, and end up in answers and in the log.

use std::io::{self, Write};

use cattle_core::untrusted::{escape, escape_bytes};
use tracing_subscriber::fmt::{MakeWriter, writer::BoxMakeWriter};

/// One line, whatever is in it.
pub(crate) fn write_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", escape(text))
}

/// Whatever is written to it is escaped, but for line ends and tabs.
pub(crate) struct Escaped<W>(pub(crate) W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// Whole texts come here, so that no character is cut in two.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(escape_bytes(bytes).as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The same for a log: one write is one event, whose lines are ours.
pub(crate) struct EscapedLog(pub(crate) BoxMakeWriter);

impl<'a> MakeWriter<'a> for EscapedLog {
    type Writer = Escaped<<BoxMakeWriter as MakeWriter<'a>>::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaped(self.0.make_writer())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let mut out = Vec::new();
        write_line(&mut out, "4711 x\u{1b}[2J\u{202e}\nspared").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "4711 x\\u{1b}[2J\\u{202e}\\nspared\n"
        );
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_lines_stay_lines() {
        let mut out = Escaped(Vec::new());
        let name = "x\u{1b}[2J\u{202e}\u{9b}1m";
        writeln!(out, "4711 {name} expired").unwrap();
        assert_eq!(
            String::from_utf8(out.0).unwrap(),
            "4711 x\\u{1b}[2J\\u{202e}\\u{9b}1m expired\n"
        );
    }
}
