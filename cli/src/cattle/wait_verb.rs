//! `wait`: until cattle are running, over, or gone.

use cattle_schemas::{api::WaitFor, duration::SpecDuration, status::CattleStatus};
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, View},
    present,
    target::Target,
    wait,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle wait rex-issue-42
  clawdlets cattle wait rex-1 rex-2 --for running --timeout 10m
  clawdlets cattle destroy rex-1 && clawdlets cattle wait rex-1 --for gone

Exit 0 when it came to pass, 4 when a run ended without success (with --for gone that does not
matter), 5 when the time was over. The cattle goes on in any case.";

/// `wait`
#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// Cattle's names, runs or their beginnings, servers' ids or names
    #[arg(value_name = "NAME-OR-ID", required = true)]
    targets: Vec<Target>,

    /// What is waited for
    #[arg(long = "for", value_name = "WHAT", default_value = "ended")]
    wait_for: What,

    /// Wait no longer than this, as in `30m` [default: for ever]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<SpecDuration>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// The task has begun
    Running,
    /// The run is over
    Ended,
    /// Its server is gone
    Gone,
}

impl From<What> for WaitFor {
    fn from(what: What) -> Self {
        match what {
            What::Running => Self::Running,
            What::Ended => Self::Ended,
            What::Gone => Self::Gone,
        }
    }
}

#[derive(Serialize)]
struct Reached {
    items: Vec<CattleStatus>,
}

impl Wait {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let names: Vec<String> = self
            .targets
            .iter()
            .map(|target| target.as_str().to_owned())
            .collect();
        let wait_for = WaitFor::from(self.wait_for);
        let waited = wait::wait_all(ctx, &names, wait_for, self.timeout).await?;
        let exit = wait::report(ctx, &waited, wait_for);
        let items = waited.into_iter().filter_map(Result::ok).collect();
        ctx.out.show(&Reached { items })?;
        Ok(exit)
    }
}

impl View for Reached {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        for status in &self.items {
            let name = &status.name;
            out.line(&format!("{name} {}", present::phase_and_reason(status)))?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|one| one.name.clone()).collect()
    }
}
