//! Bytes that are no spec: clear errors, quickly, and never a panic.

use std::time::Duration;

use cattle_schemas::api::MAX_SPEC_BYTES;
use insta::assert_snapshot;
use proptest::prelude::*;

use super::fixture::{SPEC, show};
use crate::{
    fleet::Fleet,
    spec::{PersonaFiles, parse, parse_task, render},
};

fn said(bytes: &[u8]) -> String {
    show(&parse("a.yaml", "a", bytes).unwrap_err())
}

#[test]
fn each_kind_of_non_text_has_an_error_of_its_own() {
    assert_snapshot!(said(b""), @"a.yaml: the file is empty");
    assert_snapshot!(said(b"# nothing but a comment\n---\n"), @"a.yaml: the file is empty");
    assert_snapshot!(said(b"a: 1\nb: \x00\x01\x02"), @"a.yaml:2:4: control character U+0000: this is not a text file");
    assert_snapshot!(said(b"a: \xff\xfe\xfd"), @"a.yaml:1:4: the file is not UTF-8 text");
    assert_snapshot!(said(b"\xff\xfea\x00:\x00"), @"a.yaml: the file is UTF-16 (save it as UTF-8)");
    assert_snapshot!(said(b"\x7fELF\x02\x01\x01"), @"a.yaml:1:5: control character U+0002: this is not a text file");
    assert_snapshot!(said(&vec![b'a'; MAX_SPEC_BYTES + 1]), @"a.yaml: the file has more than 262144 bytes");
}

#[test]
fn syntax_errors_say_where_and_what_helps() {
    assert_snapshot!(said(b"just text"), @"a.yaml:1:1: the file must be a mapping, this is a string");
    assert_snapshot!(said(b"- a\n- b"), @"a.yaml:1:1: the file must be a mapping, this is a list");
    assert_snapshot!(said(b"spec:\n  task: fix: the bug\n"), @"a.yaml:2:12: `:` is not expected here (quote text that contains `: `)");
    assert_snapshot!(said(b"spec: {a: [1, 2}\n"), @"a.yaml:1:11: mismatched bracket '[' closed by '}'");
    assert_snapshot!(said(b"spec: 'x\n"), @"a.yaml:1:7: unclosed quote");
    assert_snapshot!(said(b"  a: 1\n b: 2\n"), @"a.yaml:2:2: this does not belong to what is before it (check the indentation)");
    assert_snapshot!(said(b"a: @x\n"), @"a.yaml:1:4: text must not begin with this character (quote the text)");
    assert_snapshot!(said(b"a: 1\n---\nb: 2\n"), @"a.yaml:2:1: the file has more than one document (one cattle a file: put each into a file of its own)");
    assert_snapshot!(said(b"a: *nowhere\n"), @"a.yaml:1:4: alias references unknown anchor");
    assert_snapshot!(said(b"a: &a [*a]\n"), @"a.yaml:1:8: the alias is part of what it refers to");
    assert_snapshot!(said(b"a: !ruby/object {}\n"), @"a.yaml:1:17: unsupported tag `!ruby/object`");
    assert_snapshot!(said(b"<<: {a: 1}\n"), @"a.yaml:1:1: merge keys (`<<`) are not supported (write the keys out)");
    assert_snapshot!(said(b"? [a]\n: 1\n"), @"a.yaml:1:3: a key must be text");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_not_matter() {
    let text = format!("\u{feff}{}", SPEC.replace('\n', "\r\n"));
    let spec = parse("rex-1.yaml", "rex-1", text.as_bytes()).unwrap();
    let plain = parse("rex-1.yaml", "rex-1", SPEC.as_bytes()).unwrap();
    assert_eq!(spec.to_document(None), plain.to_document(None));
}

/// Debug builds on a busy machine are ten to twenty times slower than what runs; the bound tells
/// milliseconds from the seconds that quadratic work would take.
const QUICK: Duration = Duration::from_secs(5);

#[test]
#[allow(clippy::disallowed_methods)] // measures
fn hostile_files_are_refused_quickly() {
    let fill = |piece: &str| piece.repeat(MAX_SPEC_BYTES / piece.len());
    let bomb = (1..30).fold("a0: &a0 [x, x, x]\n".to_owned(), |text, n| {
        let m = n - 1;
        format!("{text}a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}, *a{m}, *a{m}]\n")
    });
    let long = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(200_000),
        fill("*a,").split_off(240_000)
    );
    let deep = (0..700).map(|n| " ".repeat(n) + "a:\n").collect::<String>();
    let mut files: Vec<String> = [
        "[",
        "{",
        "- ",
        "? ",
        "[{",
        "{a: ",
        "&a ",
        "!a ",
        "'",
        "\"",
        ": ",
        "a: ",
        "- a\n",
        "a: 1\n",
        "---\n",
        "%TAG ! a\n",
        "\n",
        "[],",
        "{}",
        "\"a\":",
        "a: |\n",
        "a: >\n x\n\n",
        "*a ",
        "!<",
        "é",
        "#",
    ]
    .map(fill)
    .into();
    files.extend([bomb, long, deep]);
    files.push(format!("[{}", fill("a,")).split_off(1));
    files.push(format!("{{{}", fill("a:b,")).replacen("a:b,", "", 1));
    for file in &files {
        let begin = std::time::Instant::now();
        let errors = parse("a.yaml", "a", file.as_bytes()).unwrap_err();
        let took = begin.elapsed();
        let start: String = file.chars().take(12).collect();
        assert!(took < QUICK, "{start:?} took {took:?}");
        assert!(errors.len() <= 101, "{start:?}: {} errors", errors.len());
        let length: usize = errors.iter().map(|error| error.message.len()).sum();
        assert!(length < 64 * 1024, "{start:?}: {length} bytes of errors");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Err(errors) = parse("a.yaml", "a", &bytes) {
            prop_assert!(!errors.is_empty());
            let text = String::from_utf8_lossy(&bytes);
            let _ = render(&errors, Some(&text), false);
            let _ = render(&errors, Some(""), true);
        }
        drop(Fleet::load("f", &bytes));
        drop(parse_task(&bytes));
        drop(PersonaFiles::parse(&bytes, &bytes));
    }

    #[test]
    fn no_yaml_like_text_panics(pieces in proptest::collection::vec(
        prop::sample::select(vec![
            "a", ":", " ", "\n", "- ", "{", "}", "[", "]", ",", "&a", "*a", "'", "\"", "|", ">", "#", "%", "!!str",
            "~", "?", "<<", "---", "spec", "task", "0x1", "1e9", "é", "\u{2028}", "\t", "\\u0000", "true",
        ]), 0..60)) {
        let text = pieces.concat();
        if let Err(errors) = parse("a.yaml", "a", text.as_bytes()) {
            prop_assert!(!errors.is_empty());
            let _ = render(&errors, Some(&text), false);
        }
        drop(Fleet::load("f", text.as_bytes()));
    }

    #[test]
    fn no_mutilation_of_a_spec_panics(at in any::<prop::sample::Index>(), insert in "\\PC{0,4}", remove in 0_usize..20) {
        let mut chars: Vec<char> = SPEC.chars().collect();
        let at = at.index(chars.len());
        let end = (at + remove).min(chars.len());
        chars.splice(at..end, insert.chars());
        let text: String = chars.into_iter().collect();
        if let Err(errors) = parse("rex-1.yaml", "rex-1", text.as_bytes()) {
            let lines = u32::try_from(text.lines().count()).unwrap();
            prop_assert!(errors.iter().all(|error| error.line <= lines + 1));
            let _ = render(&errors, Some(&text), false);
        }
    }
}
