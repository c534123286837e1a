//! Spec files as a person names them: found, read, and checked before anything is sent.
//!
//! What a file says by itself is always checked. Persona and fleet are checked when the file lies
//! in a project; the controller has the last word on them in any case.

mod find;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use cattle_core::{
    desired::Authority,
    fleet::Fleet,
    spec::{CATTLE_DIRECTORY, Inputs, ParsedSpec, parse, parse_for, parse_task, task_path},
};
use cattle_schemas::{problem::Diagnostic, task::TaskInput};

pub(crate) use self::find::{Found, Named, find, none_in};
use crate::{
    beneath,
    client::SpecBody,
    context::Context,
    exit::{Exit, Failure},
    project::Project,
};

/// The longest task file: what a message may have, with room for escapes.
const MAX_TASK_BYTES: usize = 256 * 1024;

/// A spec file that is right, as far as can be told here.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Where it was found.
    pub(crate) found: Found,
    parsed: ParsedSpec,
    task: Option<TaskInput>,
}

/// A spec file that is not.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Where it was found.
    pub(crate) found: Found,
    /// Everything that is wrong with it.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// What became of all files.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// In the order in which they were found.
    pub(crate) valid: Vec<Checked>,
    /// Likewise.
    pub(crate) broken: Vec<Broken>,
    /// Those whose persona and fleet could not be looked at, as messages name them.
    pub(crate) outside: Vec<String>,
}

impl Checked {
    /// The cattle's name.
    pub(crate) fn name(&self) -> &str {
        self.parsed.name.as_str()
    }

    /// What is sent: the author's own bytes where they are complete, so that places in the
    /// controller's answer are true; else a document with the task inline.
    pub(crate) fn body(&self) -> Result<SpecBody, Failure> {
        if self.task.is_none() {
            return Ok(SpecBody::AsWritten(self.found.bytes.clone()));
        }
        let document = self.parsed.to_document(self.task.clone());
        serde_json::to_string(&document)
            .map(SpecBody::Json)
            .map_err(|error| Failure::Other(anyhow::Error::new(error)))
    }

    /// What the controller says of it, with the path its author knows. Places in a document that we
    /// made of it would mean nothing to them.
    pub(crate) fn in_own_file(&self, diagnostic: &Diagnostic) -> Diagnostic {
        let mut own = diagnostic.clone();
        own.path.clone_from(&self.found.shown);
        if self.source().is_none() {
            (own.line, own.column) = (0, 0);
        }
        own
    }

    /// The text that the controller's places are about.
    pub(crate) fn source(&self) -> Option<&str> {
        match self.task {
            None => std::str::from_utf8(&self.found.bytes).ok(),
            Some(_) => None,
        }
    }
}

/// Checks all of them; `-` and files outside a project by themselves.
pub(crate) fn check(ctx: &Context, found: Vec<Found>) -> Result<Checks, Failure> {
    let mut checks = Checks::default();
    let mut projects = Projects::default();
    let mut seen: HashMap<String, String> = HashMap::new();
    for found in found {
        let surroundings = projects.around(ctx, &found)?;
        if surroundings.is_none() {
            checks.outside.push(found.shown.clone());
        }
        let mut outcome = check_one(&found, surroundings);
        if let Some(first) = seen.get(&found.stem) {
            outcome = Err(vec![Diagnostic {
                path: found.shown.clone(),
                line: 0,
                column: 0,
                message: format!("`{first}` already names a cattle `{}`", found.stem),
                hint: Some("the stem is the name: rename one of the files".to_owned()),
            }]);
        } else {
            seen.insert(found.stem.clone(), found.shown.clone());
        }
        match outcome {
            Ok((parsed, task)) => checks.valid.push(Checked {
                found,
                parsed,
                task,
            }),
            Err(diagnostics) => checks.broken.push(Broken { found, diagnostics }),
        }
    }
    Ok(checks)
}

/// As [`check`], but one broken file is the end of it: all of them are told, nothing is sent.
pub(crate) fn check_all(ctx: &Context, found: Vec<Found>) -> Result<Vec<Checked>, Failure> {
    let checks = check(ctx, found)?;
    if checks.broken.is_empty() {
        return Ok(checks.valid);
    }
    for broken in &checks.broken {
        tell(ctx, broken);
    }
    let (bad, all) = (
        checks.broken.len(),
        checks.broken.len() + checks.valid.len(),
    );
    let files = if all == 1 { "file" } else { "files" };
    ctx.out.error(
        &format!("{bad} of {all} {files} broken, nothing was sent"),
        &[],
    );
    Err(Failure::Reported(Exit::Error))
}

/// Shows what is wrong with a file, in the file.
pub(crate) fn tell(ctx: &Context, broken: &Broken) {
    let source = std::str::from_utf8(&broken.found.bytes).ok();
    ctx.out.diagnostics(&broken.diagnostics, source);
}

fn check_one(
    found: &Found,
    surroundings: Option<&(Project, Option<Fleet>)>,
) -> Result<(ParsedSpec, Option<TaskInput>), Vec<Diagnostic>> {
    let (shown, stem, bytes) = (&found.shown, &found.stem, &found.bytes);
    let parsed = match (parse(shown, stem, bytes), surroundings) {
        (Ok(parsed), _) => parsed,
        // With the fleet at hand, what it does not allow is said along with what is misspelt. (Of a
        // file that can be read, `complete` below says it, and more.)
        (Err(errors), Some((_, Some(fleet)))) => {
            let more = parse_for(shown, stem, bytes, fleet, Authority::Operator);
            return Err(more.err().unwrap_or(errors));
        }
        (Err(errors), _) => return Err(errors),
    };
    let project = surroundings.map(|(project, _)| project);
    let task_bytes = parsed
        .task_file
        .as_ref()
        .map(|task_file| read_task(found, project, task_file));
    let inline = task_bytes.clone().and_then(Result::ok);
    match surroundings {
        Some((project, Some(fleet))) => {
            let persona = project.persona(parsed.persona.as_str());
            parsed.complete(Inputs {
                fleet,
                // What this caller may do is the controller's to say.
                authority: Authority::Operator,
                task_file: task_bytes,
                persona: persona.as_ref().map_err(Clone::clone),
            })?;
        }
        _ => {
            parsed.task(task_bytes)?;
        }
    }
    let task = inline.and_then(|bytes| parse_task(&bytes).ok());
    Ok((parsed, task))
}

/// A task file, beneath the project; without one, beneath the spec file's own directory.
fn read_task(found: &Found, project: Option<&Project>, task_file: &str) -> Result<Vec<u8>, String> {
    let Some(directory) = found.path.as_deref().and_then(Path::parent) else {
        return Err("standard input has no directory; write the task inline".to_owned());
    };
    let Some(project) = project else {
        return beneath::read(directory, Path::new(task_file), MAX_TASK_BYTES);
    };
    // As the controller that watches this project would say.
    let relative = directory
        .strip_prefix(project.root())
        .unwrap_or(Path::new(""));
    let path = task_path(relative, task_file)?;
    let root = project.root().join(CATTLE_DIRECTORY);
    beneath::read(&root, &path, MAX_TASK_BYTES)
}

/// The projects met so far, each loaded once.
#[derive(Default)]
struct Projects(Vec<(Project, Option<Fleet>)>);

impl Projects {
    fn around(
        &mut self,
        ctx: &Context,
        found: &Found,
    ) -> Result<Option<&(Project, Option<Fleet>)>, Failure> {
        let directory: Option<PathBuf> = found
            .path
            .as_deref()
            .and_then(|path| path.parent().map(Path::to_owned));
        let project = match directory.as_deref() {
            Some(directory) => ctx.project_around(directory)?,
            None => None,
        };
        let Some(project) = project else {
            return Ok(None);
        };
        if let Some(known) = self.0.iter().position(|(known, _)| *known == project) {
            return Ok(self.0.get(known));
        }
        let fleet = match project.fleet()? {
            Ok(fleet) => Some(fleet),
            Err(broken) => {
                ctx.out
                    .diagnostics(&broken.diagnostics, Some(&broken.source));
                return Err(Failure::Reported(Exit::Error));
            }
        };
        self.0.push((project, fleet));
        Ok(self.0.last())
    }
}
