//! What a result says, in our own words: the guest's message is text from a stranger, and is shown
//! only to who asks for the result.

use cattle_schemas::{
    guest::{FailureCause, MAX_RESULT_BYTES, Outcome},
    status::EndReason,
};

use super::deadlines;
use crate::ledger::Run;

/// The end that a result is. A guest that stopped its task by itself because its time was up is
/// believed where that is so by our clock.
pub(crate) fn reason_of(run: &Run, outcome: &Outcome) -> EndReason {
    let in_time = || {
        run.outcome_at
            .is_none_or(|at| at < deadlines::time_is_up(run))
    };
    match outcome.cause {
        _ if outcome.succeeded() => EndReason::Completed,
        Some(FailureCause::TimeUp) if !in_time() => EndReason::TtlExpired,
        _ => EndReason::TaskFailed,
    }
}

/// How a task ended, in a sentence, with the way to what its guest says of it.
pub(crate) fn ended_in_words(run: &Run, outcome: &Outcome) -> String {
    if outcome.succeeded() {
        return "the task succeeded".to_owned();
    }
    let mut words = failed(run, outcome);
    if outcome.message.is_some() || outcome.result.is_some() {
        words.push_str(&format!(
            "; see `clawdlets cattle result {}`",
            run.cattle.as_str()
        ));
    }
    words
}

fn failed(run: &Run, outcome: &Outcome) -> String {
    let Some(cause) = outcome.cause else {
        return by_exit(outcome);
    };
    let did_not_run = |why: &str| format!("the task did not run: {why}");
    match cause {
        FailureCause::ResultNotAFile => with_result(outcome, "is a link or not a regular file"),
        FailureCause::ResultTooLarge => with_result(
            outcome,
            &format!("is longer than {} KiB", MAX_RESULT_BYTES / 1024),
        ),
        FailureCause::ResultNotJson => with_result(outcome, "is not valid JSON"),
        FailureCause::ResultUnreadable => with_result(outcome, "could not be read"),
        FailureCause::RunnersFile => {
            did_not_run("runners.json is missing in its image, or not valid")
        }
        FailureCause::NoRunner => did_not_run(&format!(
            "its image has no runner for tasks of type `{}`",
            run.spec.task.kind.escape_debug()
        )),
        FailureCause::RunnerWithoutUser => did_not_run(
            "its runner has no user of its own; set `user` in runners.json of its image",
        ),
        FailureCause::RunnerNotStarted => {
            did_not_run("the command of its runner could not be started; is it in the image?")
        }
        FailureCause::TaskFile => did_not_run("its guest could not read the task"),
        FailureCause::Persona => {
            did_not_run("its guest could not get the skills and memory of its persona")
        }
        FailureCause::Env => did_not_run("its environment is not one that a process can have"),
        FailureCause::Prepare => did_not_run("its guest could not prepare workspace and log"),
        FailureCause::TimeUp => "the task was stopped by its guest: its time was up".to_owned(),
        FailureCause::Stopped => "the task was stopped".to_owned(),
        FailureCause::ShutDown => {
            "the task was stopped: its machine was told to shut down".to_owned()
        }
        FailureCause::GuestRestarted => {
            "its guest was restarted, and a task is not run twice".to_owned()
        }
        FailureCause::Other => by_exit(outcome),
    }
}

/// A result that cannot be used. At exit 0 it is why the task failed.
fn with_result(outcome: &Outcome, problem: &str) -> String {
    match outcome.exit_code {
        Some(0) => format!("the task ended with exit code 0, but its result.json {problem}"),
        _ => format!("{}; its result.json {problem}", by_exit(outcome)),
    }
}

fn by_exit(outcome: &Outcome) -> String {
    match (outcome.exit_code, outcome.signal) {
        (_, Some(signal)) => format!("the task was ended by signal {signal}"),
        (Some(0), None) => {
            "the task ended with exit code 0, but its guest says that it failed".to_owned()
        }
        (Some(code), None) => format!("the task failed with exit code {code}"),
        (None, None) => "the task did not run".to_owned(),
    }
}
