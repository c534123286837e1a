//! A project: the directory with `fleet/clawdlets.json` and `cattle/`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cattle_core::{
    fleet::Fleet,
    spec::{MAX_CONFIG_BYTES, MAX_SOUL_BYTES, PersonaFiles},
};
use cattle_schemas::problem::Diagnostic;

use crate::{beneath, exit::Failure, owner};

/// The file that makes a directory a project.
pub(crate) const FLEET_FILE: &str = "fleet/clawdlets.json";
/// Where spec files live.
pub(crate) const SPECS: &str = "cattle/specs";
/// Where personas live.
pub(crate) const PERSONAS: &str = "cattle/personas";
/// What the controller and its tools leave in a project, not for version control.
pub(crate) const STATE_DIRECTORY: &str = ".clawdlets";
/// Where secrets are put in a project, not for version control either.
pub(crate) const SECRETS_DIRECTORY: &str = "secrets";
/// Far more than any fleet's configuration; more than this is some other file.
const MAX_FLEET_BYTES: u64 = 4 * 1024 * 1024;

/// A configuration that cannot be used.
#[derive(Debug)]
pub(crate) struct BrokenFleet {
    /// What is wrong with it.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The text that is about.
    pub(crate) source: String,
}

/// A project that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// The nearest one: this directory, or one above it. One that somebody else may have planted is
    /// refused, and no other is looked for: it would not be the one that its reader sees.
    pub(crate) fn around(directory: &Path) -> Result<Option<Self>, Failure> {
        let found = directory
            .ancestors()
            .find(|ancestor| ancestor.join(FLEET_FILE).is_file());
        let Some(root) = found else { return Ok(None) };
        owner::check(root, &["fleet", FLEET_FILE]).map_err(|stranger| Failure::Planted {
            stranger,
            project: root.to_owned(),
        })?;
        Ok(Some(Self {
            root: root.to_owned(),
        }))
    }

    /// The one in a directory that was named, whoever owns it.
    pub(crate) fn named(directory: &Path) -> Option<Self> {
        let root = directory.canonicalize().ok()?;
        root.join(FLEET_FILE).is_file().then_some(Self { root })
    }

    /// Its directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where its personas live.
    pub(crate) fn personas(&self) -> PathBuf {
        self.root.join(PERSONAS)
    }

    /// Its fleet's configuration, or what is wrong with it and the text that is about.
    pub(crate) fn fleet(&self) -> anyhow::Result<Result<Fleet, BrokenFleet>> {
        let path = self.root.join(FLEET_FILE);
        let bytes = read_capped(&path, MAX_FLEET_BYTES)?;
        Ok(
            Fleet::load(FLEET_FILE, &bytes).map_err(|diagnostics| BrokenFleet {
                diagnostics,
                source: String::from_utf8_lossy(&bytes).into_owned(),
            }),
        )
    }

    /// A persona's files, or a sentence that says why it has none.
    pub(crate) fn persona(&self, name: &str) -> Result<PersonaFiles, String> {
        let directory = Path::new(PERSONAS).join(name);
        if !self.root.join(&directory).is_dir() {
            return Err(format!("there is no `{}`", directory.display()));
        }
        let read = |file: &str, limit| {
            // One byte more than allowed, so that the file's own check says what is wrong.
            beneath::read(&self.root, &directory.join(file), limit + 1)
                .map_err(|why| format!("{file}: {why}"))
        };
        PersonaFiles::parse(
            &read("SOUL.md", MAX_SOUL_BYTES)?,
            &read("config.json", MAX_CONFIG_BYTES)?,
        )
    }
}

/// A file's bytes, unless it is absurdly large.
pub(crate) fn read_capped(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let name = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open `{name}`"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read `{name}`"))?;
    anyhow::ensure!(
        bytes.len() as u64 <= limit,
        "`{name}` is larger than {limit} bytes"
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_project_is_found_from_below_and_only_by_its_fleet_file() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("cattle/specs");
        std::fs::create_dir_all(&below).unwrap();
        assert_eq!(Project::around(&below).unwrap(), None);
        std::fs::create_dir_all(root.path().join("fleet")).unwrap();
        std::fs::write(root.path().join(FLEET_FILE), "{}").unwrap();
        let found = Project::around(&below).unwrap();
        assert_eq!(found.unwrap().root(), root.path());
    }

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("big");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_capped(&path, 5).unwrap(), b"12345");
        assert!(read_capped(&path, 4).is_err());
    }
}
