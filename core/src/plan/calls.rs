//! Nothing is begun that Hetzner's rate limit would hold up: a run's time to live counts from its
//! `POST`, so a run that waits at the gate would lose of it.

use cattle_schemas::status::PendingReason;

use super::Pass;

/// Why one more server may not be asked for in this pass; then the loop wakes when it may.
pub(super) fn spent(pass: &mut Pass<'_>) -> Option<(PendingReason, String)> {
    let calls = pass.limits.calls;
    let begun = u32::try_from(pass.sections.starts.len()).unwrap_or(u32::MAX);
    if begun < calls.creates {
        return None;
    }
    let mut message = format!(
        "Hetzner's rate limit: {} of {} calls left, {} are kept for deletes",
        calls.left, calls.limit, calls.reserve
    );
    if let Some(at) = calls.more_at {
        pass.due(at);
        message.push_str(&format!("; the next at {}", at.format("%H:%M:%S UTC")));
    }
    Some((PendingReason::RateLimited, message))
}
