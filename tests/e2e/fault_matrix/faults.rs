//! The ways in which a call goes wrong.

use serde_json::{Value, json};

/// When a fault strikes: before its call takes effect, or after it did and only the reply suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Before,
    After,
}

impl Side {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// One way to go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// Column of the table, and part of a cell's name.
    pub(super) name: &'static str,
    /// What is certain about it.
    pub(super) leaves: Leaves,
    script: fn() -> Value,
}

/// What a fault says about the effect of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Refused: there was none.
    Nothing,
    /// There may have been one: both must end well.
    Doubt,
    /// The reply is the right one, damaged: there was one.
    TheEffect,
}

impl Fault {
    /// The simulator's `fault`.
    pub(super) fn script(&self) -> Value {
        (self.script)()
    }

    /// Where it can strike a call that changes something, or one that only reads.
    pub(super) fn sides(&self, changes: bool) -> &'static [Side] {
        match self.leaves {
            Leaves::Nothing => &[Side::Before],
            Leaves::TheEffect => &[Side::After],
            // Before and after reading is the same.
            Leaves::Doubt if changes => &[Side::Before, Side::After],
            Leaves::Doubt => &[Side::Before],
        }
    }
}

/// Longer than the cells' patience with any answer.
const HANG_MS: u64 = 20_000;

const fn fault(name: &'static str, leaves: Leaves, script: fn() -> Value) -> Fault {
    Fault {
        name,
        leaves,
        script,
    }
}

fn refusal(status: u16, code: &str) -> Value {
    let message = format!("scripted: {code}");
    json!({"kind": "json", "status": status, "code": code, "message": message})
}

/// All of them: every status of the fact sheet that some operation may meet, and everything that a
/// gateway, a proxy or a broken line make of a reply.
pub(super) const ALL: &[Fault] = &[
    fault("401", Leaves::Nothing, || refusal(401, "unauthorized")),
    fault("403", Leaves::Nothing, || refusal(403, "forbidden")),
    fault("403-read-only", Leaves::Nothing, || {
        refusal(403, "token_readonly")
    }),
    fault("403-limit", Leaves::Nothing, || {
        refusal(403, "resource_limit_exceeded")
    }),
    fault("404", Leaves::Nothing, || refusal(404, "not_found")),
    fault("409", Leaves::Nothing, || refusal(409, "conflict")),
    fault("409-taken", Leaves::Nothing, || {
        refusal(409, "uniqueness_error")
    }),
    fault("412", Leaves::Nothing, || {
        refusal(412, "resource_unavailable")
    }),
    fault("422", Leaves::Nothing, || refusal(422, "invalid_input")),
    fault("423", Leaves::Nothing, || refusal(423, "locked")),
    fault("429", Leaves::Nothing, || json!({"kind": "rate_limited"})),
    fault("new-code", Leaves::Nothing, || {
        refusal(400, "unheard_of_in_2026")
    }),
    fault("500", Leaves::Doubt, || refusal(500, "server_error")),
    fault("502-html", Leaves::Doubt, || json!({"kind": "html"})),
    fault("503", Leaves::Doubt, || refusal(503, "unavailable")),
    fault("504-text", Leaves::Doubt, || json!({"kind": "text"})),
    fault(
        "hang",
        Leaves::Doubt,
        || json!({"kind": "hang", "ms": HANG_MS}),
    ),
    fault("cut", Leaves::Doubt, || json!({"kind": "cut"})),
    fault(
        "empty",
        Leaves::Doubt,
        || json!({"kind": "text", "status": 200, "body": ""}),
    ),
    fault(
        "200-html",
        Leaves::Doubt,
        || json!({"kind": "html", "status": 200}),
    ),
    fault(
        "odd-json",
        Leaves::Doubt,
        || json!({"kind": "odd_json", "body": {"unheard": ["of"]}}),
    ),
    fault(
        "truncated",
        Leaves::TheEffect,
        || json!({"kind": "truncated"}),
    ),
    fault(
        "half-json",
        Leaves::TheEffect,
        || json!({"kind": "half_json"}),
    ),
    fault(
        "empty-body",
        Leaves::TheEffect,
        || json!({"kind": "empty_body"}),
    ),
    fault(
        "no-ids",
        Leaves::TheEffect,
        || json!({"kind": "missing_keys", "keys": ["id"]}),
    ),
    fault(
        "new-words",
        Leaves::TheEffect,
        || json!({"kind": "replace_keys", "keys": {"status": "hibernating"}}),
    ),
];
