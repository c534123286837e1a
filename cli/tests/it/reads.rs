//! `describe`, `events`, `result`, `logs`: looking, and never at what acts on the terminal.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Fake, Reply, ended, event, list};

#[test]
fn describe_tells_everything() {
    let mut status = ended("rex", "Failed", "task-failed");
    status["message"] = json!("the runner exited with 1");
    status["earlierRuns"] = json!([]);
    let fake = Fake::start().on("GET /v1/cattle/4711", status).on(
        "GET /v1/cattle/rex/events",
        json!({"items": [
            event(7, "rex", "created", "server 4711 created"),
            event(9, "rex", "ended", "task-failed\u{1b}]0;owned\u{7}")
        ]}),
    );
    let run = fake.clawdlets(&["cattle", "describe", "4711"]);
    // How long ago a fixed time is depends on the day.
    let stdout: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| !line.contains("ago)"))
        .collect();
    assert_snapshot!(stdout.join("\n"), @r"
    Name:       rex
    Phase:      Failed
    Reason:     task-failed
    Message:    the runner exited with 1
    Persona:    rex
    Task:       issue-42
    Model:      zai/glm-4.7
    TTL:        2h
    Spec hash:  0123456789ab
    Spec file:  cattle/specs/rex.yaml
    Requester:  uid:1000
    Labels:     team=docs

    Run
    Id:          01JD3KZ6W8Q4T2N7V5X9Y1B3CD
    Phase:       Failed
    End reason:  task-failed
    Exit code:   1
    Attempt:     1
    Server:      cattle-rex-y1b3cd (4711)
    Status:      running
    Type:        cx23
    Location:    nbg1
    IPv4:        203.0.113.7
    Cost:        0.0060 EUR (1 started hour)
    Of which:    server 0.0052, IPv4 0.0008
    Each hour:   0.0060 EUR

    Conditions
    TYPE       STATUS  REASON  SINCE  MESSAGE
    SpecValid  True    valid   -      the spec is valid

    Events
    TIME (UTC)           REASON   MESSAGE
    2026-01-05 10:00:00  created  server 4711 created
    2026-01-05 10:00:00  ended    task-failed\u{1b}]0;owned\u{7}
    ");
    assert!(run.stdout.contains("Created:"), "{run}");
    let document = fake
        .clawdlets(&["cattle", "describe", "4711", "-o", "json"])
        .json();
    assert_eq!(document["run"]["exitCode"], 1);
}

#[test]
fn events_of_one_and_of_all() {
    let events = json!({"items": [event(7, "rex", "created", "server 4711 created")]});
    let fake = Fake::start()
        .on("GET /v1/cattle/rex/events", events.clone())
        .on("GET /v1/events", events);
    assert_snapshot!(fake.clawdlets(&["cattle", "events", "rex"]), @r"
    exit: 0
    --- stdout ---
    TIME (UTC)           REASON   MESSAGE
    2026-01-05 10:00:00  created  server 4711 created
    --- stderr ---
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "events"]), @r"
    exit: 0
    --- stdout ---
    TIME (UTC)           CATTLE  REASON   MESSAGE
    2026-01-05 10:00:00  rex     created  server 4711 created
    --- stderr ---
    ");
}

#[test]
fn followed_events_come_as_they_happen_and_none_twice() {
    let fake = Fake::start()
        .on(
            "GET /v1/cattle/rex/events",
            json!({"items": [event(7, "rex", "created", "made")]}),
        )
        .on(
            "GET /v1/cattle/rex/events",
            Reply::Events(vec![
                event(7, "rex", "created", "made"),
                event(9, "rex", "started", "the task begins"),
            ]),
        );
    let args = ["cattle", "events", "rex", "--follow", "-o", "json"];
    let mut child = fake
        .command(env!("CARGO_BIN_EXE_clawdlets"), &args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ids: Vec<u64> = lines
        .take(2)
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            event["id"].as_u64().unwrap()
        })
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ids, [7, 9]);
}

#[test]
fn a_result_is_json_that_is_safe_to_look_at() {
    let fake = Fake::start().on("GET /v1/cattle/rex/result", json!({
        "name": "rex", "run": "01JD3KZ6W8Q4T2N7V5X9Y1B3CD", "endReason": "task-failed", "exitCode": 1,
        "message": "exited\u{1b}[31m with 1", "result": {"summary": "\u{9b}2J\u{202e}x"}
    }));
    assert_snapshot!(fake.clawdlets(&["cattle", "result", "rex"]), @r#"
    exit: 4
    --- stdout ---
    {
      "summary": "\u009b2J\u202ex"
    }
    --- stderr ---
    exited\u{1b}[31m with 1
    "#);
    let run = fake.clawdlets(&["cattle", "result", "rex", "-o", "json"]);
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stdout.contains("\"exitCode\": 1"), "{run}");
}

#[test]
fn logs_are_escaped_also_across_chunks() {
    let fake = Fake::start().on(
        "GET /v1/cattle/rex/logs",
        Reply::Chunks(vec![b"one\n\x1b[2J\xc3", b"\xbc\r", b"\n\xff\xc2\x9b1m\n"]),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "logs", "rex", "--run", "01JD3K"]), @r"
    exit: 0
    --- stdout ---
    one
    \u{1b}[2Jü
    \xff\u{9b}1m
    --- stderr ---
    ");
    assert_snapshot!(fake.lines(), @"GET /v1/cattle/rex/logs?run=01JD3K");
}

#[test]
fn raw_logs_are_the_bytes() {
    let fake = Fake::start().on(
        "GET /v1/cattle/rex/logs",
        Reply::Chunks(vec![b"\x1b[2J\xff\r\n"]),
    );
    let output = fake
        .command(
            env!("CARGO_BIN_EXE_clawdlets"),
            &["cattle", "logs", "rex", "--raw"],
        )
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"\x1b[2J\xff\r\n");
}

#[test]
fn a_tail_is_the_last_lines_and_following_goes_on_from_there() {
    let fake = Fake::start()
        .on(
            "GET /v1/cattle/rex/logs",
            Reply::Chunks(vec![b"one\ntwo\nth", b"ree\n"]),
        )
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![b"four\n"]))
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![]));
    assert_snapshot!(fake.clawdlets(&["cattle", "logs", "rex", "--tail", "2", "--follow"]), @r"
    exit: 0
    --- stdout ---
    two
    three
    four
    --- stderr ---
    ");
    assert_snapshot!(fake.lines(), @r"
    GET /v1/cattle/rex/logs
    GET /v1/cattle/rex/logs?run=01JD3KZ6W8Q4T2N7V5X9Y1B3CD&offset=14&follow=true
    GET /v1/cattle/rex/logs?run=01JD3KZ6W8Q4T2N7V5X9Y1B3CD&offset=19&follow=true
    ");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let fake = Fake::start().on(
        "GET /v1/cattle/rex/logs",
        Reply::Chunks(vec![b"line\n"; 100_000]),
    );
    let mut child = fake
        .command(env!("CARGO_BIN_EXE_clawdlets"), &["cattle", "logs", "rex"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((first.as_str(), output.status.code()), ("line\n", Some(0)));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_followed_log_goes_on_after_the_controller_was_away() {
    let fake = Fake::start()
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![b"one\n"]))
        .on("GET /v1/cattle/rex/logs", Reply::Cut)
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![b"two\n"]))
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![]));
    let run = fake.clawdlets(&["cattle", "logs", "rex", "--follow"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "one\ntwo\n"), "{run}");
    let offsets: Vec<String> = fake
        .lines()
        .lines()
        .map(|line| {
            line.split("offset=")
                .nth(1)
                .unwrap()
                .replace("&follow=true", "")
        })
        .collect();
    assert_eq!(offsets, ["0", "4", "4", "8"]);
}

#[test]
fn a_log_whose_end_is_lost_says_so_and_stdout_stays_the_log() {
    let fake = Fake::start()
        .on(
            "GET /v1/cattle/rex/logs",
            Reply::Log(vec![b"one\n", b"two\n"], "8", "24"),
        )
        .on(
            "GET /v1/cattle/ada/logs",
            Reply::Log(vec![b"all\n"], "4", "4"),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "logs", "rex"]), @r"
    exit: 0
    --- stdout ---
    one
    two
    --- stderr ---
    warning: the log of `rex` is cut: 8 of 24 bytes arrived before its server went
    ");
    let run = fake.clawdlets(&["cattle", "logs", "rex", "--tail", "1"]);
    assert!(run.stderr.contains("8 of 24 bytes"), "{run}");
    let whole = fake.clawdlets(&["cattle", "logs", "ada"]);
    assert_eq!(
        (whole.stdout.as_str(), whole.stderr.as_str()),
        ("all\n", "")
    );
}

#[test]
fn a_followed_log_whose_end_is_lost_says_so_at_the_end() {
    let fake = Fake::start()
        .on("GET /v1/cattle/rex/logs", Reply::Chunks(vec![b"one\n"]))
        .on("GET /v1/cattle/rex/logs", Reply::Log(vec![], "4", "24"));
    let run = fake.clawdlets(&["cattle", "logs", "rex", "--follow"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "one\n"), "{run}");
    assert!(run.stderr.contains("4 of 24 bytes"), "{run}");
}

#[test]
fn why_a_task_failed_and_what_is_missing_of_its_log_is_shown() {
    let mut status = ended("rex", "Failed", "task-failed");
    status["message"] = json!("the task did not run: its image has no runner");
    status["run"]["cause"] = json!("no-runner");
    status["run"]["log"] = json!({ "written": 24, "stored": 7 });
    let fake = Fake::start()
        .on("GET /v1/cattle/rex", status.clone())
        .on("GET /v1/cattle/rex/events", json!({"items": []}))
        .on("GET /v1/cattle", list(&[status]));
    let described = fake.clawdlets(&["cattle", "describe", "rex"]);
    for line in [
        "Cause:       no-runner",
        "Log:         cut: 7 of 24 bytes arrived",
    ] {
        assert!(described.stdout.contains(line), "{described}");
    }
    let listed = fake.clawdlets(&["cattle", "list"]);
    let reason = "task-failed, no-runner, log cut";
    assert!(listed.stdout.contains(reason), "{listed}");
}
