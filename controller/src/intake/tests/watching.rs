use std::{fs, os::unix::fs::symlink, time::Duration};

use cattle_core::desired::{Desired, SpecState};
use tokio::time::{Instant, timeout_at};

use super::{SPEC, Yard, entry};
use crate::{intake::Watcher, world::Bell};

/// Shorter than the backup scan: what is seen by then was seen because the watcher rang.
const SOON: Duration = Duration::from_secs(20);

struct Watched {
    yard: Yard,
    bell: Bell,
    _watcher: Watcher,
}

impl Watched {
    fn start(yard: Yard) -> Self {
        let bell = Bell::default();
        let watcher = Watcher::start(&yard.settings, yard.settled.clone(), bell.clone()).unwrap();
        Self {
            yard,
            bell,
            _watcher: watcher,
        }
    }

    /// Scans when the bell rings, and when the scan itself asks for it, until it is so.
    async fn until(&mut self, what: &str, so: impl Fn(&Desired) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let scanned = self.yard.scan_now(0);
            if so(&scanned.desired) {
                return;
            }
            let again = scanned
                .rescan_in
                .map_or(deadline, |wait| deadline.min(Instant::now() + wait));
            if timeout_at(again, self.bell.rung()).await.is_err() {
                assert!(
                    Instant::now() < deadline,
                    "not seen: {what}; {:?}",
                    scanned.desired
                );
            }
        }
    }

    async fn until_valid(&mut self, name: &str, message: &str) {
        let is = |desired: &Desired| match entry(desired, name).map(|entry| &entry.state) {
            Some(SpecState::Valid(cattle)) => cattle.task.message.contains(message),
            _ => false,
        };
        self.until(&format!("{name}, {message}"), is).await;
    }

    /// Rings that are left over from what is done already.
    async fn drain(&self) {
        while tokio::time::timeout(Duration::from_millis(200), self.bell.rung())
            .await
            .is_ok()
        {}
    }
}

#[tokio::test]
async fn a_dropped_file_is_taken_when_it_is_closed() {
    let mut watched = Watched::start(Yard::new());
    watched
        .until("the empty yard", |desired| desired.since.is_some())
        .await;
    let path = watched.yard.spec("rex.yaml");
    watched.yard.write(&path, SPEC);
    watched.until_valid("rex", "flaky").await;
    watched.yard.replace(&path, &SPEC.replace("flaky", "slow"));
    watched.until_valid("rex", "slow").await;
    fs::remove_file(&path).unwrap();
    watched
        .until("its absence", |desired| {
            matches!(
                entry(desired, "rex").unwrap().state,
                SpecState::Absent { .. }
            )
        })
        .await;
}

#[tokio::test]
async fn half_a_file_is_never_taken() {
    use std::io::Write;
    let mut watched = Watched::start(Yard::new());
    let path = watched.yard.spec("rex.yaml");
    let mut file = fs::File::create(&path).unwrap();
    // Half of it is a valid spec of another task.
    file.write_all(SPEC.replace(" test }", " }").as_bytes())
        .unwrap();
    file.flush().unwrap();
    // Two seconds of scans: longer than a file waits that nobody is seen writing.
    let until = Instant::now() + Duration::from_secs(2);
    while timeout_at(until, watched.bell.rung()).await.is_ok() {
        assert!(watched.yard.scan_now(0).desired.specs.is_empty());
    }
    assert!(watched.yard.scan_now(0).desired.specs.is_empty());
    drop(file);
    fs::write(&path, SPEC).unwrap();
    watched.until_valid("rex", "flaky test").await;
}

#[tokio::test]
async fn a_checkout_that_deletes_and_recreates_is_seen_through() {
    let yard = Yard::new();
    yard.write(&yard.spec("team/rex.yaml"), SPEC);
    let mut watched = Watched::start(yard);
    watched.until_valid("rex", "flaky").await;
    for message in ["slow", "flaky", "slow"] {
        fs::remove_dir_all(watched.yard.spec("team")).unwrap();
        watched.yard.write(
            &watched.yard.spec("team/rex.yaml"),
            &SPEC.replace("flaky", message),
        );
        watched.until_valid("rex", message).await;
    }
}

#[tokio::test]
async fn a_new_folder_is_watched_too() {
    let mut watched = Watched::start(Yard::new());
    watched
        .yard
        .write(&watched.yard.spec("a/b/c/rex.yaml"), SPEC);
    watched.until_valid("rex", "flaky").await;
    watched.yard.replace(
        &watched.yard.spec("a/b/c/rex.yaml"),
        &SPEC.replace("flaky", "slow"),
    );
    watched.until_valid("rex", "slow").await;
}

#[tokio::test]
async fn a_directory_that_is_removed_and_recreated_is_watched_again() {
    let mut watched = Watched::start(Yard::new());
    let specs = watched.yard.path("project/cattle/specs");
    for n in 0..2 {
        fs::remove_dir_all(&specs).unwrap();
        fs::create_dir(&specs).unwrap();
        let name = format!("rex-{n}");
        watched
            .yard
            .write(&specs.join(format!("{name}.yaml")), SPEC);
        watched.until_valid(&name, "flaky").await;
    }
}

#[tokio::test]
async fn a_linked_directory_is_watched_and_may_be_swapped() {
    let yard = Yard::new();
    let specs = yard.path("project/cattle/specs");
    fs::remove_dir(&specs).unwrap();
    yard.write(&yard.path("a/rex.yaml"), SPEC);
    yard.write(&yard.path("b/rex.yaml"), &SPEC.replace("flaky", "slow"));
    symlink(yard.path("a"), &specs).unwrap();
    let mut watched = Watched::start(yard);
    watched.until_valid("rex", "flaky").await;
    watched.yard.write(&watched.yard.path("a/ada.yaml"), SPEC);
    watched.until_valid("ada", "flaky").await;
    symlink(watched.yard.path("b"), watched.yard.path("next")).unwrap();
    fs::rename(watched.yard.path("next"), &specs).unwrap();
    watched.until_valid("rex", "slow").await;
    watched.yard.write(&watched.yard.path("b/bob.yaml"), SPEC);
    watched.until_valid("bob", "flaky").await;
}

#[tokio::test]
async fn personas_tasks_and_the_fleet_ring_and_our_own_scans_do_not() {
    let yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let mut watched = Watched::start(yard);
    watched.until_valid("rex", "flaky").await;
    for path in [
        "project/cattle/personas/rex/SOUL.md",
        "project/cattle/tasks/t.json",
        "project/fleet/clawdlets.json",
    ] {
        watched.drain().await;
        fs::write(watched.yard.path(path), "changed").unwrap();
        assert!(
            tokio::time::timeout(SOON, watched.bell.rung())
                .await
                .is_ok(),
            "{path}"
        );
    }
    watched.drain().await;
    for _ in 0..3 {
        watched.yard.scan_now(0);
    }
    let rung = tokio::time::timeout(Duration::from_millis(500), watched.bell.rung()).await;
    assert!(rung.is_err(), "a scan rang for itself");
}
