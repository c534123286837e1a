//! The verbs about jobs that exist already.

use std::time::{Duration, Instant};

use cattle_schemas::{duration::SpecDuration, job::Job};

use super::view::{self, Jobs};
use crate::{
    cattle::{logs::LogArgs, result},
    context::Context,
    exit::{Exit, Failure},
    output::clean,
    target::Target,
};

pub(super) const LIST_EXAMPLES: &str = "\
Examples:
  clf jobs list
  clf jobs ls -o json | jq -r '.items[] | select(.state == \"failed\") | .id'";
pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  clf jobs show 01JD3KZ6W8Q4T2N7V5X9Y1B3J0
  clf jobs show 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 -o json | jq -r .state";
pub(super) const CANCEL_EXAMPLES: &str = "\
Examples:
  clf jobs cancel 01JD3KZ6W8Q4T2N7V5X9Y1B3J0

A running task is asked to stop, and its guest has 20 seconds to hand over what is left of log and
result; then the server is deleted.";
pub(super) const WAIT_EXAMPLES: &str = "\
Examples:
  clf jobs wait 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 --timeout 1h

Exit 0 when it is done, 4 when it failed or was canceled, 5 when the time was over; it goes on.";
pub(super) const LOGS_EXAMPLES: &str = "\
Examples:
  clf jobs logs 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 --follow
  clf jobs logs 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 --tail 50

Control, C1 and invisible characters are escaped; --raw prints the bytes, never to a terminal.";
pub(super) const RESULT_EXAMPLES: &str = "\
Examples:
  clf jobs result 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 | jq .summary

Exit 4 when the run ended without success.";

/// One long poll; below the controller's own limit, so that a dead connection is noticed.
const LONG_POLL: Duration = Duration::from_secs(30);
/// An answer sooner than this that is not final came from a controller that does not long-poll.
const EARLY_ANSWER: Duration = Duration::from_millis(100);
/// How long a controller may be away while somebody waits.
const MAX_AWAY: Duration = Duration::from_secs(60);
/// Between two tries to reach it.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The job's id, all of it
    #[arg(value_name = "JOB")]
    job: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// The job's id, all of it
    #[arg(value_name = "JOB")]
    job: Target,

    /// Wait no longer than this, as in `30m` [default: for ever]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<SpecDuration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The job's id, all of it
    #[arg(value_name = "JOB")]
    job: Target,

    #[command(flatten)]
    how: LogArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct JobResult {
    /// The job's id, all of it
    #[arg(value_name = "JOB")]
    job: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    /// The job's id, all of it
    #[arg(value_name = "JOB")]
    job: Target,
}

impl List {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let list = ctx.client()?.jobs(self.limit as usize).await?;
        let now = ctx.now();
        let single = false;
        ctx.out.show(&Jobs { list, now, single })?;
        Ok(Exit::Done)
    }
}

impl Show {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let job = ctx.client()?.job(self.job.as_str()).await?;
        ctx.out.show(&Jobs::one(job, ctx.now()))?;
        Ok(Exit::Done)
    }
}

impl Wait {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        wait_and_print(ctx, self.job.as_str(), self.timeout, AtTheEnd::Job).await
    }
}

impl Logs {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let job = ctx.client()?.job(self.job.as_str()).await?;
        let cattle = cattle_of(&job)?;
        self.how.print(ctx, cattle, job.run.as_deref()).await
    }
}

impl JobResult {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let job = ctx.client()?.job(self.job.as_str()).await?;
        let cattle = cattle_of(&job)?;
        result::print(ctx, job.run.as_deref().unwrap_or(cattle)).await
    }
}

impl Cancel {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let job = ctx.client()?.cancel_job(self.job.as_str()).await?;
        ctx.out.show(&Jobs::one(job, ctx.now()))?;
        Ok(Exit::Done)
    }
}

fn cattle_of(job: &Job) -> Result<&str, Failure> {
    job.cattle.as_deref().ok_or_else(|| {
        let (id, kind) = (&job.id, view::kind(job.kind));
        anyhow::anyhow!("job `{id}` ({kind}) has no cattle, so there is neither log nor result")
            .into()
    })
}

/// What is printed when a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtTheEnd {
    /// The job.
    Job,
    /// What its run left.
    Result,
}

/// Waits until a job is over; the exit code tells how.
pub(super) async fn wait_and_print(
    ctx: &Context,
    id: &str,
    timeout: Option<SpecDuration>,
    at_the_end: AtTheEnd,
) -> Result<Exit, Failure> {
    let job = wait(ctx, id, timeout).await?;
    let exit = view::exit_of(job.state);
    match (at_the_end, &job.cattle) {
        (AtTheEnd::Result, Some(cattle)) => {
            let target = job.run.clone().unwrap_or_else(|| cattle.clone());
            match result::print(ctx, &target).await {
                Ok(_) => {}
                // That it left none is no failure of the job.
                Err(Failure::Problem(problem)) => ctx.out.note(&clean(&problem.detail)),
                Err(failure) => return Err(failure),
            }
        }
        _ => ctx.out.show(&Jobs::one(job, ctx.now()))?,
    }
    Ok(exit)
}

async fn wait(ctx: &Context, id: &str, timeout: Option<SpecDuration>) -> Result<Job, Failure> {
    let client = ctx.client()?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout.as_std());
    let mut said = None;
    let mut away_since: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let left = deadline.map_or(LONG_POLL, |at| at.saturating_duration_since(asked));
        match client.wait_job(id, left.min(LONG_POLL)).await {
            Ok(job) => {
                away_since = None;
                if said.replace(job.state) != Some(job.state) {
                    let message = job.message.as_deref().map(clean);
                    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
                    ctx.out
                        .note(&format!("job {id} {}{message}", job.state.as_str()));
                }
                if job.state.is_final() {
                    return Ok(job);
                }
                if asked.elapsed() < EARLY_ANSWER {
                    tokio::time::sleep(EARLY_ANSWER).await;
                }
            }
            Err(failure)
                if failure.is_away() && away_since.unwrap_or(asked).elapsed() < MAX_AWAY =>
            {
                away_since.get_or_insert(asked);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::TimedOut {
                message: format!("job `{id}` is not over yet; it goes on"),
            });
        }
    }
}
