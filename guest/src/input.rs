//! The three files a guest finds: bootstrap, task, runners. Parsed once, checked once.

use std::io;
use std::path::{Path, PathBuf};

use cattle_schemas::guest::Bootstrap;
use cattle_schemas::runners::RunnersFile;
use cattle_schemas::task::{TASK_SCHEMA_VERSION, Task};
use serde::de::DeserializeOwned;

use crate::layout::{Layout, read_limited};

/// Bootstrap and task come out of a `user_data` of 32 KiB; unpacked it is at most a few times that.
const MAX_INPUT_BYTES: u64 = 256 * 1024;

/// The only version of bootstrap and runners file there is.
const SCHEMA_VERSION: u32 = 1;

/// Why one of the guest's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("no {what} at `{}`", path.display())]
    Missing { what: &'static str, path: PathBuf },
    #[error("cannot read the {what} `{}`", path.display())]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The place and kind of the error, without serde's text: that quotes what it found, and the
    /// bootstrap file holds a token.
    #[error("the {what} `{}` is not valid: {problem}", path.display())]
    Invalid {
        what: &'static str,
        path: PathBuf,
        problem: String,
    },
}

/// Says where JSON went wrong without quoting any of it.
pub(crate) fn place_of(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "not of the agreed shape",
        serde_json::error::Category::Eof => "cut short",
        serde_json::error::Category::Io => "unreadable",
    };
    format!("{kind} at line {}, column {}", error.line(), error.column())
}

fn read<T: DeserializeOwned>(
    what: &'static str,
    path: &Path,
    secret: bool,
) -> Result<Option<T>, InputError> {
    let bytes = read_limited(path, MAX_INPUT_BYTES).map_err(|source| InputError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| InputError::Invalid {
            what,
            path: path.to_owned(),
            problem: if secret {
                place_of(&error)
            } else {
                error.to_string()
            },
        })
}

fn invalid(what: &'static str, path: PathBuf, problem: String) -> InputError {
    InputError::Invalid {
        what,
        path,
        problem,
    }
}

/// The bootstrap file, or `None`: it is deleted once it is spent.
pub(crate) fn bootstrap(layout: &Layout) -> Result<Option<Bootstrap>, InputError> {
    const WHAT: &str = "bootstrap file";
    let path = layout.bootstrap();
    let Some(bootstrap) = read::<Bootstrap>(WHAT, &path, true)? else {
        return Ok(None);
    };
    if bootstrap.schema_version != SCHEMA_VERSION {
        let found = bootstrap.schema_version;
        return Err(invalid(
            WHAT,
            path,
            format!("schemaVersion {found}, known: {SCHEMA_VERSION}"),
        ));
    }
    if bootstrap.token.is_empty() || !bootstrap.token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid(
            WHAT,
            path,
            "the token is empty or not printable ASCII".to_owned(),
        ));
    }
    if let Err(problem) = controller_url(&bootstrap) {
        return Err(invalid(WHAT, path, format!("controllerUrl: {problem}")));
    }
    Ok(Some(bootstrap))
}

/// Where the controller is.
pub(crate) fn controller_url(bootstrap: &Bootstrap) -> Result<reqwest::Url, String> {
    base_url(&bootstrap.controller_url)
}

/// The controller's base URL.
pub(crate) fn base_url(text: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() != "http" {
        return Err(format!(
            "`{}` is not spoken, only http: the tailnet encrypts",
            url.scheme()
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into a URL".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("only scheme, host and port".to_owned());
    }
    Ok(url)
}

/// The task.
pub(crate) fn task(layout: &Layout) -> Result<Task, InputError> {
    const WHAT: &str = "task file";
    let path = layout.task();
    let task: Task = read(WHAT, &path, false)?.ok_or_else(|| InputError::Missing {
        what: WHAT,
        path: path.clone(),
    })?;
    if task.schema_version != TASK_SCHEMA_VERSION {
        let found = task.schema_version;
        return Err(invalid(
            WHAT,
            path,
            format!("schemaVersion {found}, known: {TASK_SCHEMA_VERSION}"),
        ));
    }
    Ok(task)
}

/// What is run for which task type.
pub(crate) fn runners(layout: &Layout) -> Result<RunnersFile, InputError> {
    const WHAT: &str = "runners file";
    let path = layout.runners();
    let runners: RunnersFile = read(WHAT, &path, false)?.ok_or_else(|| InputError::Missing {
        what: WHAT,
        path: path.clone(),
    })?;
    if runners.schema_version != SCHEMA_VERSION {
        let found = runners.schema_version;
        return Err(invalid(
            WHAT,
            path,
            format!("schemaVersion {found}, known: {SCHEMA_VERSION}"),
        ));
    }
    for (kind, runner) in &runners.runners {
        if runner.command.first().is_none_or(String::is_empty) {
            return Err(invalid(WHAT, path, format!("`{kind}` has no command")));
        }
    }
    Ok(runners)
}
