//! `destroy --all`.

use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Fake, RUN, ended, list, pending, running};

fn fake() -> Fake {
    let mut kept = ended("held", "Finishing", "task-failed");
    kept["conditions"] = json!([{"type": "Kept", "status": true, "reason": "x", "message": ""}]);
    let mut orphan = running("lost");
    orphan["conditions"] =
        json!([{"type": "Orphan", "status": true, "reason": "unknown-run", "message": ""}]);
    let mut copy = running("cattle-rex-copy");
    copy["conditions"] =
        json!([{"type": "Duplicate", "status": true, "reason": "second-server", "message": ""}]);
    copy.as_object_mut().unwrap().remove("spec");
    let all = list(&[
        running("rex"),
        copy,
        pending("ada"),
        kept,
        orphan,
        ended("done", "Succeeded", "completed"),
    ]);
    let destroyed =
        |name: &str| json!({"name": name, "run": RUN, "changed": true, "specRemoved": true});
    Fake::start()
        .on("GET /v1/cattle", all)
        .on(
            "POST /v1/pause",
            json!({
                "reason": "paused", "starts": true, "ends": false, "since": "2026-01-10T12:00:00Z",
                "by": "operator (uid 0)", "message": "paused", "command": "resume"
            }),
        )
        .on("DELETE /v1/cattle/rex", destroyed("rex"))
        .on("DELETE /v1/cattle/held", destroyed("held"))
}

#[test]
fn starts_are_paused_before_anything_ends() {
    let fake = fake();
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "--all", "--confirm", "demo"]), @r"
    exit: 0
    --- stdout ---
    rex: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends, spec removed
    held: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends, spec removed
    --- stderr ---
    warning: without a run in the ledger, left until they expire: lost; `clf-orchestrator stop --fleet demo` deletes every server of the fleet
    warning: starts are paused; `clawdlets cattle resume --reason paused` lets what is pending start
    ");
    assert_snapshot!(fake.lines(), @r"
    GET /v1/cattle?all=true
    POST /v1/pause
    GET /v1/cattle?all=true
    DELETE /v1/cattle/rex
    DELETE /v1/cattle/held
    ");
}

#[test]
fn it_must_be_meant() {
    let fake = fake();
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "--all"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: `destroy --all` asks on a terminal, and this is none
    hint: `--confirm demo` or `--yes` says that it is meant
    ");
    let other = ["cattle", "destroy", "--all", "--confirm", "prod"];
    assert_snapshot!(fake.clawdlets(&other), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: this is the controller of fleet `demo`
    hint: name that one with `--confirm`
    ");
    for args in [
        &["cattle", "destroy"][..],
        &["cattle", "destroy", "rex", "--all"],
        &["cattle", "destroy", "rex", "--yes"],
    ] {
        assert_eq!(fake.clawdlets(args).code, 2, "{args:?}");
    }
    assert!(!fake.lines().contains("POST"), "nothing was changed");
}
