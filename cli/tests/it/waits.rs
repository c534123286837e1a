//! `wait`: how it ends, and with which code.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Fake, Reply, ago, ended, event, pending, running};

#[test]
fn success_is_zero_and_every_other_end_is_four() {
    let fake = Fake::start()
        .on(
            "GET /v1/cattle/good",
            ended("good", "Succeeded", "completed"),
        )
        // Later, so that the order of what is told is known.
        .on(
            "GET /v1/cattle/bad",
            Reply::After(
                Duration::from_millis(500),
                Box::new(ended("bad", "Failed", "ttl-expired").into()),
            ),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "good"]), @r"
    exit: 0
    --- stdout ---
    good Succeeded (completed)
    --- stderr ---
    good: Succeeded (completed) after 12m, 0.0060 EUR
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "good", "bad"]), @r"
    exit: 4
    --- stdout ---
    good Succeeded (completed)
    bad Failed (ttl-expired)
    --- stderr ---
    good: Succeeded (completed) after 12m, 0.0060 EUR
    bad: Failed (ttl-expired) after 12m, 0.0060 EUR
    ");
}

#[test]
fn a_wait_that_takes_too_long_is_five_and_the_cattle_goes_on() {
    let fake = Fake::start().on(
        "GET /v1/cattle/rex",
        Reply::After(Duration::from_millis(400), Box::new(running("rex").into())),
    );
    let began = Instant::now();
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "rex", "--timeout", "1s"]), @r"
    exit: 5
    --- stdout ---
    --- stderr ---
    rex: Running
    error: `rex` is not over yet; it goes on
    ");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_snapshot!(fake.lines().lines().next().unwrap(), @"GET /v1/cattle/rex?waitFor=ended&timeoutSeconds=1");
}

#[test]
fn running_holds_when_the_guest_has_reported() {
    let fake = Fake::start()
        .on("GET /v1/cattle/rex", pending("rex"))
        .on("GET /v1/cattle/rex", running("rex"));
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "rex", "--for", "running", "-o", "name"]), @r"
    exit: 0
    --- stdout ---
    rex
    --- stderr ---
    rex: Pending (max-instances): 4 of 4 servers exist
    rex: Running after 12m, 0.0060 EUR
    ");
}

#[test]
fn a_cattle_that_never_ran_fails_a_wait_for_running() {
    let mut status = pending("rex");
    status["phase"] = json!("Failed");
    status["reason"] = json!("not-started");
    let fake = Fake::start().on("GET /v1/cattle/rex", status);
    let run = fake.clawdlets(&["cattle", "wait", "rex", "--for", "running"]);
    assert_eq!(run.code, 4, "{run}");
}

#[test]
fn gone_is_gone_whatever_became_of_the_task() {
    let fake = Fake::start().on("GET /v1/cattle/rex", ended("rex", "Canceled", "destroyed"));
    let run = fake.clawdlets(&["cattle", "wait", "rex", "--for", "gone"]);
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn what_happens_meanwhile_is_told_but_not_what_happened_before() {
    let mut now = event(9, "rex", "started", "the task begins\u{1b}[2J");
    now["time"] = json!(crate::fake::ago(-60));
    let fake = Fake::start()
        .on(
            "GET /v1/cattle/rex/events",
            Reply::Events(vec![event(7, "rex", "created", "long ago"), now]),
        )
        .on(
            "GET /v1/cattle/rex",
            Reply::After(
                Duration::from_millis(1_500),
                Box::new(ended("rex", "Succeeded", "completed").into()),
            ),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "rex"]), @r"
    exit: 0
    --- stdout ---
    rex Succeeded (completed)
    --- stderr ---
    rex: the task begins\u{1b}[2J
    rex: Succeeded (completed) after 12m, 0.0060 EUR
    ");
    let quiet = fake.clawdlets(&["cattle", "wait", "rex", "-q"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_controller_that_is_away_for_a_moment_ends_no_wait() {
    let fake = Fake::start()
        .on("GET /v1/cattle/rex", Reply::Cut)
        .on("GET /v1/cattle/rex", ended("rex", "Succeeded", "completed"));
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "rex"]), @r"
    exit: 0
    --- stdout ---
    rex Succeeded (completed)
    --- stderr ---
    rex: the controller is away; waiting for it
    rex: Succeeded (completed) after 12m, 0.0060 EUR
    ");
}

#[test]
fn a_run_that_was_named_is_waited_for_although_another_has_begun() {
    let mut status = pending("rex");
    status["earlierRuns"] = json!([ended("rex", "Failed", "task-failed")["run"]]);
    let fake = Fake::start().on("GET /v1/cattle/01jd3kz", status);
    assert_snapshot!(fake.clawdlets(&["cattle", "wait", "01jd3kz"]), @r"
    exit: 4
    --- stdout ---
    rex Failed (task-failed)
    --- stderr ---
    rex: Failed (task-failed) after 12m, 0.0060 EUR
    ");
}

#[test]
fn of_several_that_are_waited_for_no_other_is_told() {
    let told = |id, cattle| {
        let mut event = event(id, cattle, "started", "the task begins");
        event["time"] = json!(ago(-60));
        event
    };
    let over = |name| {
        let ended = ended(name, "Succeeded", "completed");
        Reply::After(Duration::from_millis(500), Box::new(ended.into()))
    };
    let fake = Fake::start()
        .on("GET /v1/cattle/rex", over("rex"))
        .on("GET /v1/cattle/ada", over("ada"))
        .on(
            "GET /v1/events",
            Reply::Events(vec![told(8, "eve"), told(9, "ada")]),
        );
    let run = fake.clawdlets(&["cattle", "wait", "rex", "ada"]);
    assert!(run.stderr.contains("ada: the task begins\n"), "{run}");
    assert!(!run.stderr.contains("eve"), "{run}");
}
