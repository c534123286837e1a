//! `validate`: spec files are checked where they lie, without a controller.

use std::path::PathBuf;

use cattle_schemas::problem::Diagnostic;
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Format, clean},
    project::SPECS,
    spec_files,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle validate
  clawdlets cattle validate cattle/specs
  clawdlets cattle validate rex.yaml -o json

In a project, persona, model and the fleet's limits are checked too.";

/// `validate`
#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// Spec files, directories of them, or `-` for standard input [default: the project's cattle/specs]
    #[arg(value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
}

/// What `-o json` prints: there is no call of the API for it.
#[derive(Serialize)]
struct Verdicts {
    items: Vec<Verdict>,
}

#[derive(Serialize)]
struct Verdict {
    path: String,
    name: String,
    valid: bool,
    errors: Vec<Diagnostic>,
}

impl Validate {
    pub(super) fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let named = self.named(ctx)?;
        let found = spec_files::find(ctx, &named)?.files;
        if found.is_empty() {
            return Err(spec_files::none_in(&named));
        }
        let checks = spec_files::check(ctx, found)?;
        let exit = if checks.broken.is_empty() {
            Exit::Done
        } else {
            Exit::Error
        };
        match ctx.out.format {
            Format::Json | Format::Yaml => ctx.out.document(&verdicts(&checks))?,
            Format::Name => {
                for file in &checks.valid {
                    ctx.out.line(file.name())?;
                }
            }
            Format::Table | Format::Wide => {
                for file in &checks.valid {
                    ctx.out
                        .line(&format!("{}: valid", clean(&file.found.shown)))?;
                }
            }
        }
        if !ctx.out.format.is_document() {
            for broken in &checks.broken {
                spec_files::tell(ctx, broken);
            }
            let outside = match checks.outside.as_slice() {
                [] => None,
                [one] => Some(format!("`{}` is", clean(one))),
                [first, rest @ ..] => {
                    Some(format!("`{}` and {} more are", clean(first), rest.len()))
                }
            };
            if let Some(who) = outside {
                ctx.out.note(&format!(
                    "{who} in no project: persona, model and limits were not checked"
                ));
            }
            let (bad, all) = (
                checks.broken.len(),
                checks.broken.len() + checks.valid.len(),
            );
            if bad > 0 {
                let files = if all == 1 { "file" } else { "files" };
                ctx.out
                    .error(&format!("{bad} of {all} {files} broken"), &[]);
            }
        }
        Ok(exit)
    }
}

impl Validate {
    fn named(&self, ctx: &Context) -> Result<Vec<PathBuf>, Failure> {
        if !self.files.is_empty() {
            return Ok(self.files.clone());
        }
        let project = ctx.project()?.ok_or_else(|| {
            Failure::usage(
                "name a file: this is not a project (no fleet/clawdlets.json here or above)",
                "`clawdlets cattle validate FILE`, or `clawdlets init` for a project",
            )
        })?;
        let specs = project.root().join(SPECS);
        // As somebody standing there would write it.
        let shown = specs.strip_prefix(&ctx.cwd).unwrap_or(&specs).to_owned();
        Ok(vec![shown])
    }
}

fn verdicts(checks: &spec_files::Checks) -> Verdicts {
    let valid = checks.valid.iter().map(|file| Verdict {
        path: file.found.shown.clone(),
        name: file.name().to_owned(),
        valid: true,
        errors: Vec::new(),
    });
    let broken = checks.broken.iter().map(|file| Verdict {
        path: file.found.shown.clone(),
        name: file.found.stem.clone(),
        valid: false,
        errors: file.diagnostics.clone(),
    });
    let mut items: Vec<Verdict> = valid.chain(broken).collect();
    items.sort_by(|a, b| a.path.cmp(&b.path));
    Verdicts { items }
}
