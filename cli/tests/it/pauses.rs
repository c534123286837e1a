//! `pause`, `resume`.

use cattle_schemas::problem::{ErrorCode, Problem};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, RUN};

fn paused() -> Value {
    json!({
        "reason": "paused", "starts": true, "ends": false, "since": "2026-01-10T12:00:00Z",
        "by": "operator (uid 0)",
        "message": "paused by operator (uid 0) since 2026-01-10 12:00:00 UTC: month end; `clawdlets cattle resume --reason paused` goes on",
        "command": "clawdlets cattle resume --reason paused"
    })
}

fn deletes() -> Value {
    json!({
        "reason": "deletes", "subject": "dir:/srv/specs", "starts": false, "ends": true,
        "since": "2026-01-10T12:00:00Z", "by": "the controller",
        "message": "2 runs of dir:/srv/specs would end",
        "command": "clawdlets cattle resume --reason deletes --digest 1f2e3d4c5b6a",
        "digest": "1f2e3d4c5b6a",
        "items": [
            { "cattle": "rex", "run": RUN, "message": "its spec was removed" },
            { "cattle": "ada", "message": "its spec\u{1b}[31m changed" }
        ]
    })
}

#[test]
fn pause_holds_both_unless_one_is_named() {
    let fake = Fake::start().on("POST /v1/pause", paused());
    assert_snapshot!(fake.clawdlets(&["cattle", "pause", "--starts", "--why", "month end"]), @r"
    exit: 0
    --- stdout ---
    starts are paused: paused by operator (uid 0) since 2026-01-10 12:00:00 UTC: month end; `clawdlets cattle resume --reason paused` goes on
    --- stderr ---
    ");
    let _ = fake.clawdlets(&["cattle", "pause", "--why", "x"]);
    let bodies: Vec<_> = fake.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies[0],
        r#"{"starts":true,"ends":false,"why":"month end"}"#
    );
    assert_eq!(bodies[1], r#"{"starts":true,"ends":true,"why":"x"}"#);
    assert_eq!(fake.clawdlets(&["cattle", "pause"]).code, 2);
}

#[test]
fn resume_goes_on_when_one_thing_alone_is_paused() {
    let fake = Fake::start()
        .on("GET /v1/pauses", json!({ "items": [paused()] }))
        .on(
            "POST /v1/resume",
            json!({ "message": "starts go on (paused)" }),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "resume"]), @r"
    exit: 0
    --- stdout ---
    starts go on (paused)
    --- stderr ---
    ");
}

#[test]
fn resume_shows_what_is_held_back_and_the_command_to_type() {
    let both = json!({ "items": [paused(), deletes()] });
    let fake = Fake::start()
        .on("GET /v1/pauses", both)
        .on(
            "POST /v1/resume",
            json!({ "message": "ends go on (deletes)", "pauses": [paused()] }),
        )
        .on(
            "POST /v1/resume",
            Problem::new(ErrorCode::Changed, "the list `1f2e3d4c5b6a` has changed"),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "resume"]), @r"
    exit: 6
    --- stdout ---
    starts (paused): paused by operator (uid 0) since 2026-01-10 12:00:00 UTC: month end; `clawdlets cattle resume --reason paused` goes on
    ends (deletes): 2 runs of dir:/srv/specs would end
      rex (run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD): its spec was removed
      ada: its spec\u{1b}[31m changed
    --- stderr ---
    hint: clawdlets cattle resume --reason paused
    hint: clawdlets cattle resume --reason deletes --digest 1f2e3d4c5b6a
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "resume", "--reason", "deletes"]), @r"
    exit: 6
    --- stdout ---
    ends (deletes): 2 runs of dir:/srv/specs would end
      rex (run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD): its spec was removed
      ada: its spec\u{1b}[31m changed
    --- stderr ---
    hint: clawdlets cattle resume --reason deletes --digest 1f2e3d4c5b6a
    ");
    let confirmed = [
        "cattle",
        "resume",
        "--reason",
        "deletes",
        "--digest",
        "1f2e3d4c5b6a",
    ];
    assert_snapshot!(fake.clawdlets(&confirmed), @r"
    exit: 0
    --- stdout ---
    ends go on (deletes)
    --- stderr ---
    warning: still paused: starts (paused): paused by operator (uid 0) since 2026-01-10 12:00:00 UTC: month end; `clawdlets cattle resume --reason paused` goes on
    ");
    assert_snapshot!(fake.clawdlets(&confirmed), @r"
    exit: 6
    --- stdout ---
    --- stderr ---
    error: the list `1f2e3d4c5b6a` has changed
    ");
    let sent = fake.asked().into_iter().filter(|it| !it.body.is_empty());
    let sent: Vec<_> = sent.map(|asked| asked.body).collect();
    assert_eq!(sent[0], r#"{"reason":"deletes","digest":"1f2e3d4c5b6a"}"#);
}

#[test]
fn a_reason_is_one_of_five_words() {
    let fake = Fake::start();
    let run = fake.clawdlets(&["cattle", "resume", "--reason", "brake"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(
        run.stderr
            .contains("it is one of paused, ledger, second-controller, breaker, deletes"),
        "{run}"
    );
}
