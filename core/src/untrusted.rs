//! Text that others wrote (guests, file names, labels), made safe to look at.
//!
//! A terminal obeys control characters, and bidirectional or invisible characters make text read
//! differently from what it is. Both are shown as escapes; everything else stays as it is. Programs
//! that want the bytes read them unescaped from JSON, or with `--raw`.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a character acts on the reader's display instead of being shown.
fn is_active(c: char) -> bool {
    c.is_control() // C0, DEL, C1
        || matches!(c,
            '\u{00ad}'                    // soft hyphen
            | '\u{061c}' | '\u{200e}' | '\u{200f}' // bidi marks
            | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{feff}' // zero width
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // fillers, shown as nothing
            | '\u{2028}'..='\u{202e}'     // line and paragraph separators, bidi embeddings
            | '\u{2060}'..='\u{206f}'     // word joiner, invisible operators, bidi isolates
            | '\u{fff9}'..='\u{fffb}'     // interlinear annotations
            | '\u{e0000}'..='\u{e0fff}'   // tags and other default-ignorables
        )
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing to a String cannot fail.
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// One line of text: control, C1, bidi and invisible characters become visible escapes, line ends
/// and tabs included.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A log: as [`escape`], but line ends (`\n`, `\r\n`) and tabs are kept, and bytes that are not
/// UTF-8 become `\xNN`.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + bytes.len() / 16);
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\n' | '\t' => out.push(c),
                '\r' if rest.peek() == Some(&'\n') => {}
                c if is_active(c) => push_escaped(&mut out, c),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// JSON in which no character acts on the reader's display. It stays the same JSON: what serializers
/// leave alone (C1, bidi, invisible) is written as `\uXXXX`.
#[must_use]
pub fn escape_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut utf16 = [0_u16; 2];
    for c in text.chars() {
        // Outside strings JSON has no other control character, inside it has none at all.
        if c == '\n' || !is_active(c) {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut utf16) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

/// How many of the bytes can be escaped now when more will follow: a character or a `\r\n` that is
/// cut at the end (at most three bytes) waits for its rest.
#[must_use]
pub fn complete_prefix(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return bytes.len() - 1;
    }
    let start = bytes.len().saturating_sub(3);
    for at in (start..bytes.len()).rev() {
        let needed = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => break,
        };
        if bytes.len() - at < needed {
            return at;
        }
        break;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_borrowed() {
        assert!(matches!(escape("grüße, 你好 🦖 a\\b"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(escape("\x1b[2J\x07"), "\\u{1b}[2J\\u{7}");
        assert_eq!(escape("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(escape("abc\u{202e}fed"), "abc\\u{202e}fed");
        assert_eq!(
            escape("pay\u{200b}pal\u{e0041}"),
            "pay\\u{200b}pal\\u{e0041}"
        );
    }

    #[test]
    fn a_log_keeps_its_lines_and_shows_bytes_that_are_no_text() {
        assert_eq!(escape_bytes(b"a\tb\r\nc\rd\xff\n"), "a\tb\nc\\rd\\xff\n");
    }

    #[test]
    fn a_character_cut_at_the_end_of_a_chunk_waits_for_its_rest() {
        let bytes = "a€".as_bytes();
        assert_eq!(complete_prefix(bytes), 4);
        assert_eq!(complete_prefix(&bytes[..3]), 1);
        assert_eq!(complete_prefix(&bytes[..2]), 1);
        assert_eq!(complete_prefix(b"a\r"), 1);
        assert_eq!(complete_prefix(b"a\xff"), 2);
        assert_eq!(complete_prefix(b"\x80\x80\x80\x80"), 4);
    }

    proptest! {
        #[test]
        fn nothing_active_is_left(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!escape(&text).contains(is_active));
            prop_assert!(!escape_bytes(&bytes).contains(|c| is_active(c) && c != '\n' && c != '\t'));
        }

        #[test]
        fn chunks_escape_to_the_same_as_the_whole(text in any::<String>(), cut in any::<prop::sample::Index>()) {
            let bytes = text.as_bytes();
            let cut = cut.index(bytes.len() + 1);
            let ready = complete_prefix(&bytes[..cut]);
            let pieces = escape_bytes(&bytes[..ready]) + &escape_bytes(&bytes[ready..]);
            prop_assert_eq!(pieces, escape_bytes(bytes));
        }
    }
}
