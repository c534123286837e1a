//! What has to be in order before the controller hears `ready`: persona, task, runner, workspace.
//!
//! What is not in order is no reason to fall silent: it is the outcome's message.

use std::fs::File;

use cattle_schemas::guest::{EnvReply, FailureCause};
use cattle_schemas::runners::Runner;
use tracing::info;

use crate::client::{CallError, until};
use crate::input;
use crate::link::Link;
use crate::persona::{self, PersonaError};
use crate::runner::{self, RunnerEnv, RunnerError};

/// All that the runner needs, checked before the controller is told that we are ready.
pub(crate) struct Prepared {
    pub(crate) runner: Runner,
    pub(crate) env: RunnerEnv,
    pub(crate) log: File,
}

/// Why the runner cannot start: the outcome's message.
pub(crate) struct Unprepared {
    pub(crate) cause: FailureCause,
    pub(crate) message: String,
    /// The persona is not the one that the env announced: its files changed, and the controller
    /// restarted in between. The env, asked for again, announces what there is.
    pub(crate) other_persona: bool,
}

impl Unprepared {
    fn new(cause: FailureCause, error: &dyn std::error::Error) -> Self {
        Self {
            cause,
            message: chain(error),
            other_persona: false,
        }
    }
}

impl From<RunnerError> for Unprepared {
    fn from(error: RunnerError) -> Self {
        Self {
            cause: error.cause(),
            message: error.to_string(),
            other_persona: false,
        }
    }
}

pub(crate) async fn prepare(link: &Link<'_>, reply: EnvReply) -> Result<Prepared, Unprepared> {
    let layout = link.layout;
    if let Some(digest) = reply.persona_digest {
        let archive = until(link.session.time_up, || async {
            match link.client.persona(&link.session.token).await {
                // An archive that is too long now is too long the next time.
                Err(error @ CallError::TooLong { .. }) => Ok(Err(error)),
                other => other.map(Ok),
            }
        })
        .await
        .and_then(std::convert::identity)
        .map_err(|error| Unprepared::new(FailureCause::Persona, &error))?;
        let installed = persona::install(&archive, &digest, &layout.persona_dir());
        installed.map_err(|error| Unprepared {
            other_persona: matches!(error, PersonaError::Digest { .. }),
            ..Unprepared::new(FailureCause::Persona, &error)
        })?;
    }
    let task =
        input::task(layout).map_err(|error| Unprepared::new(FailureCause::TaskFile, &error))?;
    let runners = input::runners(layout)
        .map_err(|error| Unprepared::new(FailureCause::RunnersFile, &error))?;
    let runner = runner::choose(&runners, &task.kind)?;
    runner::check_user(runner, &task.kind, &link.session.controller)?;
    let env = RunnerEnv::new(reply.env, reply.model)?;
    let log = runner::prepare(layout)?;
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
