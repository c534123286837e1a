//! Reading beneath a directory, and nothing outside it.
//!
//! The kernel resolves the path (`openat2` with `RESOLVE_BENEATH`), so that no `..`, no absolute
//! link and no race leads out. Where the kernel has no `openat2`, every component is opened without
//! following links, which refuses more. Links that stay inside are fine: Kubernetes mounts its
//! volumes with them.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path},
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// A rename that races with `RESOLVE_BENEATH` gives `EAGAIN`; more than a few in a row is somebody
/// at play.
const MAX_RACES: u32 = 8;

/// A directory that was opened once. What is read beneath it stays beneath it, even when its name
/// comes to mean another directory meanwhile.
#[derive(Debug)]
pub struct Beneath {
    directory: OwnedFd,
    stat: Stat,
}

/// What tells one state of a file from another. The change time is part of it: it cannot be set
/// back, as the modification time can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("it does not exist")]
    Missing,
    /// A link, or `..`, that leads out of the directory.
    #[error("it leads out of its directory")]
    Outside,
    /// A directory, a pipe, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Longer than allowed.
    #[error("it is longer than {cap} bytes")]
    TooLong {
        /// The cap.
        cap: usize,
    },
    /// It changed while it was read.
    #[error("it changed while it was read")]
    Changing,
    /// The file system refused.
    #[error("{}", .0.kind())]
    Io(Errno),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            Errno::XDEV | Errno::LOOP => Self::Outside,
            // Opening a socket.
            Errno::NXIO | Errno::ISDIR => Self::NotAFile,
            other => Self::Io(other),
        }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: std::ffi::OsString,
    /// Its kind; a link is a link.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EntryKind {
    File,
    Directory,
    Link,
    Other,
}

impl Beneath {
    /// Opens a directory by its path, which may be a link: it is the operator's.
    ///
    /// # Errors
    /// It is missing, no directory, or not readable.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        Ok(Self { directory, stat })
    }

    /// Device and inode: whether a name still means this directory.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    /// The state of a regular file, without reading it.
    ///
    /// # Errors
    /// As for [`Beneath::read`], except for its content.
    pub fn stamp(&self, path: &Path) -> Result<Stamp, ReadError> {
        let file = self.resolve(path, OFlags::PATH)?;
        regular(&rustix::fs::fstat(&file)?)
    }

    /// A regular file of at most `cap` bytes, and its state, which was the same before and after.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, path: &Path, cap: usize) -> Result<(Vec<u8>, Stamp), ReadError> {
        // A pipe would block the open, a terminal would become ours.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.resolve(path, flags)?;
        let before = regular(&rustix::fs::fstat(&file)?)?;
        if before.size > cap as u64 {
            return Err(ReadError::TooLong { cap });
        }
        let mut file = File::from(file);
        let mut bytes = Vec::new();
        let limit = cap as u64 + 1;
        (&mut file)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| ReadError::Io(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() > cap {
            return Err(ReadError::TooLong { cap });
        }
        let after = regular(&rustix::fs::fstat(&file)?)?;
        if after != before || after.size != bytes.len() as u64 {
            return Err(ReadError::Changing);
        }
        Ok((bytes, after))
    }

    /// As [`Beneath::read`] on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn read_by_component(&self, path: &Path, cap: usize) -> Result<Vec<u8>, ReadError> {
        let file = self.resolve_by_component(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        regular(&rustix::fs::fstat(&file)?)?;
        let mut bytes = Vec::new();
        let read = File::from(file).take(cap as u64).read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|_| ReadError::Io(Errno::IO))
    }

    /// The entries of a directory beneath, in the order of their names; at most `cap`.
    ///
    /// # Errors
    /// It cannot be read, leads out, or has more than `cap` entries.
    pub fn list(&self, path: &Path, cap: usize) -> Result<Vec<Entry>, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = if path.as_os_str().is_empty() {
            // `openat2` knows no empty path.
            self.resolve(Path::new("."), flags)?
        } else {
            self.resolve(path, flags | OFlags::NOFOLLOW)?
        };
        let mut entries = Vec::new();
        let mut reader = Dir::new(directory)?;
        while let Some(entry) = reader.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() >= cap {
                return Err(ReadError::TooLong { cap });
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind_of(&path.join(name)),
                kind => kind_of(kind),
            };
            entries.push(Entry {
                name: name.to_owned(),
                kind,
            });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// For file systems whose directories do not say what their entries are.
    fn kind_of(&self, path: &Path) -> EntryKind {
        let stat = self
            .resolve(path, OFlags::PATH | OFlags::NOFOLLOW)
            .and_then(|file| Ok(rustix::fs::fstat(&file)?));
        stat.map_or(EntryKind::Other, |stat| {
            kind_of(FileType::from_raw_mode(stat.st_mode))
        })
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, ReadError> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_RACES {
            match rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => return self.resolve_by_component(path, flags),
                other => return Ok(other?),
            }
        }
        Err(ReadError::Changing)
    }

    /// Without `openat2`: no links at all.
    fn resolve_by_component(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, ReadError> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                Component::ParentDir => drop(names.pop().ok_or(ReadError::Outside)?),
                Component::RootDir | Component::Prefix(_) => return Err(ReadError::Outside),
            }
        }
        let last = names.pop().unwrap_or_else(|| OsStr::new("."));
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory: Option<OwnedFd> = None;
        for name in names {
            let from = directory
                .as_ref()
                .map_or(self.directory.as_fd(), |fd| fd.as_fd());
            directory = Some(rustix::fs::openat(from, name, through, Mode::empty())?);
        }
        let from = directory
            .as_ref()
            .map_or(self.directory.as_fd(), |fd| fd.as_fd());
        Ok(rustix::fs::openat(
            from,
            last,
            flags | OFlags::NOFOLLOW,
            Mode::empty(),
        )?)
    }
}

/// Reads one file beneath a directory; see [`Beneath::read`].
///
/// # Errors
/// See [`ReadError`].
pub fn read_beneath(root: &Path, path: &Path, cap: usize) -> Result<Vec<u8>, ReadError> {
    Ok(Beneath::open(root)?.read(path, cap)?.0)
}

impl Stamp {
    /// The later of its two times, as a duration since the epoch.
    #[must_use]
    pub fn latest(&self) -> std::time::Duration {
        let (seconds, nanos) = self.modified.max(self.changed);
        let nanos = u32::try_from(nanos).unwrap_or(0);
        std::time::Duration::new(u64::try_from(seconds).unwrap_or(0), nanos)
    }
}

fn regular(stat: &Stat) -> Result<Stamp, ReadError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stamp(stat)),
        // `O_PATH | O_NOFOLLOW` opens a link itself: only without `openat2`.
        FileType::Symlink => Err(ReadError::Outside),
        _ => Err(ReadError::NotAFile),
    }
}

// The fields' types differ between architectures.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
    }
}

fn kind_of(kind: FileType) -> EntryKind {
    match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}
