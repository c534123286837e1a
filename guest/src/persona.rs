//! The persona archive: `skills/` and `memory/`, checked against its digest and unpacked beside
//! `SOUL.md` and `config.json`.
//!
//! Invariants: nothing is written outside the persona directory; only plain files and directories;
//! the old content stays until the new is complete. The archive's size bounds its content (sparse
//! entries are refused), and 512 bytes an entry bound their number.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::layout::create_private_dir;

/// What an archive may hold at its top; `SOUL.md` and `config.json` come another way.
const TOP_LEVEL: [&str; 2] = ["skills", "memory"];

/// Why a persona archive is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonaError {
    #[error("the persona archive's SHA-256 is {found}, announced was {announced}")]
    Digest { found: String, announced: String },
    #[error("the persona archive cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("the persona archive holds `{}`, which is {problem}", path.escape_debug())]
    Refused { path: String, problem: &'static str },
    #[error("cannot unpack the persona archive to `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Verifies `archive` and puts its content beneath `persona_dir`.
pub(crate) fn install(
    archive: &[u8],
    announced: &str,
    persona_dir: &Path,
) -> Result<(), PersonaError> {
    let found: String = Sha256::digest(archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if !found.eq_ignore_ascii_case(announced) {
        return Err(PersonaError::Digest {
            found,
            announced: announced.to_owned(),
        });
    }
    let write = |path: &Path, source| PersonaError::Write {
        path: path.to_owned(),
        source,
    };
    create_private_dir(persona_dir).map_err(|source| write(persona_dir, source))?;
    // Beside its destination, so that it gets there by rename.
    let staging = tempfile::Builder::new()
        .prefix(".incoming-")
        .tempdir_in(persona_dir)
        .map_err(|source| write(persona_dir, source))?;
    unpack(archive, staging.path())?;
    for name in TOP_LEVEL {
        let (from, to) = (staging.path().join(name), persona_dir.join(name));
        match fs::remove_dir_all(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write(&to, error)),
            _ => {}
        }
        if from.exists() {
            fs::rename(&from, &to).map_err(|source| write(&to, source))?;
        }
    }
    Ok(())
}

fn unpack(archive: &[u8], staging: &Path) -> Result<(), PersonaError> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(PersonaError::Unreadable)? {
        let mut entry = entry.map_err(PersonaError::Unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refused = |problem| PersonaError::Refused {
            path: name.clone(),
            problem,
        };
        let relative = entry.path().map_err(PersonaError::Unreadable)?.into_owned();
        check_path(&relative).map_err(refused)?;
        let target = staging.join(&relative);
        let write = |source| PersonaError::Write {
            path: target.clone(),
            source,
        };
        match entry.header().entry_type() {
            EntryType::Directory => create_private_dir(&target).map_err(write)?,
            EntryType::Regular => {
                if relative.components().count() < 2 {
                    return Err(refused("a file where only directories are"));
                }
                if let Some(parent) = target.parent() {
                    create_private_dir(parent).map_err(write)?;
                }
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mut file = OpenOptions::new()
                    .write(true)
                    // Never through something an earlier entry left.
                    .create_new(true)
                    .mode(if executable { 0o700 } else { 0o600 })
                    .open(&target)
                    .map_err(write)?;
                let size = entry.size();
                let copied = io::copy(&mut entry.by_ref().take(size), &mut file).map_err(write)?;
                if copied != size {
                    return Err(refused("cut short"));
                }
            }
            EntryType::Symlink | EntryType::Link => return Err(refused("a link")),
            _ => return Err(refused("neither a file nor a directory")),
        }
    }
    Ok(())
}

fn check_path(path: &Path) -> Result<(), &'static str> {
    let mut components = path.components();
    match components.next() {
        Some(Component::Normal(top)) if TOP_LEVEL.iter().any(|name| top == *name) => {}
        Some(Component::Normal(_)) => return Err("neither in skills/ nor in memory/"),
        Some(Component::RootDir | Component::Prefix(_)) => return Err("an absolute path"),
        Some(Component::ParentDir | Component::CurDir) => return Err("outside the archive"),
        None => return Err("an empty path"),
    }
    if components.all(|component| matches!(component, Component::Normal(_))) {
        Ok(())
    } else {
        Err("outside the archive")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use tar::{Builder, Header};

    use super::*;

    fn kind() -> impl Strategy<Value = EntryType> {
        prop_oneof![
            4 => Just(EntryType::Regular),
            2 => Just(EntryType::Directory),
            1 => any::<u8>().prop_map(EntryType::new),
        ]
    }

    /// Names that are right, nearly right, or anything.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => "(skills|memory)(/[a-b]){0,3}/?".prop_map(String::into_bytes),
            2 => "[./a]{0,8}(skills|memory)?(/\\.\\.|/a|//|/\\.){0,4}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..100),
        ]
    }

    fn tar_of(entries: &[(EntryType, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (kind, name, data) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(data.len() as u64);
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
            header.set_cksum();
            tar.append(&header, data.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// Everything beneath `dir`, which must be files and directories alone.
    fn walk(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            assert!(kind.is_dir() || kind.is_file(), "{}", path.display());
            if kind.is_dir() {
                found.extend(walk(&path));
            }
            found.push(path);
        }
        found
    }

    proptest! {
        #[test]
        fn whatever_an_archive_names_nothing_is_written_outside_skills_and_memory(
            entries in prop::collection::vec(
                (kind(), name(), prop::collection::vec(any::<u8>(), 0..20)),
                0..6,
            )
        ) {
            let top = tempfile::tempdir().unwrap();
            let persona = top.path().join("a/b/persona");
            let archive = tar_of(&entries);
            let digest: String = Sha256::digest(&archive).iter().map(|b| format!("{b:02x}")).collect();
            let installed = install(&archive, &digest, &persona);
            let inside: Vec<_> = TOP_LEVEL.iter().map(|name| persona.join(name)).collect();
            let way = [top.path().join("a"), top.path().join("a/b"), persona];
            for path in walk(top.path()) {
                prop_assert!(
                    way.contains(&path) || inside.iter().any(|dir| path.starts_with(dir)),
                    "{} after {:?}", path.display(), installed
                );
                prop_assert!(installed.is_ok() || way.contains(&path), "half an archive stays");
            }
        }

        #[test]
        fn bytes_that_are_no_archive_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let top = tempfile::tempdir().unwrap();
            let _ = unpack(&bytes, top.path());
        }
    }
}
