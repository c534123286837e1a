//! One file on disk, taken when it is complete and kept until it changes.
//!
//! A file is complete when its writer closed it or renamed it into place ([`Settled`] says so), or
//! when nothing has touched it for [`QUIET`]. Until then what was taken before stands. The watcher
//! is a matter of speed alone: without it everything is found a second later.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::beneath::{Beneath, ReadError, Stamp};

/// Untouched for so long, a file is taken to be complete although nobody saw it closed. A program
/// that writes a few kilobytes does not pause for a second.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// The same for a file that was seen being written and not seen being closed.
pub(super) const QUIET_WHILE_OPEN: Duration = Duration::from_secs(10);
/// Two writes within the file system's clock tick (4 ms at 250 Hz) may leave the same stamp: a file
/// this young is read again by the next scan.
const CLOCK_TICK: Duration = Duration::from_millis(20);
/// What the watcher may tell before it is forgotten: beyond, files wait for [`QUIET`].
const MAX_NOTES: usize = 100_000;
/// Older notes say nothing that the file's own times do not.
const NOTE_LIFE: Duration = Duration::from_secs(60);

/// What the watcher saw: files that are complete, and files that are being written.
///
/// A note of completeness speaks of the file as it was then: a file that was changed later is not
/// covered by it. So notes need not be used up, and several readers share them.
#[derive(Clone, Debug, Default)]
pub struct Settled(Arc<Mutex<HashMap<PathBuf, (Note, SystemTime)>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Closed after writing, or moved here; also of a directory, for all that is in it.
    Complete,
    /// Written to, and not closed yet.
    Open,
}

impl Settled {
    /// This file, or everything in this directory, is complete as it is now.
    pub fn complete(&self, path: &Path) {
        self.note(path, Note::Complete);
    }

    /// This file is being written.
    pub fn open(&self, path: &Path) {
        self.note(path, Note::Open);
    }

    /// Nothing is known of this path any more.
    pub fn forget(&self, path: &Path) {
        self.lock().remove(path);
    }

    fn note(&self, path: &Path, note: Note) {
        let mut notes = self.lock();
        if notes.len() >= MAX_NOTES {
            notes.clear();
        }
        notes.insert(path.to_owned(), (note, SystemTime::now()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Note, SystemTime)>> {
        // Every change is one insertion or removal: nothing is half-done after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a look is taken, and what the watcher saw before it.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    pub(super) wall: SystemTime,
    notes: HashMap<PathBuf, (Note, SystemTime)>,
}

impl Moment {
    pub(super) fn now(settled: &Settled) -> Self {
        let wall = SystemTime::now();
        let mut notes = settled.lock();
        notes.retain(|_, (_, at)| wall.duration_since(*at).is_ok_and(|age| age < NOTE_LIFE));
        Self {
            instant: Instant::now(),
            wall,
            notes: notes.clone(),
        }
    }

    /// The same, as it would be when nothing happened for a while.
    #[cfg(test)]
    pub(super) fn later(mut self, by: Duration) -> Self {
        self.instant += by;
        self.wall += by;
        self
    }

    /// What is known of a file in this state: from a note of it, or of a directory that it is in.
    fn note(&self, path: &Path, stamp: &Stamp) -> Option<Note> {
        if self.notes.is_empty() {
            return None;
        }
        let written = SystemTime::UNIX_EPOCH + stamp.latest();
        match self.notes.get(path) {
            Some((Note::Complete, at)) => (written <= *at).then_some(Note::Complete),
            Some((Note::Open, _)) => Some(Note::Open),
            None => path
                .ancestors()
                .skip(1)
                .any(|above| {
                    matches!(self.notes.get(above), Some((Note::Complete, at)) if written <= *at)
                })
                .then_some(Note::Complete),
        }
    }

    fn age(&self, stamp: &Stamp) -> Option<Duration> {
        // A stamp of the future says nothing about age: another machine's clock wrote it.
        self.wall
            .duration_since(SystemTime::UNIX_EPOCH + stamp.latest())
            .ok()
    }
}

/// A file and what was made of it.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    taken: Option<(Result<Stamp, ReadError>, T)>,
    /// Read again even if its stamp is the same.
    young: bool,
    /// The state that is waited out, and since when it is seen.
    pending: Option<(Stamp, Instant)>,
}

/// What a look at a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// As before.
    Same,
    /// Taken anew.
    New,
    /// It changed and may not be complete: look again after this.
    NotYet(Duration),
}

impl Look {
    /// When to look again, where that is known.
    pub(super) fn again_in(&self) -> Option<Duration> {
        match self {
            Self::NotYet(again_in) => Some(*again_in),
            Self::Same | Self::New => None,
        }
    }
}

impl<T> Default for Tracked<T> {
    fn default() -> Self {
        Self {
            taken: None,
            young: false,
            pending: None,
        }
    }
}

impl<T> Tracked<T> {
    /// What was made of the file when it was last taken.
    pub(super) fn value(&self) -> Option<&T> {
        self.taken.as_ref().map(|(_, value)| value)
    }

    /// Whether it changed and is not taken yet.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Looks at the file and takes it if it changed and is complete. `full` is its path as the
    /// watcher names it. An error is taken like content: it is what there is.
    pub(super) fn look(
        &mut self,
        at: &Moment,
        full: &Path,
        root: &Beneath,
        path: &Path,
        cap: usize,
        make: impl FnOnce(Result<Vec<u8>, ReadError>) -> T,
    ) -> Look {
        let stamp = match root.stamp(path) {
            Ok(stamp) => stamp,
            Err(error) => return self.take_error(error, make),
        };
        if let Some((Ok(taken), _)) = &self.taken
            && *taken == stamp
            && !self.young
        {
            self.pending = None;
            return Look::Same;
        }
        if let Some(wait) = self.wait(at, full, stamp) {
            return Look::NotYet(wait);
        }
        self.pending = None;
        match root.read(path, cap) {
            Ok((bytes, stamp)) => {
                let same = matches!(&self.taken, Some((Ok(taken), _)) if *taken == stamp);
                let was_young = std::mem::replace(
                    &mut self.young,
                    at.age(&stamp).is_none_or(|age| age < CLOCK_TICK),
                );
                if same && !was_young {
                    return Look::Same;
                }
                self.taken = Some((Ok(stamp), make(Ok(bytes))));
                Look::New
            }
            Err(ReadError::Changing) => {
                self.pending = Some((stamp, at.instant));
                Look::NotYet(QUIET)
            }
            // The stamp is kept, so that the same refusal is not met on every scan.
            Err(error @ ReadError::TooLong { .. }) => {
                self.young = false;
                self.taken = Some((Ok(stamp), make(Err(error))));
                Look::New
            }
            Err(error) => self.take_error(error, make),
        }
    }

    fn take_error(
        &mut self,
        error: ReadError,
        make: impl FnOnce(Result<Vec<u8>, ReadError>) -> T,
    ) -> Look {
        self.pending = None;
        self.young = false;
        if matches!(&self.taken, Some((Err(taken), _)) if *taken == error) {
            return Look::Same;
        }
        self.taken = Some((Err(error.clone()), make(Err(error))));
        Look::New
    }

    /// How much longer the file must stay as it is; `None` when it may be taken now.
    fn wait(&mut self, at: &Moment, full: &Path, stamp: Stamp) -> Option<Duration> {
        // Taken once already with this very stamp: read again only because it was young.
        if matches!(&self.taken, Some((Ok(taken), _)) if *taken == stamp) {
            return None;
        }
        let quiet = match at.note(full, &stamp) {
            Some(Note::Complete) => return None,
            Some(Note::Open) => QUIET_WHILE_OPEN,
            None => QUIET,
        };
        let seen = match self.pending {
            Some((pending, since)) if pending == stamp => {
                at.instant.saturating_duration_since(since)
            }
            _ => {
                self.pending = Some((stamp, at.instant));
                Duration::ZERO
            }
        };
        let untouched = seen.max(at.age(&stamp).unwrap_or_default());
        (untouched < quiet).then(|| quiet - untouched)
    }
}
