//! `clawdlets cattle …`: one file for each verb.

mod apply;
mod cost;
mod describe;
mod destroy;
mod destroy_all;
mod events;
mod extend;
mod list;
pub(crate) mod logs;
mod pause;
mod persona;
mod plan;
mod prune;
mod reap;
mod rerun;
pub(crate) mod result;
mod resume;
mod retry;
pub(crate) mod spawn;
mod validate;
mod wait_verb;

use clap::Subcommand;

use crate::{
    context::Context,
    exit::{Exit, Failure},
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum CattleCommand {
    /// Make what spec files ask for so
    #[command(after_help = apply::EXAMPLES)]
    Apply(apply::Apply),
    /// Start one cattle without writing a spec file
    #[command(after_help = spawn::EXAMPLES)]
    Spawn(spawn::Spawn),
    /// Show all cattle
    #[command(visible_alias = "ls", after_help = list::EXAMPLES)]
    List(list::List),
    /// Show everything about one cattle
    #[command(after_help = describe::EXAMPLES)]
    Describe(describe::Describe),
    /// Show what happened, to one cattle or to all
    #[command(after_help = events::EXAMPLES)]
    Events(events::Events),
    /// Print what a run left in result.json
    #[command(after_help = result::EXAMPLES)]
    Result(result::ResultArgs),
    /// Print what a run wrote
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::Logs),
    /// End runs, or pending ones before they start
    #[command(after_help = destroy::EXAMPLES)]
    Destroy(destroy::Destroy),
    /// Run an ended cattle once more
    #[command(after_help = rerun::EXAMPLES)]
    Rerun(rerun::Rerun),
    /// Look at once at what pending cattle wait for
    #[command(after_help = retry::EXAMPLES)]
    Retry(retry::Retry),
    /// Give a run more time
    #[command(after_help = extend::EXAMPLES)]
    Extend(extend::Extend),
    /// Wait until a run is running, ended or gone
    #[command(after_help = wait_verb::EXAMPLES)]
    Wait(wait_verb::Wait),
    /// Show what the controller would do next, and change nothing
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::Plan),
    /// Show what servers cost
    #[command(after_help = cost::EXAMPLES)]
    Cost(cost::CostArgs),
    /// Delete servers that are past their expiry
    #[command(after_help = reap::EXAMPLES)]
    Reap(reap::Reap),
    /// Start nothing, or end nothing because of spec files, until `resume`
    #[command(after_help = pause::EXAMPLES)]
    Pause(pause::Pause),
    /// Go on after a pause, or show what is paused
    #[command(after_help = resume::EXAMPLES)]
    Resume(resume::Resume),
    /// Check spec files without a controller
    #[command(after_help = validate::EXAMPLES)]
    Validate(validate::Validate),
    /// Personas of this project
    #[command(subcommand)]
    Persona(persona::PersonaCommand),
}

impl CattleCommand {
    /// Does it.
    pub(crate) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Apply(args) => args.run(ctx).await,
            Self::Spawn(args) => args.run(ctx).await,
            Self::List(args) => args.run(ctx).await,
            Self::Describe(args) => args.run(ctx).await,
            Self::Events(args) => args.run(ctx).await,
            Self::Result(args) => args.run(ctx).await,
            Self::Logs(args) => args.run(ctx).await,
            Self::Destroy(args) => args.run(ctx).await,
            Self::Rerun(args) => args.run(ctx).await,
            Self::Retry(args) => args.run(ctx).await,
            Self::Extend(args) => args.run(ctx).await,
            Self::Wait(args) => args.run(ctx).await,
            Self::Plan(args) => args.run(ctx).await,
            Self::Cost(args) => args.run(ctx).await,
            Self::Reap(args) => args.run(ctx).await,
            Self::Pause(args) => args.run(ctx).await,
            Self::Resume(args) => args.run(ctx).await,
            Self::Validate(args) => args.run(ctx),
            Self::Persona(command) => command.run(ctx),
        }
    }
}
