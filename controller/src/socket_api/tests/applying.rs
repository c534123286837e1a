//! `PUT /v1/cattle/{name}` and `POST /v1/plan`.

use std::sync::atomic::Ordering;

use reqwest::Method;
use serde_json::json;

use super::harness::{Answer, Controller, SPEC};

#[tokio::test]
async fn a_spec_is_created_configured_replaced_and_unchanged() {
    let controller = Controller::new().await;
    let created = controller.put("/v1/cattle/fix", SPEC).await.ok();
    assert_eq!(created["change"], "created");
    assert_eq!(created["phase"], "Pending");
    assert_eq!(created["run"], json!(null));
    let run = controller.begin("fix").await;

    let again = controller.put("/v1/cattle/fix", SPEC).await.ok();
    assert_eq!(again["change"], "unchanged");
    assert_eq!(again["run"], run.to_string());
    assert_eq!(again["phase"], "Running");

    let longer = controller
        .put("/v1/cattle/fix", &SPEC.replace("2h", "3h"))
        .await
        .ok();
    assert_eq!(longer["change"], "configured");
    insta::assert_json_snapshot!(longer["warnings"], @r#"
    [
      "the run expires at 2026-01-10 15:00:00 UTC"
    ]
    "#);

    let other = controller
        .put("/v1/cattle/fix", &SPEC.replace("flaky", "slow"))
        .await
        .ok();
    assert_eq!(other["change"], "replaced");
    let warning = other["warnings"][0].as_str().unwrap();
    assert_eq!(
        warning,
        format!("run {run} ends, and with it its running task")
    );
}

#[tokio::test]
async fn a_comment_changes_nothing_and_is_not_written() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let commented = format!("# a remark\n{SPEC}");
    assert_eq!(
        controller.put("/v1/cattle/fix", &commented).await.ok()["change"],
        "unchanged"
    );
    let files = controller.files.files.lock().unwrap();
    assert_eq!(files[&"fix".parse().unwrap()], SPEC.as_bytes());
}

#[tokio::test]
async fn every_error_of_a_spec_is_told_with_its_place() {
    let controller = Controller::new().await;
    let spec = SPEC.replace("persona:", "presona:").replace("2h", "soon");
    let problem = controller
        .put("/v1/cattle/fix", &spec)
        .await
        .problem(422, "spec-invalid");
    insta::assert_json_snapshot!(problem["errors"], @r#"
    [
      {
        "column": 3,
        "hint": "did you mean `persona`?",
        "line": 6,
        "message": "unknown field `presona` in `spec`",
        "path": "fix.yaml"
      },
      {
        "column": 8,
        "line": 8,
        "message": "`spec.ttl`: `soon` is not a duration: write a number and one of s, m, h, d, as in `90m`",
        "path": "fix.yaml"
      }
    ]
    "#);
    assert!(controller.files.files.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_task_file_is_refused_with_the_way_out() {
    let controller = Controller::new().await;
    let spec = SPEC.replace(
        "task: { message: Fix the flaky test }",
        "taskFile: ../../etc/passwd",
    );
    let problem = controller
        .put("/v1/cattle/fix", &spec)
        .await
        .problem(422, "spec-invalid");
    assert_eq!(
        problem["errors"][0]["hint"],
        "write the task inline as `task`"
    );
    assert_eq!(problem["errors"][0]["line"], 7);
}

#[tokio::test]
async fn a_spec_that_is_too_long_or_no_name_is_refused() {
    let controller = Controller::new().await;
    let long = format!("{SPEC}# {}", "x".repeat(256 * 1024));
    controller
        .put("/v1/cattle/fix", &long)
        .await
        .problem(413, "too-large");
    controller
        .put("/v1/cattle/Fix_Me", SPEC)
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn if_match_refuses_a_change_of_what_somebody_else_changed() {
    let controller = Controller::new().await;
    let put = |spec: String, version: &str| {
        let request = controller.request(Method::PUT, "/v1/cattle/fix");
        Answer::of(request.header("If-Match", version).body(spec))
    };
    put(SPEC.to_owned(), "*")
        .await
        .problem(412, "precondition-failed");
    let first = controller.put("/v1/cattle/fix", SPEC).await.header("etag");
    let read = controller.get("/v1/cattle/fix").await;
    assert_eq!(read.header("etag"), first, "reading tells the same version");
    let second = put(SPEC.replace("2h", "3h"), &first).await;
    assert_eq!(second.status, 200, "{}", second.text);
    assert_ne!(second.header("etag"), first);
    put(SPEC.replace("2h", "4h"), &first)
        .await
        .problem(412, "precondition-failed");
}

#[tokio::test]
async fn create_only_refuses_a_name_that_is_there() {
    let controller = Controller::new().await;
    let target = "/v1/cattle/fix?createOnly=true";
    assert_eq!(controller.put(target, SPEC).await.ok()["change"], "created");
    controller
        .put(target, SPEC)
        .await
        .problem(409, "name-taken");
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let controller = Controller::new().await;
    let reply = controller
        .put("/v1/cattle/fix?dryRun=true", SPEC)
        .await
        .ok();
    assert_eq!(
        (&reply["change"], &reply["dryRun"]),
        (&json!("created"), &json!(true))
    );
    assert_eq!(reply["phase"], "Pending");
    assert!(controller.files.files.lock().unwrap().is_empty());
    controller
        .get("/v1/cattle/fix")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_spec_that_would_wait_is_refused_on_request() {
    let controller = Controller::new().await;
    for name in ["a", "b", "c"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
        controller.begin(name).await;
    }
    let target = "/v1/cattle/d?refuseAtLimit=true";
    let problem = controller
        .put(target, SPEC)
        .await
        .problem(409, "limit-reached");
    assert_eq!(problem["retryable"], true);
    assert!(
        !controller
            .files
            .files
            .lock()
            .unwrap()
            .contains_key(&"d".parse().unwrap())
    );
    assert_eq!(
        controller.put("/v1/cattle/d", SPEC).await.ok()["change"],
        "created"
    );
    assert_eq!(
        controller.get("/v1/cattle/d").await.ok()["reason"],
        "max-instances"
    );
}

#[tokio::test]
async fn of_two_that_want_the_last_place_one_is_refused() {
    let controller = Controller::new().await;
    for name in ["a", "b"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
        controller.begin(name).await;
    }
    let (first, second) = tokio::join!(
        controller.put("/v1/cattle/c?refuseAtLimit=true", SPEC),
        controller.put("/v1/cattle/d?refuseAtLimit=true", SPEC),
    );
    let mut answers = [first.status, second.status];
    answers.sort_unstable();
    assert_eq!(answers, [200, 409]);
}

#[tokio::test]
async fn a_name_of_another_directory_is_taken() {
    let controller = Controller::new().await;
    controller.drop_file("fix", SPEC).await;
    let other = SPEC.replace("message: ", "message: not ");
    assert_ne!(other, SPEC);
    let problem = controller
        .put("/v1/cattle/fix", &other)
        .await
        .problem(409, "name-taken");
    assert_eq!(
        problem["detail"],
        "`fix` is defined by /srv/specs/fix.yaml; change it there"
    );
    controller.become_bot(1001);
    let problem = controller
        .put("/v1/cattle/fix", SPEC)
        .await
        .problem(409, "name-taken");
    assert_eq!(problem["detail"], "`fix` is taken; choose another name");
}

#[tokio::test]
async fn what_another_directory_says_already_is_unchanged_for_an_operator() {
    let controller = Controller::new().await;
    controller.drop_file("fix", SPEC).await;
    let reply = controller.put("/v1/cattle/fix", SPEC).await.ok();
    assert_eq!(reply["change"], "unchanged");
    controller
        .put("/v1/cattle/fix?createOnly=true", SPEC)
        .await
        .problem(409, "name-taken");
}

#[tokio::test]
async fn what_ended_stays_ended_when_it_is_applied_again() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    controller.finish(run, json!(1)).await;
    let reply = controller.put("/v1/cattle/fix", SPEC).await.ok();
    assert_eq!(
        (&reply["change"], &reply["phase"]),
        (&json!("unchanged"), &json!("Succeeded"))
    );
    assert_eq!(
        reply["warnings"][0],
        "ended as completed; `rerun` starts it again"
    );
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_spec_and_its_owner() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    controller.files.full.store(true, Ordering::SeqCst);
    controller.become_operator();
    let answer = controller
        .put("/v1/cattle/fix", &SPEC.replace("2h", "3h"))
        .await;
    answer.problem(507, "storage-full");
    controller.become_bot(1001);
    assert_eq!(
        controller.get("/v1/cattle/fix").await.ok()["spec"]["ttl"],
        "2h"
    );
}

#[tokio::test]
async fn an_operator_who_changes_a_bots_spec_is_told_so() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    controller.become_operator();
    let reply = controller
        .put("/v1/cattle/fix", &SPEC.replace("2h", "3h"))
        .await
        .ok();
    assert_eq!(reply["warnings"][0], "taken over from uid:1001");
    controller.become_bot(1001);
    controller
        .put("/v1/cattle/fix", SPEC)
        .await
        .problem(409, "name-taken");
}

#[tokio::test]
async fn a_plan_says_what_would_happen_and_changes_nothing() {
    let controller = Controller::new().await;
    let broken = SPEC.replace("persona:", "presona:");
    let files = json!({ "files": { "fix": SPEC, "broken": broken, "No": SPEC } });
    let plan = controller.post("/v1/plan", files).await.ok();
    let lines: Vec<String> = plan["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| format!("{} {}", action["verb"], action["cattle"]))
        .collect();
    assert_eq!(lines, [r#""enqueue" "fix""#, r#""start" "fix""#]);
    assert_eq!(plan["waiting"][0]["reason"], "spec-invalid");
    let paths: Vec<&str> = plan["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["path"].as_str().unwrap())
        .collect();
    assert!(
        paths.contains(&"broken.yaml") && paths.contains(&"No.yaml"),
        "{paths:?}"
    );
    assert!(controller.files.files.lock().unwrap().is_empty());
    let empty = Answer::of(controller.request(Method::POST, "/v1/plan"))
        .await
        .ok();
    assert_eq!(empty["actions"], json!([]));
}

#[tokio::test]
async fn nothing_is_applied_before_the_first_pass() {
    let controller = Controller::before_its_first_pass();
    let problem = controller
        .put("/v1/cattle/fix", SPEC)
        .await
        .problem(503, "unavailable");
    assert_eq!(problem["retryAfterSeconds"], 1);
    controller.get("/readyz").await.problem(503, "unavailable");
    assert_eq!(controller.get("/healthz").await.text, "ok\n");
    controller.pass().await;
    assert_eq!(controller.get("/readyz").await.ok()["fleet"], "test");
}
