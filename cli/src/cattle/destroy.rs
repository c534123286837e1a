//! `destroy`: runs end, and pending cattle before they start.

use cattle_schemas::{
    api::{DestroyQuery, DestroyReply, WaitFor},
    duration::SpecDuration,
};
use serde::Serialize;

use super::destroy_all;
use crate::{
    client::Client,
    context::Context,
    exit::{Exit, Failure},
    output::{Format, clean},
    report,
    target::Target,
    wait,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle destroy rex-issue-42
  clawdlets cattle destroy rex-1 rex-2 --wait
  clawdlets cattle destroy rex-issue-42 --now
  clawdlets cattle destroy --all             every run of the fleet, starts paused first

A running task is asked to stop, and its guest has 20 seconds to hand over what is left of log and
result; then the server is deleted. --now does not wait for that, also of one that hands over
already.

A spec that came over the socket is removed with it; one in another directory stays, ended, and is
named. Log and result stay readable.";

/// `destroy`
#[derive(Debug, clap::Args)]
pub(crate) struct Destroy {
    /// Cattle's names, runs or their beginnings, servers' ids or names
    #[arg(value_name = "NAME-OR-ID", required_unless_present = "all")]
    targets: Vec<Target>,

    /// Delete the servers without waiting for the rest of log and result, which are lost
    #[arg(long)]
    now: bool,

    /// Every live run of the fleet, and every server that is kept; starts are paused first. For
    /// operators
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// With --all: do not ask
    // A requirement alone says nothing where what it requires conflicts with what is given.
    #[arg(long, requires = "all", conflicts_with_all = ["confirm", "targets"])]
    yes: bool,

    /// With --all: do not ask if this is the fleet
    #[arg(
        long,
        value_name = "FLEET",
        requires = "all",
        conflicts_with = "targets"
    )]
    confirm: Option<String>,

    /// Wait until the servers are gone
    #[arg(long)]
    wait: bool,

    /// Wait no longer than this, as in `5m`; exit 5
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<SpecDuration>,
}

#[derive(Serialize)]
struct Items {
    items: Vec<DestroyReply>,
}

impl Destroy {
    pub(super) async fn run(mut self, ctx: &Context) -> Result<Exit, Failure> {
        let client = ctx.client()?;
        if self.all {
            let agreed = destroy_all::Agreed::new(self.yes, self.confirm.as_deref());
            let Some(targets) = destroy_all::prepare(ctx, &agreed).await? else {
                return Ok(Exit::Refused);
            };
            self.targets = targets;
        }
        let mut exit = Exit::Done;
        let mut runs = Vec::new();
        let mut replies = Vec::with_capacity(self.targets.len());
        let query = DestroyQuery { now: self.now };
        for target in &self.targets {
            match client.destroy(target.as_str(), &query).await {
                Ok(reply) => {
                    // Of a run that was over before, the server may still be there.
                    let over = match reply.run {
                        Some(_) => None,
                        None => earlier_run(client, target.as_str()).await,
                    };
                    match ctx.out.format {
                        Format::Json | Format::Yaml => {}
                        Format::Name => ctx.out.line(&reply.name)?,
                        Format::Table | Format::Wide => {
                            let what = what_happened(&reply, over.is_some());
                            ctx.out.line(&format!("{}: {what}", reply.name))?;
                        }
                    }
                    runs.extend(reply.run.clone().or(over));
                    replies.push(reply);
                }
                Err(failure @ Failure::Connect(_)) => return Err(failure),
                Err(failure) => {
                    report::failure(&ctx.out, &failure);
                    exit = exit.worse(failure.exit());
                }
            }
        }
        if self.wait {
            // The run, since the name may be gone with its spec. Without one there is no server.
            let waited = wait::wait_all(ctx, &runs, WaitFor::Gone, self.timeout).await?;
            exit = exit.worse(wait::report(ctx, &waited, WaitFor::Gone));
        }
        if ctx.out.format.is_document() {
            ctx.out.document(&Items { items: replies })?;
        }
        if self.all {
            destroy_all::tell_the_way_back(ctx);
        }
        Ok(exit)
    }
}

/// The latest run of a cattle that has no live one. The destruction stands whether or not this can be
/// told, so no failure is one of it.
pub(super) async fn earlier_run(client: &Client, target: &str) -> Option<String> {
    let status = client.status(target).await.ok()?;
    status.run.map(|run| run.run)
}

/// `run 01J… ends, spec removed`
pub(super) fn what_happened(reply: &DestroyReply, ran_before: bool) -> String {
    let mut parts = Vec::new();
    match &reply.run {
        Some(run) if reply.released => parts.push(format!("run {run} is no longer kept")),
        Some(run) if reply.given_up => {
            parts.push(format!(
                "the server of run {run} is given up, whoever has it"
            ));
        }
        Some(run) => parts.push(format!("run {run} ends")),
        None if ran_before => parts.push("its run was over already".to_owned()),
        None if reply.changed => parts.push("ended before it started".to_owned()),
        None => parts.push("nothing to end".to_owned()),
    }
    if let Some(until) = reply.hand_over_until {
        let until = until.format("%H:%M:%S UTC");
        parts.push(format!("its guest may hand over until {until}"));
    }
    if reply.spec_removed {
        parts.push("spec removed".to_owned());
    }
    if let Some(path) = &reply.spec_remains {
        parts.push(format!("spec stays, ended: {}", clean(path)));
    }
    parts.join(", ")
}
