//! Where a task file may be.
//!
//! Beneath `cattle/` of its project and in the open, so that no spec names what lies beside it: the
//! project's secrets, the controller's state, version control. Who opens it must see to it that no
//! link leads out; this is about names alone.

use std::path::{Component, Path, PathBuf};

/// Task files, personas and specs lie in here.
pub const CATTLE_DIRECTORY: &str = "cattle";

/// The path of a task file beneath [`CATTLE_DIRECTORY`]: `named` as in a spec file in `directory`,
/// which is relative to the project.
///
/// # Errors
/// Why no spec may name it.
pub fn task_path(directory: &Path, named: &str) -> Result<PathBuf, String> {
    let outside = || format!("it must lie beneath `{CATTLE_DIRECTORY}/` of the project");
    let mut parts = Vec::new();
    for part in directory.components().chain(Path::new(named).components()) {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop().ok_or_else(outside)?),
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let mut parts = parts.into_iter();
    if parts.next().is_none_or(|first| first != CATTLE_DIRECTORY) {
        return Err(outside());
    }
    let path: PathBuf = parts.collect();
    let hidden = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
    if path.components().any(hidden) {
        return Err("it must not be hidden".to_owned());
    }
    if path.as_os_str().is_empty() {
        return Err("it is not a regular file".to_owned());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_beneath_cattle_has_a_path() {
        let path = |directory: &str, named: &str| task_path(Path::new(directory), named);
        for (directory, named, beneath) in [
            ("cattle/specs", "../tasks/t.json", "tasks/t.json"),
            ("cattle/specs/team", "t.json", "specs/team/t.json"),
            ("bots", "../cattle/./tasks//t.json", "tasks/t.json"),
            ("", "cattle/t.json", "t.json"),
        ] {
            assert_eq!(path(directory, named), Ok(beneath.into()), "{named}");
        }
        for (directory, named) in [
            ("cattle/specs", "../../secrets/x"),
            ("cattle/specs", "../../cattle-2/x"),
            ("cattle/specs", "../../.clawdlets/cattle/state.sqlite"),
            ("cattle/specs", "../../../cattle/x"),
            ("cattle/specs", "/srv/project/cattle/x"),
            ("bots", "t.json"),
            ("", ".."),
            ("", ""),
        ] {
            let why = path(directory, named).expect_err(named);
            assert_eq!(
                why, "it must lie beneath `cattle/` of the project",
                "{named}"
            );
        }
        for named in ["../.git/config", ".x", "../tasks/.t/t.json"] {
            let why = path("cattle/specs", named).expect_err(named);
            assert_eq!(why, "it must not be hidden", "{named}");
        }
        assert!(path("cattle/specs", "..").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_path_leaves(base in "(cattle/)?([a-z.]{0,3}/){0,4}", named in "(/?(\\.\\.|\\.|[a-z]{1,2})/?){0,6}") {
            if let Ok(path) = task_path(Path::new(&base), &named) {
                let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
                proptest::prop_assert!(path.components().all(plain), "{path:?}");
            }
        }
    }
}
