//! What others have planted: projects, sockets, links, and text that acts on a terminal.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use serde_json::json;

use crate::fake::{Fake, Run, SPEC, list, plain_command, running, write};

/// Somebody else than whoever runs the tests.
const STRANGER: u32 = 65_534;

/// What no terminal may get to see: an escape, C1, a bidi override, an invisible character.
const ACTIVE: &str = "x\u{1b}[2J\u{9b}1m\u{202e}y\u{200b}";

fn clawdlets(dir: &Path, args: &[&str]) -> Run {
    let mut command = plain_command(env!("CARGO_BIN_EXE_clawdlets"), dir);
    command.args(args);
    Run::of(command, dir)
}

/// Only root may give files away; without it there is nobody to play the stranger.
fn give_away(path: &Path) -> bool {
    std::os::unix::fs::lchown(path, Some(STRANGER), Some(STRANGER)).is_ok()
}

#[test]
fn a_project_that_somebody_else_planted_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(clawdlets(dir.path(), &["init", "-q"]).code, 0);
    let below = dir.path().join("mine");
    fs::create_dir(&below).unwrap();
    write(&below, "rex.yaml", SPEC);
    for planted in ["fleet/clawdlets.json", "fleet", "."] {
        let path = dir.path().join(planted);
        if !give_away(&path) {
            return;
        }
        for args in [
            &["cattle", "validate"][..],
            &["cattle", "validate", "rex.yaml"],
            &["cattle", "persona", "list"],
        ] {
            let run = clawdlets(&below, args);
            assert_eq!(run.code, 1, "{planted} {args:?}: {run}");
            assert!(
                run.stderr.contains("belongs to uid 65534, not to you"),
                "{planted} {args:?}: {run}"
            );
            let named = format!("`--project {}`", dir.path().display());
            assert!(run.stderr.contains(&named), "{run}");
            assert_eq!(run.stdout, "");
        }
        // Whoever names it means it.
        let root = dir.path().to_str().unwrap();
        let run = clawdlets(&below, &["--project", root, "cattle", "validate"]);
        assert_eq!(run.code, 0, "{planted}: {run}");
        chown(&path, Some(0), Some(0)).unwrap();
    }
    let run = clawdlets(&below, &["cattle", "validate"]);
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn a_fleet_file_that_is_a_strangers_link_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(clawdlets(dir.path(), &["init", "-q", "real"]).code, 0);
    fs::create_dir(dir.path().join("fleet")).unwrap();
    let link = dir.path().join("fleet/clawdlets.json");
    symlink("../real/fleet/clawdlets.json", &link).unwrap();
    if give_away(&link) {
        let run = clawdlets(dir.path(), &["cattle", "persona", "list"]);
        assert_eq!(run.code, 1, "{run}");
        assert!(run.stderr.contains("belongs to uid 65534"), "{run}");
    }
}

#[test]
fn a_socket_that_somebody_else_planted_is_not_spoken_to() {
    let fake = Fake::start().on("GET /v1/cattle", list(&[running("rex")]));
    let root = fake.dir.path();
    let place = root.join(".clawdlets/cattle");
    fs::create_dir_all(&place).unwrap();
    let socket = place.join("orchestrator.sock");
    symlink(root.join("sock"), &socket).unwrap();
    let list_from =
        |args: &[&str]| clawdlets(root, &[&["cattle", "list", "-o", "name"], args].concat());
    assert_eq!(list_from(&[]).code, 0);
    for planted in [
        root.join("sock"),
        socket.clone(),
        place.clone(),
        root.join(".clawdlets"),
        root.to_owned(),
    ] {
        if !give_away(&planted) {
            return;
        }
        let asked = fake.asked().len();
        let run = list_from(&[]);
        assert_eq!(run.code, 3, "{}: {run}", planted.display());
        assert!(
            run.stderr.contains("belongs to uid 65534, not to you"),
            "{run}"
        );
        assert!(run.stderr.contains("`--socket "), "{run}");
        assert_eq!(fake.asked().len(), asked, "nothing was sent");
        let named = socket.to_str().unwrap();
        assert_eq!(list_from(&["--socket", named]).code, 0, "named on purpose");
        let named = root.to_str().unwrap();
        assert_eq!(list_from(&["--project", named]).code, 0, "named on purpose");
        std::os::unix::fs::lchown(&planted, Some(0), Some(0)).unwrap();
    }
}

#[test]
fn no_answer_of_a_controller_acts_on_the_terminal() {
    let mut odd = running(ACTIVE);
    odd["reason"] = json!(ACTIVE);
    odd["message"] = json!(ACTIVE);
    odd["spec"]["persona"] = json!(ACTIVE);
    let run = "01JD3KZ6W8Q4T2N7V5X9Y1B3CD";
    let applied = json!({
        "name": ACTIVE, "change": "created", "phase": "Pending", "run": ACTIVE, "dryRun": false,
        "warnings": [ACTIVE],
    });
    let job = json!({
        "id": ACTIVE, "kind": "cattle.spawn", "state": "failed", "requester": ACTIVE,
        "createdAt": "2026-11-22T10:00:00Z", "cattle": ACTIVE, "run": ACTIVE, "message": ACTIVE,
    });
    let event = json!({
        "id": 1, "time": "2026-11-22T10:00:00Z", "cattle": ACTIVE, "reason": "queued", "type": "normal",
        "message": ACTIVE,
    });
    let fake = Fake::start()
        .file("rex.yaml", SPEC)
        .file("dir/rex.yaml", SPEC)
        .on("GET /v1/cattle", list(&[odd.clone()]))
        .on("GET /v1/cattle/rex", odd)
        .on("PUT /v1/cattle/rex", applied)
        .on("DELETE /v1/cattle/rex", json!({
            "name": ACTIVE, "run": ACTIVE, "changed": true, "specRemoved": false, "specRemains": ACTIVE,
        }))
        .on("POST /v1/cattle/rex/rerun", json!({"name": ACTIVE, "phase": "Booting"}))
        .on("POST /v1/cattle/rex/extend", json!({
            "name": ACTIVE, "run": run, "expiresAt": "2026-11-22T10:00:00Z", "warnings": [ACTIVE],
        }))
        .on("GET /v1/cattle/rex/result", json!({
            "name": ACTIVE, "run": ACTIVE, "endReason": "completed", "message": ACTIVE,
        }))
        .on("POST /v1/reap", json!({
            "dryRun": false, "unreadable": [ACTIVE],
            "servers": [{"server": 7, "name": ACTIVE, "expiredAt": "2026-11-22T10:00:00Z",
                "deleted": false, "error": ACTIVE}],
        }))
        .on("GET /v1/events", json!({"items": [event]}))
        .on("GET /v1/jobs", json!({"items": [job.clone()]}))
        .on("GET /v1/jobs/01JD3K", job.clone())
        .on("POST /v1/jobs", job);
    let mut seen = 0;
    for (program, args) in [
        ("clawdlets", &["cattle", "list"][..]),
        ("clawdlets", &["cattle", "list", "-o", "wide"]),
        ("clawdlets", &["cattle", "list", "-o", "name"]),
        ("clawdlets", &["cattle", "list", "-o", "json"]),
        ("clawdlets", &["cattle", "list", "-o", "yaml"]),
        ("clawdlets", &["cattle", "describe", "rex"]),
        ("clawdlets", &["cattle", "apply", "-f", "rex.yaml"]),
        (
            "clawdlets",
            &["cattle", "apply", "-f", "rex.yaml", "-o", "name"],
        ),
        (
            "clawdlets",
            &["cattle", "apply", "-f", "dir", "--prune", "--dry-run"],
        ),
        (
            "clawdlets",
            &[
                "cattle",
                "spawn",
                "--name",
                "rex",
                "--persona",
                "rex",
                "--message",
                "x",
            ],
        ),
        ("clawdlets", &["cattle", "destroy", "rex"]),
        ("clawdlets", &["cattle", "destroy", "rex", "-o", "name"]),
        ("clawdlets", &["cattle", "rerun", "rex"]),
        ("clawdlets", &["cattle", "rerun", "rex", "-o", "name"]),
        ("clawdlets", &["cattle", "extend", "rex", "--by", "1h"]),
        ("clawdlets", &["cattle", "result", "rex"]),
        ("clawdlets", &["cattle", "reap"]),
        ("clawdlets", &["cattle", "events"]),
        ("clf", &["jobs", "list", "-o", "wide"]),
        ("clf", &["jobs", "show", "01JD3K"]),
        (
            "clf",
            &[
                "jobs",
                "enqueue",
                "cattle.spawn",
                "--persona",
                "rex",
                "--message",
                "x",
            ],
        ),
    ] {
        let run = match program {
            "clf" => fake.clf(args),
            _ => fake.clawdlets(args),
        };
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(
            !all.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{200b}']),
            "{program} {args:?}: {all:?}"
        );
        if all.contains("\\u{202e}") || all.contains("\\u202e") {
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} of the answers were shown at all");
}

#[test]
fn init_writes_through_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    // A directory of the project, a file of it, and the directory of the secrets.
    for planted in ["cattle", "fleet", "secrets", ".clawdlets"] {
        let project = dir.path().join(format!("with-{planted}"));
        fs::create_dir(&project).unwrap();
        symlink(&elsewhere, project.join(planted)).unwrap();
        let run = clawdlets(&project, &["init"]);
        assert_eq!(run.code, 1, "{planted}: {run}");
        assert!(run.stderr.contains(planted), "{planted}: {run}");
        assert!(run.stderr.contains("link"), "{planted}: {run}");
    }
    let project = dir.path().join("with-file");
    fs::create_dir_all(project.join("fleet")).unwrap();
    let target = elsewhere.join("clawdlets.json");
    symlink(&target, project.join("fleet/clawdlets.json")).unwrap();
    let run = clawdlets(&project, &["init"]);
    assert_eq!(run.code, 0, "what is there is kept: {run}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn init_into_a_strangers_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let planted = dir.path().join("my-fleet");
    fs::create_dir(&planted).unwrap();
    if !give_away(&planted) {
        return;
    }
    let run = clawdlets(dir.path(), &["init", "my-fleet"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("belongs to uid 65534"), "{run}");
    let link = dir.path().join("linked");
    fs::create_dir(dir.path().join("mine")).unwrap();
    symlink("mine", &link).unwrap();
    assert!(give_away(&link));
    let run = clawdlets(dir.path(), &["init", "linked"]);
    assert_eq!(run.code, 1, "{run}");
    assert_eq!(fs::read_dir(dir.path().join("mine")).unwrap().count(), 0);
}

#[test]
fn manual_pages_are_written_through_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    let pages = dir.path().join("man");
    fs::create_dir(&pages).unwrap();
    symlink(&victim, pages.join("clawdlets.1")).unwrap();
    let run = clawdlets(dir.path(), &["man", "--dir", "man"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    let page = pages.join("clawdlets.1");
    assert!(page.symlink_metadata().unwrap().is_file());
    assert!(fs::read_to_string(&page).unwrap().contains(".TH"));
    // Again, over its own pages.
    let run = clawdlets(dir.path(), &["man", "--dir", "man"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(pages.join("clf.1").is_file());
}
