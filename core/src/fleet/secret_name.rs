//! Names of secrets.

use std::{fmt, str::FromStr};

/// The longest name of a secret, a file name.
const MAX_SECRET_NAME: usize = 128;

/// What the controller's own credentials begin with; no guest ever gets one as a model's key. Not all
/// of `github`: a provider's key may well be named `github_copilot_token`.
const OWN_SECRETS: &[&str] = &[
    "hcloud",
    "hetzner",
    "tailscale",
    "tailnet",
    "ts_",
    "github_token",
    "github_app",
    "github_pat",
    "gh_",
    "clf_",
];

/// The name of a secret: a file in the credentials directory. `[A-Za-z0-9._-]+`, no leading dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// Why a text does not name a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name is made of letters, digits, `.`, `_` and `-` and does not begin with `.`")]
pub struct SecretNameError;

impl SecretName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one of the controller's own credentials.
    #[must_use]
    pub fn is_controllers_own(&self) -> bool {
        let name = self.0.to_ascii_lowercase().replace(['-', '.'], "_");
        OWN_SECRETS.iter().any(|own| name.starts_with(own))
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty()
            || text.len() > MAX_SECRET_NAME
            || text.starts_with('.')
            || !text.bytes().all(allowed)
        {
            return Err(SecretNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
