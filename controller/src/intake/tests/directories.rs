use std::{fs, os::unix::fs::symlink};

use cattle_core::desired::RootState;

use super::{SPEC, Yard, entry, strays, valid};

fn state<'a>(yard: &Yard, desired: &'a super::Desired, path: &str) -> &'a RootState {
    &desired.roots[&yard.path(path).display().to_string()]
}

#[test]
fn a_directory_that_vanished_loses_nothing() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    yard.write(&yard.path("bots/ada.yaml"), SPEC);
    yard.scan(0);
    let (here, away) = (yard.path("project/cattle/specs"), yard.path("away"));
    fs::rename(&here, &away).unwrap();
    let desired = yard.scan(1);
    valid(&desired, "rex");
    valid(&desired, "ada");
    let gone = RootState::Unreadable("it does not exist".to_owned());
    assert_eq!(*state(&yard, &desired, "project/cattle/specs"), gone);
    assert_eq!(*state(&yard, &desired, "bots"), RootState::Readable);
    fs::rename(&away, &here).unwrap();
    let desired = yard.scan(2);
    assert_eq!(
        *state(&yard, &desired, "project/cattle/specs"),
        RootState::Readable
    );
    assert_eq!(
        yard.scanner.parses(),
        2,
        "what came back unchanged was not parsed again"
    );
}

#[test]
fn nothing_is_concluded_while_a_directory_was_never_read() {
    let mut yard = Yard::new();
    fs::remove_dir(yard.path("bots")).unwrap();
    fs::write(yard.path("bots"), "a file").unwrap();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let desired = yard.scan(0);
    valid(&desired, "rex");
    assert_eq!(desired.since, None);
    assert!(matches!(
        state(&yard, &desired, "bots"),
        RootState::Unreadable(_)
    ));
}

#[test]
fn a_directory_too_deep_to_be_meant_is_unreadable() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    yard.scan(0);
    yard.write(&yard.spec("1/2/3/4/5/6/7/8/9/deep.yaml"), SPEC);
    let desired = yard.scan(1);
    let RootState::Unreadable(why) = state(&yard, &desired, "project/cattle/specs") else {
        panic!()
    };
    assert_eq!(why, "`1/2/3/4/5/6/7/8/9` is more than 8 directories deep");
    valid(&desired, "rex");
}

#[test]
fn a_linked_directory_may_be_swapped() {
    let mut yard = Yard::new();
    let specs = yard.path("project/cattle/specs");
    fs::remove_dir(&specs).unwrap();
    yard.write(&yard.path("a/rex.yaml"), SPEC);
    yard.write(&yard.path("b/rex.yaml"), &SPEC.replace("flaky", "slow"));
    yard.write(&yard.path("b/ada.yaml"), SPEC);
    symlink(yard.path("a"), &specs).unwrap();
    assert_eq!(yard.scan(0).specs.len(), 1);
    symlink(yard.path("b"), yard.path("next")).unwrap();
    fs::rename(yard.path("next"), &specs).unwrap();
    let desired = yard.scan(1);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the slow test");
    valid(&desired, "ada");
}

#[test]
fn a_volume_of_kubernetes_works() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("..one/rex.yaml"), SPEC);
    yard.write(&yard.spec("..two/rex.yaml"), &SPEC.replace("flaky", "slow"));
    symlink("..one", yard.spec("..data")).unwrap();
    symlink("..data/rex.yaml", yard.spec("rex.yaml")).unwrap();
    let desired = yard.scan(0);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the flaky test");
    symlink("..two", yard.spec("..next")).unwrap();
    fs::rename(yard.spec("..next"), yard.spec("..data")).unwrap();
    let desired = yard.scan(1);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the slow test");
    assert_eq!((desired.specs.len(), strays(&desired)), (1, vec![]));
}

#[test]
fn links_to_directories_are_told_and_not_followed() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("team/rex.yaml"), SPEC);
    symlink("team", yard.spec("same")).unwrap();
    symlink("..", yard.spec("team/loop")).unwrap();
    symlink("/", yard.spec("everything")).unwrap();
    symlink("README", yard.spec("nowhere")).unwrap();
    let desired = yard.scan(0);
    valid(&desired, "rex");
    assert_eq!(
        strays(&desired),
        [
            "cattle/specs/everything: the link leads out of its spec directory",
            "cattle/specs/same: links to directories are not followed",
            "cattle/specs/team/loop: links to directories are not followed",
        ]
    );
}

#[test]
fn a_moved_file_is_never_absent() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let hash = valid(&yard.scan(0), "rex").hash.clone();
    fs::create_dir(yard.spec("done")).unwrap();
    fs::rename(yard.spec("rex.yaml"), yard.spec("done/rex.yaml")).unwrap();
    let desired = yard.scan(1);
    assert_eq!(valid(&desired, "rex").hash, hash);
    assert_eq!(
        entry(&desired, "rex").unwrap().origin.path,
        "cattle/specs/done/rex.yaml"
    );
}
