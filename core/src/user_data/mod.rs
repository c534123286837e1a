//! What a server is given at birth: a cloud-init document that writes files and does nothing else.
//!
//! Invariants: `write_files` is its only key, so nothing in it is ever executed by cloud-init; it
//! holds no secret the controller knows except those made for this one run (the bootstrap token and
//! the tailnet key); it is at most [`MAX_BYTES`] as sent. The same input gives the same bytes.

#[cfg(test)]
mod disguises;
mod escapes;
mod secrets;
mod squeeze;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use cattle_schemas::{
    guest::{Bootstrap, paths},
    task::Task,
};
use flate2::{Compression, GzBuilder};
use serde::Serialize;
use zeroize::Zeroizing;

pub use secrets::{MAX_LAYERS, MIN_SECRET, Secret, SecretSearch, find_secret};

use crate::spec::PersonaFiles;

/// Hetzner's limit on `user_data` as sent.
pub const MAX_BYTES: usize = 32_768;
/// Up to here the document is sent as plain text, which an operator can read in the console. Above
/// it is packed, well before the limit, so that a slightly longer task does not change how close to
/// the limit it is.
pub const MAX_PLAIN_BYTES: usize = 28 * 1_024;

/// What goes in.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The task, complete.
    pub task: &'a Task,
    /// The persona.
    pub persona: &'a PersonaFiles,
    /// The run's model; becomes `model.primary` of the persona's configuration.
    pub model: &'a str,
    /// With the run's token.
    pub bootstrap: &'a Bootstrap,
    /// Made for this run.
    pub tailnet_key: Option<&'a str>,
}

/// The document as sent. It carries the run's token, so it has no readable `Debug` and is zeroed when
/// it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData {
    text: Zeroizing<String>,
    packed: bool,
}

impl UserData {
    /// The string for `POST /servers`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, given away.
    #[must_use]
    pub fn into_text(self) -> Zeroizing<String> {
        self.text
    }

    /// Whether it is base64 of gzip.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        self.packed
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserData")
            .field("bytes", &self.text.len())
            .field("packed", &self.packed)
            .finish_non_exhaustive()
    }
}

/// Why there is no document. Trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// It does not fit even when packed.
    #[error(
        "cloud-init user_data too large: {bytes} bytes (limit {MAX_BYTES}); before packing: {parts}"
    )]
    TooLarge {
        /// As it would be sent.
        bytes: usize,
        /// Its parts with their sizes.
        parts: String,
    },
    /// A secret would have been readable in the server's metadata for all its life.
    #[error(
        "{part} contains the secret `{name}`: remove it there, the guest gets its secrets over the tailnet"
    )]
    Secret {
        /// Where it is.
        part: &'static str,
        /// The secret's name, never its value.
        name: String,
    },
}

#[derive(Serialize)]
struct CloudConfig<'a> {
    write_files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    owner: &'a str,
    /// A string: YAML would read 0600 as a number, which cloud-init refuses.
    permissions: &'a str,
    content: &'a str,
    #[serde(skip)]
    name: &'static str,
}

fn file<'a>(name: &'static str, path: &'static str, content: &'a str) -> File<'a> {
    File {
        path,
        owner: "root:root",
        permissions: "0600",
        content,
        name,
    }
}

/// Builds the document. `secrets` are all that the controller knows, the two of this run excepted.
///
/// # Errors
/// A part contains one of the secrets, or the document does not fit.
pub fn build(input: &Input<'_>, secrets: &[Secret<'_>]) -> Result<UserData, UserDataError> {
    let config = input.persona.config_for(input.model);
    refuse_secrets(input, &config, secrets)?;
    let json =
        |value: serde_json::Result<String>| value.expect("structs of strings and numbers are JSON");
    let task = json(serde_json::to_string(input.task));
    let config = json(serde_json::to_string(&config));
    let bootstrap = Zeroizing::new(json(serde_json::to_string(input.bootstrap)));
    let mut files = vec![
        file("task.json", paths::TASK, &task),
        file("SOUL.md", paths::SOUL, &input.persona.soul),
        file("config.json", paths::PERSONA_CONFIG, &config),
        file("bootstrap.json", paths::BOOTSTRAP, &bootstrap),
    ];
    if let Some(key) = input.tailnet_key {
        files.push(file("tailnet key", paths::TAILNET_KEY, key));
    }
    let parts = files
        .iter()
        .map(|file| format!("{} {}", file.name, file.content.len()))
        .collect::<Vec<_>>()
        .join(", ");
    let document = document(&CloudConfig { write_files: files });
    send_as(document, parts)
}

/// The plain document. JSON is YAML except for a few characters that YAML 1.1 forbids or takes for
/// line ends even within quotes; one of them would make cloud-init drop the whole document.
fn document(config: &CloudConfig<'_>) -> Zeroizing<String> {
    let json = Zeroizing::new(serde_json::to_string(config).expect("structs of strings are JSON"));
    // The escapes below are rare; without them it does not grow, so that no copy stays behind.
    let mut text = Zeroizing::new(String::with_capacity(json.len() + 64));
    text.push_str("#cloud-config\n");
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

fn send_as(document: Zeroizing<String>, parts: String) -> Result<UserData, UserDataError> {
    if document.len() <= MAX_PLAIN_BYTES {
        return Ok(UserData {
            text: document,
            packed: false,
        });
    }
    let text = pack(&document);
    if text.len() <= MAX_BYTES {
        return Ok(UserData { text, packed: true });
    }
    // What does not compress may still fit as it is.
    if document.len() <= MAX_BYTES {
        return Ok(UserData {
            text: document,
            packed: false,
        });
    }
    Err(UserDataError::TooLarge {
        bytes: text.len().min(document.len()),
        parts,
    })
}

/// Base64 of gzip; cloud-init undoes both. The header carries no time and no name.
fn pack(document: &str) -> Zeroizing<String> {
    use std::io::Write as _;

    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::with_capacity(document.len()), Compression::best());
    let packed = encoder
        .write_all(document.as_bytes())
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail");
    let packed = Zeroizing::new(packed);
    Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*packed))
}

/// Parts are searched as their authors wrote them, before any encoding hides what is in them.
fn refuse_secrets(
    input: &Input<'_>,
    config: &serde_json::Value,
    secrets: &[Secret<'_>],
) -> Result<(), UserDataError> {
    let search = SecretSearch::new(secrets);
    let task = [
        input.task.message.as_str(),
        input.task.task_id.as_str(),
        input.task.kind.as_str(),
    ];
    let mut config_texts = vec![input.persona.config_text.clone()];
    collect_texts(config, &mut config_texts);
    let config_text = config_texts.join("\n");
    let parts = task.into_iter().map(|text| ("the task", text)).chain([
        ("the persona's SOUL.md", input.persona.soul.as_str()),
        ("the persona's config.json", config_text.as_str()),
        ("the model's name", input.model),
        // All of the bootstrap file but the token, which is made to be in it.
        ("the cattle's name", input.bootstrap.cattle.as_str()),
        (
            "the guest API's URL",
            input.bootstrap.controller_url.as_str(),
        ),
    ]);
    for (part, text) in parts {
        if let Some(name) = search.find(text.as_bytes()) {
            let name = name.to_owned();
            return Err(UserDataError::Secret { part, name });
        }
    }
    Ok(())
}

/// Every key and string of a JSON value, without its escapes.
fn collect_texts(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                texts.push(key.clone());
                collect_texts(value, texts);
            }
        }
        _ => {}
    }
}
