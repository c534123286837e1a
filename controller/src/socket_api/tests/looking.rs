//! Lists, statuses, waiting.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cattle_core::{
    labels::ServerLabels,
    names::ServerId,
    observed::{ObservedServer, ServerState},
};
use serde_json::{Value, json};

use super::harness::{Controller, SPEC, start};

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_pages_by_name() {
    let controller = Controller::new().await;
    for name in ["c", "a", "e", "b", "d"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
    }
    let mut seen = Vec::new();
    let mut target = "/v1/cattle?limit=2".to_owned();
    for page in 1..=3 {
        let list = controller.get(&target).await.ok();
        seen.extend(names(&list).into_iter().map(str::to_owned));
        let next = list["next"].as_str();
        assert_eq!(next.is_none(), page == 3, "five in twos");
        target = format!("/v1/cattle?limit=2&cursor={}", next.unwrap_or_default());
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let exact = controller.get("/v1/cattle?limit=5").await.ok();
    assert_eq!(
        exact["next"],
        json!(null),
        "a page that is full and the last has no next"
    );
    controller
        .get("/v1/cattle?limit=0")
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_selector_chooses_by_labels() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/a", SPEC).await.ok();
    controller
        .put("/v1/cattle/b", &SPEC.replace("docs", "web"))
        .await
        .ok();
    let select = async |selector: &str| {
        let list = controller
            .get(&format!("/v1/cattle?selector={selector}"))
            .await
            .ok();
        names(&list)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(select("team%3Ddocs").await, ["a"]);
    assert_eq!(select("team!%3Ddocs").await, ["b"]);
    assert_eq!(select("team%3Ddocs,zone").await, Vec::<String>::new());
    controller
        .get("/v1/cattle?selector=%3D")
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn what_ended_a_day_ago_is_listed_only_on_request() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    controller.finish(run, json!(1)).await;
    assert_eq!(names(&controller.get("/v1/cattle").await.ok()), ["fix"]);
    controller.wait(24 * 3_600 + 1);
    controller.pass().await;
    assert_eq!(
        names(&controller.get("/v1/cattle").await.ok()),
        Vec::<&str>::new()
    );
    assert_eq!(
        names(&controller.get("/v1/cattle?all=true").await.ok()),
        ["fix"]
    );
    assert_eq!(
        controller.get("/v1/cattle/fix").await.ok()["phase"],
        "Succeeded"
    );
}

#[tokio::test]
async fn an_apply_set_is_remembered_per_caller() {
    let controller = Controller::new().await;
    controller
        .put("/v1/cattle/a?applySet=/home/ada/specs", SPEC)
        .await
        .ok();
    controller
        .put("/v1/cattle/b?applySet=/elsewhere", SPEC)
        .await
        .ok();
    controller.put("/v1/cattle/c", SPEC).await.ok();
    let target = "/v1/cattle?applySet=/home/ada/specs";
    assert_eq!(names(&controller.get(target).await.ok()), ["a"]);
    let moved = controller
        .put("/v1/cattle/b?applySet=/home/ada/specs", SPEC)
        .await
        .ok();
    assert_eq!(moved["change"], "unchanged");
    assert_eq!(names(&controller.get(target).await.ok()), ["a", "b"]);
    controller.become_bot(1001);
    assert_eq!(
        names(&controller.get(target).await.ok()),
        Vec::<&str>::new()
    );
}

#[tokio::test]
async fn a_cattle_is_found_by_run_prefix_and_server() {
    let controller = Controller::new().await;
    for name in ["a", "b"] {
        controller
            .put(&format!("/v1/cattle/{name}"), SPEC)
            .await
            .ok();
        controller.begin(name).await;
    }
    let run = controller.get("/v1/cattle/a").await.ok()["run"]["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let server = controller.get("/v1/cattle/a").await.ok()["run"]["server"].clone();
    let prefix = run[..14].to_ascii_lowercase();
    let id = server["id"].to_string();
    for text in [&run, &prefix, &id, server["name"].as_str().unwrap()] {
        let found = controller.get(&format!("/v1/cattle/{text}")).await.ok();
        assert_eq!(found["name"], "a", "{text}");
    }
    let common = &run[..10];
    let problem = controller
        .get(&format!("/v1/cattle/{common}"))
        .await
        .problem(409, "ambiguous");
    assert!(
        problem["detail"].as_str().unwrap().contains(&run),
        "{problem}"
    );
    controller
        .get(&format!("/v1/cattle/{}", &run[..3]))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn earlier_runs_are_told_newest_first() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let first = controller.begin("fix").await;
    controller.finish(first, json!(1)).await;
    controller.wait(60);
    controller
        .post("/v1/cattle/fix/rerun", json!({}))
        .await
        .ok();
    let second = controller.begin("fix").await;
    let status = controller.get("/v1/cattle/fix").await.ok();
    assert_eq!(status["run"]["run"], second.to_string());
    assert_eq!(status["earlierRuns"][0]["run"], first.to_string());
    let listed = controller.get("/v1/cattle").await.ok();
    assert_eq!(listed["items"][0]["earlierRuns"], json!(null));
}

#[tokio::test]
async fn a_server_that_nobody_asked_for_is_shown_to_operators() {
    let controller = Controller::new().await;
    controller
        .observed
        .lock()
        .unwrap()
        .servers
        .push(ObservedServer {
            id: ServerId(9),
            name: "cattle-lost-abcdef".to_owned(),
            status: ServerState::Running,
            created: start(),
            labels: ServerLabels {
                raw: BTreeMap::new(),
                ..ServerLabels::default()
            },
            ipv4: None,
            server_type: None,
            location: None,
            image: None,
            locked: false,
            protected: false,
            odd: Vec::new(),
        });
    controller.pass().await;
    let list = controller.get("/v1/cattle").await.ok();
    assert_eq!(names(&list), ["cattle-lost-abcdef"]);
    assert_eq!(list["items"][0]["conditions"][0]["type"], "Orphan");
    // What the list names can be looked at, by the server's id too; and nothing else.
    for named in ["cattle-lost-abcdef", "9"] {
        let path = format!("/v1/cattle/{named}");
        let one = controller.get(&path).await.ok();
        assert_eq!(one["conditions"][0]["type"], "Orphan", "{named}");
        let refused = controller.delete(&path).await;
        let refused = refused.problem(404, "not-found");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("has no run in the ledger"), "{detail}");
    }
    controller.become_bot(1001);
    let hidden = controller.get("/v1/cattle/cattle-lost-abcdef").await;
    hidden.problem(404, "not-found");
    assert_eq!(
        names(&controller.get("/v1/cattle").await.ok()),
        Vec::<&str>::new()
    );
}

#[tokio::test]
async fn a_wait_ends_with_what_is_waited_for() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let run = controller.begin("fix").await;
    let target = "/v1/cattle/fix?waitFor=ended&timeoutSeconds=60";
    let (status, ()) = tokio::join!(controller.get(target), controller.finish(run, json!(1)));
    assert_eq!(status.ok()["phase"], "Succeeded");
    // What holds already is answered at once.
    assert_eq!(controller.get(target).await.ok()["phase"], "Succeeded");
}

#[tokio::test]
async fn a_wait_that_is_over_answers_with_what_is() {
    let controller = Controller::new().await;
    controller.put("/v1/cattle/fix", SPEC).await.ok();
    let began = Instant::now();
    let status = controller
        .get("/v1/cattle/fix?waitFor=ended&timeoutSeconds=1")
        .await
        .ok();
    assert_eq!(status["phase"], "Pending");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let long = controller
        .get("/v1/cattle/fix?waitFor=ended&timeoutSeconds=301")
        .await;
    long.problem(400, "bad-request");
}
