//! `persona`: who may be asked. Directories of the project; no controller is needed.

use std::fs;

use anyhow::Context as _;
use cattle_core::names::PersonaName;
use clap::Subcommand;
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, View},
    project::{PERSONAS, Project},
    scaffold,
};

const ADD_EXAMPLES: &str = "\
Examples:
  clawdlets cattle persona add --name rex

Writes cattle/personas/rex/ with SOUL.md, config.json, skills/ and memory/. What exists is never
overwritten.";

const LIST_EXAMPLES: &str = "\
Examples:
  clawdlets cattle persona list
  clawdlets cattle persona list -o json";

/// `persona …`
#[derive(Debug, Subcommand)]
pub(crate) enum PersonaCommand {
    /// Write a persona to start from
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Its name: a-z, 0-9 and `-`
        #[arg(long, value_name = "NAME")]
        name: PersonaName,
    },
    /// Show this project's personas
    #[command(visible_alias = "ls", after_help = LIST_EXAMPLES)]
    List,
}

/// What `-o json` prints: there is no call of the API for it.
#[derive(Serialize)]
struct Personas {
    items: Vec<Persona>,
}

#[derive(Serialize)]
struct Persona {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl PersonaCommand {
    pub(super) fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let project = ctx.project()?.ok_or_else(|| {
            Failure::usage(
                "this is not a project: no fleet/clawdlets.json here or above",
                "`clawdlets init` makes one",
            )
        })?;
        match self {
            Self::Add { name } => add(ctx, &project, &name),
            Self::List => {
                ctx.out.show(&list(&project)?)?;
                Ok(Exit::Done)
            }
        }
    }
}

fn add(ctx: &Context, project: &Project, name: &PersonaName) -> Result<Exit, Failure> {
    let shown = format!("{PERSONAS}/{name}");
    let directory = project.personas().join(name.as_str());
    if directory.symlink_metadata().is_ok() {
        ctx.out.error(
            &format!("`{shown}` exists already; nothing was changed"),
            &[],
        );
        return Err(Failure::Reported(Exit::Refused));
    }
    scaffold::persona(&directory, name)?;
    match ctx.out.format {
        crate::output::Format::Name => ctx.out.line(name.as_str())?,
        _ => ctx.out.line(&format!("{shown} created"))?,
    }
    ctx.out.note(&format!(
        "next: say who it is in {shown}/SOUL.md, then `clawdlets cattle spawn --persona {name} --message …`"
    ));
    Ok(Exit::Done)
}

fn list(project: &Project) -> Result<Personas, Failure> {
    let directory = project.personas();
    let mut items = Vec::new();
    if directory.is_dir() {
        let reading = || format!("cannot read `{PERSONAS}`");
        for entry in fs::read_dir(&directory).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && entry.path().is_dir() {
                items.push(persona(project, name));
            }
        }
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Personas { items })
}

fn persona(project: &Project, name: String) -> Persona {
    let read = match name.parse::<PersonaName>() {
        Ok(_) => project.persona(&name),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(files) => Persona {
            name,
            model: files.model().map(str::to_owned),
            problem: None,
        },
        Err(problem) => Persona {
            name,
            model: None,
            problem: Some(problem),
        },
    }
}

impl View for Personas {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        if self.items.is_empty() {
            out.note("no personas; `clawdlets cattle persona add --name NAME` writes one");
            return Ok(());
        }
        let mut table = Table::new(&["NAME", "MODEL"]);
        for persona in &self.items {
            table.push(Row::new().cell(&persona.name).maybe(persona.model.as_ref()));
        }
        out.table(&table)?;
        for persona in &self.items {
            if let Some(problem) = &persona.problem {
                out.warning(&format!(
                    "{}: {problem}",
                    crate::output::clean(&persona.name)
                ));
            }
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|one| one.name.clone()).collect()
    }
}
