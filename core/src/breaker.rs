//! What is known of an image: whether servers made of it boot.
//!
//! Three boot timeouts in a row, with no report from a server of that image between them, and nothing
//! more is made of it but one probe at a time, until one boots. So a broken image costs what was in
//! flight and the probes, whatever waits. Timeouts while we could not hear are none: a run ends as
//! `boot-timeout` only while its guest could have been heard.

use std::time::Duration;

use cattle_schemas::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{clock::after, ledger::Run};

/// Boot timeouts in a row that stop an image's creates: one may be a bad host, two bad luck.
pub const MAX_TIMEOUTS: u32 = 3;

/// Between a timeout and the next probe: each costs a started hour, so no two share one for nothing.
pub const PROBE_EVERY: Duration = Duration::from_secs(3_600);

/// One image, as the ledger keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageRecord {
    /// Boot timeouts since the last report.
    pub timeouts: u32,
    /// The latest of them.
    pub timed_out_at: Option<Timestamp>,
    /// When a guest of it last reported for the first time.
    pub reported_at: Option<Timestamp>,
    /// When an operator last asked for a probe.
    pub released_at: Option<Timestamp>,
}

/// What a run tells of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFact {
    /// Its guest reported for the first time.
    Reported(Timestamp),
    /// Its guest did not, in time, though it could have been heard.
    TimedOut(Timestamp),
}

impl ImageRecord {
    /// Takes in what a run tells.
    pub fn learn(&mut self, fact: ImageFact) {
        match fact {
            ImageFact::Reported(at) => {
                self.timeouts = 0;
                self.reported_at = self.reported_at.max(Some(at));
            }
            ImageFact::TimedOut(at) => {
                self.timeouts = self.timeouts.saturating_add(1);
                // Not the later of two: one of the future was noted before the clock went back, and would
                // leave no time between probes.
                self.timed_out_at = Some(at);
            }
        }
    }

    /// Nothing is made of it but probes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.timeouts >= MAX_TIMEOUTS
    }

    /// When the next probe may be made.
    #[must_use]
    pub fn probe_at(&self, now: Timestamp) -> Option<Timestamp> {
        let timed_out = self.timed_out_at?;
        match self.released_at {
            Some(released) if released > timed_out => Some(released.min(now)),
            _ => Some(after(timed_out, PROBE_EVERY, now)),
        }
    }
}

/// The image that a run's server was made of: as the create named it, else as its spec does.
#[must_use]
pub fn image_of(run: &Run) -> &str {
    let made_of = run.server.as_ref().and_then(|it| it.made_of.as_deref());
    made_of.unwrap_or(&run.spec.placement.image)
}
