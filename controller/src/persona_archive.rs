//! `skills/` and `memory/` of a persona as one archive for the guest.
//!
//! Invariants: the same content gives the same bytes (sorted, no times, no owners); nothing outside
//! the persona's directory gets in, because every name is opened beneath the directory before it and
//! no link is followed; no secret value leaves in it. The archive that was announced to a run is
//! kept until the run has reported in, whatever becomes of the files meanwhile. One archive is built
//! at a time, and whoever wants a persona's while it is being built shares it: each costs up to
//! [`MAX_PERSONA_BYTES`] twice, and a guest may ask a hundred times at once.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs::File,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
};

use cattle_core::names::{PersonaName, RunId};
use cattle_schemas::guest::MAX_PERSONA_BYTES;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::secrets::{Secrets, SecretsError};

/// What goes in, and nothing else: the rest of a persona is in `user_data`.
const TOP_LEVEL: [&str; 2] = ["memory", "skills"];

/// Deeper trees are a mistake (a checked-out dependency), and recursion has an end.
const MAX_DEPTH: usize = 16;

/// Each file costs a header of 512 bytes and the guest an inode.
const MAX_FILES: usize = 10_000;

/// Announced archives are kept for runs that boot; more at once than any fleet boots means that
/// many never reported in.
const MAX_ANNOUNCED: usize = 1_024;

/// An archive with its digest.
pub struct Archive {
    /// The bytes of the tar file.
    pub bytes: axum::body::Bytes,
    /// Their SHA-256, hex.
    pub digest: String,
}

/// Why a persona has no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A link, a pipe, a device.
    #[error("`{path}` of persona `{persona}` is {what}; only files and directories are handed out")]
    Kind {
        /// Whose.
        persona: PersonaName,
        /// Beneath the persona.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A bound is exceeded.
    #[error("`skills` and `memory` of persona `{persona}` are too large: {what}")]
    TooLarge {
        /// Whose.
        persona: PersonaName,
        /// Which bound.
        what: String,
    },
    /// It holds a secret.
    #[error("`skills` or `memory` of persona `{persona}` holds the value of the secret `{secret}`")]
    HoldsSecret {
        /// Whose.
        persona: PersonaName,
        /// The secret's name.
        secret: String,
    },
    /// The secrets could not be read, so it could not be searched for them.
    #[error("the archive of persona `{persona}` could not be searched for secrets")]
    Unsearched {
        /// Whose.
        persona: PersonaName,
        /// Why.
        #[source]
        source: SecretsError,
    },
    /// The file system refused.
    #[error("`{path}` of persona `{persona}` could not be read")]
    Io {
        /// Whose.
        persona: PersonaName,
        /// Beneath the persona.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The archives of a project's personas.
pub struct PersonaArchives {
    personas: PathBuf,
    state: Mutex<State>,
    /// Whoever builds holds it.
    turn: Mutex<()>,
    #[cfg(test)]
    builds: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
struct State {
    /// One copy in memory for all runs of unchanged content, for as long as one of them has it.
    latest: HashMap<PersonaName, Weak<Archive>>,
    announced: BTreeMap<RunId, Arc<Archive>>,
    building: HashMap<PersonaName, Arc<Build>>,
}

/// What a persona gave: no archive where there is nothing to put into one.
type Built = Result<Option<Arc<Archive>>, Arc<ArchiveError>>;

/// A build that others may be waiting for.
#[derive(Default)]
struct Build {
    /// `Some(None)` when it came to nothing, because it panicked.
    done: Mutex<Option<Option<Built>>>,
    over: Condvar,
}

impl Build {
    fn wait(&self) -> Option<Built> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.over.wait_while(done, |done| done.is_none());
        let done = done.unwrap_or_else(PoisonError::into_inner);
        done.clone().flatten()
    }
}

/// Ends a build, also one that panics: nobody waits for ever.
struct Ending<'a> {
    archives: &'a PersonaArchives,
    persona: &'a PersonaName,
    build: &'a Build,
    built: Option<Built>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.archives.state().building.remove(self.persona);
        let mut done = self
            .build
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *done = Some(self.built.take());
        self.build.over.notify_all();
    }
}

impl PersonaArchives {
    /// Of the personas in this directory.
    #[must_use]
    pub fn new(personas: PathBuf) -> Self {
        Self {
            personas,
            state: Mutex::default(),
            turn: Mutex::default(),
            #[cfg(test)]
            builds: Default::default(),
        }
    }

    /// The archive for a run, of the files as they are now or were a moment ago; `None` when the persona has
    /// neither skills nor memory. Blocks on the file system.
    ///
    /// # Errors
    /// It cannot be built, or must not leave.
    pub fn announce(&self, run: RunId, persona: &PersonaName, secrets: &Secrets) -> Built {
        let built = self.shared(persona, secrets)?;
        let mut state = self.state();
        let Some(archive) = built else {
            state.announced.remove(&run);
            return Ok(None);
        };
        state.announced.insert(run, archive.clone());
        while state.announced.len() > MAX_ANNOUNCED {
            state.announced.pop_first();
        }
        Ok(Some(archive))
    }

    /// Whether a persona's archive could be handed out now: asked before a server is made for it.
    /// Blocks likewise.
    ///
    /// # Errors
    /// As [`PersonaArchives::announce`].
    pub fn check(&self, persona: &PersonaName, secrets: &Secrets) -> Result<(), Arc<ArchiveError>> {
        self.shared(persona, secrets).map(drop)
    }

    /// The build that is under way, or one's own.
    fn shared(&self, persona: &PersonaName, secrets: &Secrets) -> Built {
        loop {
            let (build, own) = {
                let mut state = self.state();
                match state.building.get(persona) {
                    Some(build) => (build.clone(), false),
                    None => {
                        let build = Arc::<Build>::default();
                        state.building.insert(persona.clone(), build.clone());
                        (build, true)
                    }
                }
            };
            if own {
                let mut ending = Ending {
                    archives: self,
                    persona,
                    build: &build,
                    built: None,
                };
                let built = self.build(persona, secrets).map_err(Arc::new);
                ending.built = Some(built.clone());
                return built;
            }
            if let Some(built) = build.wait() {
                return built;
            }
        }
    }

    fn build(
        &self,
        persona: &PersonaName,
        secrets: &Secrets,
    ) -> Result<Option<Arc<Archive>>, ArchiveError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        self.builds
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some(bytes) = build(&self.personas.join(persona.as_str()), persona)? else {
            return Ok(None);
        };
        search(&bytes, persona, secrets)?;
        let digest = hex(&Sha256::digest(&bytes));
        let mut state = self.state();
        let latest = state.latest.get(persona).and_then(Weak::upgrade);
        if let Some(latest) = latest.filter(|latest| latest.digest == digest) {
            return Ok(Some(latest));
        }
        let archive = Arc::new(Archive {
            bytes: bytes.into(),
            digest,
        });
        state
            .latest
            .insert(persona.clone(), Arc::downgrade(&archive));
        Ok(Some(archive))
    }

    /// What was announced to a run; after a restart, the files as they are now. Blocks likewise.
    ///
    /// # Errors
    /// As [`PersonaArchives::announce`].
    pub fn of_run(&self, run: RunId, persona: &PersonaName, secrets: &Secrets) -> Built {
        let announced = self.state().announced.get(&run).cloned();
        match announced {
            Some(archive) => Ok(Some(archive)),
            None => self.announce(run, persona, secrets),
        }
    }

    /// A run has what it needs.
    pub fn forget(&self, run: RunId) {
        self.state().announced.remove(&run);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
            // Writing to a `String` cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn search(bytes: &[u8], persona: &PersonaName, secrets: &Secrets) -> Result<(), ArchiveError> {
    let found = secrets.find_in(bytes);
    let found = found.map_err(|source| ArchiveError::Unsearched {
        persona: persona.clone(),
        source,
    })?;
    match found {
        Some(secret) => Err(ArchiveError::HoldsSecret {
            persona: persona.clone(),
            secret,
        }),
        None => Ok(()),
    }
}

fn build(dir: &Path, persona: &PersonaName) -> Result<Option<Vec<u8>>, ArchiveError> {
    let mut builder = Builder {
        persona,
        tar: tar::Builder::new(Vec::new()),
        files: 0,
    };
    let root = match open_dir(rustix::fs::CWD, dir.as_os_str().as_encoded_bytes()) {
        Ok(root) => root,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(builder.io("", error)),
    };
    for name in TOP_LEVEL {
        match open_dir(&root, name.as_bytes()) {
            Ok(top) => builder.directory(top, name, 1)?,
            Err(rustix::io::Errno::NOENT) => {}
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Err(builder.kind(name, "not a directory"));
            }
            Err(error) => return Err(builder.io(name, error)),
        }
    }
    if builder.files == 0 {
        return Ok(None);
    }
    let bytes = builder.tar.into_inner();
    let failed = |source| ArchiveError::Io {
        persona: persona.clone(),
        path: String::new(),
        source,
    };
    bytes.map(Some).map_err(failed)
}

/// Beneath `at`, through no link.
fn open_dir(at: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

struct Builder<'a> {
    persona: &'a PersonaName,
    tar: tar::Builder<Vec<u8>>,
    files: usize,
}

impl Builder<'_> {
    fn directory(&mut self, dir: OwnedFd, path: &str, depth: usize) -> Result<(), ArchiveError> {
        if depth > MAX_DEPTH {
            return Err(self.too_large(format!("`{path}` is deeper than {MAX_DEPTH} directories")));
        }
        // Sorted, so that the same files give the same archive on every file system.
        let mut entries = BTreeMap::new();
        for entry in Dir::read_from(&dir).map_err(|error| self.io(path, error))? {
            let entry = entry.map_err(|error| self.io(path, error))?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            let Ok(text) = name.to_str() else {
                let path = format!("{path}/{}", name.to_string_lossy());
                return Err(self.kind(&path, "not named in UTF-8"));
            };
            entries.insert(text.to_owned(), ());
            if entries.len() > MAX_FILES {
                return Err(self.too_large(format!("more than {MAX_FILES} files")));
            }
        }
        for name in entries.into_keys() {
            self.entry(&dir, &name, &format!("{path}/{name}"), depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        name: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        // What it is, is asked of what was opened: the name may mean something else by then. A
        // pipe must not hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(rustix::io::Errno::LOOP) => return Err(self.kind(path, "a link")),
            Err(rustix::io::Errno::NXIO) => return Err(self.kind(path, "a socket or a device")),
            Err(error) => return Err(self.io(path, error)),
        };
        let stat = rustix::fs::fstat(&opened).map_err(|error| self.io(path, error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(opened, path, depth + 1),
            FileType::RegularFile => {
                let executable = stat.st_mode & 0o100 != 0;
                self.file(File::from(opened), path, executable)
            }
            _ => Err(self.kind(path, "neither a file nor a directory")),
        }
    }

    fn file(&mut self, file: File, path: &str, executable: bool) -> Result<(), ArchiveError> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(self.too_large(format!("more than {MAX_FILES} files")));
        }
        let left = MAX_PERSONA_BYTES.saturating_sub(self.tar.get_ref().len() as u64);
        let mut content = Vec::new();
        // Read whole first: the header must not promise a length that a growing file breaks.
        let read = file.take(left + 1).read_to_end(&mut content);
        read.map_err(|source| self.error(path, source))?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let appended = self.tar.append_data(&mut header, path, content.as_slice());
        appended.map_err(|source| self.error(path, source))?;
        // The two empty blocks at the end are still to come.
        if self.tar.get_ref().len() as u64 + 1_024 > MAX_PERSONA_BYTES {
            return Err(self.too_large(format!("more than {MAX_PERSONA_BYTES} bytes")));
        }
        Ok(())
    }

    fn kind(&self, path: &str, what: &'static str) -> ArchiveError {
        ArchiveError::Kind {
            persona: self.persona.clone(),
            path: cattle_core::untrusted::escape(path).into_owned(),
            what,
        }
    }

    fn too_large(&self, what: String) -> ArchiveError {
        ArchiveError::TooLarge {
            persona: self.persona.clone(),
            what,
        }
    }

    fn io(&self, path: &str, error: rustix::io::Errno) -> ArchiveError {
        self.error(path, error.into())
    }

    fn error(&self, path: &str, source: std::io::Error) -> ArchiveError {
        ArchiveError::Io {
            persona: self.persona.clone(),
            path: cattle_core::untrusted::escape(path).into_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
