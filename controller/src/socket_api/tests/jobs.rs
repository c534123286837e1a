//! Jobs, and keys that make repeating harmless.

use std::sync::atomic::Ordering;

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::{Answer, Controller, SPEC};

fn spawn() -> Value {
    json!({
        "kind": "cattle.spawn",
        "file": {
            "apiVersion": "clawdlets.dev/v1",
            "kind": "Cattle",
            "spec": { "persona": "rex", "task": { "message": "Fix it" } },
        },
    })
}

async fn keyed(controller: &Controller, path: &str, key: &str, body: &Value) -> Answer {
    let request = controller
        .request(Method::POST, path)
        .header("Idempotency-Key", key);
    Answer::of(request.json(body)).await
}

#[tokio::test]
async fn a_spawn_job_ends_as_its_cattle_ends() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    let job = controller.post("/v1/jobs", spawn()).await.ok();
    assert_eq!(
        (&job["state"], &job["requester"]),
        (&json!("queued"), &json!("uid:1001"))
    );
    let name = job["cattle"].as_str().unwrap().to_owned();
    assert!(name.starts_with("rex-") && name.len() == 10, "{name}");
    let target = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let run = controller.begin(&name).await;
    assert_eq!(controller.get(&target).await.ok()["state"], "running");
    let waited = format!("{target}?waitFor=ended&timeoutSeconds=60");
    let (done, ()) = tokio::join!(controller.get(&waited), controller.finish(run, json!(1)));
    let done = done.ok();
    assert_eq!(
        (&done["state"], &done["endReason"]),
        (&json!("done"), &json!("completed"))
    );
    // A second try of the cattle is not this job's.
    controller
        .post(&format!("/v1/cattle/{name}/rerun"), json!({}))
        .await
        .ok();
    assert_eq!(controller.get(&target).await.ok()["state"], "done");
}

#[tokio::test]
async fn canceling_a_job_ends_its_cattle() {
    let controller = Controller::new().await;
    let job = controller.post("/v1/jobs", spawn()).await.ok();
    let run = controller.begin(job["cattle"].as_str().unwrap()).await;
    let target = format!("/v1/jobs/{}/cancel", job["id"].as_str().unwrap());
    assert_eq!(
        controller.post(&target, json!({})).await.ok()["state"],
        "canceled"
    );
    assert!(!controller.run(run).await.is_live());
    assert_eq!(
        controller.post(&target, json!({})).await.ok()["state"],
        "canceled"
    );
}

#[tokio::test]
async fn a_job_that_comes_to_nothing_is_recorded_as_failed() {
    let controller = Controller::new().await;
    let mut wrong = spawn();
    wrong["file"]["spec"]["persona"] = json!("nobody");
    controller
        .post("/v1/jobs", wrong)
        .await
        .problem(422, "spec-invalid");
    let listed = controller.get("/v1/jobs").await.ok();
    assert_eq!(listed["items"][0]["state"], "failed");
    assert!(
        listed["items"][0]["message"]
            .as_str()
            .unwrap()
            .contains("nobody")
    );
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages_and_each_bot_sees_its_own() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    let mut ids = Vec::new();
    for _ in 0..3 {
        controller.wait(1);
        let job = controller.post("/v1/jobs", spawn()).await.ok();
        ids.insert(0, job["id"].clone());
    }
    let first = controller.get("/v1/jobs?limit=2").await.ok();
    assert_eq!(
        [&first["items"][0]["id"], &first["items"][1]["id"]],
        [&ids[0], &ids[1]]
    );
    let next = first["next"].as_str().unwrap();
    let second = controller
        .get(&format!("/v1/jobs?limit=2&cursor={next}"))
        .await
        .ok();
    assert_eq!(second["items"][0]["id"], ids[2]);
    assert_eq!(second["next"], json!(null));
    controller.become_bot(1002);
    assert_eq!(controller.get("/v1/jobs").await.ok()["items"], json!([]));
    let others = format!("/v1/jobs/{}", ids[0].as_str().unwrap());
    controller.get(&others).await.problem(404, "not-found");
    controller
        .post(&format!("{others}/cancel"), json!({}))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_key_is_carried_out_once_and_belongs_to_its_user() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    let first = keyed(&controller, "/v1/jobs", "k1", &spawn()).await.ok();
    let again = keyed(&controller, "/v1/jobs", "k1", &spawn()).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.ok(), first);
    assert_eq!(controller.files.files.lock().unwrap().len(), 1);
    let mut other = spawn();
    other["queue"] = json!(true);
    keyed(&controller, "/v1/jobs", "k1", &other)
        .await
        .problem(409, "idempotency-conflict");
    controller.become_bot(1002);
    let theirs = keyed(&controller, "/v1/jobs", "k1", &spawn()).await.ok();
    assert_ne!(theirs["id"], first["id"]);
    keyed(&controller, "/v1/jobs", "", &spawn())
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_refusal_is_remembered_too_but_what_may_pass_is_not() {
    let controller = Controller::new().await;
    let path = "/v1/cattle/nobody/rerun";
    let first = keyed(&controller, path, "k", &json!({})).await;
    let first = first.problem(404, "not-found");
    assert_eq!(
        keyed(&controller, path, "k", &json!({}))
            .await
            .problem(404, "not-found"),
        first
    );
}

#[tokio::test]
async fn a_reap_is_recorded_and_a_dry_one_deletes_nothing() {
    let controller = Controller::new().await;
    let dry = controller
        .post("/v1/reap", json!({ "dryRun": true }))
        .await
        .ok();
    assert_eq!(
        (&dry["dryRun"], &dry["servers"][0]["deleted"]),
        (&json!(true), &json!(false))
    );
    let job = keyed(
        &controller,
        "/v1/jobs",
        "r",
        &json!({ "kind": "cattle.reap" }),
    )
    .await
    .ok();
    assert_eq!(job["message"], "1 of 1 expired servers deleted");
    keyed(
        &controller,
        "/v1/jobs",
        "r",
        &json!({ "kind": "cattle.reap" }),
    )
    .await
    .ok();
    assert_eq!(
        controller.reaper.0.load(Ordering::SeqCst),
        2,
        "the repetition was answered"
    );
    let resumed = controller.post("/v1/resume", json!({})).await.ok();
    assert_eq!(resumed["message"], "nothing is paused");
    let stale = json!({ "digest": "abc" });
    controller
        .post("/v1/resume", stale)
        .await
        .problem(409, "changed");
}

#[tokio::test]
async fn a_job_shows_nothing_of_who_took_its_name_over() {
    let controller = Controller::new().await;
    // One that never started, and one whose own run ended before.
    for own_run in [false, true] {
        let name = if own_run { "ran" } else { "waited" };
        controller.become_bot(1001);
        let mut ask = spawn();
        ask["name"] = json!(name);
        let job = controller.post("/v1/jobs", ask).await.ok();
        let target = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        let own = match own_run {
            true => {
                let run = controller.begin(name).await;
                controller.finish(run, json!(1)).await;
                controller.gone(run).await;
                Some(run)
            }
            false => None,
        };
        controller.become_operator();
        controller.wait(1);
        let theirs = SPEC.replace("Fix it", "An operator's own business");
        controller
            .put(&format!("/v1/cattle/{name}"), &theirs)
            .await
            .ok();
        let run = controller.begin(name).await.to_string();
        for path in [target.as_str(), "/v1/jobs"] {
            controller.become_bot(1001);
            let shown = controller.get(path).await.ok().to_string();
            assert!(!shown.contains(&run), "{name}: {shown}");
        }
        let shown = controller.get(&target).await.ok();
        assert_eq!(
            shown["run"],
            json!(own.map(|run| run.to_string())),
            "{shown}"
        );
        let state = if own_run { "done" } else { "canceled" };
        assert_eq!(shown["state"], state, "{shown}");
        let logs = format!("/v1/cattle/{run}/logs");
        controller.get(&logs).await.problem(404, "not-found");
    }
}
