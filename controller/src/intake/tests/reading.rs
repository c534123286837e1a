use std::{fs, os::unix::fs::symlink, path::Path};

use super::super::{
    beneath::{Beneath, EntryKind, ReadError, read_beneath},
    project::persona,
};

fn tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/file"), "inside").unwrap();
    fs::write(directory.path().join("secret"), "outside").unwrap();
    symlink("b/file", root.join("a/in")).unwrap();
    symlink("../../secret", root.join("a/out")).unwrap();
    symlink(directory.path().join("secret"), root.join("absolute")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    directory
}

#[test]
fn nothing_outside_is_read_whatever_the_path() {
    let directory = tree();
    let root = directory.path().join("root");
    let read = |path: &str| read_beneath(&root, Path::new(path), 100);
    assert_eq!(read("a/b/file").unwrap(), b"inside");
    assert_eq!(read("a/in").unwrap(), b"inside");
    assert_eq!(read("a/../a/b/file").unwrap(), b"inside");
    for path in [
        "../secret",
        "a/out",
        "absolute",
        "a/../../secret",
        "/etc/passwd",
        "magic/etc/passwd",
    ] {
        assert_eq!(read(path), Err(ReadError::Outside), "{path}");
    }
    assert_eq!(read("a/b"), Err(ReadError::NotAFile));
    assert_eq!(read("a/nothing"), Err(ReadError::Missing));
    assert_eq!(read("a/b/file/x"), Err(ReadError::Missing));
}

#[test]
fn a_file_is_read_up_to_its_cap() {
    let directory = tree();
    let root = directory.path().join("root");
    let path = Path::new("a/b/file");
    assert!(read_beneath(&root, path, 6).is_ok());
    assert_eq!(
        read_beneath(&root, path, 5),
        Err(ReadError::TooLong { cap: 5 })
    );
}

#[test]
fn an_opened_directory_stays_what_it_was() {
    let directory = tree();
    let root = Beneath::open(&directory.path().join("root")).unwrap();
    fs::rename(
        directory.path().join("root"),
        directory.path().join("moved"),
    )
    .unwrap();
    fs::create_dir(directory.path().join("root")).unwrap();
    assert!(root.read(Path::new("a/b/file"), 100).is_ok());
    let entries = root.list(Path::new(""), 10).unwrap();
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.to_str().unwrap(), entry.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("a", EntryKind::Directory),
            ("absolute", EntryKind::Link),
            ("magic", EntryKind::Link)
        ]
    );
    assert_eq!(
        root.list(Path::new("a"), 2),
        Err(ReadError::TooLong { cap: 2 })
    );
}

#[test]
fn without_openat2_less_is_read_and_nothing_outside() {
    let directory = tree();
    let root = Beneath::open(&directory.path().join("root")).unwrap();
    let read = |path: &str| root.read_by_component(Path::new(path), 100);
    assert_eq!(read("a/b/file").unwrap(), b"inside");
    assert_eq!(read("a/../a/b/file").unwrap(), b"inside");
    for path in [
        "../secret",
        "a/out",
        "a/in",
        "absolute",
        "a/../../secret",
        "/etc/passwd",
        "magic/etc/passwd",
    ] {
        assert!(read(path).is_err(), "{path}");
    }
}

#[test]
fn a_persona_is_its_soul_and_perhaps_its_configuration() {
    let personas = tempfile::tempdir().unwrap();
    let rex = personas.path().join("rex");
    fs::create_dir_all(&rex).unwrap();
    let read = || persona(personas.path(), &"rex".parse().unwrap());
    assert_eq!(
        read(),
        Err("`cattle/personas/rex/SOUL.md` does not exist".to_owned())
    );
    fs::write(rex.join("SOUL.md"), "You are rex.").unwrap();
    assert_eq!(read().unwrap().soul, "You are rex.");
    fs::write(rex.join("config.json"), "{ hunter2").unwrap();
    let why = read().unwrap_err();
    assert!(why.starts_with("config.json is not JSON"), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
}
