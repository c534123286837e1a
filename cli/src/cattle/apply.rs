//! `apply`: what spec files ask for is made so.
//!
//! All files are checked before the first is sent, so that a mistake in one does not leave the
//! others half applied. After that each stands for itself: one that the controller refuses does not
//! stop the rest.

use std::path::PathBuf;

use cattle_schemas::{
    api::{ApplyQuery, ApplyReply, Change, WaitFor},
    status::CattleStatus,
};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::{prune, result};
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Format, clean},
    present, report,
    spec_files::{self, Checked, Named},
    wait::{self, WaitArgs},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle apply -f rex-issue-42.yaml --wait --timeout 1h
  clawdlets cattle apply -f batch --prune --dry-run
  generate-spec | clawdlets cattle apply -f -

For files that the controller does not watch. It watches its project's cattle/specs by itself: what
is written there needs no apply, and is changed and removed there.

A directory without spec files is refused with --prune (exit 6) unless --allow-empty; a file that is
there and broken is never pruned.

Each file prints one line: `rex created`, `configured` (the run goes on), `replaced` (the run ends
and a new one starts) or `unchanged`. At maxInstances a cattle waits in the queue.
With --wait, -o json prints the results instead.";

/// Puts at once: enough to hide the fsync of each, too few to starve other callers.
const PARALLEL: usize = 8;

/// `apply`
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// A spec file, a directory of them, or `-` for standard input; may be repeated
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,

    /// Also remove what was applied from DIR earlier and is no longer there
    #[arg(long)]
    prune: bool,

    /// With --prune: a DIR without a single spec file is meant, and all that came from it ends
    #[arg(long, requires = "prune")]
    allow_empty: bool,

    /// Say what would happen, change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

/// The answer of several calls, each in the API's own shape.
#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
}

impl Apply {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let named = spec_files::find(ctx, &self.files)?;
        self.check_usage(&named)?;
        if self.prune && !self.allow_empty {
            refuse_empty(ctx, &named)?;
        }
        let sets = named.sets.clone();
        let kept: Vec<String> = named.files.iter().map(|file| file.stem.clone()).collect();
        let files = spec_files::check_all(ctx, named.files)?;

        let (replies, mut exit) = self.put_all(ctx, &files).await?;
        if self.prune {
            for set in &sets {
                exit = exit.worse(prune::prune(ctx, set, &kept, self.dry_run).await?);
            }
        }
        if self.wait.wait {
            return Ok(exit.worse(self.wait(ctx, &replies).await?));
        }
        if ctx.out.format.is_document() {
            ctx.out.document(&Items { items: replies })?;
        }
        Ok(exit)
    }

    fn check_usage(&self, named: &Named) -> Result<(), Failure> {
        if self.prune && named.loose {
            return Err(Failure::usage(
                "`--prune` needs a directory to compare with",
                "name directories only: `-f DIR --prune`",
            ));
        }
        if named.files.is_empty() && !self.prune {
            return Err(spec_files::none_in(&self.files));
        }
        Ok(())
    }

    async fn put_all(
        &self,
        ctx: &Context,
        files: &[Checked],
    ) -> Result<(Vec<ApplyReply>, Exit), Failure> {
        let client = ctx.client()?;
        let mut puts = stream::iter(files.iter().map(|file| {
            let query = ApplyQuery {
                dry_run: self.dry_run,
                apply_set: file.found.set.clone(),
                ..ApplyQuery::default()
            };
            async move {
                let reply = match file.body() {
                    Ok(body) => client.apply(file.name(), body, &query).await,
                    Err(failure) => Err(failure),
                };
                (file, reply)
            }
        }))
        .buffered(PARALLEL);
        let mut replies = Vec::with_capacity(files.len());
        let mut exit = Exit::Done;
        while let Some((file, reply)) = puts.next().await {
            match reply {
                Ok(reply) => {
                    tell(ctx, &reply, self.wait.wait)?;
                    replies.push(reply);
                }
                // Without a controller no other file will fare better.
                Err(failure @ Failure::Connect(_)) => return Err(failure),
                Err(failure) => {
                    tell_refused(ctx, file, &failure);
                    exit = exit.worse(failure.exit());
                }
            }
        }
        Ok((replies, exit))
    }

    async fn wait(&self, ctx: &Context, replies: &[ApplyReply]) -> Result<Exit, Failure> {
        let names: Vec<String> = replies.iter().map(|reply| reply.name.clone()).collect();
        let waited = wait::wait_all(ctx, &names, WaitFor::Ended, self.wait.timeout).await?;
        let exit = wait::report(ctx, &waited, WaitFor::Ended);
        let ended: Vec<&CattleStatus> = waited.iter().filter_map(|one| one.as_ref().ok()).collect();
        if ctx.out.format == Format::Name {
            return Ok(exit);
        }
        let mut items = Vec::with_capacity(ended.len());
        for status in &ended {
            items.push(result::of(ctx, status).await?);
        }
        if ctx.out.format.is_document() {
            ctx.out.document(&Items { items })?;
        } else if let [one] = items.as_slice() {
            result::print_for_people(ctx, one)?;
        } else {
            for status in ended {
                let name = &status.name;
                ctx.out
                    .line(&format!("{name} {}", present::phase_and_reason(status)))?;
            }
        }
        Ok(exit)
    }
}

/// A directory that lost all its files more often lost its mount than its purpose.
fn refuse_empty(ctx: &Context, named: &Named) -> Result<(), Failure> {
    let mut refused = false;
    for (set, shown) in named.sets.iter().zip(&named.shown_sets) {
        if !named
            .files
            .iter()
            .any(|file| file.set.as_ref() == Some(set))
        {
            ctx.out.error(
                &format!("`{shown}` has no spec files: `--prune` would end everything that was applied from it"),
                &[],
            );
            refused = true;
        }
    }
    if refused {
        ctx.out
            .hint("is it mounted, and the directory that you mean? If so, say `--allow-empty`");
        return Err(Failure::Reported(Exit::Refused));
    }
    Ok(())
}

/// `rex created (run 01J…)`
fn tell(ctx: &Context, reply: &ApplyReply, waits: bool) -> Result<(), Failure> {
    for warning in &reply.warnings {
        ctx.out
            .warning(&format!("{}: {}", reply.name, clean(warning)));
    }
    match ctx.out.format {
        Format::Json | Format::Yaml => Ok(()),
        Format::Name => ctx.out.line(&reply.name),
        Format::Table | Format::Wide => {
            let line = summary(reply);
            if waits {
                ctx.out.note(&line);
                Ok(())
            } else {
                ctx.out.line(&line)
            }
        }
    }
}

pub(super) fn summary(reply: &ApplyReply) -> String {
    let change = match reply.change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Replaced => "replaced",
        Change::Unchanged => "unchanged",
    };
    let mut line = format!("{} {change}", reply.name);
    if let Some(run) = &reply.run {
        line.push_str(&format!(" (run {run})"));
    }
    if reply.dry_run {
        line.push_str(" (dry run)");
    }
    line
}

/// What the controller has against a file, with places in the person's own file.
fn tell_refused(ctx: &Context, file: &Checked, failure: &Failure) {
    if let Failure::Problem(problem) = failure {
        let mut problem = problem.clone();
        for error in &mut problem.errors {
            *error = file.in_own_file(error);
        }
        ctx.out.diagnostics(&problem.errors, file.source());
        problem.errors.clear();
        problem.detail = format!("{}: {}", file.found.shown, problem.detail);
        report::failure(&ctx.out, &Failure::Problem(problem));
    } else {
        report::failure(&ctx.out, failure);
    }
}
