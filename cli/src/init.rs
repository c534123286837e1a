//! `clawdlets init`: a small complete project to start from.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Format,
    owner,
    project::{SECRETS_DIRECTORY, STATE_DIRECTORY},
    scaffold::Root,
};

/// Shown beneath the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  clawdlets init
  clawdlets init my-fleet

Writes a fleet's configuration, personas, tasks and spec files, and a directory for secrets that git
ignores and only you may read. What exists is never overwritten.";

/// In a directory that version control is to leave alone whatever the files above it say.
const IGNORE_ALL: &[u8] = b"*\n";

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
        owner::check_directory(&root)
            .and_then(|()| std::fs::create_dir_all(&root))
            .with_context(|| format!("cannot make `{}`", self.directory.display()))?;
        let into = Root::open(&root)?;
        let mut written = Written::default();
        let mut files = Vec::new();
        for directory in [STATE_DIRECTORY, SECRETS_DIRECTORY] {
            into.private_directory(directory)?;
            files.push((format!("{directory}/.gitignore"), IGNORE_ALL));
        }
        let example = cattle_core::example::FILES;
        files.extend(
            example
                .iter()
                .map(|(path, content)| ((*path).to_owned(), *content)),
        );
        for (path, content) in files {
            let list = if into.write_new(Path::new(&path), content)? {
                &mut written.created
            } else {
                &mut written.kept
            };
            list.push(path);
        }
        self.tell(ctx, &written)?;
        let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        for (directory, what) in [
            (STATE_DIRECTORY, "the controller's state"),
            (SECRETS_DIRECTORY, "your secrets"),
        ] {
            if !ignored
                .lines()
                .any(|line| line.trim_matches('/') == directory)
            {
                ctx.out.warning(&format!(
                    "`.gitignore` was there already: add `{directory}/` to it, that is {what}"
                ));
            }
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
        ctx.out.note_lines(&format!(
            "\nNext:\n{cd}  clawdlets cattle validate                   check the spec files\n  \
             clf-orchestrator demo                       see it work, without an account\n  \
             $EDITOR fleet/clawdlets.json                your image, sizes and limits\n  \
             (umask 077; cat > secrets/zai_api_key)      your model's key; git ignores secrets/\n  \
             export HCLOUD_ENDPOINT=http://127.0.0.1:8080/v1\n  \
             export HCLOUD_TOKEN=…                       of a `hetzner-sim`; the real one is refused for now\n  \
             clf-orchestrator run --secrets-dir secrets  starts what cattle/specs asks for\n\n\
             In another terminal, in the project:\n  clawdlets cattle list                       see what is there\n  \
             clawdlets cattle spawn --persona rex --message 'Say hello' --wait"
        ));
        Ok(())
    }
}
