//! `reap`: servers past their expiry are deleted now.

use cattle_schemas::{
    Timestamp,
    api::{ReapReply, ReapRequest},
};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, Tint, View, age, clean},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle reap --dry-run
  clawdlets cattle reap

For operators. The controller does this by itself; without a controller `clf-orchestrator reap`
needs only the token.";

/// `reap`
#[derive(Debug, clap::Args)]
pub(crate) struct Reap {
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// The answer with the time it is seen at.
pub(crate) struct Shown {
    reply: ReapReply,
    now: Timestamp,
}

impl serde::Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reply.serialize(serializer)
    }
}

impl Reap {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let request = ReapRequest {
            dry_run: self.dry_run,
        };
        let reply = ctx.client()?.reap(&request).await?;
        let failed = reply.servers.iter().any(|server| server.error.is_some());
        let now = ctx.now();
        ctx.out.show(&Shown { reply, now })?;
        Ok(if failed { Exit::Error } else { Exit::Done })
    }
}

impl View for Shown {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        for cause in &self.reply.unreadable {
            out.warning(&format!("cannot be read: {}", clean(cause)));
        }
        if self.reply.servers.is_empty() {
            out.note("no server is past its expiry");
            return Ok(());
        }
        let mut table = Table::new(&["SERVER", "NAME", "EXPIRED", "OUTCOME"]);
        for server in &self.reply.servers {
            let (outcome, tint) = match (&server.error, server.deleted) {
                (Some(error), _) => (error.as_str(), Tint::Bad),
                (None, true) => ("deleted", Tint::Good),
                (None, false) if self.reply.dry_run => ("would be deleted", Tint::Plain),
                (None, false) => ("not deleted", Tint::Bad),
            };
            table.push(
                Row::new()
                    .cell(server.server.to_string())
                    .cell(&server.name)
                    .cell(format!("{} ago", age(server.expired_at, self.now)))
                    .tinted(outcome, tint),
            );
        }
        out.table(&table)
    }

    fn names(&self) -> Vec<String> {
        let servers = &self.reply.servers;
        servers.iter().map(|server| server.name.clone()).collect()
    }
}
