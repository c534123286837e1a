//! What the guest remembers across its own restarts: that the runner may have started, the key of
//! its env call, and the session.

use std::io;

use cattle_schemas::guest::Bootstrap;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::input::base_url;
use crate::layout::{Layout, read_limited, remove_if_there, write_durable};
use crate::process::ProcessId;

/// All state files are a few hundred bytes; the limit only keeps a foreign file out.
const MAX_STATE_BYTES: u64 = 64 * 1024;

/// On disk from before the runner starts. With it there, this disk never runs that task again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    /// The run that it stands for; any, where the marker could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    /// The runner's process, once it is there: a restarted guest ends what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runner: Option<ProcessId>,
}

/// Everything a restarted guest needs to speak to its controller once more.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) run: String,
    pub(crate) controller: reqwest::Url,
    pub(crate) token: SecretString,
    /// When the task's time is up, as first heard.
    pub(crate) time_up: Moment,
}

/// [`Session`] as it is written; has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredSession {
    run: String,
    controller_url: String,
    token: String,
    /// Of the machine's present life, as is the directory it is in.
    time_up: Moment,
}

impl Marker {
    /// For a runner that is about to start.
    pub(crate) fn of(bootstrap: &Bootstrap) -> Self {
        Self {
            run: Some(bootstrap.run.clone()),
            runner: None,
        }
    }

    /// Whether `run` may not be started any more.
    pub(crate) fn forbids(&self, run: &str) -> bool {
        self.run.as_deref().is_none_or(|marked| marked == run)
    }

    /// The run as people read it.
    pub(crate) fn run_name(&self) -> &str {
        self.run.as_deref().unwrap_or("of an unreadable marker")
    }
}

pub(crate) fn marker(layout: &Layout) -> io::Result<Option<Marker>> {
    let Some(bytes) = read_limited(&layout.marker(), MAX_STATE_BYTES)? else {
        return Ok(None);
    };
    // Written whole or not at all; should it be damaged all the same, "it ran" is the safe reading.
    Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Marker {
        run: None,
        runner: None,
    })))
}

pub(crate) fn set_marker(layout: &Layout, marker: &Marker) -> io::Result<()> {
    write_durable(&layout.marker(), &serde_json::to_vec(marker)?)
}

pub(crate) fn session(layout: &Layout) -> io::Result<Option<Session>> {
    let Some(bytes) = read_limited(&layout.session(), MAX_STATE_BYTES)? else {
        return Ok(None);
    };
    // A damaged session is none: there is nothing to speak with. (serde's text would quote it.)
    let Ok(stored) = serde_json::from_slice::<StoredSession>(&bytes) else {
        return Ok(None);
    };
    let Ok(controller) = base_url(&stored.controller_url) else {
        return Ok(None);
    };
    Ok(Some(Session {
        run: stored.run,
        controller,
        token: stored.token.into(),
        time_up: stored.time_up,
    }))
}

pub(crate) fn set_session(layout: &Layout, session: &Session) -> io::Result<()> {
    let stored = StoredSession {
        run: session.run.clone(),
        controller_url: session.controller.to_string(),
        token: session.token.expose_secret().to_owned(),
        time_up: session.time_up,
    };
    write_durable(&layout.session(), &serde_json::to_vec(&stored)?)
}

pub(crate) fn forget_session(layout: &Layout) -> io::Result<()> {
    remove_if_there(&layout.session())
}

/// The bootstrap token is spent: neither it nor the key that made spending it repeatable stays.
pub(crate) fn forget_bootstrap(layout: &Layout) -> io::Result<()> {
    remove_if_there(&layout.bootstrap())?;
    remove_if_there(&layout.idempotency_key())
}

/// The key of the env call: drawn once, kept until the bootstrap file goes, so that a guest that
/// restarts before the reply asks under the same key.
pub(crate) fn idempotency_key(layout: &Layout) -> io::Result<String> {
    let path = layout.idempotency_key();
    if let Some(bytes) = read_limited(&path, MAX_STATE_BYTES)?
        && let Ok(text) = String::from_utf8(bytes)
        && text.len() == 32
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Ok(text);
    }
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let key = random
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    write_durable(&path, key.as_bytes())?;
    Ok(key)
}
