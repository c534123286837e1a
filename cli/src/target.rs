//! `<name-or-id>`: a cattle's name, a run or its beginning, a server's id or name. The controller
//! resolves it; here it is only made sure that it is one segment of a path.

use std::str::FromStr;

/// The longest host name there is.
const MAX_TARGET: usize = 253;

/// What a person wrote to mean one cattle, run or job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(String);

impl Target {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let dots = text.bytes().all(|b| b == b'.');
        if text.is_empty() || text.len() > MAX_TARGET || dots || !text.bytes().all(allowed) {
            return Err(
                "write a cattle's name, a run or its beginning, or a server's id or name"
                    .to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_one_segment_of_a_path() {
        for good in ["rex", "01JD3K", "4711", "cattle-rex-abc123"] {
            assert!(good.parse::<Target>().is_ok(), "{good}");
        }
        for bad in ["", "..", ".", "a/b", "a b", "a?b", "ä", "a%2fb"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
