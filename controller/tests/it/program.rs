//! `clf-orchestrator` as a program: what it prints and how it exits.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clf-orchestrator"))
        .args(arguments)
        .env_remove("HCLOUD_TOKEN")
        .env_remove("HCLOUD_ENDPOINT")
        .env_remove("CLF_SOCKET_PATH")
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

fn refused(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn help_shows_every_command_that_is_for_people() {
    let output = run(&["--help"]);
    let help = stdout(&output);
    for command in ["run", "once", "reap", "stop", "openapi", "completions"] {
        let line = format!("\n  {command} ");
        assert!(help.contains(&line), "{command}: {help}");
        let output = run(&[command, "--help"]);
        assert!(stdout(&output).contains("Examples:"), "{command}");
    }
    assert!(!help.contains("\n  guest "), "{help}");
}

#[test]
fn the_openapi_document_names_the_sockets_routes() {
    let output = run(&["openapi"]);
    let document: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for path in ["/v1/cattle", "/v1/cattle/{name}", "/v1/plan", "/v1/jobs"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn completions_are_printed_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let script = stdout(&output);
        assert!(script.contains("clf-orchestrator"), "{shell}");
        // A word of its own, not a part of `--guest-listen`.
        let mut words = script.split(|one: char| !(one.is_alphanumeric() || "-_".contains(one)));
        assert!(!words.any(|word| word == "guest"), "{shell} offers `guest`");
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for (arguments, said) in [
        (&[][..], "Usage:"),
        (&["start"], "unrecognized subcommand 'start'"),
        (&["reap"], "<--fleet <NAME>|--all-fleets>"),
        (
            &["reap", "--fleet", "a", "--all-fleets"],
            "cannot be used with",
        ),
        (&["reap", "--fleet", "Not A Name"], "--fleet <NAME>"),
        (&["run", "--specs", "here:admin"], "`admin` is no role"),
        (&["run", "--retention", "never"], "--retention <DURATION>"),
    ] {
        let output = run(arguments);
        let stderr = refused(&output, 2);
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn without_a_token_it_says_where_one_would_be_taken_from() {
    let project = tempfile::tempdir().unwrap();
    let dir = project.path().to_str().unwrap();
    for arguments in [&["run", "--project", dir][..], &["reap", "--all-fleets"]] {
        let output = run(arguments);
        let stderr = refused(&output, 1);
        assert!(stderr.contains("HCLOUD_TOKEN"), "{stderr}");
        assert!(stderr.contains("`hcloud_token`"), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(project.path()).unwrap().count(), 0);
}
