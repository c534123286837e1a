//! `clawdlets init`: a small complete project to start from.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Format,
    project::STATE_DIRECTORY,
    scaffold::write_new,
};

/// Shown beneath the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  clawdlets init
  clawdlets init my-fleet

Writes a fleet's configuration, personas, tasks and spec files. What exists is never overwritten.";

/// `init`
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Where to; made where it is missing
    #[arg(value_name = "DIR", default_value = ".", hide_default_value = true)]
    directory: PathBuf,
}

/// What `-o json` prints: there is no call of the API for it.
#[derive(Default, Serialize)]
struct Written {
    created: Vec<String>,
    kept: Vec<String>,
}

impl Init {
    pub(crate) fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let root = ctx.resolve(&self.directory);
        std::fs::create_dir_all(&root)
            .with_context(|| format!("cannot make `{}`", self.directory.display()))?;
        let mut written = Written::default();
        for (path, content) in cattle_core::example::FILES {
            let list = if write_new(&root.join(path), content)? {
                &mut written.created
            } else {
                &mut written.kept
            };
            list.push((*path).to_owned());
        }
        self.tell(ctx, &written)?;
        let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        if !ignored
            .lines()
            .any(|line| line.trim_matches('/') == STATE_DIRECTORY)
        {
            ctx.out.warning(&format!(
                "`.gitignore` was there already: add `{STATE_DIRECTORY}/` to it, that is the controller's state"
            ));
        }
        Ok(Exit::Done)
    }

    fn tell(&self, ctx: &Context, written: &Written) -> Result<(), Failure> {
        if ctx.out.format.is_document() {
            return ctx.out.document(written);
        }
        for path in &written.created {
            let verb = if ctx.out.format == Format::Name {
                ""
            } else {
                "created "
            };
            ctx.out.line(&format!("{verb}{path}"))?;
        }
        for path in &written.kept {
            ctx.out.note(&format!("kept {path} as it is"));
        }
        let cd = match self.directory.to_str() {
            Some(".") => String::new(),
            _ => format!("  cd {}\n", self.directory.display()),
        };
        ctx.out.note(&format!(
            "\nNext:\n{cd}  clawdlets cattle validate                   check the spec files\n  \
             clf-orchestrator demo                       see it work, without an account\n  \
             $EDITOR fleet/clawdlets.json                your image, sizes and limits\n  \
             mkdir -m 700 secrets                        then your model's key: secrets/zai_api_key\n  \
             export HCLOUD_ENDPOINT=http://127.0.0.1:8080/v1  a `hetzner-sim`; the real one is refused for now\n  \
             export HCLOUD_TOKEN=…                       its token\n  \
             clf-orchestrator run --secrets-dir secrets  starts what cattle/specs asks for\n\n\
             In another terminal, in the project:\n  clawdlets cattle list                       see what is there\n  \
             clawdlets cattle spawn --persona rex --message 'Say hello' --wait"
        ));
        Ok(())
    }
}
