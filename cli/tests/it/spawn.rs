//! `spawn`: a name on stdout, a spec in the request.

use cattle_schemas::problem::{Diagnostic, ErrorCode, Problem};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Run, applied, ended};

const MESSAGE: [&str; 6] = ["cattle", "spawn", "--persona", "rex", "--message", "Fix it"];

fn spawn(fake: &Fake, more: &[&str]) -> Run {
    fake.clawdlets(&[&MESSAGE[..], more].concat())
}

#[test]
fn the_name_alone_is_printed() {
    let fake = Fake::start().on("PUT /v1/cattle/fixer", applied("fixer", "created"));
    let run = spawn(
        &fake,
        &[
            "--name",
            "fixer",
            "--ttl",
            "4h",
            "--label",
            "team=docs",
            "--model",
            "zai/glm-4.7",
        ],
    );
    assert_snapshot!(run, @r"
    exit: 0
    --- stdout ---
    fixer
    --- stderr ---
    fixer created
    ");
    assert_snapshot!(fake.lines(), @"PUT /v1/cattle/fixer?refuseAtLimit=true&createOnly=true");
    let body: Value = serde_json::from_slice(&fake.asked()[0].body).unwrap();
    assert_eq!(
        body,
        json!({
            "apiVersion": "clawdlets.dev/v1",
            "kind": "Cattle",
            "metadata": {"name": "fixer", "labels": {"team": "docs"}},
            "spec": {
                "persona": "rex", "task": {"message": "Fix it"}, "ttl": "4h", "model": "zai/glm-4.7"
            }
        })
    );
}

#[test]
fn a_name_nobody_chose_is_the_personas_with_six_random_characters() {
    let fake = Fake::start();
    spawn(&fake, &[]);
    spawn(&fake, &[]);
    let names: Vec<String> = fake
        .asked()
        .iter()
        .map(|asked| asked.line.split(['/', '?']).nth(3).unwrap().to_owned())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("rex-") && name.len() == 10),
        "{names:?}"
    );
    assert_ne!(names[0], names[1]);
}

#[test]
fn queueing_and_a_dry_run_are_asked_for() {
    let mut reply = applied("fixer", "created");
    reply["dryRun"] = json!(true);
    let fake = Fake::start().on("PUT /v1/cattle/fixer", reply);
    assert_snapshot!(spawn(&fake, &["--name", "fixer", "--queue", "--dry-run"]), @r"
    exit: 0
    --- stdout ---
    fixer
    --- stderr ---
    fixer created (dry run)
    ");
    assert_snapshot!(fake.lines(), @"PUT /v1/cattle/fixer?dryRun=true&createOnly=true");
}

#[test]
fn a_full_fleet_refuses_with_six() {
    let full = Problem::new(
        ErrorCode::LimitReached,
        "4 of 4 servers exist (`maxInstances`)",
    );
    let taken = Problem::new(ErrorCode::NameTaken, "there is a cattle `fixer` already");
    let fake = Fake::start()
        .on("PUT /v1/cattle/fixer", full)
        .on("PUT /v1/cattle/fixer", taken);
    assert_snapshot!(spawn(&fake, &["--name", "fixer"]), @r"
    exit: 6
    --- stdout ---
    --- stderr ---
    error: 4 of 4 servers exist (`maxInstances`)
    hint: `spawn --queue` lets it wait; `clawdlets cattle list` shows what runs and what is paused
    ");
    assert_snapshot!(spawn(&fake, &["--name", "fixer"]), @r"
    exit: 6
    --- stdout ---
    --- stderr ---
    error: there is a cattle `fixer` already
    ");
}

#[test]
fn a_broken_task_file_is_told_and_nothing_sent() {
    let fake = Fake::start().file("task.json", r#"{"mesage": "hi"}"#);
    assert_snapshot!(fake.clawdlets(&["cattle", "spawn", "--persona", "rex", "--task-file", "task.json"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: task file `task.json`: line 1, column 2: unknown field (did you mean `message`?)
    ");
    assert_eq!(fake.lines(), "");
}

#[test]
fn a_message_can_come_from_standard_input() {
    let fake = Fake::start().on("PUT /v1/cattle/fixer", applied("fixer", "created"));
    let args = [
        "cattle",
        "spawn",
        "--persona",
        "rex",
        "--name",
        "fixer",
        "--message",
        "-",
    ];
    let command = fake.command(env!("CARGO_BIN_EXE_clawdlets"), &args);
    let run = Run::with_stdin(command, b"line one\nline two\n", fake.dir.path());
    assert_eq!(run.code, 0, "{run}");
    let body: Value = serde_json::from_slice(&fake.asked()[0].body).unwrap();
    assert_eq!(body["spec"]["task"]["message"], "line one\nline two\n");
}

#[test]
fn waiting_prints_the_name_and_then_the_result() {
    let fake = Fake::start()
        .on("PUT /v1/cattle/fixer", applied("fixer", "created"))
        .on(
            "GET /v1/cattle/fixer",
            ended("fixer", "Succeeded", "completed"),
        )
        .on(
            "GET /v1/cattle/01JD3KZ6W8Q4T2N7V5X9Y1B3CD/result",
            json!({
                "name": "fixer", "run": "01JD3KZ6W8Q4T2N7V5X9Y1B3CD", "endReason": "completed",
                "exitCode": 0, "result": {"summary": "done\u{1b}[2J"}
            }),
        );
    assert_snapshot!(spawn(&fake, &["--name", "fixer", "--wait"]), @r#"
    exit: 0
    --- stdout ---
    fixer
    {
      "summary": "done\u001b[2J"
    }
    --- stderr ---
    fixer created
    fixer: Succeeded (completed) after 12m, 0.0060 EUR
    "#);
    let run = spawn(&fake, &["--name", "fixer", "--wait", "-o", "json"]);
    assert_eq!(run.json()["result"]["summary"], "done\u{1b}[2J");
    assert!(!run.stdout.contains('\u{1b}'), "{run}");
}

#[test]
fn a_run_without_a_result_says_so() {
    let fake = Fake::start()
        .on("PUT /v1/cattle/fixer", applied("fixer", "created"))
        .on(
            "GET /v1/cattle/fixer",
            ended("fixer", "Failed", "boot-timeout"),
        )
        .on(
            "GET /v1/cattle/01JD3KZ6W8Q4T2N7V5X9Y1B3CD/result",
            Problem::new(ErrorCode::NoResult, "no result"),
        );
    assert_snapshot!(spawn(&fake, &["--name", "fixer", "--wait"]), @r"
    exit: 4
    --- stdout ---
    fixer
    --- stderr ---
    fixer created
    fixer: Failed (boot-timeout) after 12m, 0.0060 EUR
    `fixer` left no result
    ");
}

#[test]
fn what_is_wrong_with_a_spec_nobody_wrote_is_said_without_a_place() {
    let mut problem = Problem::new(
        ErrorCode::SpecInvalid,
        "the spec has an error in line 1: there is no `cattle/personas/rx`",
    );
    problem.errors.push(Diagnostic {
        path: "fixer.yaml".to_owned(),
        line: 1,
        column: 137,
        message: "there is no `cattle/personas/rx`".to_owned(),
        hint: Some("did you mean `rex`?".to_owned()),
    });
    let fake = Fake::start()
        .on("PUT /v1/cattle/fixer", problem.clone())
        .on("POST /v1/jobs", problem);
    let told = r"
exit: 1
--- stdout ---
--- stderr ---
error: there is no `cattle/personas/rx`
hint: did you mean `rex`?
";
    let run = spawn(&fake, &["--name", "fixer"]);
    assert_eq!(run.to_string().trim(), told.trim());
    let args = [&["jobs", "enqueue", "cattle.spawn"], &MESSAGE[2..]].concat();
    assert_eq!(fake.clf(&args).to_string().trim(), told.trim());
}

#[test]
fn without_a_task_both_ways_to_give_one_are_named() {
    let fake = Fake::start();
    let run = fake.clawdlets(&["cattle", "spawn", "--persona", "rex"]);
    assert_snapshot!(run, @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: the following required arguments were not provided:
      <--message <TEXT>|--task-file <FILE>>

    Usage: clawdlets cattle spawn --persona <PERSONA> <--message <TEXT>|--task-file <FILE>>

    For more information, try '--help'.
    ");
    let run = spawn(&fake, &["--task-file", "task.json"]);
    assert_eq!(run.code, 2, "{run}");
}
