//! Tasks: inline in a spec, or in a file of their own.

use cattle_schemas::task::{DEFAULT_TASK_TYPE, TASK_SCHEMA_VERSION, Task, TaskInput};

use super::{
    decode::{Fields, Unknown},
    findings::Findings,
    tree::{self, Node},
};
use crate::names::CattleName;

/// The keys of a task.
const KEYS: &[&str] = &["schemaVersion", "taskId", "type", "message", "callbackUrl"];
/// The longest message. It travels in `user_data`, whose packed form holds 32 KiB: text that is
/// longer than this does not fit however well it packs.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// The longest task id; people read it in tables.
pub const MAX_TASK_ID: usize = 256;
/// The longest task type; a key of the guest's runner table.
pub const MAX_TASK_TYPE: usize = 128;

pub(crate) fn decode(node: Node, path: &str, findings: &mut Findings) -> Option<TaskInput> {
    let mut fields = Fields::open(node, path, KEYS, Unknown::Refuse, findings)?;
    let schema_version = fields
        .integer(
            "schemaVersion",
            TASK_SCHEMA_VERSION..=TASK_SCHEMA_VERSION,
            findings,
        )
        .map(|version| version.value);
    let mut text = |field: &str, max: usize, findings: &mut Findings| {
        let name = fields.name(field);
        let text = fields.string(field, findings)?;
        if text.value.trim().is_empty() {
            findings.error(text.place, format!("`{name}` must not be empty"));
        } else if text.value.len() > max {
            let length = text.value.len();
            findings.error(
                text.place,
                format!("`{name}` has {length} bytes, at most {max} are allowed"),
            );
        }
        Some(text.value)
    };
    let task_id = text("taskId", MAX_TASK_ID, findings);
    let kind = text("type", MAX_TASK_TYPE, findings);
    let message = text("message", MAX_MESSAGE, findings);
    let callback_url = fields.string("callbackUrl", findings).map(|url| url.value);
    if !fields.has("message") {
        let name = fields.name("message");
        findings.error(fields.place, format!("missing field `{name}`"));
    }
    Some(TaskInput {
        schema_version,
        task_id,
        kind,
        message: message?,
        callback_url,
    })
}

/// Reads a task file.
///
/// # Errors
/// Sentences with the task file's own places, made of its field names but never of its values: the
/// file may be one that its reader was not meant to see.
pub fn parse_task(bytes: &[u8]) -> Result<TaskInput, Vec<String>> {
    let root = tree::read("", bytes).map_err(|error| {
        // A syntax error's text may quote what it stumbled over.
        vec![located(
            error.line,
            error.column,
            "not readable as JSON or YAML",
        )]
    })?;
    let mut findings = Findings::silent();
    match decode(root, "", &mut findings) {
        Some(task) if findings.is_empty() => Ok(task),
        _ => Err(findings
            .into_sorted()
            .into_iter()
            .map(|d| {
                let hint = d.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                located(d.line, d.column, &format!("{}{hint}", d.message))
            })
            .collect()),
    }
}

fn located(line: u32, column: u32, message: &str) -> String {
    if line == 0 {
        message.to_owned()
    } else {
        format!("line {line}, column {column}: {message}")
    }
}

/// A task with its defaults; nobody is ever called back.
#[must_use]
pub fn normalise(input: TaskInput, cattle: &CattleName) -> Task {
    Task {
        schema_version: TASK_SCHEMA_VERSION,
        task_id: input.task_id.unwrap_or_else(|| cattle.to_string()),
        kind: input.kind.unwrap_or_else(|| DEFAULT_TASK_TYPE.to_owned()),
        message: input.message,
        callback_url: String::new(),
    }
}
