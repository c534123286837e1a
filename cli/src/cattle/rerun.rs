//! `rerun`: an ended cattle runs once more.

use cattle_schemas::{
    api::{RerunReply, WaitFor},
    status::Phase,
};

use super::result;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Format, Output, View},
    target::Target,
    wait::{self, WaitArgs},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle rerun rex-issue-42
  clawdlets cattle rerun rex-issue-42 --wait

Refused (exit 6) while a run is live. The new run starts when the old server is gone.";

/// `rerun`
#[derive(Debug, clap::Args)]
pub(crate) struct Rerun {
    /// A cattle's name, a run or its beginning, a server's id or name
    #[arg(value_name = "NAME-OR-ID")]
    target: Target,

    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(serde::Serialize)]
#[serde(transparent)]
struct Shown(RerunReply);

impl Rerun {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let reply = ctx.client()?.rerun(self.target.as_str()).await?;
        if !self.wait.wait {
            ctx.out.show(&Shown(reply))?;
            return Ok(Exit::Done);
        }
        ctx.out.note(&sentence(&reply));
        let names = [reply.name];
        let waited = wait::wait_all(ctx, &names, WaitFor::Ended, self.wait.timeout).await?;
        let exit = wait::report(ctx, &waited, WaitFor::Ended);
        for status in waited.iter().filter_map(|one| one.as_ref().ok()) {
            let reply = result::of(ctx, status).await?;
            match ctx.out.format {
                Format::Name => ctx.out.line(&reply.name)?,
                Format::Json | Format::Yaml => ctx.out.document(&reply)?,
                Format::Table | Format::Wide => result::print_for_people(ctx, &reply)?,
            }
        }
        Ok(exit)
    }
}

fn sentence(reply: &RerunReply) -> String {
    let name = &reply.name;
    match reply.phase {
        Phase::Pending => format!("{name} runs again"),
        phase => format!("{name} runs again ({phase})"),
    }
}

impl View for Shown {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        out.line(&sentence(&self.0))
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.name.clone()]
    }
}
