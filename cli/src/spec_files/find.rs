//! Which files `-f` means.

use std::{
    fs,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use anyhow::Context as _;
use cattle_core::spec::name_in;
use cattle_schemas::api::MAX_SPEC_BYTES;

use crate::{context::Context, exit::Failure, output::clean};

/// The most files of one call: as many as a fleet may have cattle.
const MAX_FILES: usize = 10_000;
/// The deepest directory looked into.
const MAX_DEPTH: usize = 16;

/// A file that was named, or found in a directory that was.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As messages name it.
    pub(crate) shown: String,
    /// The name it gives its cattle.
    pub(crate) stem: String,
    /// Absolute; absent for standard input.
    pub(crate) path: Option<PathBuf>,
    /// Its content, at most one byte more than allowed.
    pub(crate) bytes: Vec<u8>,
    /// The directory it was found in, canonical.
    pub(crate) set: Option<String>,
}

/// All that was named.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// In order; within a directory by path.
    pub(crate) files: Vec<Found>,
    /// The directories that were named, canonical.
    pub(crate) sets: Vec<String>,
    /// The same as they were named.
    pub(crate) shown_sets: Vec<String>,
    /// Whether anything else was.
    pub(crate) loose: bool,
}

/// What is said where none of the directories that were named has a spec file.
pub(crate) fn none_in(named: &[PathBuf]) -> Failure {
    let named: Vec<String> = named
        .iter()
        .map(|name| format!("`{}`", clean(&name.display().to_string())))
        .collect();
    Failure::usage(
        format!("no spec files in {}", named.join(", ")),
        "spec files end in .yaml, .yml or .json",
    )
}

/// Reads what was named: files, directories, `-`.
pub(crate) fn find(ctx: &Context, named: &[PathBuf]) -> Result<Named, Failure> {
    let mut all = Named::default();
    for name in named {
        let path = without_dots(ctx.resolve(name));
        if name.as_os_str() == "-" {
            all.loose = true;
            all.files.push(from_stdin()?);
        } else if path.is_dir() {
            let set = canonical(&path)?;
            let mut paths = Vec::new();
            // What lies here is named as one would type it: `rex.yaml`, not `./rex.yaml`.
            let shown = name.strip_prefix(".").unwrap_or(name);
            walk(shown, &path, 0, &mut paths)?;
            for (shown, path) in paths {
                all.files.push(from_file(&shown, path, Some(set.clone()))?);
            }
            all.sets.push(set);
            all.shown_sets.push(name.display().to_string());
        } else {
            all.loose = true;
            all.files.push(from_file(name, path, None)?);
        }
    }
    Ok(all)
}

/// The same path without `..`, which would make the directory before it look like one above the file:
/// what lies beside a project is not in it. Other links stay as they were written.
fn without_dots(path: PathBuf) -> PathBuf {
    if !path.components().any(|part| part == Component::ParentDir) {
        return path;
    }
    let (directory, name) = match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => (directory, Some(name)),
        // It ends in `..` itself.
        _ => (path.as_path(), None),
    };
    match (directory.canonicalize(), name) {
        (Ok(directory), Some(name)) => directory.join(name),
        (Ok(directory), None) => directory,
        // Opening it says what is wrong.
        (Err(_), _) => path,
    }
}

fn canonical(path: &Path) -> Result<String, Failure> {
    let canonical = path
        .canonicalize()
        .with_context(|| format!("cannot resolve `{}`", path.display()))?;
    match canonical.into_os_string().into_string() {
        Ok(text) => Ok(text),
        Err(other) => Err(Failure::usage(
            format!("`{}` is not UTF-8", other.display()),
            "rename the directory",
        )),
    }
}

fn from_stdin() -> Result<Found, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .take(MAX_SPEC_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    let Some(stem) = name_in(&bytes) else {
        return Err(Failure::usage(
            "standard input needs `metadata.name`: it has no file name",
            "write `metadata: { name: … }`, or name a file",
        ));
    };
    Ok(Found {
        shown: "<stdin>".to_owned(),
        stem,
        path: None,
        bytes,
        set: None,
    })
}

fn from_file(shown: &Path, path: PathBuf, set: Option<String>) -> Result<Found, Failure> {
    let name = shown.display();
    // In a directory anything may lie, and a pipe there would hold us.
    if set.is_some() {
        let meta = fs::metadata(&path).with_context(|| format!("cannot open `{name}`"))?;
        if !meta.is_file() {
            return Err(anyhow::anyhow!("`{name}` is not a regular file").into());
        }
    }
    let mut bytes = Vec::new();
    fs::File::open(&path)
        .with_context(|| format!("cannot open `{name}`"))?
        .take(MAX_SPEC_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read `{name}`"))?;
    // A pipe has no name of its own either.
    let stem = match path.file_stem() {
        Some(stem) if path.is_file() => stem.to_string_lossy().into_owned(),
        _ => name_in(&bytes).unwrap_or_default(),
    };
    Ok(Found {
        shown: name.to_string(),
        stem,
        path: Some(path),
        bytes,
        set,
    })
}

/// Spec files beneath a directory, by path. Hidden files and editors' leftovers are not. One that
/// cannot be read is: it is there, and what came of it earlier must not be taken for removed.
fn walk(
    shown: &Path,
    directory: &Path,
    depth: usize,
    found: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<(), Failure> {
    let read = || format!("cannot read directory `{}`", directory.display());
    if depth > MAX_DEPTH {
        let error = anyhow::anyhow!("more than {MAX_DEPTH} directories deep").context(read());
        return Err(error.into());
    }
    let mut entries = fs::read_dir(directory)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .with_context(read)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let hidden = matches!(name.as_encoded_bytes().first(), Some(b'.' | b'#'));
        let (shown, path) = (shown.join(&name), entry.path());
        let kind = entry.file_type().with_context(read)?;
        if hidden {
            continue;
        }
        if kind.is_dir() {
            walk(&shown, &path, depth + 1, found)?;
        } else if is_spec(&path) {
            if found.len() >= MAX_FILES {
                let error = anyhow::anyhow!("more than {MAX_FILES} spec files").context(read());
                return Err(error.into());
            }
            found.push((shown, path));
        }
    }
    Ok(())
}

fn is_spec(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_means_its_spec_files_and_no_leftovers() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "b.yaml",
            "a.yml",
            "sub/c.json",
            ".d.yaml",
            "#e.yaml",
            "f.yaml~",
            "g.txt",
            ".git/h.yaml",
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut found = Vec::new();
        walk(Path::new("specs"), root.path(), 0, &mut found).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|(shown, _)| shown.to_str().unwrap())
            .collect();
        assert_eq!(shown, ["specs/a.yml", "specs/b.yaml", "specs/sub/c.json"]);
    }
}
