//! How a command ends: the exit codes of the contract, and the errors that lead to them.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | error |
//! | 2 | usage |
//! | 3 | the controller cannot be reached |
//! | 4 | the run ended without success |
//! | 5 | the wait timed out; the cattle goes on |
//! | 6 | refused by a limit or a conflict |

use std::{io, path::PathBuf, process::ExitCode};

use cattle_schemas::problem::{ErrorCode, Problem};

use crate::{client::TransportError, context::Program, owner::Stranger, socket_path::ConnectError};

/// What a process says to the one that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: error.
    Error,
    /// 2: the command line is wrong.
    Usage,
    /// 3: no controller.
    Unreachable,
    /// 4: a run ended without success.
    RunFailed,
    /// 5: the wait timed out.
    TimedOut,
    /// 6: refused by a limit or a conflict.
    Refused,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::RunFailed => 4,
            Self::TimedOut => 5,
            Self::Refused => 6,
        }
    }

    /// The one of two that says more: a command about several cattle ends as its worst one did.
    /// An error outweighs a refusal, a refusal a timeout, a timeout a failed run.
    pub(crate) fn worse(self, other: Self) -> Self {
        let weight = |exit| match exit {
            Self::Done => 0,
            Self::RunFailed => 1,
            Self::TimedOut => 2,
            Self::Refused => 3,
            Self::Error => 4,
            Self::Usage => 5,
            Self::Unreachable => 6,
        };
        if weight(other) > weight(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something about the arguments that clap cannot know.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// No controller at the socket.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The exchange broke, or the answer cannot be read.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The controller said no.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// A project that somebody else may have planted.
    #[error("{stranger}: this project is not taken for yours")]
    Planted {
        /// What of it is whose.
        stranger: Stranger,
        /// The project.
        project: PathBuf,
    },
    /// Everything to say about it is already on stderr.
    #[error("already reported")]
    Reported(Exit),
    /// The wait was over before what was waited for.
    #[error("{message}")]
    TimedOut {
        /// What was waited for, and that it goes on.
        message: String,
    },
    /// A file or stream failed.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    /// Our reader has left, as in `… | head`.
    #[error("stdout is closed")]
    Closed,
}

impl Failure {
    /// A usage error with a hint.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The exit code that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Connect(_) => Exit::Unreachable,
            Self::Transport(_) | Self::Other(_) | Self::Planted { .. } => Exit::Error,
            Self::Problem(problem) => exit_of(problem.code),
            Self::Reported(exit) => *exit,
            Self::TimedOut { .. } => Exit::TimedOut,
            Self::Closed => Exit::Done,
        }
    }

    /// The next step, where there is one to name.
    pub(crate) fn hint(&self, program: Program) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => hint.clone(),
            Self::Connect(error) => Some(error.hint()),
            Self::Planted { project, .. } => Some(format!(
                "if you trust its owner, say so: `--project {}`",
                project.display()
            )),
            Self::Problem(problem) => hint_of(problem, program),
            Self::Transport(_)
            | Self::Reported(_)
            | Self::TimedOut { .. }
            | Self::Other(_)
            | Self::Closed => None,
        }
    }

    /// Whether the controller is away for the moment, so that a wait may outlast it.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Transport(_) => true,
            Self::Problem(problem) => problem.code == ErrorCode::Unavailable,
            _ => false,
        }
    }

    /// A failed write to stdout.
    pub(crate) fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Other(anyhow::Error::new(error).context("cannot write to stdout"))
        }
    }
}

/// The exit code of a problem.
fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::LimitReached
        | ErrorCode::NameTaken
        | ErrorCode::Changed
        | ErrorCode::ConfirmNeeded
        | ErrorCode::WrongPhase
        | ErrorCode::PreconditionFailed
        | ErrorCode::IdempotencyConflict => Exit::Refused,
        ErrorCode::BadRequest
        | ErrorCode::SpecInvalid
        | ErrorCode::Forbidden
        | ErrorCode::NotFound
        | ErrorCode::NoSuchRoute
        | ErrorCode::MethodNotAllowed
        | ErrorCode::Ambiguous
        | ErrorCode::TooLarge
        | ErrorCode::TooManyRequests
        | ErrorCode::NoResult
        | ErrorCode::Unavailable
        | ErrorCode::StorageFull
        | ErrorCode::Hetzner
        | ErrorCode::Internal => Exit::Error,
    }
}

/// What a person can do about a problem, where it is the same for all problems of its code.
fn hint_of(problem: &Problem, program: Program) -> Option<String> {
    let again = || {
        problem
            .retry_after_seconds
            .map(|seconds| format!("try again in {seconds} s"))
    };
    match problem.code {
        // A bound that no waiting moves, `maxTtl`, has no queue.
        ErrorCode::LimitReached => problem.retryable.then(|| match program {
            Program::Clawdlets => {
                "`spawn --queue` lets it wait; `clawdlets cattle list` shows what runs and what is paused"
                    .to_owned()
            }
            Program::Clf => "`--queue` lets it wait".to_owned(),
        }),
        ErrorCode::Forbidden => Some(
            "operators are root, the controller's own user and members of group `clf-operators`"
                .to_owned(),
        ),
        ErrorCode::NotFound => Some(match program {
            Program::Clawdlets => "`clawdlets cattle list --all` shows what there is".to_owned(),
            Program::Clf => "`clf jobs list` shows your jobs".to_owned(),
        }),
        ErrorCode::Ambiguous => Some("write more of the run, or the name".to_owned()),
        ErrorCode::NoSuchRoute | ErrorCode::MethodNotAllowed => Some(
            "controller and command line are of different versions; update the older one"
                .to_owned(),
        ),
        ErrorCode::TooManyRequests
        | ErrorCode::Unavailable
        | ErrorCode::Hetzner
        | ErrorCode::StorageFull => again(),
        ErrorCode::BadRequest
        | ErrorCode::SpecInvalid
        | ErrorCode::NameTaken
        | ErrorCode::WrongPhase
        | ErrorCode::IdempotencyConflict
        | ErrorCode::Changed
        | ErrorCode::ConfirmNeeded
        | ErrorCode::PreconditionFailed
        | ErrorCode::TooLarge
        | ErrorCode::NoResult
        | ErrorCode::Internal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_conflicts_exit_with_six() {
        for code in [
            ErrorCode::LimitReached,
            ErrorCode::NameTaken,
            ErrorCode::Changed,
            ErrorCode::WrongPhase,
            ErrorCode::PreconditionFailed,
            ErrorCode::IdempotencyConflict,
        ] {
            let failure = Failure::Problem(Box::new(Problem::new(code, "x")));
            assert_eq!(failure.exit(), Exit::Refused, "{code:?}");
        }
        let failure = Failure::Problem(Box::new(Problem::new(ErrorCode::NotFound, "x")));
        assert_eq!(failure.exit(), Exit::Error);
    }

    #[test]
    fn the_worst_of_several_ends_wins() {
        let worst = |exits: &[Exit]| exits.iter().copied().fold(Exit::Done, Exit::worse);
        assert_eq!(
            worst(&[Exit::Done, Exit::RunFailed, Exit::Done]),
            Exit::RunFailed
        );
        assert_eq!(worst(&[Exit::TimedOut, Exit::RunFailed]), Exit::TimedOut);
        assert_eq!(worst(&[Exit::Error, Exit::Refused]), Exit::Error);
        assert_eq!(worst(&[]), Exit::Done);
    }
}
