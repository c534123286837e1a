#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use super::*;
use crate::store::fixture::run_id;

struct Project {
    dir: tempfile::TempDir,
    archives: PersonaArchives,
    secrets: Secrets,
}

fn project(files: &[(&str, &str)]) -> Project {
    let dir = tempfile::tempdir().unwrap();
    let personas = dir.path().join("personas");
    for (path, content) in files {
        let path = personas.join("rex").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let secrets = dir.path().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::write(secrets.join("zai_api_key"), "sk-0123456789abcdef").unwrap();
    Project {
        archives: PersonaArchives::new(personas),
        secrets: Secrets::open(None, Some(&secrets)).unwrap(),
        dir,
    }
}

impl Project {
    fn persona(&self) -> PathBuf {
        self.dir.path().join("personas/rex")
    }

    fn announce(&self, run: u64) -> Built {
        self.archives
            .announce(run_id(run), &"rex".parse().unwrap(), &self.secrets)
    }

    fn refusal(&self) -> String {
        self.announce(1).err().unwrap().to_string()
    }
}

fn listing(archive: &Archive) -> Vec<String> {
    let mut tar = tar::Archive::new(&archive.bytes[..]);
    let entries = tar.entries().unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            format!(
                "{:o} {}",
                entry.header().mode().unwrap(),
                entry.path().unwrap().display()
            )
        })
        .collect()
}

#[test]
fn skills_and_memory_go_in_and_nothing_else() {
    let project = project(&[
        ("SOUL.md", "I am Rex"),
        ("config.json", "{}"),
        ("skills/review/SKILL.md", "look twice"),
        ("skills/review/run.sh", "#!/bin/sh"),
        ("memory/notes.md", "the build is slow"),
        ("other/file", "x"),
    ]);
    let script = project.persona().join("skills/review/run.sh");
    fs::set_permissions(script, fs::Permissions::from_mode(0o700)).unwrap();
    let archive = project.announce(1).unwrap().unwrap();
    assert_eq!(
        listing(&archive),
        [
            "644 memory/notes.md",
            "644 skills/review/SKILL.md",
            "755 skills/review/run.sh"
        ]
    );
    assert_eq!(archive.digest, hex(&Sha256::digest(&archive.bytes)));
}

#[test]
fn the_same_content_gives_the_same_archive_whenever_it_was_written() {
    let files = [("skills/b", "2"), ("skills/a", "1"), ("memory/c", "3")];
    let one = project(&files);
    let mut reversed = files;
    reversed.reverse();
    let two = project(&reversed);
    fs::set_permissions(
        two.persona().join("skills/a"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let file = File::options()
        .write(true)
        .open(two.persona().join("skills/b"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(
        one.announce(1).unwrap().unwrap().digest,
        two.announce(1).unwrap().unwrap().digest
    );
}

#[test]
fn a_persona_without_either_has_no_archive() {
    assert!(
        project(&[("SOUL.md", "I am Rex")])
            .announce(1)
            .unwrap()
            .is_none()
    );
    let empty = project(&[("SOUL.md", "I am Rex")]);
    fs::create_dir(empty.persona().join("skills")).unwrap();
    assert!(empty.announce(1).unwrap().is_none());
}

#[test]
fn what_was_announced_to_a_run_stays_as_it_was() {
    let project = project(&[("skills/a", "one")]);
    let name: PersonaName = "rex".parse().unwrap();
    let announced = project.announce(1).unwrap().unwrap().digest.clone();
    fs::write(project.persona().join("skills/a"), "two").unwrap();
    let newer = project.announce(2).unwrap().unwrap().digest.clone();
    assert_ne!(announced, newer);
    let of_run = |run| {
        let archive = project
            .archives
            .of_run(run_id(run), &name, &project.secrets);
        archive.unwrap().unwrap().digest.clone()
    };
    assert_eq!(of_run(1), announced);
    project.archives.forget(run_id(1));
    assert_eq!(of_run(1), newer);
}

#[test]
fn unchanged_content_is_in_memory_once() {
    let project = project(&[("skills/a", "one")]);
    let one = project.announce(1).unwrap().unwrap();
    let two = project.announce(2).unwrap().unwrap();
    assert!(Arc::ptr_eq(&one, &two));
}

#[test]
fn a_link_is_refused_and_named() {
    let inside = project(&[("skills/a", "one"), ("secret.txt", "x")]);
    std::os::unix::fs::symlink("../secret.txt", inside.persona().join("skills/link")).unwrap();
    insta::assert_snapshot!(inside.refusal(), @"`skills/link` of persona `rex` is a link; only files and directories are handed out");

    let above = project(&[("SOUL.md", "x")]);
    std::os::unix::fs::symlink("/etc", above.persona().join("skills")).unwrap();
    insta::assert_snapshot!(above.refusal(), @"`skills` of persona `rex` is not a directory; only files and directories are handed out");
}

#[test]
fn a_pipe_does_not_hold_us() {
    let project = project(&[("skills/a", "one")]);
    let path = project.persona().join("skills/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    insta::assert_snapshot!(project.refusal(), @"`skills/pipe` of persona `rex` is neither a file nor a directory; only files and directories are handed out");
}

#[test]
fn a_secret_value_does_not_leave() {
    let project = project(&[("memory/a", "note to self: sk-0123456789abcdef\n")]);
    insta::assert_snapshot!(project.refusal(), @"`skills` or `memory` of persona `rex` holds the value of the secret `zai_api_key`");
}

#[test]
fn size_and_depth_have_bounds() {
    let deep = format!("skills/{}x", "d/".repeat(MAX_DEPTH));
    assert!(
        project(&[(&deep, "x")])
            .refusal()
            .contains("deeper than 16")
    );

    let large = project(&[("skills/a", "x")]);
    let file = File::options()
        .write(true)
        .open(large.persona().join("skills/a"))
        .unwrap();
    file.set_len(MAX_PERSONA_BYTES).unwrap();
    assert!(large.refusal().contains("more than 33554432 bytes"));
}

/// A hundred threads on loaded cores; what takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_hundred_env_calls_and_creates_at_once_build_one_archive() {
    let project = project(&[("skills/a/SKILL.md", "hello")]);
    let rex: PersonaName = "rex".parse().unwrap();
    // Nobody's build begins before all have come.
    let turn = project.archives.turn.lock().unwrap();
    let archives: Vec<Arc<Archive>> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|run| {
                let (project, rex) = (&project, &rex);
                scope.spawn(move || {
                    if run % 2 == 0 {
                        project.archives.check(rex, &project.secrets).unwrap();
                        return None;
                    }
                    project.announce(run).unwrap()
                })
            })
            .collect();
        let waiting = || {
            let state = project.archives.state();
            state.building.get(&rex).map_or(0, Arc::strong_count)
        };
        // One reference each, and the table's. Who builds for itself never comes to that.
        let deadline = Instant::now() + PATIENCE;
        while waiting() < 101 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        drop(turn);
        let done = calls.into_iter().map(|call| call.join().unwrap());
        done.flatten().collect()
    });
    assert_eq!(archives.len(), 50);
    assert!(archives.iter().all(|it| Arc::ptr_eq(it, &archives[0])));
    let builds = &project.archives.builds;
    assert_eq!(builds.load(std::sync::atomic::Ordering::Relaxed), 1);
    // What comes later sees the files as they are then.
    fs::write(project.persona().join("skills/a/SKILL.md"), "changed").unwrap();
    let later = project.announce(100).unwrap().unwrap();
    assert_ne!(later.digest, archives[0].digest);
}

#[test]
fn an_archive_that_no_run_waits_for_is_not_kept() {
    let project = project(&[("skills/a/SKILL.md", "hello")]);
    let kept = Arc::downgrade(&project.announce(1).unwrap().unwrap());
    assert!(kept.upgrade().is_some());
    project.archives.forget(run_id(1));
    assert!(kept.upgrade().is_none());
}
