//! Walks the spec directories and says what is desired.
//!
//! A scan reads directories and the states of files; content is read only of what changed, and
//! parsed only once. Invariants: a name that was known is never lost because something cannot be
//! read; it is absent only when its directory was read completely and it was not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use cattle_core::{
    desired::{Authority, Desired, Origin, Requester, RootState, SpecEntry, SpecState},
    fleet::Fleet,
    names::CattleName,
    untrusted,
};
use cattle_schemas::{Timestamp, problem::Diagnostic};
use chrono::TimeDelta;

use super::{
    beneath::{Beneath, EntryKind, ReadError},
    entry::{Again, Around, Location, SpecFile},
    project::{Personas, Project},
    tracked::{Moment, Settled},
};
use crate::{settings::Settings, store::SocketSpec};

/// Directories in each other: people group specs by team and month, not deeper.
const MAX_DEPTH: usize = 8;
/// Entries of all directories of a root together; far beyond any fleet, and what keeps a directory
/// given by mistake (`/`) from being walked.
const MAX_ENTRIES: usize = 50_000;
/// Diagnostics about files that belong to no cattle.
const MAX_STRAYS: usize = 200;
/// How long a name that is not there is still said to be absent. Afterwards the plan goes by
/// [`Desired::since`], which is then longer ago.
const ABSENT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Keeps what was read of every spec file.
#[derive(Debug)]
pub struct Scanner {
    roots: Vec<Root>,
    project: Project,
    settled: Settled,
    files: BTreeMap<FileKey, SpecFile>,
    personas: Personas,
    fleet: Option<Fleet>,
    fleet_version: u64,
    entries: BTreeMap<CattleName, SpecEntry>,
    owners: BTreeMap<CattleName, FileKey>,
    since: Option<Timestamp>,
    /// Since when each root that cannot be read cannot.
    unreadable_since: BTreeMap<String, Timestamp>,
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// What is desired.
    pub desired: Desired,
    /// Something changed and is not complete yet: scan again after this.
    pub rescan_in: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Root {
    path: PathBuf,
    /// The key of [`Desired::roots`].
    key: String,
    authority: Authority,
    /// Written by the socket.
    socket: bool,
}

/// Which root, and the path beneath it.
type FileKey = (usize, PathBuf);

/// A file that may be a spec, as its directory has it.
struct Candidate {
    path: PathBuf,
    is_link: bool,
}

/// A spec file whose stem is a name.
struct Claim {
    key: FileKey,
    shown: String,
    requester: Requester,
    authority: Authority,
    state: Option<SpecState>,
}

impl Scanner {
    /// Scans the directories of these settings; `settled` is what the watcher sees.
    #[must_use]
    pub fn new(settings: &Settings, settled: Settled) -> Self {
        let mut roots = vec![Root {
            path: absolute(&settings.socket_specs()),
            key: settings.socket_specs().display().to_string(),
            authority: Authority::Bot,
            socket: true,
        }];
        roots.extend(settings.spec_dirs.iter().map(|dir| Root {
            path: absolute(&dir.path),
            key: dir.path.display().to_string(),
            authority: dir.authority,
            socket: false,
        }));
        Self {
            roots,
            project: Project::new(&absolute(&settings.project)),
            settled,
            files: BTreeMap::new(),
            personas: Personas::default(),
            fleet: None,
            fleet_version: 0,
            entries: BTreeMap::new(),
            owners: BTreeMap::new(),
            since: None,
            unreadable_since: BTreeMap::new(),
        }
    }

    /// The time has moved by so much, beyond what went by: what is absent is so for as long as before.
    pub fn clock_moved(&mut self, by: TimeDelta) {
        if by.is_zero() {
            return;
        }
        let absent = self
            .entries
            .values_mut()
            .filter_map(|entry| match &mut entry.state {
                SpecState::Absent { since } => Some(since),
                SpecState::Valid(_) | SpecState::Broken(_) => None,
            });
        let unreadable = self.unreadable_since.values_mut();
        for since in absent.chain(unreadable).chain(&mut self.since) {
            *since += by;
        }
    }

    /// One scan. `socket_specs` says who asked for what the socket wrote.
    pub fn scan(&mut self, fleet: &Fleet, now: Timestamp, socket_specs: &[SocketSpec]) -> Scanned {
        for root in self.roots.iter().filter(|root| root.socket) {
            // What the socket wrote is whole from the moment it has its name: whoever sent it is
            // answered out of the next pass, which the watcher may not have told anything yet.
            self.settled.complete(&root.path);
        }
        let at = Moment::now(&self.settled);
        self.scan_at(&at, fleet, now, socket_specs)
    }

    /// How often any file was parsed.
    #[must_use]
    pub fn parses(&self) -> u64 {
        self.files.values().map(|file| file.parsed).sum()
    }

    pub(super) fn scan_at(
        &mut self,
        at: &Moment,
        fleet: &Fleet,
        now: Timestamp,
        socket_specs: &[SocketSpec],
    ) -> Scanned {
        if self.fleet.as_ref() != Some(fleet) {
            self.fleet = Some(fleet.clone());
            self.fleet_version += 1;
        }
        let mut again = Again::default();
        let mut strays = Strays::default();
        let mut states = BTreeMap::new();
        for index in 0..self.roots.len() {
            let state = match self.look(index, at, &mut again, &mut strays) {
                Ok(()) => RootState::Readable,
                Err(why) => RootState::Unreadable(why),
            };
            states.insert(self.roots[index].key.clone(), state);
        }
        self.unreadable_since
            .retain(|root, _| states.get(root) != Some(&RootState::Readable));
        for (root, state) in &states {
            if *state != RootState::Readable {
                self.unreadable_since.entry(root.clone()).or_insert(now);
            }
        }
        let claims = self.claims(at, fleet, socket_specs, &mut again, &mut strays);
        let complete = states.values().all(|state| *state == RootState::Readable)
            && claims.values().flatten().all(|claim| claim.state.is_some());
        if complete {
            self.since.get_or_insert(now);
        }
        self.settle(claims, now, &mut strays);
        Scanned {
            desired: Desired {
                specs: self.entries.clone(),
                roots: states,
                unreadable_since: self.unreadable_since.clone(),
                since: self.since,
                strays: strays.0,
            },
            rescan_in: again.0,
        }
    }

    /// Reads a root's directories and looks at its files. An error leaves everything as it was.
    fn look(
        &mut self,
        index: usize,
        at: &Moment,
        again: &mut Again,
        strays: &mut Strays,
    ) -> Result<(), String> {
        let root = &self.roots[index];
        let directory = Beneath::open(&root.path).map_err(|error| error.to_string())?;
        let mut walk = Walk {
            root,
            project: &self.project,
            directory: &directory,
            entries: 0,
            found: Vec::new(),
            strays,
        };
        walk.walk(Path::new(""), 0)?;
        let mut seen = BTreeSet::new();
        for candidate in std::mem::take(&mut walk.found) {
            let full = root.path.join(&candidate.path);
            let shown = self.project.shown(&full);
            let location = Location {
                root: &directory,
                full: &full,
                path: &candidate.path,
                shown: &shown,
                stem: stem(&candidate.path).unwrap_or_default(),
                is_link: candidate.is_link,
            };
            let key = (index, candidate.path.clone());
            let file = self.files.entry(key.clone()).or_default();
            if file.look(at, &location, again) {
                seen.insert(key);
            }
        }
        self.files
            .retain(|key, _| key.0 != index || seen.contains(key));
        Ok(())
    }

    /// Every file whose stem is a name, with its state, by that name.
    fn claims(
        &mut self,
        at: &Moment,
        fleet: &Fleet,
        socket_specs: &[SocketSpec],
        again: &mut Again,
        strays: &mut Strays,
    ) -> BTreeMap<CattleName, Vec<Claim>> {
        let asked: BTreeMap<&CattleName, &SocketSpec> = socket_specs
            .iter()
            .map(|spec| (&spec.cattle, spec))
            .collect();
        self.personas.begin();
        let cattle_root = Beneath::open(&self.project.cattle());
        let mut around = Around {
            at,
            project: &self.project,
            cattle_root: &cattle_root,
            fleet,
            fleet_version: self.fleet_version,
            personas: &mut self.personas,
        };
        let mut claims: BTreeMap<CattleName, Vec<Claim>> = BTreeMap::new();
        for (key, file) in &mut self.files {
            let root = &self.roots[key.0];
            let full = root.path.join(&key.1);
            let shown = self.project.shown(&full);
            let name = match stem(&key.1).unwrap_or_default().parse::<CattleName>() {
                Ok(name) => name,
                Err(error) => {
                    strays.add(
                        &shown,
                        error.to_string(),
                        Some("the file's stem names the cattle: rename the file"),
                    );
                    continue;
                }
            };
            let asked = asked.get(&name).filter(|_| root.socket);
            let authority = asked.map_or(root.authority, |asked| asked.authority);
            let requester = asked.map_or_else(
                || Requester::directory(&root.key),
                |asked| asked.requester.clone(),
            );
            let directory = full.parent().unwrap_or(&root.path);
            let state = file.state(&mut around, directory, &shown, authority, again);
            claims.entry(name).or_default().push(Claim {
                key: key.clone(),
                shown,
                requester,
                authority,
                state,
            });
        }
        claims
    }

    /// Chooses one file for each name, and finds the names that have none any more.
    fn settle(
        &mut self,
        claims: BTreeMap<CattleName, Vec<Claim>>,
        now: Timestamp,
        strays: &mut Strays,
    ) {
        let mut present = BTreeSet::new();
        for (name, mut claims) in claims {
            present.insert(name.clone());
            // Who was there first stays, except against an operator; else the order of directories.
            let known = self.owners.get(&name);
            claims.sort_by_key(|claim| {
                let operators = claim.authority == Authority::Operator;
                (
                    claim.state.is_none(),
                    !operators,
                    known != Some(&claim.key),
                    claim.key.clone(),
                )
            });
            let mut claims = claims.into_iter();
            let Some(owner) = claims.next() else { continue };
            for other in claims {
                let message = format!(
                    "`{name}` is already the cattle of {}; this file is ignored",
                    owner.shown
                );
                strays.add(
                    &other.shown,
                    message,
                    Some("rename one of the files, or remove it"),
                );
            }
            let root = &self.roots[owner.key.0];
            match (owner.state, self.entries.get_mut(&name)) {
                (Some(state), _) => {
                    let origin = Origin {
                        root: root.key.clone(),
                        path: owner.shown,
                        requester: owner.requester,
                        authority: owner.authority,
                        from_socket: root.socket,
                    };
                    self.entries
                        .insert(name.clone(), SpecEntry { origin, state });
                    self.owners.insert(name, owner.key);
                }
                // It is being written, so it is not removed: its absence begins again.
                (
                    None,
                    Some(SpecEntry {
                        state: SpecState::Absent { since },
                        ..
                    }),
                ) => *since = now,
                (None, _) => {}
            }
        }
        for (name, entry) in &mut self.entries {
            if present.contains(name) || matches!(entry.state, SpecState::Absent { .. }) {
                continue;
            }
            // An unreadable root keeps its files: this one was read, and the file was not there.
            entry.state = SpecState::Absent { since: now };
        }
        let long_gone = |entry: &SpecEntry| match entry.state {
            SpecState::Absent { since } => {
                now - since > chrono::TimeDelta::from_std(ABSENT_FOR).unwrap_or_default()
            }
            SpecState::Valid(_) | SpecState::Broken(_) => false,
        };
        self.entries.retain(|_, entry| !long_gone(entry));
        self.owners
            .retain(|name, _| self.entries.contains_key(name));
    }
}

/// A walk through one root.
struct Walk<'a> {
    root: &'a Root,
    project: &'a Project,
    directory: &'a Beneath,
    entries: usize,
    found: Vec<Candidate>,
    strays: &'a mut Strays,
}

impl Walk<'_> {
    fn walk(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        let shown = |path: &Path| untrusted::escape(&path.to_string_lossy()).into_owned();
        if depth > MAX_DEPTH {
            return Err(format!(
                "`{}` is more than {MAX_DEPTH} directories deep",
                shown(path)
            ));
        }
        let entries = match self.directory.list(path, MAX_ENTRIES) {
            Ok(entries) => entries,
            // It went while we walked.
            Err(ReadError::Missing) if depth > 0 => return Ok(()),
            Err(error) => return Err(format!("`{}`: {error}", shown(path))),
        };
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            return Err(format!("it holds more than {MAX_ENTRIES} entries"));
        }
        for entry in entries {
            if is_leftover(&entry.name) {
                continue;
            }
            let path = path.join(&entry.name);
            match entry.kind {
                EntryKind::Directory => self.walk(&path, depth + 1)?,
                EntryKind::Link if !is_spec(&path) => self.refuse_link(&path),
                EntryKind::Link => self.found.push(Candidate {
                    path,
                    is_link: true,
                }),
                EntryKind::File | EntryKind::Other if is_spec(&path) => {
                    self.found.push(Candidate {
                        path,
                        is_link: false,
                    });
                }
                EntryKind::File | EntryKind::Other => {}
            }
        }
        Ok(())
    }

    /// A link that is no spec file may be meant as a directory of them.
    fn refuse_link(&mut self, path: &Path) {
        let message = match self.directory.stamp(path) {
            Err(ReadError::Outside) => "the link leads out of its spec directory",
            Err(ReadError::NotAFile) => "links to directories are not followed",
            _ => return,
        };
        let shown = self.project.shown(&self.root.path.join(path));
        self.strays
            .add(&shown, message.to_owned(), Some("copy the files instead"));
    }
}

/// Diagnostics about files that belong to no cattle.
#[derive(Default)]
struct Strays(Vec<Diagnostic>);

impl Strays {
    fn add(&mut self, path: &str, message: String, hint: Option<&str>) {
        if self.0.len() < MAX_STRAYS {
            let hint = hint.map(str::to_owned);
            self.0.push(Diagnostic {
                path: path.to_owned(),
                line: 0,
                column: 0,
                message,
                hint,
            });
        }
    }
}

/// As the watcher names things: it knows no relative paths. Links stay as they are.
pub(super) fn absolute(path: &Path) -> PathBuf {
    // Fails only for an empty path, which no setting has.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Hidden files and what editors leave beside a file (`x.yaml~`, `#x.yaml#`, `.x.yaml.swp`, `4913`).
pub(super) fn is_leftover(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".")
        || name.ends_with(b"~")
        || name.starts_with(b"#")
        || name.starts_with(b"~")
}

fn is_spec(path: &Path) -> bool {
    let known = |extension: &OsStr| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension == *known)
    };
    path.extension().is_some_and(known)
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}
