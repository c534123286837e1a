//! What is not a bot's does not exist for it.

use cattle_core::{
    cost::{Price, ServerPrice},
    names::RunId,
};
use reqwest::Method;
use serde_json::json;

use super::harness::{Answer, Controller, SPEC, start};
use crate::store::{Edit, Store};

#[tokio::test]
async fn a_bot_sees_and_changes_only_its_own() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/mine", SPEC).await.ok();
    let run = controller.begin("mine").await;
    controller.become_bot(1002);
    let listed = controller.get("/v1/cattle?all=true").await.ok();
    assert_eq!(listed["items"], json!([]));
    let id = run.to_string();
    for target in [
        "mine",
        &id,
        &id[..12],
        "100",
        &format!("cattle-mine-{}", run.suffix()),
    ] {
        for (method, rest) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::GET, "/logs"),
            (Method::GET, "/result"),
            (Method::GET, "/events"),
            (Method::POST, "/rerun"),
            (Method::POST, "/retry"),
        ] {
            let path = format!("/v1/cattle/{target}{rest}");
            let answer = Answer::of(controller.request(method, &path)).await;
            let problem = answer.problem(404, "not-found");
            let never_was = controller
                .get("/v1/cattle/never-was")
                .await
                .problem(404, "not-found");
            let told = problem["detail"].as_str().unwrap().replace(target, "X");
            let unknown = never_was["detail"]
                .as_str()
                .unwrap()
                .replace("never-was", "X");
            assert_eq!(told, unknown, "no difference to what never was");
        }
        let path = format!("/v1/cattle/{target}/extend");
        controller
            .post(&path, json!({ "by": "1h" }))
            .await
            .problem(404, "not-found");
    }
    assert!(controller.run(run).await.is_live());
    let taken = controller
        .put("/v1/cattle/mine", SPEC)
        .await
        .problem(409, "name-taken");
    assert_eq!(taken["detail"], "`mine` is taken; choose another name");

    controller.become_bot(1001);
    assert_eq!(
        controller.get("/v1/cattle/mine").await.ok()["phase"],
        "Running"
    );
    controller.become_operator();
    assert_eq!(
        controller.get("/v1/cattle").await.ok()["items"][0]["requester"],
        "uid:1001"
    );
}

#[tokio::test]
async fn a_bots_name_stays_its_own_after_its_spec_is_gone() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/mine", SPEC).await.ok();
    controller.delete("/v1/cattle/mine").await.ok();
    controller.become_bot(1002);
    controller
        .put("/v1/cattle/mine", SPEC)
        .await
        .problem(409, "name-taken");
    controller
        .put("/v1/cattle/mine?dryRun=true", SPEC)
        .await
        .problem(409, "name-taken");
}

#[tokio::test]
async fn a_bot_whose_spec_was_taken_over_keeps_its_run_and_nothing_else() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/mine", SPEC).await.ok();
    let run = controller.begin("mine").await;
    controller.become_operator();
    let spec = SPEC.replace("team: docs", "team: secret");
    assert_eq!(
        controller.put("/v1/cattle/mine", &spec).await.ok()["change"],
        "configured"
    );
    controller.become_bot(1001);
    controller
        .get("/v1/cattle/mine")
        .await
        .problem(404, "not-found");
    let target = format!("/v1/cattle/{run}");
    let status = controller.get(&target).await;
    assert!(!status.text.contains("secret"), "{}", status.text);
    assert_eq!(status.ok()["phase"], "Running");
    controller
        .post(&format!("{target}/rerun"), json!({}))
        .await
        .problem(409, "wrong-phase");
    let destroyed = controller.delete(&target).await.ok();
    assert_eq!(
        (&destroyed["changed"], &destroyed["specRemoved"]),
        (&json!(true), &json!(false))
    );
    assert!(!controller.files.files.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_plan_tells_a_bot_nothing_of_others() {
    let controller = Controller::new().await;
    controller
        .drop_file("secret-project", &SPEC.replace("rex", "nobody!"))
        .await;
    controller.become_bot(1001);
    let plan = controller
        .post("/v1/plan", json!({ "files": { "mine": SPEC } }))
        .await;
    assert!(!plan.text.contains("secret-project"), "{}", plan.text);
    assert_eq!(plan.ok()["actions"][0]["cattle"], "mine");
}

#[tokio::test]
async fn a_bot_gets_no_github_token_and_no_operators_calls() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    let spec = format!("{SPEC}  withGithubToken: true\n");
    let problem = controller
        .put("/v1/cattle/mine", &spec)
        .await
        .problem(422, "spec-invalid");
    assert_eq!(
        problem["errors"][0]["message"],
        "`spec.withGithubToken` is for operators only"
    );
    for path in ["/v1/reap", "/v1/pause", "/v1/resume"] {
        controller
            .post(path, json!({}))
            .await
            .problem(403, "forbidden");
    }
    controller.get("/v1/pauses").await.problem(403, "forbidden");
    let job = json!({ "kind": "cattle.reap" });
    controller
        .post("/v1/jobs", job)
        .await
        .problem(403, "forbidden");
    assert_eq!(
        controller
            .reaper
            .0
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

/// Its server is given a price, since an hour and a half.
async fn priced(controller: &Controller, run: RunId) {
    let price = |hourly: &str| Price {
        hourly: hourly.parse().unwrap(),
        monthly: None,
    };
    let price = ServerPrice {
        server: price("0.0088"),
        ipv4: price("0.0008"),
    };
    let edit = Edit::Run {
        id: run,
        edit: Box::new(move |run, _| {
            let server = run.server.as_mut()?;
            server.price = Some(price);
            server.created = Some(start() - chrono::TimeDelta::minutes(90));
            Some(Vec::new())
        }),
    };
    let applied = controller.store.commit(vec![edit], start()).await;
    assert_eq!(applied.unwrap(), [true]);
}

#[tokio::test]
async fn a_bot_is_told_what_its_own_servers_cost() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/mine", SPEC).await.ok();
    let mine = controller.begin("mine").await;
    priced(&controller, mine).await;
    controller.become_bot(1002);
    controller.put("/v1/cattle/other", SPEC).await.ok();
    let other = controller.begin("other").await;
    priced(&controller, other).await;
    let total = async |query: &str| {
        let reply = controller.get(&format!("/v1/cost{query}")).await.ok();
        let total = &reply["total"];
        format!(
            "{} {} {}",
            total["runs"], total["startedHours"], total["total"]
        )
    };
    assert_eq!(total("").await, r#"1 2 "0.0192""#);
    controller.become_operator();
    assert_eq!(total("").await, r#"2 4 "0.0384""#);
    // The hour before last began earlier.
    let since = start() - chrono::TimeDelta::hours(1);
    let since = format!("?since={}", since.format("%Y-%m-%dT%H:%M:%SZ"));
    assert_eq!(total(&since).await, r#"2 2 "0.0192""#);
    let by_persona = controller.get("/v1/cost?by=persona").await.ok();
    assert_eq!(by_persona["items"][0]["key"], "rex");
    assert_eq!(by_persona["items"][0]["ipv4"], "0.0032");
    controller
        .get("/v1/cost?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z")
        .await
        .problem(400, "bad-request");
    controller
        .get("/v1/cost?by=colour")
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn limits_are_told_for_the_caller() {
    let controller = Controller::new().await;
    controller.become_bot(1001);
    controller.put("/v1/cattle/mine", SPEC).await.ok();
    controller.begin("mine").await;
    let own = controller.get("/v1/limits").await.ok();
    insta::assert_json_snapshot!(own, @r#"
    {
      "images": [
        "debian-13"
      ],
      "limits": {
        "createsPerHour": {
          "left": 60.0,
          "limit": 60.0,
          "used": 0.0
        },
        "hetznerRequests": {
          "left": 3412.0,
          "limit": 3600.0,
          "used": 188.0
        },
        "liveRunsPerRequester": {
          "left": 2.0,
          "limit": 3.0,
          "used": 1.0
        },
        "maxInstances": {
          "left": 2.0,
          "limit": 3.0,
          "used": 1.0
        },
        "unprovenImage": {
          "left": 3.0,
          "limit": 3.0,
          "used": 0.0
        }
      },
      "locations": [
        "nbg1"
      ],
      "maxTtl": "1d",
      "serverTypes": [
        "cx23"
      ]
    }
    "#);
    controller.become_bot(1002);
    let other = controller.get("/v1/limits").await.ok();
    assert_eq!(other["limits"]["liveRunsPerRequester"]["used"], 0.0);
    assert_eq!(other["limits"]["maxInstances"]["used"], 1.0);
}
