//! Spec files: read, validated, completed.
//!
//! [`parse`] turns bytes into a [`ParsedSpec`]: everything that the file itself can tell.
//! [`ParsedSpec::complete`] adds what the fleet, the persona and a task file say and gives a
//! [`Cattle`](crate::desired::Cattle). Both report every error they find, with line, column and hint. Reading files is the
//! caller's: it opens them beneath the project and hands over content, or why it could not.
//!
//! Invariant: no bytes make this panic, recurse without bound, or grow beyond a small multiple of
//! [`MAX_SPEC_BYTES`](cattle_schemas::api::MAX_SPEC_BYTES).

mod complete;
pub(crate) mod decode;
pub(crate) mod findings;
pub(crate) mod hash;
mod limits;
pub(crate) mod model;
mod parsed;
mod persona;
mod render;
mod task;
mod task_path;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

pub use complete::{DEFAULT_START_WITHIN, Inputs};
pub use parsed::{ParsedSpec, name_in, parse, parse_for};
pub use persona::{MAX_CONFIG_BYTES, MAX_SOUL_BYTES, PersonaFiles};
pub use render::{line, render};
pub use task::{MAX_MESSAGE, MAX_TASK_ID, MAX_TASK_TYPE, normalise, parse_task};
pub use task_path::{CATTLE_DIRECTORY, task_path};
