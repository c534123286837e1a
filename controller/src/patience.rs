//! How long the controller waits by its own watch: for answers, and between looks.
//!
//! Passed in, so that a test can wait less; [`Patience::default`] is what production waits, each
//! with its reason. Absent on purpose: everything that the ledger dates (deadlines, backoff, retries
//! of creates and deletes). Those run by Hetzner's clock and are the core's.

use std::time::Duration;

use cattle_core::lifecycle::deadlines::DELETE_ENDS;

pub use crate::lister::Pace;

/// All of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// With one HTTP exchange.
    pub answers: Answers,
    /// Between lists.
    pub lists: Pace,
    /// While deletes are followed.
    pub follow: Follow,
    /// With what is not urgent.
    pub again: Again,
}

/// How long an answer of Hetzner's is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// A TCP and TLS handshake across Europe takes a tenth of a second; ten are a network that is
    /// down.
    pub connect: Duration,
    /// A list page or a delete takes well under a second. Longer than a gateway's own patience
    /// gains nothing.
    pub usual: Duration,
    /// A create is worth more patience: giving up early leaves a server to be looked for.
    pub create: Duration,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            usual: Duration::from_secs(30),
            create: Duration::from_secs(60),
        }
    }
}

/// How accepted deletes are looked after.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// The first look, about as long as the quickest delete takes.
    pub first: Duration,
    /// Looks are never further apart: a delete takes about ten seconds.
    pub longest: Duration,
    /// After this the server itself is asked for, and the plan deletes again.
    pub give_up: Duration,
}

impl Default for Follow {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(8),
            give_up: DELETE_ENDS,
        }
    }
}

/// When something is tried again that nothing waits for.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// An orphan that is still listed this long after its delete is deleted again: two lists later.
    pub orphan: Duration,
    /// What Hetzner offers could not be read, or an image that a start waits for is not there.
    pub survey: Duration,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            orphan: Duration::from_secs(60),
            survey: Duration::from_secs(60),
        }
    }
}
