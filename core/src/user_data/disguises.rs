//! Tests: a secret is found in whatever disguise of the list it comes, in whatever text it stands.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{prelude::*, sample::select};

use super::{Secret, find_secret};

/// What may stand between two characters.
const BETWEEN: [&str; 11] = [
    " ", "\n", "\r\n", "\t", "\u{a0}", "\u{ad}", "\u{200b}", "\u{200d}", "\u{feff}", "\u{2028}",
    "\u{3000}",
];

/// A way to write a text.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Percent,
    PercentWhereNeeded,
    BackslashU,
    BackslashBraces,
    BackslashX,
    EntityDecimal,
    EntityHex,
    EntityNamed,
    Json,
}

const ENCODINGS: [Encoding; 9] = [
    Encoding::Percent,
    Encoding::PercentWhereNeeded,
    Encoding::BackslashU,
    Encoding::BackslashBraces,
    Encoding::BackslashX,
    Encoding::EntityDecimal,
    Encoding::EntityHex,
    Encoding::EntityNamed,
    Encoding::Json,
];

impl Encoding {
    fn write(self, text: &str) -> String {
        let mut out = String::new();
        match self {
            Self::Json => {
                let json = serde_json::to_string(text).unwrap();
                out.push_str(&json[1..json.len() - 1]);
            }
            Self::Percent => text.bytes().for_each(|b| write!(out, "%{b:02x}").unwrap()),
            Self::PercentWhereNeeded => text.bytes().for_each(|b| {
                if b.is_ascii_alphanumeric() {
                    out.push(char::from(b));
                } else {
                    write!(out, "%{b:02X}").unwrap();
                }
            }),
            Self::BackslashX => text
                .bytes()
                .for_each(|b| write!(out, "\\x{b:02x}").unwrap()),
            Self::BackslashU => text
                .encode_utf16()
                .for_each(|unit| write!(out, "\\u{unit:04x}").unwrap()),
            Self::BackslashBraces => text
                .chars()
                .for_each(|c| write!(out, "\\u{{{:x}}}", u32::from(c)).unwrap()),
            Self::EntityDecimal => text
                .chars()
                .for_each(|c| write!(out, "&#{};", u32::from(c)).unwrap()),
            Self::EntityHex => text
                .chars()
                .for_each(|c| write!(out, "&#x{:X};", u32::from(c)).unwrap()),
            Self::EntityNamed => text.chars().for_each(|c| match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '"' => out.push_str("&quot;"),
                '_' => out.push_str("&lowbar;"),
                '+' => out.push_str("&plus;"),
                '/' => out.push_str("&sol;"),
                c => out.push(c),
            }),
        }
        out
    }
}

/// The innermost form: what the encodings are put around.
#[derive(Clone, Copy, Debug)]
enum Core {
    Plain,
    Base64(usize),
    Hex,
}

impl Core {
    fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            // As `base64 -w` and MIME wrap it, and within a longer text.
            Self::Base64(columns) => {
                let whole = STANDARD.encode(format!("key is {text}, keep it"));
                let lines: Vec<&[u8]> = whole.as_bytes().chunks(columns).collect();
                String::from_utf8(lines.join(&b"\n"[..])).unwrap()
            }
            Self::Hex => text.bytes().map(|b| format!("{b:02X}")).collect(),
        }
    }
}

/// With `between` after each `every` characters.
fn spread(text: &str, between: &str, every: usize) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index > 0 && index % every == 0 {
            out.push_str(between);
        }
        out.push(c);
    }
    out
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z0-9_-]{12,60}",
        2 => "sk-[A-Za-z0-9/+=_.~-]{12,60}",
        // With what looks like escapes itself, quotes, blanks, and other scripts.
        2 => "[a-f0-9%\\\\&#;\"'<>u]{12,40}",
        1 => "[a-zäß日🦖 ]{16,40}",
    ]
    .prop_filter("long enough without blanks", |secret| {
        secret.split_whitespace().collect::<String>().len() >= 10
    })
}

/// Text that does not end in what makes an escape of the beginning of what follows, not even
/// where the blanks between the two are left out: the documents say that none is found there.
fn surroundings() -> impl Strategy<Value = (String, String)> {
    ("(\\PC{0,60}[=:][ \\n]?)?", "([a-z \\n,]\\PC{0,60})?")
}

fn found(haystack: &str, secret: &str) -> bool {
    let others = "another-secret-0123456789";
    let secrets = [
        Secret {
            name: "other",
            value: others,
        },
        Secret {
            name: "s",
            value: secret,
        },
    ];
    find_secret(haystack.as_bytes(), &secrets) == Some("s")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_encoded_secret_is_found(secret in secret(), encoding in select(&ENCODINGS[..]), (before, after) in surroundings()) {
        let haystack = format!("{before}{}{after}", encoding.write(secret.trim()));
        prop_assert!(found(&haystack, &secret), "{encoding:?}: {haystack:?}");
    }

    #[test]
    fn a_secret_in_pieces_is_found(secret in secret(), between in select(&BETWEEN[..]), every in 1..9_usize, (before, after) in surroundings()) {
        let haystack = format!("{before}{}{after}", spread(secret.trim(), between, every));
        prop_assert!(found(&haystack, &secret), "{haystack:?}");
    }

    #[test]
    fn layers_of_encodings_and_pieces_are_found(
        secret in "[A-Za-z0-9/+_=.-]{16,40}",
        core in prop_oneof![Just(Core::Plain), (20..80_usize).prop_map(Core::Base64), Just(Core::Hex)],
        layers in proptest::collection::vec(select(&ENCODINGS[..]), 0..=3),
        pieces in proptest::option::of((select(&BETWEEN[..]), 1..9_usize)),
        (before, after) in surroundings(),
    ) {
        let mut text = core.write(&secret);
        for encoding in &layers {
            text = encoding.write(&text);
        }
        if let Some((between, every)) = pieces {
            text = spread(&text, between, every);
        }
        let haystack = format!("{before}{text}{after}");
        prop_assert!(found(&haystack, &secret), "{core:?} {layers:?} {pieces:?}: {haystack:?}");
    }

    #[test]
    fn pieces_beneath_an_encoding_are_found(
        secret in secret(),
        between in select(&BETWEEN[..]),
        every in 1..9_usize,
        encoding in select(&ENCODINGS[..]),
    ) {
        let haystack = encoding.write(&spread(secret.trim(), between, every));
        prop_assert!(found(&haystack, &secret), "{haystack:?}");
    }

    #[test]
    fn no_text_without_it_is_taken_for_it(text in "\\PC{0,400}|([%\\\\&#xu;{}a-f0-9]){0,400}") {
        let secrets = [Secret { name: "s", value: "SK-0123456789-zyx" }];
        prop_assert_eq!(find_secret(text.as_bytes(), &secrets), None);
    }
}

#[test]
fn the_forms_that_were_seen_to_pass_are_found() {
    let secret = "hc0ud-T0ken_4f9/a+b";
    for (name, text) in [
        ("percent", Encoding::Percent.write(secret)),
        (
            "a URL",
            format!(
                "https://x.test/?t={}",
                Encoding::PercentWhereNeeded.write(secret)
            ),
        ),
        ("\\u0041", Encoding::BackslashU.write(secret)),
        ("HTML", Encoding::EntityDecimal.write(secret)),
        ("spaces", spread(secret, " ", 1)),
        ("line breaks", spread(secret, "\n", 4)),
        ("zero width", spread(secret, "\u{200b}", 1)),
        ("wrapped base64", Core::Base64(16).write(secret)),
        ("UTF-16", secret.chars().flat_map(|c| [c, '\0']).collect()),
    ] {
        assert!(found(&format!("use {text} please"), secret), "{name}");
    }
}

#[test]
fn a_secret_that_looks_like_an_escape_is_found_beneath_another_kind() {
    for (secret, encoding) in [
        ("pa55\\\"w0rd%aa!", Encoding::Json),
        ("0123456789%\"0\\", Encoding::EntityNamed),
        ("0123\\n&lt;%41", Encoding::PercentWhereNeeded),
    ] {
        let haystack = format!("use {}, please", encoding.write(secret));
        assert!(found(&haystack, secret), "{encoding:?}: {haystack}");
    }
}

/// Nothing in a text makes the search slow: it must end within this test at all, which anything
/// worse than linear would not.
#[test]
fn a_long_text_full_of_beginnings_is_searched_to_its_end() {
    const LONGEST: usize = 32 * 1024 * 1024;
    const LONG: usize = 256 * 1024;
    let secret = "&#x26;&#x26;&#x26;%26%26\\u0026";
    for (unit, length) in [
        ("%", LONGEST),
        ("&#x26", LONG),
        ("%2525", LONG),
        ("\\u{", LONG),
        ("&ZeroWidthSpac", LONG),
        ("&#000000000", LONG),
        ("\u{200b}", LONG),
    ] {
        let text = unit.repeat(length / unit.len());
        assert!(found(&format!("{text} {secret}"), secret), "{unit}");
    }
}
