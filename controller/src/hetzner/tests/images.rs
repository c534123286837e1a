//! Images, from replies as they come and as they should not.

use cattle_core::catalogue::{Architecture, ImageAnswer, ImageKind};
use cattle_schemas::Timestamp;
use serde_json::{Value, json};

use super::{
    client,
    fake::{Answer, Fake},
    page, refusal,
};

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn snapshot(id: u64, architecture: &str, created: &str) -> Value {
    json!({
        "id": id, "type": "snapshot", "status": "available", "name": null,
        "description": "cattle image", "image_size": 1.25, "disk_size": 40,
        "created": created, "created_from": { "id": 1, "name": "x" }, "bound_to": null,
        "os_flavor": "nixos", "os_version": null, "rapid_deploy": false,
        "protection": { "delete": false }, "deleted": null, "deprecation": null,
        "labels": { "role": "cattle-image" }, "architecture": architecture,
    })
}

/// What one reply makes of a text, and what was asked.
async fn asked(text: &str, answers: Vec<Answer>) -> (ImageAnswer, Vec<String>) {
    let fake = Fake::start(answers).await;
    let answer = client(&fake.url).image(text, now()).await.unwrap();
    let lines = fake.requests().iter().map(|it| it.line.clone()).collect();
    (answer, lines)
}

fn ids(answer: &ImageAnswer) -> Vec<u64> {
    match answer {
        ImageAnswer::Found(images) => images.iter().map(|image| image.id).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn by_labels_the_newest_snapshot_of_each_architecture_on_all_pages() {
    let first = vec![
        snapshot(433_000_000_009, "x86", "2026-11-20T08:00:00Z"),
        snapshot(433_000_000_008, "x86", "2026-11-19T08:00:00+00:00"),
        json!({ "no": "id" }),
    ];
    let second = vec![snapshot(433_000_000_001, "arm", "2026-11-01T08:00:00Z")];
    let (answer, lines) = asked(
        "role=cattle-image, env in (dev)",
        vec![
            Answer::Json(200, page("images", first, Some(2))),
            Answer::Json(200, page("images", second, None)),
        ],
    )
    .await;
    assert_eq!(ids(&answer), [433_000_000_009, 433_000_000_001]);
    assert_eq!(
        lines[0],
        "GET /images?type=snapshot&label_selector=role%3Dcattle-image%2Cenv+in+%28dev%29&status=available&sort=created%3Adesc&page=1&per_page=50"
    );
}

#[tokio::test]
async fn by_name_both_architectures_and_deprecated_ones_until_their_end() {
    let system = |id: u64, architecture: &str| {
        let mut image = snapshot(id, architecture, "2026-01-15T11:34:45Z");
        image["type"] = json!("system");
        image["name"] = json!("debian-11");
        image["deprecation"] = json!({ "announced": "2026-08-30T00:00:00Z", "unavailable_after": "2026-11-30T00:00:00Z" });
        image
    };
    // An API that ignores the filter must not choose for us.
    let other = snapshot(3, "x86", "2026-11-20T08:00:00Z");
    let found = vec![system(1, "x86"), system(2, "arm"), other];
    let (answer, lines) = asked(
        "debian-11",
        vec![Answer::Json(200, page("images", found, None))],
    )
    .await;
    let ImageAnswer::Found(images) = &answer else {
        panic!("{answer:?}");
    };
    assert_eq!(ids(&answer), [1, 2]);
    assert_eq!(images[0].kind, ImageKind::System);
    assert_eq!(images[1].architecture, Some(Architecture::Arm));
    assert_eq!(
        images[0].unavailable_after,
        "2026-11-30T00:00:00Z".parse().ok()
    );
    assert_eq!(
        lines[0],
        "GET /images?name=debian-11&status=available&include_deprecated=true&page=1&per_page=50"
    );
}

#[tokio::test]
async fn by_id_exactly_this_one() {
    let body = json!({ "image": snapshot(42, "x86", "2026-11-20T08:00:00Z") });
    let (answer, lines) = asked("42", vec![Answer::Json(200, body)]).await;
    assert_eq!(
        (ids(&answer), lines),
        (vec![42], vec!["GET /images/42".to_owned()])
    );
    let gone = Answer::Json(404, refusal("not_found", "image with ID '42' not found"));
    let (answer, _) = asked("42", vec![gone]).await;
    assert!(matches!(answer, ImageAnswer::Missing { .. }), "{answer:?}");
}

#[tokio::test]
async fn an_image_that_is_not_available_is_missing_and_says_why() {
    for (key, value, told) in [
        (
            "status",
            json!("creating"),
            "image 42 is not available (creating)",
        ),
        (
            "deleted",
            json!("2026-11-21T00:00:00Z"),
            "image 42 is not available (deleted)",
        ),
        (
            "deprecation",
            json!({ "unavailable_after": "2026-11-22T10:00:00Z" }),
            "image 42 (cattle image) is not usable for new servers since 2026-11-22",
        ),
    ] {
        let mut image = snapshot(42, "x86", "2026-11-20T08:00:00Z");
        image[key] = value;
        let (answer, _) = asked("42", vec![Answer::Json(200, json!({ "image": image }))]).await;
        let ImageAnswer::Missing { message, .. } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(message, told);
    }
}

#[tokio::test]
async fn of_an_odd_image_its_id_is_enough() {
    let body = json!({ "image": { "id": 42, "architecture": "risc-v", "disk_size": "big", "created": 7 } });
    let (answer, _) = asked("42", vec![Answer::Json(200, body)]).await;
    let ImageAnswer::Found(images) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((images[0].id, images[0].kind), (42, ImageKind::Other));
    assert_eq!((images[0].architecture, images[0].disk_gb), (None, None));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_not_a_missing_image() {
    for answer in [
        Answer::Json(200, json!({})),
        Answer::Json(
            200,
            json!({ "image": snapshot(43, "x86", "2026-11-20T08:00:00Z") }),
        ),
        Answer::Html(200, "<html>"),
        Answer::Html(404, "<html>no such page</html>"),
        Answer::Json(503, refusal("unavailable", "later")),
        Answer::Cut,
    ] {
        let fake = Fake::start(vec![answer]).await;
        client(&fake.url).image("42", now()).await.unwrap_err();
    }
    let fake = Fake::start(vec![Answer::Json(200, json!({ "images": null }))]).await;
    client(&fake.url).image("role=a", now()).await.unwrap_err();
}
