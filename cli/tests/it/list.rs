//! `list`, in all its forms.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, ended, event, list, pending, running};

fn fake() -> Fake {
    let mut broken = running("broken");
    broken["diagnostics"] = json!([
        {"path": "cattle/specs/broken.yaml", "line": 5, "column": 3, "message": "unknown field `presona`"}
    ]);
    let mut failed = ended("failed", "Failed", "task-failed");
    failed["run"]["createdAt"] = json!(crate::fake::ago(7_300));
    let mut all = list(&[running("rex"), pending("ada"), broken, failed]);
    all["controller"]["conditions"] = json!([
        {"type": "HetznerReachable", "status": true, "reason": "ok", "message": "listed"},
        {"type": "StartsPaused", "status": true, "reason": "lost-ledger", "message": "nothing is started until `resume`"}
    ]);
    all["diagnostics"] = json!([
        {"path": "cattle/specs/Bad Name.yaml", "line": 0, "column": 0, "message": "not a cattle name"}
    ]);
    Fake::start().on("GET /v1/cattle", all)
}

#[test]
fn people_get_columns_and_warnings() {
    assert_snapshot!(fake().clawdlets(&["cattle", "list"]), @r"
    exit: 0
    --- stdout ---
    NAME    PHASE    REASON                AGE  EXPIRES   PERSONA  TASK
    rex     Running  -                     12m  in 1h47m  rex      issue-42
    ada     Pending  max-instances #2      65s  -         -        -
    broken  Running  spec invalid, line 5  12m  in 1h47m  rex      issue-42
    failed  Failed   task-failed           2h   -         rex      issue-42
    --- stderr ---
    warning: StartsPaused: nothing is started until `resume`
    error: not a cattle name
    --> cattle/specs/Bad Name.yaml
    ");
}

#[test]
fn ages_and_expiries_are_by_the_controllers_clock_not_by_this_machines() {
    let day = 86_400;
    let mut rex = running("rex");
    rex["run"]["createdAt"] = json!(crate::fake::ago(750 - day));
    rex["run"]["expiresAt"] = json!(crate::fake::ago(-6_450 - day));
    let dated = Reply::Dated(day, Box::new(list(&[rex]).into()));
    let told = Fake::start().on("GET /v1/cattle", dated);
    assert_snapshot!(told.clawdlets(&["cattle", "list"]).stdout, @r"
    NAME  PHASE    REASON  AGE  EXPIRES   PERSONA  TASK
    rex   Running  -       12m  in 1h47m  rex      issue-42
    ");
}

#[test]
fn wide_adds_what_a_server_is() {
    assert_snapshot!(fake().clawdlets(&["cattle", "ls", "-o", "wide"]).stdout, @r"
    NAME    PHASE    REASON                AGE  EXPIRES   PERSONA  TASK      MODEL        RUN                         SERVER  TYPE  LOCATION  IP           COST        REQUESTER
    rex     Running  -                     12m  in 1h47m  rex      issue-42  zai/glm-4.7  01JD3KZ6W8Q4T2N7V5X9Y1B3CD  4711    cx23  nbg1      203.0.113.7  0.0060 EUR  uid:1000
    ada     Pending  max-instances #2      65s  -         -        -         -            -                           -       -     -         -            -           -
    broken  Running  spec invalid, line 5  12m  in 1h47m  rex      issue-42  zai/glm-4.7  01JD3KZ6W8Q4T2N7V5X9Y1B3CD  4711    cx23  nbg1      203.0.113.7  0.0060 EUR  uid:1000
    failed  Failed   task-failed           2h   -         rex      issue-42  zai/glm-4.7  01JD3KZ6W8Q4T2N7V5X9Y1B3CD  4711    cx23  nbg1      203.0.113.7  0.0060 EUR  uid:1000
    ");
}

#[test]
fn programs_get_the_apis_own_shape_and_names() {
    let fake = fake();
    let document = fake.clawdlets(&["cattle", "list", "-o", "json"]).json();
    assert_eq!(document["items"][0]["run"]["server"]["id"], 4711);
    assert_eq!(document["controller"]["fleet"], "demo");
    assert_snapshot!(fake.clawdlets(&["cattle", "list", "-o", "name"]), @r"
    exit: 0
    --- stdout ---
    rex
    ada
    broken
    failed
    --- stderr ---
    ");
    let yaml = fake.clawdlets(&["cattle", "list", "-o", "yaml"]).stdout;
    assert!(yaml.contains("name: rex\n"), "{yaml}");
}

#[test]
fn pages_are_one_list() {
    let mut first = list(&[running("a")]);
    first["next"] = json!("c1");
    let fake = Fake::start()
        .on("GET /v1/cattle", first)
        .on("GET /v1/cattle", list(&[running("b")]));
    let run = fake.clawdlets(&[
        "cattle",
        "list",
        "--all",
        "-l",
        "team=docs",
        "-l",
        "x=y",
        "-o",
        "name",
    ]);
    assert_snapshot!(run, @r"
    exit: 0
    --- stdout ---
    a
    b
    --- stderr ---
    ");
    assert_snapshot!(fake.lines(), @r"
    GET /v1/cattle?selector=team%3Ddocs%2Cx%3Dy&all=true
    GET /v1/cattle?selector=team%3Ddocs%2Cx%3Dy&all=true&cursor=c1
    ");
}

#[test]
fn every_kind_of_selector_is_for_the_controller_to_read_but_an_empty_one() {
    let fake = fake();
    fake.clawdlets(&["cattle", "list", "-l", "docs,!old", "-l", "team!=x"]);
    assert_snapshot!(fake.lines(), @"GET /v1/cattle?selector=docs%2C%21old%2Cteam%21%3Dx");
    assert_snapshot!(fake.clawdlets(&["cattle", "list", "-l", "docs,"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: `docs,` has an empty term
    hint: write `-l key=value`, `key!=value`, `key` or `!key`, joined with commas
    ");
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let fake = Fake::start().on("GET /v1/cattle", list(&[]));
    assert_snapshot!(fake.clawdlets(&["cattle", "list"]), @r"
    exit: 0
    --- stdout ---
    --- stderr ---
    no cattle
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "list", "-q"]), @r"
    exit: 0
    --- stdout ---
    --- stderr ---
    ");
}

#[test]
fn names_from_outside_cannot_draw_on_the_terminal() {
    let mut odd = running("rex");
    odd["run"]["server"]["name"] = json!("x");
    odd["requester"] = json!("uid:1\u{1b}[31m\u{202e}");
    let fake = Fake::start().on("GET /v1/cattle", list(&[odd]));
    let run = fake.clawdlets(&["cattle", "list", "-o", "wide"]);
    assert!(run.stdout.contains("uid:1\\u{1b}[31m\\u{202e}"), "{run}");
}

#[test]
fn a_watched_list_is_drawn_again_when_something_happens() {
    let fake = Fake::start()
        .on("GET /v1/cattle", list(&[pending("rex")]))
        .on("GET /v1/cattle", list(&[running("rex")]))
        .on(
            "GET /v1/events",
            Reply::Events(vec![event(9, "rex", "started", "the task begins")]),
        );
    let args = ["cattle", "list", "--watch", "-o", "json"];
    let mut child = fake
        .command(env!("CARGO_BIN_EXE_clawdlets"), &args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let phases: Vec<Value> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .take(2)
        .map(|line| {
            let list: Value = serde_json::from_str(&line.unwrap()).unwrap();
            list["items"][0]["phase"].clone()
        })
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(phases, ["Pending", "Running"]);
}

#[test]
fn a_watched_list_outlasts_a_restart_of_its_controller() {
    let fake = Fake::start()
        .on("GET /v1/cattle", list(&[pending("rex")]))
        .on("GET /v1/cattle", Reply::Cut)
        .on("GET /v1/cattle", list(&[running("rex")]))
        .on(
            "GET /v1/events",
            Reply::Events(vec![event(9, "rex", "started", "the task begins")]),
        );
    let args = ["cattle", "list", "--watch", "-o", "json", "-q"];
    let mut child = fake
        .command(env!("CARGO_BIN_EXE_clawdlets"), &args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let drawn: Vec<String> = lines.take(2).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(drawn.len(), 2, "it ended with its controller");
    assert!(drawn[1].contains("Running"), "{drawn:?}");
}

fn with_calls(remaining: u32) -> Fake {
    let mut all = list(&[pending("ada")]);
    all["controller"]["calls"] = json!({
        "limit": 3600, "remaining": remaining, "reserve": 360, "usedLastHour": 188, "othersLastHour": 12
    });
    Fake::start().on("GET /v1/cattle", all)
}

#[test]
fn wide_ends_with_what_the_rate_limit_has_left() {
    let fake = with_calls(3412);
    assert_snapshot!(fake.clawdlets(&["cattle", "list", "-o", "wide"]).stderr, @"Hetzner's rate limit: 3412 of 3600 calls left, 360 of them kept for deletes; last hour: 188 by this controller, 12 by others");
    assert_eq!(fake.clawdlets(&["cattle", "list"]).stderr, "");
}

#[test]
fn every_list_warns_while_only_deletes_may_call() {
    assert_snapshot!(with_calls(360).clawdlets(&["cattle", "list"]).stderr, @"warning: Hetzner's rate limit has 360 of 3600 calls left, and 360 are kept for deletes: nothing starts until there are more (last hour: 188 by this controller, 12 by others)");
    assert_eq!(with_calls(361).clawdlets(&["cattle", "list"]).stderr, "");
}
