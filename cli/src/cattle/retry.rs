//! `retry`: what waits is looked at now.

use cattle_schemas::{api::RetryReply, status::Phase};
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Format, clean},
    report,
    target::Target,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle retry rex-issue-42
  clawdlets cattle retry rex-1 rex-2

For what is Pending, once its cause is mended: stock, quota, image, secret, firewall, token. Limits
hold as ever. Refused (exit 6) where nothing waits; `rerun` runs what has ended once more.";

/// `retry`
#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    /// Cattle's names, runs or their beginnings
    #[arg(value_name = "NAME-OR-ID", required = true)]
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Items {
    items: Vec<RetryReply>,
}

impl Retry {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let client = ctx.client()?;
        let mut exit = Exit::Done;
        let mut replies = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            match client.retry(target.as_str()).await {
                Ok(reply) => {
                    match ctx.out.format {
                        Format::Json | Format::Yaml => {}
                        Format::Name => ctx.out.line(&reply.name)?,
                        Format::Table | Format::Wide => ctx.out.line(&sentence(&reply))?,
                    }
                    replies.push(reply);
                }
                Err(failure @ Failure::Connect(_)) => return Err(failure),
                Err(failure) => {
                    report::failure(&ctx.out, &failure);
                    exit = exit.worse(failure.exit());
                }
            }
        }
        if ctx.out.format.is_document() {
            ctx.out.document(&Items { items: replies })?;
        }
        Ok(exit)
    }
}

/// `rex-1: Provisioning`, or what it still waits for.
fn sentence(reply: &RetryReply) -> String {
    let RetryReply { name, phase, .. } = reply;
    match (phase, &reply.reason, &reply.message) {
        (Phase::Pending, Some(reason), Some(message)) => {
            format!("{name}: {phase} {}: {}", clean(reason), clean(message))
        }
        _ => format!("{name}: {phase}"),
    }
}
