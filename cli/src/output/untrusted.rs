//! Text from guests, made safe to look at as it arrives.

pub(crate) use cattle_core::untrusted::escape_json as safe_json;
use cattle_core::untrusted::{complete_prefix, escape, escape_bytes};

/// One line, whatever was in it.
pub(crate) fn clean(text: &str) -> String {
    escape(text).into_owned()
}

/// A log that comes in pieces: what a piece cuts in two waits for the next one.
#[derive(Debug, Default)]
pub(crate) struct LogText {
    rest: Vec<u8>,
}

impl LogText {
    /// What can be shown now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let ready = complete_prefix(&self.rest);
        let text = escape_bytes(&self.rest[..ready]);
        self.rest.drain(..ready);
        text
    }

    /// What was still waiting when the log ended.
    pub(crate) fn finish(self) -> String {
        escape_bytes(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn safe_json_still_means_the_same(text in any::<String>(), key in any::<String>()) {
            let value = json!({key: [text]});
            let safe = safe_json(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
            prop_assert_eq!(clean(&safe), safe.replace('\n', "\\n"));
        }
    }

    #[test]
    fn a_character_cut_in_two_arrives_whole() {
        let mut log = LogText::default();
        let bytes = "ü\u{1b}[0m\n".as_bytes();
        let shown = log.push(&bytes[..1]) + &log.push(&bytes[1..]) + &log.finish();
        assert_eq!(shown, "ü\\u{1b}[0m\n");
    }

    #[test]
    fn what_never_becomes_text_is_still_shown() {
        let mut log = LogText::default();
        assert_eq!(log.push(b"a\xe2"), "a");
        assert_eq!(log.finish(), "\\xe2");
    }
}
