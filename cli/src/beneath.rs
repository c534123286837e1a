//! Reading a file beneath a directory, and never one outside: neither `..` nor a link leads out.
//!
//! A spec may come from somebody else's repository. Without this, applying it could send any file
//! of the person who applies it.

use std::{fs::File, io::Read as _, path::Path};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2},
    io::Errno,
};

/// The file's content, or a sentence that says why not and quotes nothing of it.
pub(crate) fn read(root: &Path, relative: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let file = open_beneath(root, relative)?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > limit {
        return Err(format!("it is larger than {limit} bytes"));
    }
    Ok(bytes)
}

fn open_beneath(root: &Path, relative: &Path) -> Result<File, String> {
    let told = |errno: Errno| match errno {
        Errno::NOENT | Errno::NOTDIR => "there is no such file".to_owned(),
        Errno::XDEV | Errno::LOOP => format!("it lies outside `{}`", root.display()),
        Errno::ACCESS | Errno::PERM => "permission denied".to_owned(),
        other => other.to_string(),
    };
    // NONBLOCK: opening a pipe must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let directory = open(
        root,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH,
        Mode::empty(),
    )
    .map_err(told)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&directory, relative, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(File::from(file)),
        // Kernels before 5.6 and some sandboxes do not have it.
        Err(Errno::NOSYS) => {
            let inside = |path: &Path| path.canonicalize().map_err(|_| told(Errno::NOENT));
            let (root_path, path) = (inside(root)?, inside(&root.join(relative))?);
            if !path.starts_with(&root_path) {
                return Err(told(Errno::XDEV));
            }
            rustix::fs::openat(CWD, &path, flags | OFlags::NOFOLLOW, Mode::empty())
                .map(File::from)
                .map_err(told)
        }
        Err(errno) => Err(told(errno)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn neither_dots_nor_links_lead_out() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("project");
        fs::create_dir_all(root.join("cattle/specs")).unwrap();
        fs::write(outer.path().join("secret"), "s3cret").unwrap();
        fs::write(root.join("cattle/task.json"), "{}").unwrap();
        symlink("../../../secret", root.join("cattle/specs/link")).unwrap();
        symlink(outer.path(), root.join("cattle/out")).unwrap();

        let read = |path: &str| read(&root, Path::new(path), 100);
        assert_eq!(read("cattle/specs/../task.json").unwrap(), b"{}");
        for path in [
            "../secret",
            "cattle/specs/link",
            "cattle/out/secret",
            "cattle/specs/../../../secret",
        ] {
            let why = read(path).unwrap_err();
            assert!(why.starts_with("it lies outside"), "{path}: {why}");
        }
        assert_eq!(read("cattle/none").unwrap_err(), "there is no such file");
        assert_eq!(read("cattle").unwrap_err(), "it is not a regular file");
    }
}
