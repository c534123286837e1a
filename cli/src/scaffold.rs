//! Writing files to start from: never over anything that is there.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use cattle_core::names::PersonaName;

/// Writes a file that is not there yet. `false` when it is.
///
/// The content goes to a file beside it first and is linked into place, so that nobody (a
/// controller that watches, for one) ever reads half of it.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> anyhow::Result<bool> {
    let failed = || format!("cannot write `{}`", path.display());
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).with_context(failed)?;
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(permissions())
        .tempfile_in(directory)
        .with_context(failed)?;
    file.write_all(content).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(anyhow::Error::new(error.error).context(failed())),
    }
}

/// A project's files are for its group and for version control; the umask takes away what it wants.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o666)
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
    let at = |path: &str| -> PathBuf { staged.path().join(path) };
    write_new(&at("SOUL.md"), soul(name).as_bytes())?;
    write_new(&at("config.json"), b"{}\n")?;
    // Version control keeps no empty directories.
    write_new(&at("skills/.gitkeep"), b"")?;
    write_new(&at("memory/.gitkeep"), b"")?;
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
        let path = root.path().join("a/b.txt");
        assert!(write_new(&path, b"one").unwrap());
        assert!(!write_new(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let beside = fs::read_dir(root.path().join("a")).unwrap().count();
        assert_eq!(beside, 1, "no temporary file stays");
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
