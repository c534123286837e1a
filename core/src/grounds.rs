//! What a 404 about one of our servers is judged by: see [`crate::lifecycle::not_found`].
//!
//! Invariant: whoever judges between two passes takes no silence from a time in which nobody could
//! listen, a suspended host's included.

use cattle_schemas::Timestamp;

use crate::{
    hearing::{Hearing, Moment},
    identity::Project,
};

/// What a 404 is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Whether the project is ours.
    pub project: Project,
    /// Since when guests could be heard without a break; `None` while they cannot.
    pub heard_since: Option<Timestamp>,
    /// Whether anything may be called over by the time that is carried.
    pub judges: bool,
}

/// What the last pass knew of that.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastPass {
    /// Whether the project is ours.
    pub project: Project,
    /// Whether guests could be heard from pass to pass.
    pub hearing: Hearing,
}

impl LastPass {
    /// What an answer is judged by that came at this moment. `judges` says whether anything may be
    /// called over by the time that is carried.
    #[must_use]
    pub fn grounds(self, at: Moment, judges: bool) -> Grounds {
        Grounds {
            project: self.project,
            heard_since: self.hearing.still(at),
            judges,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let time = noon + Duration::from_secs(seconds);
        Moment {
            reading: Duration::from_secs(seconds),
            now: time,
            wall: time,
        }
    }

    #[test]
    fn an_answer_after_a_suspend_finds_that_nobody_listened() {
        let mut hearing = Hearing::default();
        hearing.pass(at(0), true);
        let pass = LastPass {
            project: Project::Ours,
            hearing,
        };
        assert_eq!(pass.grounds(at(10), true).heard_since, Some(at(0).now));
        assert_eq!(pass.grounds(at(200), true).heard_since, None);
    }
}
