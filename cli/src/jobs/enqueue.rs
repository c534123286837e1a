//! `enqueue`: a request is recorded, and answered with its id.

use cattle_schemas::job::{Job, JobKind, JobRequest};

use super::{lookups, view::Jobs};
use crate::{
    cattle::spawn::{SpawnArgs, in_no_file},
    context::Context,
    exit::{Exit, Failure},
    output::clean,
    wait::WaitArgs,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clf jobs enqueue cattle.spawn --persona rex --message 'Fix the flaky test' --wait
  id=$(clf jobs enqueue cattle.spawn --persona rex --task-file t.json --queue)

The job's id alone is printed on standard output; with --wait the run's result follows it.";

const SPAWN_EXAMPLES: &str = "\
Examples:
  clf jobs enqueue cattle.spawn --persona rex --message 'Fix the flaky test' --wait
  clf jobs enqueue cattle.spawn --persona rex --task-file t.json --ttl 4h --queue

At maxInstances it is refused (exit 6) unless --queue lets it wait.";

const REAP_EXAMPLES: &str = "\
Examples:
  clf jobs enqueue cattle.reap --dry-run --wait
  clf jobs enqueue cattle.reap

The controller does this by itself; the job is a record of who asked for it.";

/// What can be asked for.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Enqueue {
    /// Start one cattle; the job ends as it ends
    #[command(name = "cattle.spawn", visible_alias = "spawn", after_help = SPAWN_EXAMPLES)]
    Spawn {
        #[command(flatten)]
        what: SpawnArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Delete servers that are past their expiry (operators only)
    #[command(name = "cattle.reap", visible_alias = "reap", after_help = REAP_EXAMPLES)]
    Reap {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

impl Enqueue {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let (request, wait) = match self {
            Self::Spawn { what, wait } => {
                // Without one the controller draws it from the idempotency key, so that a repeated
                // request cannot make a second cattle.
                let name = what.chosen_name();
                let file = what.file(ctx, name.clone())?;
                let request = JobRequest {
                    kind: JobKind::CattleSpawn,
                    name,
                    file: Some(file),
                    dry_run: false,
                    queue: what.queue,
                };
                (request, wait)
            }
            Self::Reap { dry_run, wait } => {
                let request = JobRequest {
                    kind: JobKind::CattleReap,
                    name: None,
                    file: None,
                    dry_run,
                    queue: false,
                };
                (request, wait)
            }
        };
        let job = ctx.client()?.enqueue(&request).await;
        let job = job.map_err(|failure| in_no_file(ctx, failure))?;
        tell(ctx, &job);
        if !ctx.out.format.is_document() {
            ctx.out.line(&job.id)?;
        } else if !wait.wait {
            let now = ctx.now();
            ctx.out.document(&Jobs::one(job.clone(), now))?;
        }
        if !wait.wait {
            return Ok(Exit::Done);
        }
        lookups::wait_and_print(ctx, &job.id, wait.timeout, lookups::AtTheEnd::Result).await
    }
}

fn tell(ctx: &Context, job: &Job) {
    let mut text = format!("job {} {}", job.id, job.state.as_str());
    if let Some(cattle) = &job.cattle {
        text.push_str(&format!(", cattle {cattle}"));
    }
    if let Some(message) = &job.message {
        text.push_str(&format!(": {}", clean(message)));
    }
    ctx.out.note(&text);
}
