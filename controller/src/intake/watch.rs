//! Watches the spec directories, and what specs are completed with.
//!
//! The watcher carries no content: it notes which files are complete and rings. Whatever it misses
//! is found by the scan that it rings for every [`BACKUP`] anyway. Tried with notify 8 on inotify:
//! swapping a linked directory, or removing and recreating one, gives no event on the directory
//! itself, so its parent is watched too and its inode compared; and files written within a fraction
//! of a millisecond of their new folder are missed, so a new folder is scanned again
//! [`NEW_FOLDER`] later.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use notify::{
    Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};

use super::{scan::absolute, tracked::Settled};
use crate::{settings::Settings, world::Bell};

/// A scan however quiet it is: watches can be lost, and network file systems have none.
const BACKUP: Duration = Duration::from_secs(30);
/// A new folder may hold files that were written before it was watched.
const NEW_FOLDER: Duration = Duration::from_millis(20);
/// How often directories are compared with what is watched, besides when something near them
/// happens.
const REARM: Duration = Duration::from_secs(2);

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    nudge: SyncSender<Nudge>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread wakes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nudge {
    /// A directory may have been replaced or made.
    Look,
    /// The end.
    Stop,
}

/// Watching cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// inotify refused (its limit of instances, mostly).
    #[error("cannot watch files (see fs.inotify.max_user_instances)")]
    Notify(#[source] notify::Error),
    /// No thread.
    #[error("cannot start the thread that watches files")]
    Thread(#[source] std::io::Error),
}

/// A directory to watch.
#[derive(Clone, Debug)]
struct Arm {
    path: PathBuf,
    mode: RecursiveMode,
    /// Device and inode of what is watched under this path.
    watched: Option<(u64, u64)>,
}

impl Watcher {
    /// Watches all that these settings name, notes what is complete in `settled`, and rings.
    ///
    /// # Errors
    /// The system refuses; scans then still find everything, later.
    pub fn start(settings: &Settings, settled: Settled, bell: Bell) -> Result<Self, WatchError> {
        let areas = Arc::new(Areas::of(settings));
        let arms = areas.arms();
        // One nudge stands for any number.
        let (nudge, nudged) = sync_channel(1);
        let handler = Handler {
            areas,
            settled,
            bell: bell.clone(),
            nudge: nudge.clone(),
        };
        // A link that a bot puts into its directory must not have all of `/` watched.
        let config = Config::default().with_follow_symlinks(false);
        let inner = RecommendedWatcher::new(move |event| handler.handle(event), config)
            .map_err(WatchError::Notify)?;
        let mut keeper = Keeper { inner, arms, bell };
        keeper.rearm();
        let thread = std::thread::Builder::new()
            .name("spec-watch".to_owned())
            .spawn(move || keeper.run(&nudged))
            .map_err(WatchError::Thread)?;
        Ok(Self {
            nudge,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Blocks only while one earlier nudge is being taken.
        self.nudge.send(Nudge::Stop).ok();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What matters beneath what is watched.
#[derive(Debug)]
struct Areas {
    /// Spec directories; the first is the socket's, whose parent is the state directory.
    roots: Vec<PathBuf>,
    project: PathBuf,
    /// Read besides specs: personas, tasks, the fleet's configuration.
    others: Vec<PathBuf>,
}

impl Areas {
    fn of(settings: &Settings) -> Self {
        let mut roots = vec![absolute(&settings.socket_specs())];
        roots.extend(settings.spec_dirs.iter().map(|dir| absolute(&dir.path)));
        let project = absolute(&settings.project);
        let others =
            ["cattle/personas", "cattle/tasks", "fleet"].map(|beneath| project.join(beneath));
        Self {
            roots,
            others: others.into(),
            project,
        }
    }

    fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<Arm> = Vec::new();
        let mut arm = |path: &Path, mode| {
            // Two watches of one path would overwrite each other.
            match arms.iter_mut().find(|arm| arm.path == path) {
                Some(arm) if mode == RecursiveMode::Recursive => arm.mode = mode,
                Some(_) => {}
                None => arms.push(Arm {
                    path: path.to_owned(),
                    mode,
                    watched: None,
                }),
            }
        };
        for area in self.roots.iter().chain(&self.others) {
            arm(area, RecursiveMode::Recursive);
        }
        // Not the socket directory's: the ledger beside it changes all the time, and nobody but us
        // replaces that directory.
        for parent in self
            .roots
            .iter()
            .skip(1)
            .chain(&self.others)
            .filter_map(|area| area.parent())
        {
            arm(parent, RecursiveMode::NonRecursive);
        }
        arm(&self.project, RecursiveMode::NonRecursive);
        arms
    }

    /// Whether a scan would look at it.
    fn holds(&self, path: &Path) -> bool {
        self.roots
            .iter()
            .chain(&self.others)
            .any(|area| path.starts_with(area))
    }
}

/// Called by notify, in its thread.
struct Handler {
    areas: Arc<Areas>,
    settled: Settled,
    bell: Bell,
    nudge: SyncSender<Nudge>,
}

impl Handler {
    fn handle(&self, event: Result<Event, notify::Error>) {
        match event {
            Ok(event) if event.need_rescan() => {
                tracing::warn!("file events were lost; scanning everything");
                self.look_again();
            }
            Ok(event) => self.note(&event),
            Err(error) => {
                tracing::warn!(%error, "watching files failed; scanning instead");
                self.look_again();
            }
        }
    }

    fn note(&self, event: &Event) {
        let mut ring = false;
        for path in &event.paths {
            let held = self.areas.holds(path);
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                    self.settled.complete(path);
                    ring |= held;
                }
                // Our own scans open and close everything.
                EventKind::Access(_) => {}
                EventKind::Modify(ModifyKind::Data(_)) => self.settled.open(path),
                EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                    self.settled.complete(path);
                    ring |= held;
                    self.nudge();
                }
                // Both of its paths come again as `From` and `To`.
                EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {}
                EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {
                    self.settled.forget(path);
                    ring |= held;
                    self.nudge();
                }
                EventKind::Create(CreateKind::Folder) => {
                    ring |= held;
                    self.nudge();
                }
                // A file that is created is written next; a link is not, and then waits for quiet.
                EventKind::Create(_) => {
                    ring |= held;
                    if !held {
                        self.nudge();
                    }
                }
                EventKind::Modify(_) | EventKind::Any | EventKind::Other => ring |= held,
            }
        }
        if ring {
            self.bell.ring();
        }
    }

    fn look_again(&self) {
        self.bell.ring();
        self.nudge();
    }

    fn nudge(&self) {
        // A full channel holds a nudge that is not taken yet: it will do.
        self.nudge.try_send(Nudge::Look).ok();
    }
}

/// Keeps the watches on what the paths mean now.
struct Keeper {
    inner: RecommendedWatcher,
    arms: Vec<Arm>,
    bell: Bell,
}

impl Keeper {
    fn run(mut self, nudged: &Receiver<Nudge>) {
        let mut backup = Instant::now() + BACKUP;
        loop {
            match nudged.recv_timeout(REARM) {
                Ok(Nudge::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Nudge::Look) => {
                    self.rearm();
                    // What comes meanwhile is seen by the same scan.
                    std::thread::sleep(NEW_FOLDER);
                    self.rearm();
                    self.bell.ring();
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.rearm() {
                        self.bell.ring();
                    }
                }
            }
            if Instant::now() >= backup {
                backup = Instant::now() + BACKUP;
                self.bell.ring();
            }
        }
    }

    /// Watches what a path has come to mean; whether anything was new.
    fn rearm(&mut self) -> bool {
        let mut changed = false;
        for arm in &mut self.arms {
            let now = std::fs::metadata(&arm.path)
                .ok()
                .filter(std::fs::Metadata::is_dir);
            let now = now.map(|metadata| (metadata.dev(), metadata.ino()));
            if now == arm.watched {
                continue;
            }
            changed = true;
            // `x/.` is the directory even where `x` is a link to it. Equal paths differ only in how
            // the system reads them.
            let path = arm.path.join(".");
            if arm.watched.take().is_some() {
                // Gone with the directory already, mostly.
                drop(self.inner.unwatch(&path));
            }
            if now.is_some() {
                match self.inner.watch(&path, arm.mode) {
                    Ok(()) => arm.watched = now,
                    Err(error) => {
                        tracing::warn!(path = %arm.path.display(), %error, "cannot watch; scanning every {BACKUP:?} instead")
                    }
                }
            }
        }
        changed
    }
}
