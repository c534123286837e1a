//! On a terminal: colours unless unwanted, and nothing raw.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::fake::{Fake, RUN, Reply, ended, list, running};

/// Runs a program with a terminal as its stdout and stderr, and answers what it wrote there.
fn on_a_terminal(mut command: Command) -> (i32, String) {
    let controller: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    command.stdout(Stdio::from(terminal.try_clone().unwrap()));
    command.stderr(Stdio::from(terminal));
    let mut child = command.spawn().unwrap();
    drop(command);
    let reader = thread::spawn(move || {
        let mut seen = Vec::new();
        // The last terminal end that closes makes reading fail; what came before is whole.
        let _ = File::from(controller).read_to_end(&mut seen);
        String::from_utf8(seen).unwrap()
    });
    let code = child.wait().unwrap().code().unwrap();
    (code, reader.join().unwrap())
}

fn fake() -> Fake {
    Fake::start()
        .on("GET /v1/cattle", list(&[running("rex")]))
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![b"\x1b[2J\n"]))
}

fn command(fake: &Fake, args: &[&str]) -> Command {
    fake.command(env!("CARGO_BIN_EXE_clawdlets"), args)
}

#[test]
fn a_terminal_gets_colours() {
    let (code, seen) = on_a_terminal(command(&fake(), &["cattle", "list"]));
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("\u{1b}[38;5;10m"), "{seen:?}");
}

#[test]
fn no_color_is_heeded_and_so_is_a_dumb_terminal() {
    let fake = fake();
    for (key, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = command(&fake, &["cattle", "list"]);
        command.env(key, value);
        let (_, seen) = on_a_terminal(command);
        assert!(
            seen.contains("Running") && !seen.contains('\u{1b}'),
            "{key}: {seen:?}"
        );
    }
    let (_, seen) = on_a_terminal(command(&fake, &["cattle", "list", "--color", "never"]));
    assert!(!seen.contains('\u{1b}'), "{seen:?}");
}

#[test]
fn a_pipe_gets_colours_only_when_it_asks() {
    let fake = fake();
    assert!(
        !fake
            .clawdlets(&["cattle", "list"])
            .stdout
            .contains('\u{1b}')
    );
    let run = fake.clawdlets(&["cattle", "list", "--color", "always"]);
    assert!(run.stdout.contains("\u{1b}[38;5;10m"), "{:?}", run.stdout);
}

#[test]
fn raw_logs_refuse_a_terminal() {
    let (code, seen) = on_a_terminal(command(&fake(), &["cattle", "logs", "rex", "--raw"]));
    assert_eq!(code, 2, "{seen}");
    assert!(seen.contains("does not print to a terminal"), "{seen}");
    assert!(!seen.contains("\u{1b}[2J"), "{seen:?}");
}

#[test]
fn what_is_not_raw_is_escaped_on_a_terminal_too() {
    let (code, seen) = on_a_terminal(command(&fake(), &["cattle", "logs", "rex"]));
    assert_eq!((code, seen.as_str()), (0, "\\u{1b}[2J\r\n"));
}

#[test]
fn a_wait_on_a_terminal_ends_with_what_became_of_it() {
    let fake = Fake::start()
        .on("GET /v1/cattle/rex", running("rex"))
        .on("GET /v1/cattle/rex", ended("rex", "Failed", "task-failed"));
    let (code, seen) = on_a_terminal(command(&fake, &["cattle", "wait", "rex"]));
    assert_eq!(code, 4, "{seen}");
    assert!(
        seen.contains("rex: Failed (task-failed) after 12m, 0.0060 EUR"),
        "{seen:?}"
    );
}

#[test]
fn json_from_a_guest_is_safe_on_a_terminal_too() {
    let fake = Fake::start().on(
        "GET /v1/cattle/rex/result",
        serde_json::json!({
            "name": "rex", "run": RUN, "endReason": "completed", "result": "\u{9b}2J\u{202e}"
        }),
    );
    for format in ["json", "yaml"] {
        let args = ["cattle", "result", "rex", "-o", format];
        let (code, seen) = on_a_terminal(command(&fake, &args));
        assert_eq!(code, 0, "{seen}");
        assert!(!seen.contains(['\u{9b}', '\u{202e}']), "{format}: {seen:?}");
    }
}

#[test]
fn a_person_is_told_that_a_log_is_empty_and_a_pipe_is_not() {
    let fake = Fake::start().on("GET /v1/cattle/rex/logs", Reply::Chunks(Vec::new()));
    let args = ["cattle", "logs", "rex"];
    let (code, seen) = on_a_terminal(command(&fake, &args));
    assert_eq!((code, seen.as_str()), (0, "`rex` has written no log\r\n"));
    let run = fake.clawdlets(&args);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (0, "", "")
    );
}
