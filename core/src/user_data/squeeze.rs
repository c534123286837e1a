//! Text without what stands between its characters.

use super::secrets::Hidden;

/// The bytes without white space, line breaks and characters that are shown as nothing.
pub(super) fn squeeze(bytes: &[u8]) -> Hidden {
    let mut tight = Hidden::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while at < bytes.len() {
        match between(&bytes[at..]) {
            0 => {
                tight.push(bytes[at]);
                at += 1;
            }
            length => at += length,
        }
    }
    tight
}

/// How many bytes at the beginning only stand between others.
fn between(bytes: &[u8]) -> usize {
    match *bytes {
        [b'\t'..=b'\r' | b' ' | 0, ..] => 1,
        // NEL, no-break space, soft hyphen.
        [0xc2, 0x85 | 0xa0 | 0xad, ..] => 2,
        // Combining grapheme joiner, Arabic letter mark.
        [0xcd, 0x8f, ..] | [0xd8, 0x9c, ..] => 2,
        // Spaces of every width, zero-width characters, direction marks: U+2000 to U+200F.
        [0xe2, 0x80, 0x80..=0x8f, ..] => 3,
        // Line and paragraph separators, embeddings, narrow no-break space: U+2028 to U+202F.
        [0xe2, 0x80, 0xa8..=0xaf, ..] => 3,
        // Mathematical space, word joiner, invisible operators, isolates: U+205F to U+206F.
        [0xe2, 0x81, 0x9f..=0xaf, ..] => 3,
        // Ogham and ideographic space, Mongolian vowel separator, Hangul fillers, byte order mark.
        [0xe1, 0x9a, 0x80, ..]
        | [0xe3, 0x80, 0x80, ..]
        | [0xe1, 0xa0, 0x8e, ..]
        | [0xe1, 0x85, 0x9f | 0xa0, ..]
        | [0xe3, 0x85, 0xa4, ..]
        | [0xef, 0xbe, 0xa0, ..]
        | [0xef, 0xbb, 0xbf, ..] => 3,
        // Variation selectors.
        [0xef, 0xb8, 0x80..=0x8f, ..] => 3,
        // Tags and other default-ignorables: U+E0000 to U+E0FFF.
        [0xf3, 0xa0, 0x80..=0xbf, _, ..] => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::squeeze;
    use crate::untrusted::escape;

    #[test]
    fn what_is_shown_as_nothing_or_as_a_gap_is_gone_and_all_else_stays() {
        let mut between = 0;
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let tight = squeeze(text.as_bytes());
            if *tight == b"ab" {
                between += 1;
                continue;
            }
            assert_eq!(*tight, text.as_bytes(), "U+{:04X}", u32::from(c));
            assert!(!c.is_whitespace(), "U+{:04X}", u32::from(c));
            // Whatever is escaped for people because it is invisible; controls are not.
            let hidden =
                escape(&text) != text && !c.is_control() && !('\u{fff9}'..='\u{fffb}').contains(&c);
            assert!(!hidden, "U+{:04X}", u32::from(c));
        }
        assert!((4_100..4_300).contains(&between), "{between}");
    }
}
