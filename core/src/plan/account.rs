//! Nothing is created with a token that is refused, but for one try now and then.

use std::time::Duration;

use cattle_schemas::status::PendingReason;

use super::Pass;
use crate::{
    account::{Refusal, Token},
    ledger::CreateState,
};

/// Between two creates that find out whether a token may write by now: it cannot change while the
/// controller runs, so this only mends what Hetzner said in error. About as often as lists find out
/// whether it is taken at all.
const PROBE: Duration = Duration::from_secs(30);

/// Why nothing can be created with this token.
pub(super) fn refused(pass: &mut Pass<'_>) -> Option<(PendingReason, String)> {
    let Token::Refused {
        why, message, at, ..
    } = &pass.limits.token
    else {
        return None;
    };
    // A list finds out whether the token is taken again, and lists go on.
    let probe = *why == Refusal::ReadOnly && pass.passed(*at, PROBE) && !creating(pass);
    (!probe).then(|| (PendingReason::Account, message.clone()))
}

/// Whether a create is about to tell.
fn creating(pass: &Pass<'_>) -> bool {
    !pass.sections.starts.is_empty()
        || pass
            .ledger
            .runs
            .values()
            .any(|run| run.is_live() && run.create == CreateState::Intended)
}
