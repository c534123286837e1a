//! How each cell must end. Rules, not a list: whoever changes what the controller does about a
//! failure can check them by reading.

use std::ops::RangeInclusive;

use cattle_controller::hetzner::Operation;
use cattle_schemas::status::EndReason;

use super::faults::Side;

/// What must be true once nothing is left to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    /// The ledger's word.
    pub(super) reason: EndReason,
    /// How often the task was begun.
    pub(super) tasks: usize,
    /// How many servers there were, one after the other.
    pub(super) servers: RangeInclusive<u64>,
}

/// The rule: one server, one task, completed. Then the exceptions.
pub(super) fn expected(operation: Operation, side: Side) -> Expected {
    let completed = Expected {
        reason: EndReason::Completed,
        tasks: 1,
        servers: 1..=1,
    };
    match (operation, side) {
        // The scene: somebody deleted the server, whatever the question about it was answered.
        (Operation::GetServer, _) => Expected {
            reason: EndReason::DeletedExternally,
            ..completed
        },
        // A server that does not come up though it was powered on is replaced in the end.
        (Operation::PowerOn, Side::Before) => Expected {
            servers: 1..=2,
            ..completed
        },
        _ => completed,
    }
}

/// What becomes of a run while a call fails for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meanwhile {
    /// It waits, and says for what.
    Waits,
    /// It ends all the same.
    Ends,
}

/// What a run can do without.
pub(super) fn meanwhile(operation: Operation) -> Meanwhile {
    match operation {
        // Lists find what was created as well; one server after the other is tried; the ledger knows
        // the ttl, labels are for those who have only them; what became of a delete is asked of the
        // server itself; a run without a price is a run; an image's id is sent as it is written.
        Operation::FindServer
        | Operation::PowerOn
        | Operation::Relabel
        | Operation::Actions
        | Operation::ListServerTypes
        | Operation::Prices
        | Operation::GetImage => Meanwhile::Ends,
        _ => Meanwhile::Waits,
    }
}
