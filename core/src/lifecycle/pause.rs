//! The beginning and the end of a pause.

use cattle_schemas::{Timestamp, event::EventReason, status::PauseReason};

use super::Transition;
use crate::pause::{Pause, Resumed};

/// Begins a pause, or brings up to date what the one that holds already says and shows. An operator's
/// second one holds what the first did too. `known` is the one of this reason and subject that holds.
pub fn pause(known: &mut Option<Pause>, fresh: &Pause) -> Transition {
    let Some(held) = known.as_mut().filter(|held| held.holds()) else {
        *known = Some(fresh.clone());
        return Transition::told(EventReason::Paused, told(fresh));
    };
    let mut next = Pause {
        since: held.since,
        ..fresh.clone()
    };
    if held.reason == PauseReason::Paused {
        next.starts |= held.starts;
        next.ends |= held.ends;
    }
    if *held == next {
        return Transition::refused();
    }
    let says_more =
        held.reason == PauseReason::Paused || (held.starts, held.ends) != (next.starts, next.ends);
    *held = next;
    if says_more {
        Transition::told(EventReason::Paused, told(held))
    } else {
        // What it holds back changes with every run that ends by itself.
        Transition::silent()
    }
}

/// Ends a pause, once. `confirmed`: somebody has seen what it shows.
pub fn resume(
    known: &mut Option<Pause>,
    by: &str,
    message: &str,
    confirmed: bool,
    now: Timestamp,
) -> Transition {
    let Some(held) = known.as_mut().filter(|held| held.holds()) else {
        return Transition::refused();
    };
    held.resumed = Some(Resumed {
        at: now,
        by: by.to_owned(),
        confirmed,
    });
    Transition::told(
        EventReason::Resumed,
        format!("{} go on ({}): {message}", what(held), held.reason),
    )
}

/// `starts are paused (paused): …`
fn told(pause: &Pause) -> String {
    format!(
        "{} are paused ({}): {}",
        what(pause),
        pause.reason,
        pause.sentence()
    )
}

fn what(pause: &Pause) -> &'static str {
    match (pause.starts, pause.ends) {
        (true, false) => "starts",
        (false, true) => "ends",
        _ => "starts and ends",
    }
}
