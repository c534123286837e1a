//! `clf jobs …`

use std::time::Duration;

use cattle_schemas::problem::{ErrorCode, Problem};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::fake::{Fake, RUN, Reply, ago};

const JOB: &str = "01JD3KZ6W8Q4T2N7V5X9Y1B3J0";

fn job(state: &str) -> Value {
    json!({
        "id": JOB, "kind": "cattle.spawn", "state": state, "requester": "uid:1000",
        "createdAt": ago(305), "cattle": "rex-abc123", "run": RUN
    })
}

fn result(reason: &str) -> Value {
    json!({"name": "rex-abc123", "run": RUN, "endReason": reason, "exitCode": 0, "result": {"summary": "ok"}})
}

const SPAWN: [&str; 7] = [
    "jobs",
    "enqueue",
    "cattle.spawn",
    "--persona",
    "rex",
    "--message",
    "Fix it",
];

#[test]
fn enqueue_prints_the_jobs_id_alone() {
    let fake = Fake::start().on("POST /v1/jobs", job("queued"));
    let run = fake.clf(&[&SPAWN[..], &["--name", "rex-abc123", "--queue"]].concat());
    assert_snapshot!(run, @r"
    exit: 0
    --- stdout ---
    01JD3KZ6W8Q4T2N7V5X9Y1B3J0
    --- stderr ---
    job 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 queued, cattle rex-abc123
    ");
    let asked = &fake.asked()[0];
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(body["kind"], "cattle.spawn");
    assert_eq!(body["name"], "rex-abc123");
    assert_eq!(body["file"]["spec"]["task"]["message"], "Fix it");
    assert_eq!(body["queue"], true);
    assert!(asked.headers.contains_key("idempotency-key"));
}

#[test]
fn enqueue_waits_and_ends_as_its_cattle_ended() {
    let fake = Fake::start()
        .on("POST /v1/jobs", job("queued"))
        .on(&format!("GET /v1/jobs/{JOB}"), job("running"))
        .on(&format!("GET /v1/jobs/{JOB}"), job("done"))
        .on(&format!("GET /v1/cattle/{RUN}/result"), result("completed"));
    assert_snapshot!(fake.clf(&[&SPAWN[..], &["--wait"]].concat()), @r#"
    exit: 0
    --- stdout ---
    01JD3KZ6W8Q4T2N7V5X9Y1B3J0
    {
      "summary": "ok"
    }
    --- stderr ---
    job 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 queued, cattle rex-abc123
    job 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 running
    job 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 done
    "#);
}

#[test]
fn a_full_fleet_refuses_with_six() {
    let fake = Fake::start().on(
        "POST /v1/jobs",
        Problem::new(ErrorCode::LimitReached, "4 of 4 servers exist"),
    );
    let run = fake.clf(&SPAWN);
    assert_eq!(run.code, 6, "{run}");
    assert_eq!(run.stdout, "");
}

#[test]
fn jobs_are_listed_and_shown() {
    let mut failed = job("failed");
    failed["endReason"] = json!("ttl-expired");
    failed["message"] = json!("its time was up");
    let fake = Fake::start()
        .on("GET /v1/jobs", json!({"items": [job("running"), failed]}))
        .on(&format!("GET /v1/jobs/{JOB}"), job("running"));
    assert_snapshot!(fake.clf(&["jobs", "list"]), @r"
    exit: 0
    --- stdout ---
    ID                          KIND          STATE    CATTLE      REASON       AGE  MESSAGE
    01JD3KZ6W8Q4T2N7V5X9Y1B3J0  cattle.spawn  running  rex-abc123  -            5m   -
    01JD3KZ6W8Q4T2N7V5X9Y1B3J0  cattle.spawn  failed   rex-abc123  ttl-expired  5m   its time was up
    --- stderr ---
    ");
    assert_snapshot!(fake.clf(&["jobs", "ls", "-o", "name"]), @r"
    exit: 0
    --- stdout ---
    01JD3KZ6W8Q4T2N7V5X9Y1B3J0
    01JD3KZ6W8Q4T2N7V5X9Y1B3J0
    --- stderr ---
    ");
    assert_eq!(
        fake.clf(&["jobs", "list", "-o", "json"]).json()["items"][1]["endReason"],
        "ttl-expired"
    );
    assert_eq!(
        fake.clf(&["jobs", "show", JOB, "-o", "json"]).json()["state"],
        "running"
    );
}

#[test]
fn a_failed_job_is_four_and_a_slow_one_five() {
    let fake = Fake::start().on(&format!("GET /v1/jobs/{JOB}"), job("failed"));
    let run = fake.clf(&["jobs", "wait", JOB]);
    assert_eq!(run.code, 4, "{run}");
    let fake = Fake::start().on(
        &format!("GET /v1/jobs/{JOB}"),
        Reply::After(Duration::from_millis(400), Box::new(job("running").into())),
    );
    assert_snapshot!(fake.clf(&["jobs", "wait", JOB, "--timeout", "1s"]), @r"
    exit: 5
    --- stdout ---
    --- stderr ---
    job 01JD3KZ6W8Q4T2N7V5X9Y1B3J0 running
    error: job `01JD3KZ6W8Q4T2N7V5X9Y1B3J0` is not over yet; it goes on
    ");
}

#[test]
fn log_and_result_are_those_of_the_jobs_run() {
    let fake = Fake::start()
        .on(&format!("GET /v1/jobs/{JOB}"), job("done"))
        .on(
            "GET /v1/cattle/rex-abc123/logs",
            Reply::Chunks(vec![b"\x1b[2Jhello\n"]),
        )
        .on(&format!("GET /v1/cattle/{RUN}/result"), result("completed"));
    assert_snapshot!(fake.clf(&["jobs", "logs", JOB]), @r"
    exit: 0
    --- stdout ---
    \u{1b}[2Jhello
    --- stderr ---
    ");
    assert_snapshot!(fake.clf(&["jobs", "result", JOB]), @r#"
    exit: 0
    --- stdout ---
    {
      "summary": "ok"
    }
    --- stderr ---
    "#);
    assert_snapshot!(fake.lines(), @r"
    GET /v1/jobs/01JD3KZ6W8Q4T2N7V5X9Y1B3J0
    GET /v1/cattle/rex-abc123/logs?run=01JD3KZ6W8Q4T2N7V5X9Y1B3CD
    GET /v1/jobs/01JD3KZ6W8Q4T2N7V5X9Y1B3J0
    GET /v1/cattle/01JD3KZ6W8Q4T2N7V5X9Y1B3CD/result
    ");
}

#[test]
fn a_job_without_a_cattle_has_no_log() {
    let mut reap = job("done");
    reap["kind"] = json!("cattle.reap");
    reap["cattle"] = json!(null);
    let fake = Fake::start().on(&format!("GET /v1/jobs/{JOB}"), reap);
    assert_snapshot!(fake.clf(&["jobs", "logs", JOB]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: job `01JD3KZ6W8Q4T2N7V5X9Y1B3J0` (cattle.reap) has no cattle, so there is neither log nor result
    ");
}

#[test]
fn cancel_tells_the_jobs_state() {
    let fake = Fake::start().on(&format!("POST /v1/jobs/{JOB}/cancel"), job("canceled"));
    assert_eq!(
        fake.clf(&["jobs", "cancel", JOB, "-o", "json"]).json()["state"],
        "canceled"
    );
}

#[test]
fn a_job_that_is_not_there_is_looked_for_among_jobs() {
    let fake = Fake::start().on(
        "GET /v1/jobs/01",
        Problem::new(ErrorCode::NotFound, "no job goes by `01`"),
    );
    assert_snapshot!(fake.clf(&["jobs", "show", "01"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: no job goes by `01`
    hint: `clf jobs list` shows your jobs
    ");
}
