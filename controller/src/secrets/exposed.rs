//! Secrets that others can get at: by the mode of their files, or because specs can name them.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Secrets, files};
use crate::settings::Settings;

/// Paths that are named in one warning; the rest is counted.
const MAX_NAMED: usize = 8;

/// Secrets or state that lie where specs can name files.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} in `{}` lie beneath `{}`, where specs name files that are read: move them elsewhere",
    .path.display(),
    .beneath.display()
)]
pub struct NotApart {
    what: &'static str,
    path: PathBuf,
    beneath: PathBuf,
}

/// Refuses secrets and state where a spec could name them as its task, or where they would be read as
/// specs. What is hidden there is neither.
///
/// # Errors
/// Which of them, and where it is.
pub fn keep_apart(settings: &Settings, secrets: &Secrets) -> Result<(), NotApart> {
    // Whatever the names are by which they were given.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let cattle = settings.project.join("cattle");
    let specs = settings.spec_dirs.iter().map(|dir| dir.path.clone());
    let named: Vec<PathBuf> = [cattle].into_iter().chain(specs).collect();
    let secrets = secrets.dirs.iter().map(|dir| ("the secrets", dir));
    let kept = secrets.chain([("the state files", &settings.state_dir)]);
    for (what, path) in kept {
        for beneath in &named {
            if let Ok(rest) = real(path).strip_prefix(real(beneath))
                && !rest
                    .iter()
                    .any(|part| part.as_encoded_bytes().starts_with(b"."))
            {
                return Err(NotApart {
                    what,
                    path: path.clone(),
                    beneath: beneath.clone(),
                });
            }
        }
    }
    Ok(())
}

impl Secrets {
    /// A sentence about secrets that other users of this machine can read, with what to type.
    #[must_use]
    pub fn exposed(&self) -> Option<String> {
        let (mut directories, mut exposed) = (Vec::new(), Vec::new());
        for (dir, others) in self.dirs.iter().zip(&self.others_bits) {
            if is_open(dir, *others) {
                directories.push(dir.clone());
            }
            let names = files(dir).unwrap_or_default();
            exposed.extend(names.into_values().filter(|path| is_open(path, *others)));
        }
        let commands: Vec<String> = [("700", directories), ("600", exposed)]
            .iter()
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(mode, paths)| {
                let named: Vec<String> = paths
                    .iter()
                    .take(MAX_NAMED)
                    .map(|path| path.display().to_string())
                    .collect();
                let more = match paths.len().saturating_sub(MAX_NAMED) {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                format!("`chmod {mode} {}`{more}", named.join(" "))
            })
            .collect();
        (!commands.is_empty()).then(|| {
            format!(
                "the modes of secrets let other users of this machine read them: {}",
                commands.join(", then ")
            )
        })
    }
}

/// Whether somebody of these classes may read, write or enter it. What is not there is not open.
fn is_open(path: &Path, classes: u32) -> bool {
    let mode = |meta: fs::Metadata| meta.permissions().mode();
    let looked: io::Result<u32> = fs::metadata(path).map(mode);
    looked.is_ok_and(|mode| mode & classes != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use cattle_core::desired::Authority;

    use super::*;
    use crate::{
        patience::Patience,
        settings::{PeerCheck, SpecDir},
    };

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn secrets_that_others_can_read_are_told_with_what_to_type() {
        let dir = tempfile::tempdir().unwrap();
        let shown = dir.path().display();
        let file = dir.path().join("zai_api_key");
        fs::write(&file, "sk-0123456789").unwrap();
        let told = |directory: u32, mode: u32| {
            chmod(dir.path(), directory);
            chmod(&file, mode);
            Secrets::open(None, Some(dir.path())).unwrap().exposed()
        };
        assert_eq!(told(0o700, 0o600), None);
        assert_eq!(told(0o500, 0o400), None);
        for mode in [0o640, 0o604, 0o620] {
            assert_eq!(
                told(0o700, mode).unwrap(),
                format!(
                    "the modes of secrets let other users of this machine read them: `chmod 600 {shown}/zai_api_key`"
                )
            );
        }
        let both = told(0o755, 0o644).unwrap();
        assert!(
            both.ends_with(&format!(
                "`chmod 700 {shown}`, then `chmod 600 {shown}/zai_api_key`"
            )),
            "{both}"
        );
        assert!(!both.contains("sk-"), "{both}");
    }

    #[test]
    fn in_systemds_directory_the_group_bits_are_an_access_lists() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        chmod(dir.path(), 0o550);
        chmod(&dir.path().join("a"), 0o440);
        let secrets = Secrets::open(Some(dir.path()), None).unwrap();
        assert_eq!(secrets.exposed(), None);
        chmod(&dir.path().join("a"), 0o444);
        assert!(secrets.exposed().is_some());
    }

    #[test]
    fn secrets_and_state_lie_where_no_spec_names_anything() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = base.path().join(path);
            fs::create_dir_all(&path).unwrap();
            path
        };
        at("project/cattle/specs");
        std::os::unix::fs::symlink("cattle", base.path().join("project/alias")).unwrap();
        let refused = |secrets: &str, state: &str, specs: &str| {
            let settings = Settings {
                project: at("project"),
                state_dir: at(state),
                spec_dirs: vec![SpecDir {
                    path: at(specs),
                    authority: Authority::Bot,
                }],
                secrets_dir: None,
                socket: base.path().join("socket"),
                guest_listen: "127.0.0.1:0".parse().unwrap(),
                guest_url: None,
                retention: Duration::from_secs(1),
                peer_check: PeerCheck::Off,
                patience: Patience::default(),
                time: Default::default(),
            };
            let secrets = Secrets::open(None, Some(&at(secrets))).unwrap();
            keep_apart(&settings, &secrets).err().map(|error| {
                error
                    .to_string()
                    .replace(&base.path().display().to_string(), "…")
            })
        };
        let (specs, state) = ("project/cattle/specs", "project/.clawdlets/cattle");
        assert_eq!(refused("project/secrets", state, specs), None);
        assert_eq!(
            refused("project", state, specs),
            None,
            "around is not beneath"
        );
        assert_eq!(
            refused("project/cattle/secrets", state, specs).unwrap(),
            "the secrets in `…/project/cattle/secrets` lie beneath `…/project/cattle`, where specs name files that are read: move them elsewhere"
        );
        assert!(
            refused("project/alias/keys", state, specs).is_some(),
            "by another name"
        );
        assert!(refused("project/cattle", state, specs).is_some());
        assert!(refused("bots/secrets", state, "bots").is_some());
        assert_eq!(refused("bots/.secrets", state, "bots"), None, "hidden");
        assert!(refused("secrets", "project/cattle/state", specs).is_some());
    }
}
