//! What a person reads about a failure: one sentence, with the fix where there is one.

use std::{fmt, sync::Arc};

use super::{
    error::{ApiError, Kind},
    table::Code,
    transport::DEFAULT_ENDPOINT,
};

/// What to do about a token that is refused.
const GIVE_ANOTHER: &str =
    "give one with Read & Write (HCLOUD_TOKEN, or the secret `hcloud_token`; read at the start)";

/// What surrounds a failure.
#[derive(Debug, Default)]
pub(super) struct Circumstances {
    /// Where the call went.
    pub(super) endpoint: Option<Arc<str>>,
    /// What stood between us and there.
    pub(super) obstacle: Option<Obstacle>,
    pub(super) source: Option<reqwest::Error>,
}

/// Why there is no connection, where that is plain enough for a sentence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nobody listens there.
    Refused,
    /// The host has no address.
    Unresolved,
    /// Something listens there, and it does not speak TLS.
    NotTls,
    /// Its certificate is not good for us.
    Certificate,
}

impl Obstacle {
    /// The libraries beneath have no types for most of it, only words; those that are not known
    /// here leave the chain of causes in the message.
    pub(super) fn of(error: &reqwest::Error) -> Option<Self> {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            let refused =
                |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
            if error.downcast_ref().is_some_and(refused) {
                return Some(Self::Refused);
            }
            let words = error.to_string();
            if words == "dns error" {
                return Some(Self::Unresolved);
            }
            if words.contains("InvalidContentType") || words.contains("handshake eof") {
                return Some(Self::NotTls);
            }
            if words.contains("invalid peer certificate") {
                return Some(Self::Certificate);
            }
            cause = error.source();
        }
        None
    }
}

impl ApiError {
    /// The sentence without what was asked: for what is wrong with every call.
    #[must_use]
    pub fn explanation(&self) -> String {
        let mut text = self.cause();
        if let Some(status) = self.status {
            text.push_str(&format!(", HTTP {status}"));
        }
        if let Some(id) = &self.correlation_id {
            text.push_str(&format!(", correlation id {id}"));
        }
        text
    }

    /// Without status and correlation id too.
    pub(super) fn cause(&self) -> String {
        let circumstances = &self.circumstances;
        let custom = circumstances
            .endpoint
            .as_deref()
            .filter(|endpoint| *endpoint != DEFAULT_ENDPOINT);
        // Whoever set the endpoint is told which it was, and where it comes from.
        let place = match custom {
            Some(endpoint) => format!("{endpoint} (HCLOUD_ENDPOINT)"),
            None => DEFAULT_ENDPOINT.to_owned(),
        };
        match &self.kind {
            Kind::NotSent => match circumstances.obstacle {
                Some(Obstacle::Refused) => format!("nothing listens at {place}"),
                Some(Obstacle::Unresolved) => format!("the host of {place} is not known"),
                Some(Obstacle::NotTls) => format!("what listens at {place} does not speak TLS"),
                Some(Obstacle::Certificate) => {
                    format!("what listens at {place} has no certificate that is trusted")
                }
                None => format!("no connection to {place}"),
            },
            Kind::Timeout => "Hetzner did not answer in time".to_owned(),
            Kind::Cut => "the connection to Hetzner broke".to_owned(),
            Kind::TooLarge => "Hetzner's answer is too large".to_owned(),
            Kind::Unreadable(what) if custom.is_some() => {
                format!("what answers at {place} does not do so as Hetzner's API does ({what})")
            }
            Kind::Unreadable(what) => format!("Hetzner's answer is unreadable ({what})"),
            Kind::NoRoom(class) => format!(
                "Hetzner's rate limit has no room for {} now",
                class.phrase()
            ),
            Kind::Withheld(why) => format!("not sent: {why}"),
            Kind::Gateway if custom.is_some() && self.is_elsewhere() => {
                format!("what answers at {place} does not do so as Hetzner's API does")
            }
            Kind::Gateway => "Hetzner answered without an explanation".to_owned(),
            Kind::NotOurs => {
                "one of this name exists that clawdlets did not make; rename or delete it"
                    .to_owned()
            }
            Kind::OtherLedger => {
                "its label says that another ledger keeps this fleet; stop the other controller, or give this one that ledger"
                    .to_owned()
            }
            Kind::Refused(Code::NotFound) if self.is_elsewhere() => {
                format!("no API is at {place}; Hetzner's ends in /v1")
            }
            Kind::Refused(Code::TokenReadonly) => format!(
                "Hetzner refuses the token: it may only read (token_readonly); {GIVE_ANOTHER}"
            ),
            Kind::Refused(Code::Unauthorized) => format!(
                "Hetzner refuses the token: it is mistyped, revoked or another API's (unauthorized); {GIVE_ANOTHER}"
            ),
            Kind::Refused(code @ Code::Forbidden) => format!(
                "Hetzner does not let the account do this: {}; its Cloud Console or support says why",
                self.quoted(*code)
            ),
            Kind::Refused(code @ Code::ResourceLimitExceeded) => format!(
                "a limit of the account is reached: {}; delete something or ask Hetzner for more",
                self.quoted(*code)
            ),
            Kind::Refused(code) => self.quoted(*code),
        }
    }

    /// Hetzner's own words.
    fn quoted(&self, code: Code) -> String {
        match code {
            Code::Other => self.message.clone(),
            code if self.message.is_empty() => code.as_str().to_owned(),
            code => format!("{} ({})", self.message, code.as_str()),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phrase, subject) = (self.operation.phrase(), &self.subject);
        write!(f, "cannot {phrase} {subject}: {}", self.explanation())
    }
}
