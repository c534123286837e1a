//! `plan`: what the controller would do next, with or without some files applied first.

use std::{collections::BTreeMap, path::PathBuf};

use cattle_schemas::{
    Timestamp,
    api::{PlanReply, PlanRequest},
    problem::Diagnostic,
};

use crate::{
    client::SpecBody,
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, View, clean, until},
    spec_files::{self, Checked},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle plan
  clawdlets cattle plan -f batch     (as if these files were applied too)";

/// `plan`
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Plan as if this spec file or directory were applied too; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
}

struct Shown {
    reply: PlanReply,
    /// By name.
    sent: BTreeMap<String, Checked>,
    now: Timestamp,
}

impl Shown {
    /// The file of ours that a diagnostic is about: the controller knows it as `<name>.yaml`.
    fn file_of(&self, diagnostic: &Diagnostic) -> Option<&Checked> {
        self.sent.get(diagnostic.path.strip_suffix(".yaml")?)
    }

    fn tell_diagnostics(&self, out: &Output) {
        for diagnostic in &self.reply.diagnostics {
            match self.file_of(diagnostic) {
                Some(file) => {
                    let own = file.in_own_file(diagnostic);
                    out.diagnostics(&[own], file.source());
                }
                None => out.diagnostics(std::slice::from_ref(diagnostic), None),
            }
        }
    }
}

impl serde::Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reply.serialize(serializer)
    }
}

impl Plan {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let found = spec_files::find(ctx, &self.files)?.files;
        let mut files = BTreeMap::new();
        let mut sent = BTreeMap::new();
        for file in spec_files::check_all(ctx, found)? {
            let text = match file.body()? {
                SpecBody::Json(text) => text,
                SpecBody::AsWritten(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            };
            files.insert(file.name().to_owned(), text);
            sent.insert(file.name().to_owned(), file);
        }
        let reply = ctx.client()?.plan(&PlanRequest { files }).await?;
        let now = ctx.now();
        let shown = Shown { reply, sent, now };
        ctx.out.show(&shown)?;
        // What is wrong elsewhere is told, but only what was asked about fails.
        let refused = |diagnostic: &Diagnostic| shown.file_of(diagnostic).is_some();
        Ok(if shown.reply.diagnostics.iter().any(refused) {
            Exit::Error
        } else {
            Exit::Done
        })
    }
}

impl View for Shown {
    fn table(&self, out: &Output, wide: bool) -> Result<(), Failure> {
        let reply = &self.reply;
        self.tell_diagnostics(out);
        if reply.actions.is_empty() {
            out.line("nothing to do")?;
        } else {
            let mut header = vec!["ACTION", "CATTLE"];
            if wide {
                header.extend(["RUN", "SERVER"]);
            }
            header.push("WHY");
            let mut table = Table::new(&header);
            for action in &reply.actions {
                let mut row = Row::new().cell(&action.verb).maybe(action.cattle.as_ref());
                if wide {
                    row = row
                        .maybe(action.run.as_ref())
                        .maybe(action.server.map(|id| id.to_string()));
                }
                table.push(row.cell(&action.message));
            }
            out.table(&table)?;
        }
        if !reply.waiting.is_empty() {
            let mut table = Table::new(&["WAITING", "REASON", "PLACE", "MESSAGE"]);
            for wait in &reply.waiting {
                table.push(
                    Row::new()
                        .cell(&wait.cattle)
                        .cell(&wait.reason)
                        .maybe(wait.queue_position.map(|place| place.to_string()))
                        .cell(&wait.message),
                );
            }
            out.line("")?;
            out.table(&table)?;
        }
        if let Some(spawn) = &reply.spawn {
            out.line("")?;
            out.line(&clean(&spawn.to_string()))?;
        }
        // One that is due tells nobody anything: it is under way.
        if let Some(wake) = reply.next_wake.filter(|wake| *wake > self.now) {
            out.note(&format!("next look {}", until(wake, self.now)));
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .reply
            .actions
            .iter()
            .filter_map(|action| action.cattle.clone())
            .collect();
        names.dedup();
        names
    }
}
