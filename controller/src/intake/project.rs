//! What lies in the project besides specs: personas, and where task files are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    beneath::{Beneath, ReadError},
    tracked::{Look, Moment, Tracked},
};
use cattle_core::{
    names::PersonaName,
    spec::{CATTLE_DIRECTORY, MAX_CONFIG_BYTES, MAX_SOUL_BYTES, PersonaFiles},
};

/// Where personas are.
const PERSONAS: &str = "cattle/personas";
const SOUL: &str = "SOUL.md";
const CONFIG: &str = "config.json";
/// A project.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The project in this directory.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where specs, tasks and personas are, and what specs may name.
    #[must_use]
    pub fn cattle(&self) -> PathBuf {
        self.root.join(CATTLE_DIRECTORY)
    }

    /// The personas.
    #[must_use]
    pub fn personas(&self) -> PathBuf {
        self.root.join(PERSONAS)
    }

    /// A file as messages name it: relative to the project where it is in it.
    #[must_use]
    pub fn shown(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        cattle_core::untrusted::escape(&path.to_string_lossy()).into_owned()
    }

    /// A directory relative to the project, by its name or, where links are involved, by where it
    /// really is.
    pub(super) fn relative(&self, directory: &Path) -> Option<PathBuf> {
        if let Ok(relative) = directory.strip_prefix(&self.root) {
            return Some(relative.to_owned());
        }
        let root = self.root.canonicalize().ok()?;
        Some(
            directory
                .canonicalize()
                .ok()?
                .strip_prefix(root)
                .ok()?
                .to_owned(),
        )
    }
}

/// `SOUL.md` and `config.json` of a persona beneath `personas`, read now. A `config.json` that does
/// not exist is an empty one.
///
/// # Errors
/// Why not, in words that do not quote what is in them.
pub fn persona(personas: &Path, name: &PersonaName) -> Result<PersonaFiles, String> {
    let root = open_personas(personas)?;
    let read = |file: &str, cap| {
        let path = Path::new(name.as_str()).join(file);
        root.read(&path, cap).map(|(bytes, _)| bytes)
    };
    persona_files(
        name,
        read(SOUL, MAX_SOUL_BYTES),
        read(CONFIG, MAX_CONFIG_BYTES),
    )
}

fn open_personas(personas: &Path) -> Result<Beneath, String> {
    Beneath::open(personas).map_err(|error| format!("the directory of personas: {error}"))
}

fn persona_files(
    name: &PersonaName,
    soul: Result<Vec<u8>, ReadError>,
    config: Result<Vec<u8>, ReadError>,
) -> Result<PersonaFiles, String> {
    let soul = soul.map_err(|error| match error {
        ReadError::Missing => format!("`{PERSONAS}/{name}/{SOUL}` does not exist"),
        error => format!("`{PERSONAS}/{name}/{SOUL}`: {error}"),
    })?;
    let config = match config {
        Err(ReadError::Missing) => Vec::new(),
        config => config.map_err(|error| format!("`{PERSONAS}/{name}/{CONFIG}`: {error}"))?,
    };
    PersonaFiles::parse(&soul, &config)
}

/// What a persona's files came to, shared by all specs that name it.
pub(super) type LoadedPersona = Arc<Result<PersonaFiles, String>>;

/// The personas that specs name, read again only when their files change.
#[derive(Debug, Default)]
pub(super) struct Personas {
    known: BTreeMap<PersonaName, Persona>,
}

#[derive(Debug)]
struct Persona {
    soul: Tracked<Result<Vec<u8>, ReadError>>,
    config: Tracked<Result<Vec<u8>, ReadError>>,
    loaded: Option<LoadedPersona>,
    looked: bool,
}

impl Personas {
    /// A new scan begins: every persona is looked at once more when it is asked for.
    pub(super) fn begin(&mut self) {
        self.known
            .retain(|_, persona| std::mem::take(&mut persona.looked));
    }

    /// A persona as it is, and when to look again where it is not complete yet; `None` while it was
    /// never complete.
    pub(super) fn get(
        &mut self,
        project: &Project,
        at: &Moment,
        name: &PersonaName,
    ) -> (Option<LoadedPersona>, Option<Duration>) {
        let persona = self.known.entry(name.clone()).or_insert_with(|| Persona {
            soul: Tracked::default(),
            config: Tracked::default(),
            loaded: None,
            looked: false,
        });
        if std::mem::replace(&mut persona.looked, true) {
            return (persona.loaded.clone(), None);
        }
        let root = match open_personas(&project.personas()) {
            Ok(root) => root,
            Err(why) => {
                if !matches!(persona.loaded.as_deref(), Some(Err(known)) if *known == why) {
                    persona.loaded = Some(Arc::new(Err(why)));
                }
                return (persona.loaded.clone(), None);
            }
        };
        let looks = [
            (SOUL, &mut persona.soul, MAX_SOUL_BYTES),
            (CONFIG, &mut persona.config, MAX_CONFIG_BYTES),
        ]
        .map(|(file, tracked, cap)| {
            let path = Path::new(name.as_str()).join(file);
            tracked.look(
                at,
                &project.personas().join(&path),
                &root,
                &path,
                cap,
                |read| read,
            )
        });
        let again = looks.iter().filter_map(Look::again_in).min();
        let stale = persona
            .loaded
            .as_deref()
            .is_some_and(|loaded| loaded.is_err());
        if (persona.loaded.is_none() || stale || looks.contains(&Look::New))
            && let (Some(soul), Some(config)) = (persona.soul.value(), persona.config.value())
        {
            let loaded = persona_files(name, soul.clone(), config.clone());
            if persona.loaded.as_deref() != Some(&loaded) {
                persona.loaded = Some(Arc::new(loaded));
            }
        }
        (persona.loaded.clone(), again)
    }
}
