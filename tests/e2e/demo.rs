//! The demo that is left running.

use std::{
    fs::{self, File},
    process::Command,
    time::Duration,
};

use cattle_tests::{Controller, binary, eventually_within};

/// Thirteen cattle, on a machine that does much else.
const TELLS_ITS_STORY: Duration = Duration::from_secs(180);

#[test]
fn a_demo_that_is_kept_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut command = Command::new(binary("clf-orchestrator"));
    command
        .args(["demo", "--keep"])
        .env_remove("RUST_LOG")
        .env("TMPDIR", dir.path())
        .stdout(File::create(&out).unwrap());
    let mut demo = Controller::from(&mut command);
    eventually_within(TELLS_ITS_STORY, "it is left running", || {
        let told = fs::read_to_string(&out).unwrap();
        told.contains("Left running until Ctrl-C").then_some(())
    });
    let (status, _) = demo.terminate();
    assert!(status.success(), "{status}");
    let mut left = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| name == "out"), "it leaves nothing behind");
}
