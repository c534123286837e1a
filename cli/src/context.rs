//! What every command has: how to speak, where it stands, and the controller once it is needed.

use std::{
    cell::OnceCell,
    env,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use cattle_schemas::Timestamp;
use chrono::Utc;

use crate::{
    client::Client,
    exit::Failure,
    output::{ColorChoice, Format, Output},
    project::{FLEET_FILE, Project},
    socket_path,
};

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// The controller's socket [default: $CLF_SOCKET_PATH, the project's, /run/clf/orchestrator.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// The project, whoever owns it [default: the nearest one of yours or root's, here or above]
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,

    /// How the answer is printed
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    output: Format,

    /// Say nothing on the way: only answers, warnings and errors
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Tell each call to the controller
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,

    /// When to use colours; `auto` also heeds NO_COLOR
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    color: ColorChoice,
}

/// Which of the two command lines this is: a hint names commands that its reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `clawdlets`
    Clawdlets,
    /// `clf`
    Clf,
}

/// The surroundings of one command.
#[derive(Debug)]
pub(crate) struct Context {
    /// How to speak.
    pub(crate) out: Output,
    began: Instant,
    /// Where it was started.
    pub(crate) cwd: PathBuf,
    socket: Option<PathBuf>,
    project: Option<PathBuf>,
    verbose: bool,
    client: OnceCell<Client>,
}

impl Context {
    /// From the arguments and the process.
    pub(crate) fn new(args: GlobalArgs, program: Program) -> Result<Self, Failure> {
        Ok(Self {
            out: Output::new(program, args.output, args.quiet, args.color),
            began: Instant::now(),
            cwd: env::current_dir().context("cannot tell the current directory")?,
            socket: args.socket,
            project: args.project,
            verbose: args.verbose,
            client: OnceCell::new(),
        })
    }

    /// The controller.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let project = self.project.as_deref().map(|named| self.resolve(named));
        let path = socket_path::find(self.socket.as_deref(), project.as_deref(), &self.cwd)?;
        let client = Client::new(path, self.verbose)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The project that a command is about: the one that was named, else the nearest from here.
    pub(crate) fn project(&self) -> Result<Option<Project>, Failure> {
        match &self.project {
            Some(named) => {
                let root = self.resolve(named);
                let project = Project::named(&root).ok_or_else(|| {
                    Failure::usage(
                        format!(
                            "`{}` is not a project: it has no {FLEET_FILE}",
                            named.display()
                        ),
                        "`clawdlets init` makes one",
                    )
                })?;
                Ok(Some(project))
            }
            None => Project::around(&self.cwd),
        }
    }

    /// The project that a file in this directory belongs to.
    pub(crate) fn project_around(&self, directory: &Path) -> Result<Option<Project>, Failure> {
        match &self.project {
            Some(_) => {
                let project = self.project()?;
                Ok(project.filter(|project| directory.starts_with(project.root())))
            }
            None => Project::around(directory),
        }
    }

    /// A path as the person meant it.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }

    /// Now, by the controller's clock once it has answered: ages and expiries are its.
    pub(crate) fn now(&self) -> Timestamp {
        let there = self.client.get().and_then(Client::now);
        there.unwrap_or_else(Utc::now)
    }

    /// When this was started, by the same clock.
    pub(crate) fn began(&self) -> Timestamp {
        self.now() - self.began.elapsed()
    }
}
