//! Writing files to start from: never over anything that is there, and through no link beneath the
//! directory that was named.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use anyhow::Context as _;
use cattle_core::names::PersonaName;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::client::name_suffix;

/// A directory's files are for its group and for version control; the umask takes what it wants.
const FILE: Mode = Mode::from_raw_mode(0o666);
const DIRECTORY: Mode = Mode::from_raw_mode(0o777);

/// A directory that is written into. It is opened once: what its name comes to mean later does not
/// matter.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    shown: PathBuf,
}

impl Root {
    /// The directory, which may be a link: somebody named it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .with_context(|| format!("cannot open `{}`", path.display()))?;
        Ok(Self {
            directory,
            shown: path.to_owned(),
        })
    }

    /// Makes a directory that only its owner may enter, unless it is there.
    pub(crate) fn private_directory(&self, name: &str) -> anyhow::Result<()> {
        step(self.directory.as_fd(), OsStr::new(name), Mode::RWXU)
            .map(drop)
            .with_context(|| self.failed(Path::new(name)))
    }

    /// Writes a file that is not there yet. `false` when something is.
    ///
    /// The content goes to a file beside it first and is then given its name, so that nobody (a
    /// controller that watches, for one) ever reads half of it.
    pub(crate) fn write_new(&self, path: &Path, content: &[u8]) -> anyhow::Result<bool> {
        let failed = || self.failed(path);
        let (directory, name) = self.parent(path).with_context(failed)?;
        let there = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok() {
            return Ok(false);
        }
        let aside = write_aside(&directory, content).with_context(failed)?;
        match give_name(&directory, &aside, name) {
            Ok(()) => Ok(true),
            Err(error) => {
                // What is left of it is hidden; the error to tell is the other one.
                let _ = rustix::fs::unlinkat(&directory, &aside, AtFlags::empty());
                if error == Errno::EXIST {
                    return Ok(false);
                }
                Err(anyhow::Error::new(io::Error::from(error)).context(failed()))
            }
        }
    }

    /// Writes a file in place of whatever has its name: a link there is replaced, not followed.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        let failed = || self.failed(path);
        let (directory, name) = self.parent(path).with_context(failed)?;
        let aside = write_aside(&directory, content).with_context(failed)?;
        rustix::fs::renameat(&directory, &aside, &directory, name).with_context(failed)
    }

    fn failed(&self, path: &Path) -> String {
        format!("cannot write `{}`", self.shown.join(path).display())
    }

    /// The directory of a path beneath, made where it is missing, and the path's last name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let name = path.file_name().ok_or_else(invalid)?;
        let mut directory = self.directory.try_clone()?;
        for part in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(part) = part else {
                return Err(invalid());
            };
            directory = step(directory.as_fd(), part, DIRECTORY)?;
        }
        Ok((directory, name))
    }
}

/// Into a directory, made where it is missing, and never through a link.
fn step(at: impl AsFd, name: &OsStr, mode: Mode) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(&at, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&at, name, flags, Mode::empty()).map_err(|error| {
        let stat = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_link =
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link {
            io::Error::other(format!(
                "`{}` is a link, and none is followed",
                name.display()
            ))
        } else {
            error.into()
        }
    })
}

/// A new file under a name that nobody knows beforehand.
fn write_aside(directory: &OwnedFd, content: &[u8]) -> anyhow::Result<String> {
    let aside = format!(".new-{}-{}", std::process::id(), name_suffix()?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, &aside, flags, FILE)?);
    file.write_all(content)?;
    file.sync_all()?;
    Ok(aside)
}

/// Renames without replacing; with a hard link where the file system cannot.
fn give_name(directory: &OwnedFd, aside: &str, name: &OsStr) -> Result<(), Errno> {
    let only_new = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(directory, aside, directory, name, only_new) {
        Err(Errno::NOSYS | Errno::INVAL) => {
            rustix::fs::linkat(directory, aside, directory, name, AtFlags::empty())?;
            rustix::fs::unlinkat(directory, aside, AtFlags::empty())
        }
        other => other,
    }
}

/// Writes a persona to start from, all of it or nothing.
pub(crate) fn persona(directory: &Path, name: &PersonaName) -> anyhow::Result<()> {
    let failed = || format!("cannot write `{}`", directory.display());
    let parent = directory.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(failed)?;
    let staged = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .with_context(failed)?;
    let root = Root::open(staged.path())?;
    root.write_new(Path::new("SOUL.md"), soul(name).as_bytes())?;
    root.write_new(Path::new("config.json"), b"{}\n")?;
    // Version control keeps no empty directories.
    root.write_new(Path::new("skills/.gitkeep"), b"")?;
    root.write_new(Path::new("memory/.gitkeep"), b"")?;
    fs::set_permissions(staged.path(), directory_permissions()).with_context(failed)?;
    fs::rename(staged.keep(), directory).with_context(failed)
}

fn directory_permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o755)
}

fn soul(name: &PersonaName) -> String {
    format!(
        "# {name}\n\n\
         You are {name}. You work alone on one machine, on one task, until it is done.\n\n\
         ## How you work\n\n\
         - Read the task to its end before you begin.\n\
         - Take the smallest change that solves it, and prove that it does.\n\
         - Write what came of it to `result.json` in the workspace.\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_there_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let path = Path::new("a/b.txt");
        let writer = Root::open(root.path()).unwrap();
        assert!(writer.write_new(path, b"one").unwrap());
        assert!(!writer.write_new(path, b"two").unwrap());
        assert_eq!(fs::read(root.path().join(path)).unwrap(), b"one");
        let beside = fs::read_dir(root.path().join("a")).unwrap().count();
        assert_eq!(beside, 1, "no temporary file stays");
        writer.replace(path, b"three").unwrap();
        assert_eq!(fs::read(root.path().join(path)).unwrap(), b"three");
    }

    #[test]
    fn no_path_leads_out() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let writer = Root::open(&inner).unwrap();
        for path in ["../x", "a/../../x", "/x", "", ".."] {
            assert!(writer.write_new(Path::new(path), b"x").is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_persona_is_one_that_the_core_accepts() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("personas/rex");
        persona(&directory, &"rex".parse().unwrap()).unwrap();
        let soul = fs::read(directory.join("SOUL.md")).unwrap();
        let config = fs::read(directory.join("config.json")).unwrap();
        cattle_core::spec::PersonaFiles::parse(&soul, &config).unwrap();
        assert!(directory.join("skills").is_dir() && directory.join("memory").is_dir());
    }
}
