//! The persona archive.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cattle_schemas::guest::paths;
use rstest::rstest;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::controller::{Call, Controller, Fault};
use crate::vm::Vm;

fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_size(data.len() as u64);
    // Written by hand: the safe setters refuse what these tests are about.
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, data).unwrap();
}

fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, path, link) in entries {
        let data: &[u8] = if *kind == EntryType::Regular {
            b"text"
        } else {
            b""
        };
        entry(&mut tar, *kind, path, link, data);
    }
    tar.into_inner().unwrap()
}

fn digest(archive: &[u8]) -> String {
    Sha256::digest(archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn skills_and_memory_are_there_before_the_runner() {
    let controller = Controller::start().await;
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Directory, "skills/", "", b"");
    entry(
        &mut tar,
        EntryType::Regular,
        "skills/git/SKILL.md",
        "",
        b"use git",
    );
    entry(
        &mut tar,
        EntryType::Regular,
        "memory/notes.md",
        "",
        b"remember",
    );
    let tar = tar.into_inner().unwrap();
    controller.set_persona(tar.clone(), digest(&tar));
    controller.fault(Call::Persona, [Fault::Status(503), Fault::LostAfter]);
    let vm = Vm::new(&controller);
    let soul = vm.path(paths::SOUL);
    fs::create_dir_all(soul.parent().unwrap()).unwrap();
    fs::write(&soul, "I am Rex").unwrap();
    vm.runner("cd \"$CLAWDLETS_PERSONA_DIR\"; cat SOUL.md skills/git/SKILL.md memory/notes.md");
    assert_eq!(vm.run().await, 0);
    assert_eq!(
        controller.seen(|seen| seen.log_text()),
        "I am Rexuse gitremember"
    );
    let mode = |path: &str| {
        let path = vm.path(paths::PERSONA_DIR).join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode("skills"), 0o700);
    assert_eq!(mode("skills/git"), 0o700);
    assert_eq!(mode("skills/git/SKILL.md"), 0o700);
    let names = fs::read_dir(vm.path(paths::PERSONA_DIR)).unwrap().count();
    assert_eq!(names, 3, "nothing is left of the unpacking");
}

#[rstest]
#[case::dot_dot((EntryType::Regular, "skills/../../escape", ""), "outside the archive")]
#[case::leading_dot_dot((EntryType::Regular, "../escape", ""), "outside the archive")]
#[case::absolute((EntryType::Regular, "/skills/escape", ""), "an absolute path")]
#[case::elsewhere((EntryType::Regular, "SOUL.md", ""), "neither in skills/ nor in memory/")]
#[case::top_level_file((EntryType::Regular, "skills", ""), "a file where only directories are")]
#[case::symlink((EntryType::Symlink, "skills/link", "/etc/passwd"), "a link")]
#[case::hard_link((EntryType::Link, "skills/link", "memory/x"), "a link")]
#[case::device((EntryType::Char, "skills/null", ""), "neither a file nor a directory")]
#[case::fifo((EntryType::Fifo, "skills/pipe", ""), "neither a file nor a directory")]
#[tokio::test]
async fn an_archive_with_anything_else_is_refused_whole(
    #[case] bad: (EntryType, &str, &str),
    #[case] problem: &str,
) {
    let controller = Controller::start().await;
    let tar = archive(&[(EntryType::Regular, "skills/good.md", ""), bad]);
    controller.set_persona(tar.clone(), digest(&tar));
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    let message = controller.outcome().message.unwrap();
    assert!(
        message.contains("the persona archive holds") && message.ends_with(problem),
        "{message}"
    );
    assert!(!vm.workspace("ran").exists());
    let left = fs::read_dir(vm.path(paths::PERSONA_DIR)).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_archive_with_another_digest_is_refused() {
    let controller = Controller::start().await;
    let tar = archive(&[(EntryType::Regular, "skills/good.md", "")]);
    controller.set_persona(tar, digest(b"other"));
    let vm = Vm::new(&controller);
    vm.runner("echo ran >> ran");
    assert_eq!(vm.run().await, 0);
    let message = controller.outcome().message.unwrap();
    assert!(
        message.starts_with("the persona archive's SHA-256 is"),
        "{message}"
    );
    assert!(!vm.workspace("ran").exists());
    assert_eq!(controller.seen(|seen| seen.count(Call::Env)), 2);
}

#[tokio::test]
async fn a_persona_that_changed_since_it_was_announced_is_taken_as_it_is_now() {
    let controller = Controller::start().await;
    let tar = archive(&[(EntryType::Regular, "skills/good.md", "")]);
    controller.set_persona(tar.clone(), digest(b"before the controller restarted"));
    let held = controller.hold(Call::Persona);
    let vm = Vm::new(&controller);
    vm.runner("cat \"$CLAWDLETS_PERSONA_DIR\"/skills/good.md");
    let guest = vm.start();
    controller
        .until("the call for the persona", |seen| {
            seen.count(Call::Persona) == 1
        })
        .await;
    controller.set_persona(tar.clone(), digest(&tar));
    held.send(()).unwrap();
    assert_eq!(guest.ended().await, 0);
    assert!(controller.outcome().succeeded());
    assert_eq!(controller.seen(|seen| seen.log_text()), "text");
}

#[tokio::test]
async fn an_archive_cut_inside_a_file_is_refused() {
    let controller = Controller::start().await;
    let tar = archive(&[(EntryType::Regular, "skills/good.md", "")]);
    let tar = tar[..514].to_vec();
    controller.set_persona(tar.clone(), digest(&tar));
    let vm = Vm::new(&controller);
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert!(!outcome.succeeded());
    assert!(!vm.path(paths::PERSONA_DIR).join("skills").exists());
}
