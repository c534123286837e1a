//! One spec file: parsed when it changes, completed when anything around it does.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cattle_core::{
    desired::{Authority, SpecState},
    fleet::Fleet,
    spec::{self, CATTLE_DIRECTORY, Inputs, ParsedSpec},
};
use cattle_schemas::{api::MAX_SPEC_BYTES, problem::Diagnostic};

use super::{
    beneath::{Beneath, ReadError},
    project::{LoadedPersona, Personas, Project},
    tracked::{Moment, Tracked},
};

/// A task file holds one message; JSON may write a byte of it as six.
const MAX_TASK_BYTES: usize = 6 * spec::MAX_MESSAGE + 16 * 1024;

/// A broken file is kept up to here; a longer one was not written by hand, and ten thousand of them
/// must not fill the memory.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// What every spec file of one scan is completed with.
pub(super) struct Around<'a> {
    pub(super) at: &'a Moment,
    pub(super) project: &'a Project,
    /// The project's `cattle/`, opened once per scan; an error is every task file's.
    pub(super) cattle_root: &'a Result<Beneath, ReadError>,
    pub(super) fleet: &'a Fleet,
    /// Rises when the fleet's configuration changes.
    pub(super) fleet_version: u64,
    pub(super) personas: &'a mut Personas,
}

/// Where a spec file is.
pub(super) struct Location<'a> {
    pub(super) root: &'a Beneath,
    /// As the watcher names it.
    pub(super) full: &'a Path,
    /// Beneath its root.
    pub(super) path: &'a Path,
    /// As messages name it.
    pub(super) shown: &'a str,
    pub(super) stem: &'a str,
    pub(super) is_link: bool,
}

/// A file and what was made of it.
#[derive(Debug, Default)]
pub(super) struct SpecFile {
    file: Tracked<Result<Arc<ParsedSpec>, Refusal>>,
    task: Option<TaskFile>,
    completed: Option<Completed>,
    judged: Option<Judged>,
    /// How often it was parsed; unchanged files are not parsed again.
    pub(super) parsed: u64,
}

#[derive(Clone, Debug)]
enum Refusal {
    /// Its content is wrong.
    Content(Arc<Unparsed>),
    /// It could not be read.
    Read(ReadError),
}

/// A file that is no spec, kept so that what the fleet has against it can be told too.
#[derive(Debug)]
struct Unparsed {
    stem: String,
    /// `None` of a file above [`MAX_KEPT_BYTES`].
    bytes: Option<Vec<u8>>,
    /// What is wrong with it whatever the fleet says.
    diagnostics: Vec<Diagnostic>,
}

/// An unparsed file, held against a fleet.
#[derive(Debug)]
struct Judged {
    file: Arc<Unparsed>,
    fleet_version: u64,
    authority: Authority,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Debug)]
struct TaskFile {
    /// As the spec names it.
    named: String,
    /// Beneath the project's `cattle/`, or why not.
    path: Result<PathBuf, String>,
    content: Tracked<Result<Arc<Vec<u8>>, String>>,
}

/// What the last completion was made of, and what came of it.
#[derive(Debug)]
struct Completed {
    spec: Arc<ParsedSpec>,
    task: Option<Result<Arc<Vec<u8>>, String>>,
    persona: LoadedPersona,
    fleet_version: u64,
    authority: Authority,
    state: SpecState,
}

impl SpecFile {
    /// Looks at the file itself and takes it when it is complete; whether it is still there.
    pub(super) fn look(&mut self, at: &Moment, location: &Location<'_>, again: &mut Again) -> bool {
        let parsed = &mut self.parsed;
        let look = self.file.look(
            at,
            location.full,
            location.root,
            location.path,
            MAX_SPEC_BYTES,
            |read| {
                let bytes = read.map_err(Refusal::Read)?;
                *parsed += 1;
                spec::parse(location.shown, location.stem, &bytes)
                    .map(Arc::new)
                    .map_err(|diagnostics| {
                        Refusal::Content(Arc::new(Unparsed {
                            stem: location.stem.to_owned(),
                            bytes: (bytes.len() <= MAX_KEPT_BYTES).then_some(bytes),
                            diagnostics,
                        }))
                    })
            },
        );
        again.after(look.again_in());
        let vanished = matches!(
            self.file.value(),
            Some(Err(Refusal::Read(ReadError::Missing)))
        );
        !vanished || location.is_link
    }

    /// The spec as it is now: from what was taken of it, and what is around it.
    pub(super) fn state(
        &mut self,
        around: &mut Around<'_>,
        directory: &Path,
        shown: &str,
        authority: Authority,
        again: &mut Again,
    ) -> Option<SpecState> {
        let spec = match self.file.value()? {
            Ok(spec) => spec.clone(),
            Err(Refusal::Content(file)) => {
                let file = file.clone();
                return Some(SpecState::Broken(
                    self.judge(file, around, shown, authority),
                ));
            }
            Err(Refusal::Read(error)) => return Some(SpecState::Broken(unread(error, shown))),
        };
        let waits = self.file.is_pending();
        let task = match self.task(&spec, around, directory) {
            TaskLook::None => None,
            TaskLook::Complete(content) => Some(content),
            TaskLook::NotYet(wait) => {
                again.after(Some(wait));
                return self.last_state();
            }
        };
        let (persona, wait) = around
            .personas
            .get(around.project, around.at, &spec.persona);
        again.after(wait);
        // An edit of several files is taken as one: half of it would be another task, and end the
        // live run for a spec that nobody wrote.
        let (Some(persona), false) = (persona, waits) else {
            return self.last_state();
        };
        let fresh = self.completed.as_ref().is_some_and(|last| {
            Arc::ptr_eq(&last.spec, &spec)
                && same_content(last.task.as_ref(), task.as_ref())
                && Arc::ptr_eq(&last.persona, &persona)
                && last.fleet_version == around.fleet_version
                && last.authority == authority
        });
        if !fresh {
            let inputs = Inputs {
                fleet: around.fleet,
                authority,
                task_file: task.as_ref().map(|read| {
                    read.as_ref()
                        .map(|bytes| bytes.to_vec())
                        .map_err(Clone::clone)
                }),
                persona: persona.as_ref().as_ref().map_err(Clone::clone),
            };
            let state = match spec.complete(inputs) {
                Ok(cattle) => SpecState::Valid(Arc::new(cattle)),
                Err(diagnostics) => SpecState::Broken(diagnostics),
            };
            let fleet_version = around.fleet_version;
            self.completed = Some(Completed {
                spec,
                task,
                persona,
                fleet_version,
                authority,
                state,
            });
        }
        self.last_state()
    }

    /// Everything that is wrong with a file that is no spec, in one go.
    fn judge(
        &mut self,
        file: Arc<Unparsed>,
        around: &Around<'_>,
        shown: &str,
        authority: Authority,
    ) -> Vec<Diagnostic> {
        let fresh = self.judged.as_ref().filter(|last| {
            Arc::ptr_eq(&last.file, &file)
                && last.fleet_version == around.fleet_version
                && last.authority == authority
        });
        if let Some(judged) = fresh {
            return judged.diagnostics.clone();
        }
        let diagnostics = file
            .bytes
            .as_ref()
            .and_then(|bytes| {
                spec::parse_for(shown, &file.stem, bytes, around.fleet, authority).err()
            })
            .unwrap_or_else(|| file.diagnostics.clone());
        self.judged = Some(Judged {
            file,
            fleet_version: around.fleet_version,
            authority,
            diagnostics: diagnostics.clone(),
        });
        diagnostics
    }

    fn last_state(&self) -> Option<SpecState> {
        self.completed.as_ref().map(|last| last.state.clone())
    }

    fn task(&mut self, spec: &ParsedSpec, around: &Around<'_>, directory: &Path) -> TaskLook {
        let Some(named) = &spec.task_file else {
            self.task = None;
            return TaskLook::None;
        };
        let task = match &mut self.task {
            Some(task) if task.named == *named => task,
            other => other.insert(TaskFile {
                named: named.clone(),
                path: task_path(around.project, directory, named),
                content: Tracked::default(),
            }),
        };
        let path = match &task.path {
            Ok(path) => path,
            Err(why) => return TaskLook::Complete(Err(why.clone())),
        };
        let root = match around.cattle_root {
            Ok(root) => root,
            Err(error) => {
                let why = format!("`{CATTLE_DIRECTORY}/` of the project: {error}");
                return TaskLook::Complete(Err(why));
            }
        };
        let full = around.project.cattle().join(path);
        let look = task
            .content
            .look(around.at, &full, root, path, MAX_TASK_BYTES, |read| {
                read.map(Arc::new).map_err(|error| error.to_string())
            });
        match (look.again_in(), task.content.value()) {
            (None, Some(content)) => TaskLook::Complete(content.clone()),
            (wait, _) => TaskLook::NotYet(wait.unwrap_or_default()),
        }
    }
}

enum TaskLook {
    None,
    Complete(Result<Arc<Vec<u8>>, String>),
    NotYet(Duration),
}

/// Where a task file is beneath the project's `cattle/`.
fn task_path(project: &Project, directory: &Path, named: &str) -> Result<PathBuf, String> {
    match project.relative(directory) {
        Some(base) => spec::task_path(&base, named),
        None => Err("a spec outside the project has none: write the task inline".to_owned()),
    }
}

fn same_content(
    a: Option<&Result<Arc<Vec<u8>>, String>>,
    b: Option<&Result<Arc<Vec<u8>>, String>>,
) -> bool {
    match (a, b) {
        (Some(Ok(a)), Some(Ok(b))) => Arc::ptr_eq(a, b),
        (Some(Err(a)), Some(Err(b))) => a == b,
        (None, None) => true,
        _ => false,
    }
}

fn unread(error: &ReadError, shown: &str) -> Vec<Diagnostic> {
    let (message, hint) = match error {
        ReadError::Missing => ("the link leads nowhere".to_owned(), None),
        ReadError::Outside => (
            "the link leads out of its spec directory".to_owned(),
            Some("copy the file instead".to_owned()),
        ),
        error => (format!("cannot be read: {error}"), None),
    };
    vec![Diagnostic {
        path: shown.to_owned(),
        line: 0,
        column: 0,
        message,
        hint,
    }]
}

/// When to look again: the soonest of all that asked.
#[derive(Debug, Default)]
pub(super) struct Again(pub(super) Option<Duration>);

impl Again {
    pub(super) fn after(&mut self, wait: Option<Duration>) {
        self.0 = [self.0, wait].into_iter().flatten().min();
    }
}
