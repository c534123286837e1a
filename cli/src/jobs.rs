//! `clf jobs …`: recorded requests, for bots.

mod enqueue;
mod lookups;
mod view;

use clap::Subcommand;

use crate::{
    context::Context,
    exit::{Exit, Failure},
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// Ask for something to be done
    #[command(subcommand, after_help = enqueue::EXAMPLES)]
    Enqueue(enqueue::Enqueue),
    /// Show your jobs, newest first
    #[command(visible_alias = "ls", after_help = lookups::LIST_EXAMPLES)]
    List(lookups::List),
    /// Show one job
    #[command(after_help = lookups::SHOW_EXAMPLES)]
    Show(lookups::Show),
    /// Wait until a job is over
    #[command(after_help = lookups::WAIT_EXAMPLES)]
    Wait(lookups::Wait),
    /// Print what a job's run wrote
    #[command(after_help = lookups::LOGS_EXAMPLES)]
    Logs(lookups::Logs),
    /// Print what a job's run left in result.json
    #[command(after_help = lookups::RESULT_EXAMPLES)]
    Result(lookups::JobResult),
    /// End a job's run, or a queued job before it starts
    #[command(after_help = lookups::CANCEL_EXAMPLES)]
    Cancel(lookups::Cancel),
}

impl JobsCommand {
    /// Does it.
    pub(crate) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Enqueue(args) => args.run(ctx).await,
            Self::List(args) => args.run(ctx).await,
            Self::Show(args) => args.run(ctx).await,
            Self::Wait(args) => args.run(ctx).await,
            Self::Logs(args) => args.run(ctx).await,
            Self::Result(args) => args.run(ctx).await,
            Self::Cancel(args) => args.run(ctx).await,
        }
    }
}
