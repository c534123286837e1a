//! The two command lines, and the way from arguments to an exit code.

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    cattle::CattleCommand,
    context::{Context, GlobalArgs, Program},
    exit::{Exit, Failure},
    init,
    jobs::JobsCommand,
    owner, report,
    scaffold::Root,
};

const CLAWDLETS_HELP: &str = "\
Start here:
  clawdlets init my-fleet            a project to start from; it names the next steps
  clawdlets cattle validate          check its spec files, without a controller
  clawdlets cattle list              see what is there
  clawdlets cattle spawn --persona rex --message 'Say hello' --wait

Every command of `cattle` but `validate` and `persona` asks a controller (`clf-orchestrator run`).
That watches the project's cattle/specs by itself: a file there needs no `apply`.

Exit codes: 0 done, 1 error, 2 usage, 3 no controller reached, 4 the run ended without success,
5 the wait timed out (the cattle goes on), 6 refused by a limit or a conflict.";

const CLF_HELP: &str = "\
Examples:
  clf jobs enqueue cattle.spawn --persona rex --message 'Fix the flaky test' --wait
  clf jobs list -o json

Exit codes: 0 done, 1 error, 2 usage, 3 no controller reached, 4 the run ended without success,
5 the wait timed out (the job goes on), 6 refused by a limit or a conflict.";

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(clawdlets completions bash)
  clawdlets completions zsh > ~/.zfunc/_clawdlets
  clawdlets completions fish > ~/.config/fish/completions/clawdlets.fish";

const CLF_COMPLETIONS_HELP: &str = "\
Examples:
  source <(clf completions bash)
  clf completions zsh > ~/.zfunc/_clf
  clf completions fish > ~/.config/fish/completions/clf.fish";

const MAN_HELP: &str = "\
Examples:
  clawdlets man | man -l -
  clawdlets man --dir ~/.local/share/man/man1     a page for each command, those of `clf` too";

/// Ephemeral agent VMs on Hetzner Cloud: write a spec file, get one VM, one task, one result
#[derive(Debug, Parser)]
#[command(name = "clawdlets", version, after_help = CLAWDLETS_HELP, propagate_version = true, max_term_width = 100)]
struct Clawdlets {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClawdletsCommand,
}

#[derive(Debug, Subcommand)]
enum ClawdletsCommand {
    /// Write a project to start from
    #[command(after_help = init::EXAMPLES)]
    Init(init::Init),
    /// Cattle: VMs that run one task and are gone
    #[command(subcommand)]
    Cattle(CattleCommand),
    /// Print a shell's completions
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write all pages to a directory
    #[command(after_help = MAN_HELP)]
    Man {
        /// Write a page for each command here
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Ask the controller for agent VMs, as a bot
#[derive(Debug, Parser)]
#[command(name = "clf", version, after_help = CLF_HELP, propagate_version = true, max_term_width = 100)]
struct Clf {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClfCommand,
}

#[derive(Debug, Subcommand)]
enum ClfCommand {
    /// Recorded requests
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Print a shell's completions
    #[command(after_help = CLF_COMPLETIONS_HELP)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// `clawdlets`
pub fn clawdlets(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Clawdlets::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    run(args.global, Program::Clawdlets, async |ctx| {
        match args.command {
            ClawdletsCommand::Init(init) => init.run(ctx),
            ClawdletsCommand::Cattle(command) => command.run(ctx).await,
            ClawdletsCommand::Completions { shell } => completions::<Clawdlets>(ctx, shell),
            ClawdletsCommand::Man { dir } => man(ctx, dir),
        }
    })
}

/// `clf`
pub fn clf(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Clf::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    run(args.global, Program::Clf, async |ctx| match args.command {
        ClfCommand::Jobs(command) => command.run(ctx).await,
        ClfCommand::Completions { shell } => completions::<Clf>(ctx, shell),
    })
}

/// Help and version are answers, everything else that clap says is a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    // Where the message cannot be printed, the code still tells.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Done.into()
    }
}

fn run(
    global: GlobalArgs,
    program: Program,
    command: impl AsyncFnOnce(&Context) -> Result<Exit, Failure>,
) -> ExitCode {
    let ctx = match Context::new(global, program) {
        Ok(ctx) => ctx,
        Err(failure) => {
            crate::output::stderr_line(&format!("error: {failure}"));
            return failure.exit().into();
        }
    };
    // One thread: everything here waits for one socket.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command(&ctx)),
        Err(error) => Err(anyhow::Error::new(error).context("cannot start").into()),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report::failure(&ctx.out, &failure);
            failure.exit().into()
        }
    }
}

fn completions<C: CommandFactory>(ctx: &Context, shell: Shell) -> Result<Exit, Failure> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    ctx.out.bytes(&script)?;
    Ok(Exit::Done)
}

fn man(ctx: &Context, dir: Option<PathBuf>) -> Result<Exit, Failure> {
    if let Some(dir) = dir {
        write_pages(&ctx.resolve(&dir))
            .with_context(|| format!("cannot write manual pages to `{}`", dir.display()))?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Clawdlets::command())
        .render(&mut page)
        .and_then(|()| page.flush())
        .context("cannot write the manual page")?;
    ctx.out.bytes(&page)?;
    Ok(Exit::Done)
}

/// Over pages of an earlier version, and through no link: the generator follows those, so that it
/// writes to a place of its own first.
fn write_pages(directory: &Path) -> anyhow::Result<()> {
    let pages = tempfile::tempdir()?;
    clap_mangen::generate_to(Clawdlets::command(), pages.path())?;
    clap_mangen::generate_to(Clf::command(), pages.path())?;
    owner::check_directory(directory)?;
    std::fs::create_dir_all(directory)?;
    let root = Root::open(directory)?;
    for page in std::fs::read_dir(pages.path())? {
        let page = page?;
        root.replace(Path::new(&page.file_name()), &std::fs::read(page.path())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_command_lines_are_sound() {
        Clawdlets::command().debug_assert();
        Clf::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_no_line_of_its_help_is_broken_in_two() {
        /// What the help is wrapped at.
        const WIDTH: usize = 100;
        fn look(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string);
            for line in help.iter().flat_map(|help| help.lines()) {
                assert!(line.chars().count() <= WIDTH, "{path}: {line}");
            }
            if command.has_subcommands() {
                for one in command.get_subcommands() {
                    look(one, &path);
                }
            } else {
                let help = help.unwrap_or_default();
                assert!(help.contains("Examples:\n  "), "{path} has no examples");
            }
        }
        look(&Clawdlets::command(), "");
        look(&Clf::command(), "");
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let built_in = ["help", "version"].contains(&argument.get_id().as_str());
                let told = argument.get_help().is_some() || built_in;
                assert!(told, "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Clawdlets::command());
        check(&Clf::command());
    }
}
