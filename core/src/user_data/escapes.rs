//! Undoing escapes: percent, backslash, HTML.
//!
//! One layer, of all kinds at once or of one kind alone; what is no escape stays as it is. Bytes in
//! and bytes out: what is searched need not be text.

use super::secrets::Hidden;

/// The most digits of a number in an entity or in braces: the highest character has seven decimal
/// ones, and leading zeros are as good as any.
const MAX_DIGITS: usize = 10;

/// ASCII characters that have a name in HTML, and the invisible ones.
const NAMED: [(&str, char); 46] = [
    ("amp", '&'),
    ("AMP", '&'),
    ("lt", '<'),
    ("LT", '<'),
    ("gt", '>'),
    ("GT", '>'),
    ("quot", '"'),
    ("QUOT", '"'),
    ("apos", '\''),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("nbsp", '\u{a0}'),
    ("shy", '\u{ad}'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("ZeroWidthSpace", '\u{200b}'),
];

/// The longest name above.
const MAX_NAME: usize = 14;

/// Which escapes are undone, by the character that introduces them.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    All,
    Percent,
    Backslash,
    Entity,
}

impl Kind {
    /// Those that one tool writes by itself.
    pub(super) const SINGLE: [Self; 3] = [Self::Percent, Self::Backslash, Self::Entity];

    /// Whether an escape begins with it.
    pub(super) fn takes(self, byte: u8) -> bool {
        let single = match byte {
            b'%' => Self::Percent,
            b'\\' => Self::Backslash,
            b'&' => Self::Entity,
            _ => return false,
        };
        self == Self::All || self == single
    }
}

/// One layer of escapes undone; `None` where there is none.
pub(super) fn undo(bytes: &[u8], kind: Kind) -> Option<Hidden> {
    let first = bytes.iter().position(|byte| kind.takes(*byte))?;
    let mut undone = Hidden::new(Vec::with_capacity(bytes.len()));
    undone.extend_from_slice(&bytes[..first]);
    let mut at = first;
    let mut changed = false;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let escape = match rest[0] {
            byte if !kind.takes(byte) => None,
            b'%' => percent(rest),
            b'\\' => backslash(rest),
            _ => entity(rest),
        };
        match escape {
            Some((Unescaped::Byte(byte), length)) => {
                undone.push(byte);
                at += length;
                changed = true;
            }
            Some((Unescaped::Char(c), length)) => {
                undone.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += length;
                changed = true;
            }
            None => {
                undone.push(rest[0]);
                at += 1;
            }
        }
    }
    changed.then_some(undone)
}

enum Unescaped {
    Byte(u8),
    Char(char),
}

/// What an escape at the beginning stands for, and its length.
type Escape = Option<(Unescaped, usize)>;

/// `%41`, and the older `%u0041`.
fn percent(bytes: &[u8]) -> Escape {
    if let Some(b'u' | b'U') = bytes.get(1) {
        return utf16(bytes, 2);
    }
    let byte = number(bytes.get(1..3)?, 16)?;
    Some((Unescaped::Byte(u8::try_from(byte).ok()?), 3))
}

/// `\u0041`, `\u{41}`, `\U00000041`, `\x41`, `\x{41}`, and a letter or sign for itself.
fn backslash(bytes: &[u8]) -> Escape {
    let plain = |c: u8| Some((Unescaped::Byte(c), 2));
    match *bytes.get(1)? {
        b'u' | b'x' if bytes.get(2) == Some(&b'{') => {
            let digits = &bytes[3..bytes.len().min(3 + MAX_DIGITS + 1)];
            let end = digits.iter().position(|byte| *byte == b'}')?;
            let c = char::from_u32(number(&digits[..end], 16)?)?;
            Some((Unescaped::Char(c), 3 + end + 1))
        }
        b'u' => utf16(bytes, 2),
        b'U' => {
            let c = char::from_u32(number(bytes.get(2..10)?, 16)?)?;
            Some((Unescaped::Char(c), 10))
        }
        b'x' | b'X' => {
            let byte = number(bytes.get(2..4)?, 16)?;
            Some((Unescaped::Byte(u8::try_from(byte).ok()?), 4))
        }
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'b' => plain(8),
        b'f' => plain(12),
        c if c.is_ascii_punctuation() => plain(c),
        _ => None,
    }
}

/// Four hexadecimal digits that begin at `from`: a UTF-16 unit, or the first of a pair that is
/// written alike.
fn utf16(bytes: &[u8], from: usize) -> Escape {
    let unit = |from: usize| number(bytes.get(from..from + 4)?, 16);
    let first = unit(from)?;
    if let Some(c) = char::from_u32(first) {
        return Some((Unescaped::Char(c), from + 4));
    }
    let second = from + 4 + from;
    let introduced = bytes.get(from + 4..second)? == &bytes[..from];
    let pair = [
        u16::try_from(first).ok()?,
        u16::try_from(unit(second)?).ok()?,
    ];
    let c = char::decode_utf16(pair).next()?.ok()?;
    introduced.then_some((Unescaped::Char(c), second + 4))
}

/// `&#65;`, `&#x41;`, `&amp;`. Browsers need no semicolon after a number.
fn entity(bytes: &[u8]) -> Escape {
    if bytes.get(1) == Some(&b'#') {
        let (from, base) = match bytes.get(2) {
            Some(b'x' | b'X') => (3, 16),
            _ => (2, 10),
        };
        let digits = bytes[from..]
            .iter()
            .take(MAX_DIGITS)
            .take_while(|byte| char::from(**byte).is_digit(base))
            .count();
        let c = char::from_u32(number(&bytes[from..from + digits], base)?)?;
        let end = from + digits;
        let closed = usize::from(bytes.get(end) == Some(&b';'));
        return Some((Unescaped::Char(c), end + closed));
    }
    let name = &bytes[1..bytes.len().min(1 + MAX_NAME + 1)];
    let end = name.iter().position(|byte| *byte == b';')?;
    let (_, c) = NAMED
        .iter()
        .find(|(known, _)| known.as_bytes() == &name[..end])?;
    Some((Unescaped::Char(*c), 1 + end + 1))
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let mut number = 0_u32;
    for digit in digits {
        number = number
            .checked_mul(base)?
            .checked_add(char::from(*digit).to_digit(base)?)?;
    }
    Some(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn undone(text: &str) -> String {
        let bytes = undo(text.as_bytes(), Kind::All)
            .map_or_else(|| text.as_bytes().to_vec(), |undone| undone.to_vec());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn every_kind_is_undone_once() {
        for (text, wanted) in [
            ("%41%2fb%2B", "A/b+"),
            ("%u0041%uD83E%uDD96", "A🦖"),
            ("\\u0041\\u005f\\ud83e\\udd96", "A_🦖"),
            ("\\u{41}\\x41\\x{1f996}\\U0001F996", "AA🦖🦖"),
            ("\\\"\\/\\\\n\\-", "\"/\\n-"),
            ("&#65;&#x41;&#065&amp;&lowbar;", "AAA&_"),
            ("%2541&amp;#65;", "%41&#65;"),
            ("a\\nb", "a\nb"),
        ] {
            assert_eq!(undone(text), wanted, "{text}");
        }
    }

    #[test]
    fn one_kind_alone_leaves_the_others() {
        let text = "\\\"%41&#65;";
        for (kind, wanted) in [
            (Kind::Percent, "\\\"A&#65;"),
            (Kind::Backslash, "\"%41&#65;"),
            (Kind::Entity, "\\\"%41A"),
        ] {
            assert_eq!(
                undo(text.as_bytes(), kind).unwrap().as_slice(),
                wanted.as_bytes()
            );
        }
        assert!(undo(b"%41", Kind::Entity).is_none());
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in [
            "100 %",
            "%",
            "%4",
            "%zz",
            "%u00",
            "\\",
            "\\q",
            "\\u12",
            "\\u{",
            "\\u{}",
            "\\u{110000}",
            "\\ud83e",
            "&",
            "&#",
            "&#;",
            "&#x;",
            "&nothing;",
            "&amp",
            "&#99999999999;",
            "a & b",
        ] {
            assert_eq!(undone(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_none_grow_much(bytes in "([%\\\\&#xuU{};0-9a-f]|\\PC){0,200}") {
            let undone = undo(bytes.as_bytes(), Kind::All);
            proptest::prop_assert!(undone.is_none_or(|undone| undone.len() <= bytes.len()));
        }
    }
}
