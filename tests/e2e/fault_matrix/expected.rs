//! How each cell must end. Rules, not a list: whoever changes what the controller does about a
//! failure can check them by reading.

use std::ops::RangeInclusive;

use cattle_controller::hetzner::Operation;
use cattle_schemas::status::EndReason;

use super::{cell::Cell, faults::Side};

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
pub(super) fn expected(cell: Cell) -> Expected {
    let completed = Expected {
        reason: EndReason::Completed,
        tasks: 1,
        servers: 1..=1,
    };
    match (cell.operation, cell.side) {
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
