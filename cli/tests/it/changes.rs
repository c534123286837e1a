//! `destroy`, `rerun`, `extend`, `plan`, `reap`.

use cattle_schemas::problem::{ErrorCode, Problem};
use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Fake, RUN, SPEC, ago, ended};

#[test]
fn destroy_says_what_ends_and_what_stays() {
    let fake = Fake::start()
        .on("DELETE /v1/cattle/rex", json!({"name": "rex", "run": RUN, "changed": true, "specRemoved": true}))
        .on("DELETE /v1/cattle/ada", json!({
            "name": "ada", "changed": true, "specRemoved": false, "specRemains": "cattle/specs/ada.yaml"
        }))
        .on("DELETE /v1/cattle/eve", json!({"name": "eve", "changed": false, "specRemoved": false}))
        .on("DELETE /v1/cattle/kit", json!({
            "name": "kit", "run": RUN, "released": true, "changed": true, "specRemoved": false
        }))
        .on("DELETE /v1/cattle/bob", Problem::new(ErrorCode::NotFound, "no cattle goes by `bob`"));
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "rex", "ada", "bob", "eve", "kit"]), @r"
    exit: 1
    --- stdout ---
    rex: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends, spec removed
    ada: ended before it started, spec stays, ended: cattle/specs/ada.yaml
    eve: nothing to end
    kit: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD is no longer kept
    --- stderr ---
    error: no cattle goes by `bob`
    hint: `clawdlets cattle list --all` shows what there is
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "rex", "-o", "name"]), @r"
    exit: 0
    --- stdout ---
    rex
    --- stderr ---
    ");
    let document = fake
        .clawdlets(&["cattle", "destroy", "rex", "-o", "json"])
        .json();
    assert_eq!(document["items"][0]["specRemoved"], true);
}

#[test]
fn destroy_can_wait_until_the_server_is_gone() {
    let mut going = ended("rex", "Finishing", "destroyed");
    going["run"]["goneAt"] = json!(null);
    let fake = Fake::start()
        .on(
            "DELETE /v1/cattle/rex",
            json!({"name": "rex", "run": RUN, "changed": true, "specRemoved": true}),
        )
        .on(&format!("GET /v1/cattle/{RUN}"), going)
        .on(
            &format!("GET /v1/cattle/{RUN}"),
            ended("rex", "Canceled", "destroyed"),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "rex", "--wait"]), @r"
    exit: 0
    --- stdout ---
    rex: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends, spec removed
    --- stderr ---
    rex: Finishing (destroyed)
    rex: Canceled (destroyed) after 12m, 0.0060 EUR
    ");
}

#[test]
fn retry_says_what_each_waits_for_now() {
    let fake = Fake::start()
        .on(
            "POST /v1/cattle/rex/retry",
            json!({"name": "rex", "phase": "Provisioning"}),
        )
        .on(
            "POST /v1/cattle/max/retry",
            json!({"name": "max", "phase": "Pending", "reason": "max-instances", "message": "5 of 5 servers exist"}),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "retry", "rex", "max"]), @r"
    exit: 0
    --- stdout ---
    rex: Provisioning
    max: Pending max-instances: 5 of 5 servers exist
    --- stderr ---
    ");
}

#[test]
fn rerun_and_extend_send_keys_so_that_a_repeat_is_harmless() {
    let fake = Fake::start()
        .on(
            "POST /v1/cattle/rex/rerun",
            json!({"name": "rex", "phase": "Pending"}),
        )
        .on(
            "POST /v1/cattle/rex/extend",
            json!({"name": "rex", "run": RUN, "expiresAt": ago(-5_430)}),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "rerun", "rex"]), @r"
    exit: 0
    --- stdout ---
    rex runs again
    --- stderr ---
    ");
    let run = fake.clawdlets(&["cattle", "extend", "rex", "--by", "90m"]);
    assert!(run.stdout.starts_with("rex expires in 1h30m (20"), "{run}");
    let asked = fake.asked();
    assert_eq!(asked[1].body, r#"{"by":"90m"}"#);
    let keys: Vec<_> = asked
        .iter()
        .map(|one| one.headers.get("idempotency-key").unwrap())
        .collect();
    assert_eq!(keys[0].len(), 32);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_plan_is_actions_and_what_waits() {
    let fake = Fake::start().file("specs/rex.yaml", SPEC).on("POST /v1/plan", json!({
        "actions": [
            {"verb": "start", "cattle": "rex", "message": "new spec"},
            {"verb": "delete", "cattle": "ada", "run": RUN, "server": 4711, "message": "its run has ended"}
        ],
        "waiting": [
            {"cattle": "eve", "reason": "max-instances", "message": "4 of 4 servers exist", "queuePosition": 1}
        ],
        "spawn": {"servers": 3, "hourly": "0.0936", "currency": "EUR"}
    }));
    assert_snapshot!(fake.clawdlets(&["cattle", "plan", "-f", "specs"]), @r"
    exit: 0
    --- stdout ---
    ACTION  CATTLE  WHY
    start   rex     new spec
    delete  ada     its run has ended

    WAITING  REASON         PLACE  MESSAGE
    eve      max-instances  1      4 of 4 servers exist

    3 to spawn: +0.0936 EUR/h
    --- stderr ---
    ");
    let body: serde_json::Value = serde_json::from_slice(&fake.asked()[0].body).unwrap();
    assert_eq!(body, json!({"files": {"rex": SPEC}}));
    assert_snapshot!(fake.clawdlets(&["cattle", "plan", "-o", "name"]), @r"
    exit: 0
    --- stdout ---
    rex
    ada
    --- stderr ---
    ");
}

#[test]
fn an_empty_plan_has_nothing_to_do() {
    let fake = Fake::start()
        .on(
            "POST /v1/plan",
            json!({"actions": [], "waiting": [], "nextWake": ago(1)}),
        )
        // Half a minute of slack for a slow machine.
        .on(
            "POST /v1/plan",
            json!({"actions": [], "waiting": [], "nextWake": ago(-5_430)}),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "plan"]), @r"
    exit: 0
    --- stdout ---
    nothing to do
    --- stderr ---
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "plan"]), @r"
    exit: 0
    --- stdout ---
    nothing to do
    --- stderr ---
    next look in 1h30m
    ");
}

#[test]
fn reap_tells_each_server_and_fails_when_one_stays() {
    let server = |id: u64, deleted: bool| json!({"server": id, "name": format!("cattle-rex-{id}"), "expiredAt": ago(305), "deleted": deleted});
    let mut stuck = server(2, false);
    stuck["error"] = json!("the server is protected");
    let fake = Fake::start()
        .on(
            "POST /v1/reap",
            json!({"servers": [server(1, false)], "dryRun": true}),
        )
        .on(
            "POST /v1/reap",
            json!({"servers": [server(1, true), stuck]}),
        )
        .on(
            "POST /v1/reap",
            json!({"servers": [], "unreadable": ["an entry named `x\u{1b}[31m`: it has no id that can be read"]}),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "reap", "--dry-run"]), @r"
    exit: 0
    --- stdout ---
    SERVER  NAME          EXPIRED  OUTCOME
    1       cattle-rex-1  5m ago   would be deleted
    --- stderr ---
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "reap"]), @r"
    exit: 1
    --- stdout ---
    SERVER  NAME          EXPIRED  OUTCOME
    1       cattle-rex-1  5m ago   deleted
    2       cattle-rex-2  5m ago   the server is protected
    --- stderr ---
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "reap"]), @r"
    exit: 0
    --- stdout ---
    --- stderr ---
    warning: cannot be read: an entry named `x\u{1b}[31m`: it has no id that can be read
    no server is past its expiry
    ");
    assert_eq!(fake.asked()[0].body, r#"{"dryRun":true}"#);
}

#[test]
fn what_bots_may_not_do_is_said_to_be_for_operators() {
    let fake = Fake::start().on(
        "POST /v1/reap",
        Problem::new(ErrorCode::Forbidden, "`reap` is for operators"),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "reap"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: `reap` is for operators
    hint: operators are root, the controller's own user and members of group `clf-operators`
    ");
}

#[test]
fn a_plan_with_a_file_that_is_refused_fails_and_shows_it() {
    let fake = Fake::start().file("specs/rex.yaml", SPEC).on(
        "POST /v1/plan",
        json!({"actions": [], "waiting": [], "diagnostics": [
            {"path": "rex.yaml", "line": 4, "column": 12, "message": "persona `rex`: there is none"},
            {"path": "cattle/specs/other.yaml", "line": 1, "column": 1, "message": "not YAML"}
        ]}),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "plan", "-f", "specs"]), @r"
    exit: 1
    --- stdout ---
    nothing to do
    --- stderr ---
    error: persona `rex`: there is none
     --> specs/rex.yaml:4:12
      |
    4 |   persona: rex
      |            ^^^

    error: not YAML
    --> cattle/specs/other.yaml:1:1
    ");
    assert_eq!(fake.clawdlets(&["cattle", "plan"]).code, 0);
}

#[test]
fn an_extension_that_was_cut_short_says_so() {
    let fake = Fake::start().on(
        "POST /v1/cattle/rex/extend",
        json!({
            "name": "rex", "run": RUN, "expiresAt": ago(-5_430),
            "warnings": ["`limits.maxTtl` is 24h: it lives until then, not 100d longer"]
        }),
    );
    let run = fake.clawdlets(&["cattle", "extend", "rex", "--by", "100d"]);
    assert_eq!(run.code, 0, "{run}");
    assert_snapshot!(run.stderr, @"warning: rex: `limits.maxTtl` is 24h: it lives until then, not 100d longer");
}

#[test]
fn destroying_what_has_just_ended_waits_for_its_server() {
    let mut going = ended("rex", "Finishing", "completed");
    going["run"]["goneAt"] = json!(null);
    let fake = Fake::start()
        .on(
            "DELETE /v1/cattle/rex",
            json!({"name": "rex", "changed": true, "specRemoved": true}),
        )
        .on("GET /v1/cattle/rex", going.clone())
        .on(&format!("GET /v1/cattle/{RUN}"), going)
        .on(
            &format!("GET /v1/cattle/{RUN}"),
            ended("rex", "Succeeded", "completed"),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "rex", "--wait"]), @r"
    exit: 0
    --- stdout ---
    rex: its run was over already, spec removed
    --- stderr ---
    rex: Finishing (completed)
    rex: Succeeded (completed) after 12m, 0.0060 EUR
    ");
}

#[test]
fn destroy_says_how_long_it_waits_and_now_does_not_wait() {
    let fake = Fake::start()
        .on(
            "DELETE /v1/cattle/rex",
            json!({
                "name": "rex", "run": RUN, "changed": true, "specRemoved": true,
                "handOverUntil": "2026-01-05T10:00:20Z"
            }),
        )
        .on(
            "DELETE /v1/cattle/ada",
            json!({"name": "ada", "run": RUN, "changed": true, "specRemoved": true}),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "destroy", "rex"]), @r"
    exit: 0
    --- stdout ---
    rex: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends, its guest may hand over until 10:00:20 UTC, spec removed
    --- stderr ---
    ");
    fake.clawdlets(&["cattle", "destroy", "ada", "--now"]);
    assert_snapshot!(fake.lines(), @r"
    DELETE /v1/cattle/rex
    DELETE /v1/cattle/ada?now=true
    ");
}
