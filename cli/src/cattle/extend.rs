//! `extend`: a run gets more time.

use cattle_schemas::{
    Timestamp,
    api::{ExtendReply, ExtendRequest},
    duration::SpecDuration,
};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, View, clean, clock, until},
    target::Target,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle extend rex-issue-42 --by 1h

The whole life of a server is bounded by the fleet's limits.maxTtl.";

/// `extend`
#[derive(Debug, clap::Args)]
pub(crate) struct Extend {
    /// A cattle's name, a run or its beginning, a server's id or name
    #[arg(value_name = "NAME-OR-ID")]
    target: Target,

    /// How much is added, as in `90m`
    #[arg(long, value_name = "DURATION")]
    by: SpecDuration,
}

struct Shown {
    reply: ExtendReply,
    now: Timestamp,
}

impl serde::Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reply.serialize(serializer)
    }
}

impl Extend {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let request = ExtendRequest { by: self.by };
        let reply = ctx.client()?.extend(self.target.as_str(), &request).await?;
        for warning in &reply.warnings {
            ctx.out
                .warning(&format!("{}: {}", reply.name, clean(warning)));
        }
        let now = ctx.now();
        ctx.out.show(&Shown { reply, now })?;
        Ok(Exit::Done)
    }
}

impl View for Shown {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        let ExtendReply {
            name, expires_at, ..
        } = &self.reply;
        let relative = until(*expires_at, self.now);
        out.line(&format!(
            "{name} expires {relative} ({} UTC)",
            clock(*expires_at)
        ))
    }

    fn names(&self) -> Vec<String> {
        vec![self.reply.name.clone()]
    }
}
