//! The shape of the API's replies, as JSON Schemas of our own in `schemas/`, and the check that
//! every reply has it. Only tests compile this: those of the state machine check each answer
//! where it leaves, those over HTTP what was recorded (`--record-replies`), and the conformance
//! suite what it recorded, by the same files.
//!
//! Invariant: what is exempt says so itself (an answer that is `odd`, or no reply at all); there is no
//! list of exceptions here.

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The compiled schemas, and each operation's one status of success.
pub(crate) struct Shapes {
    schemas: Schemas,
    error: SchemaIndex,
    replies: BTreeMap<String, (u64, SchemaIndex)>,
}

impl Shapes {
    pub(crate) fn get() -> &'static Self {
        static SHAPES: OnceLock<Shapes> = OnceLock::new();
        SHAPES.get_or_init(Self::compile)
    }

    fn compile() -> Self {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
        let file = folder.join("replies.json");
        let text = std::fs::read_to_string(&file).expect("schemas/replies.json is there");
        let replies: Value = serde_json::from_str(&text).expect("schemas/replies.json is JSON");
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        let mut compile = |location: String| {
            compiler
                .compile(&location, &mut schemas)
                .unwrap_or_else(|error| panic!("{location}: {error:#}"))
        };
        let error = compile(folder.join("error.json").display().to_string());
        let replies = replies["$defs"]
            .as_object()
            .expect("replies.json has $defs")
            .iter()
            .map(|(operation, schema)| {
                let status = schema["x-status"].as_u64().expect("a reply has x-status");
                let index = compile(format!("{}#/$defs/{operation}", file.display()));
                (operation.clone(), (status, index))
            })
            .collect();
        Self {
            schemas,
            error,
            replies,
        }
    }

    /// The operations whose success has a shape.
    #[allow(
        dead_code,
        reason = "the tests over HTTP include this file and ask for no list"
    )]
    pub(crate) fn operations(&self) -> impl Iterator<Item = &str> {
        self.replies.keys().map(String::as_str)
    }

    /// What is wrong with a reply; `body` is null where there is none.
    pub(crate) fn problem(&self, operation: &str, status: u64, body: &Value) -> Option<String> {
        let schema = if status >= 400 {
            self.error
        } else {
            match self.replies.get(operation) {
                None => return Some(format!("{operation}: no schema for a {status}")),
                Some((right, _)) if *right != status => {
                    return Some(format!("{operation}: {status} instead of {right}"));
                }
                Some((_, schema)) => *schema,
            }
        };
        let problem = self.schemas.validate(body, schema).err()?;
        Some(format!("{operation} {status}: {problem:#}\n{body:#}"))
    }
}
