//! What has to be in order before the controller hears `ready`: persona, task, runner, workspace.
//!
//! What is not in order is no reason to fall silent: it is the outcome's message.

use std::fs::File;

use cattle_schemas::guest::EnvReply;
use cattle_schemas::runners::Runner;
use chrono::Utc;
use tracing::info;

use crate::client::{CallError, instant_of, until};
use crate::input;
use crate::link::Link;
use crate::persona::{self, PersonaError};
use crate::runner::{self, RunnerEnv};

/// All that the runner needs, checked before the controller is told that we are ready.
pub(crate) struct Prepared {
    pub(crate) runner: Runner,
    pub(crate) env: RunnerEnv,
    pub(crate) log: File,
}

/// Why the runner cannot start: the outcome's message.
pub(crate) struct Unprepared {
    pub(crate) message: String,
    /// The persona is not the one that the env announced: its files changed, and the controller
    /// restarted in between. The env, asked for again, announces what there is.
    pub(crate) other_persona: bool,
}

impl From<String> for Unprepared {
    fn from(message: String) -> Self {
        Self {
            message,
            other_persona: false,
        }
    }
}

pub(crate) async fn prepare(link: &Link<'_>, reply: EnvReply) -> Result<Prepared, Unprepared> {
    let layout = link.layout;
    if let Some(digest) = reply.persona_digest {
        let deadline = instant_of(link.session.expires_at, Utc::now());
        let archive = until(deadline, || async {
            match link.client.persona(&link.session.token).await {
                // An archive that is too long now is too long the next time.
                Err(error @ CallError::TooLong { .. }) => Ok(Err(error)),
                other => other.map(Ok),
            }
        })
        .await
        .and_then(std::convert::identity)
        .map_err(|error| chain(&error))?;
        let installed = persona::install(&archive, &digest, &layout.persona_dir());
        installed.map_err(|error| Unprepared {
            message: chain(&error),
            other_persona: matches!(error, PersonaError::Digest { .. }),
        })?;
    }
    let task = input::task(layout).map_err(|error| chain(&error))?;
    let runners = input::runners(layout).map_err(|error| chain(&error))?;
    let runner = runner::choose(&runners, &task.kind).map_err(|error| error.to_string())?;
    let env = RunnerEnv::new(reply.env, reply.model).map_err(|error| error.to_string())?;
    let log = runner::prepare(layout).map_err(|error| error.to_string())?;
    info!(
        task = task.task_id,
        kind = task.kind,
        program = runner.command.first(),
        "prepared"
    );
    Ok(Prepared {
        runner: runner.clone(),
        env,
        log,
    })
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
