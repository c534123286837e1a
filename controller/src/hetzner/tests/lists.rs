use cattle_core::{names::ServerId, observed::ServerState};
use serde_json::json;

use super::{
    super::{Kind, Scope},
    TTL, client,
    fake::{Answer, Fake},
    fleet, page, server,
};

#[tokio::test]
async fn a_list_asks_for_this_fleet_alone_and_follows_every_page() {
    let pages = vec![
        Answer::Json(200, page("servers", vec![server(1), server(2)], Some(2))),
        Answer::Json(200, page("servers", vec![server(2), server(3)], None)),
    ];
    let fake = Fake::start(pages).await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    let ids: Vec<u64> = listed.servers.iter().map(|server| server.id.0).collect();
    assert_eq!(ids, [1, 2, 3], "one that moved between pages is there once");
    let lines: Vec<String> = fake
        .requests()
        .into_iter()
        .map(|request| request.line)
        .collect();
    let selector = "label_selector=managed-by%3Dclawdlets%2Ccattle%3Dtrue%2Cfleet%3Dprod";
    assert_eq!(
        lines,
        [
            format!("GET /servers?{selector}&sort=id%3Aasc&page=1&per_page=50"),
            format!("GET /servers?{selector}&sort=id%3Aasc&page=2&per_page=50"),
        ]
    );
}

#[tokio::test]
async fn one_odd_server_spoils_nothing() {
    let mut nameless = server(2);
    nameless.as_object_mut().unwrap().remove("name");
    let mut undated = server(3);
    undated["created"] = json!("yesterday");
    undated["labels"]
        .as_object_mut()
        .unwrap()
        .remove("created-at");
    let entries = vec![server(1), nameless, undated, json!("what"), server(4)];
    let fake = Fake::start(vec![Answer::Json(200, page("servers", entries, None))]).await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    let ids: Vec<u64> = listed.servers.iter().map(|server| server.id.0).collect();
    assert_eq!(ids, [1, 4]);
    let odd: Vec<Option<u64>> = listed.odd.iter().map(|odd| odd.id).collect();
    assert_eq!(odd, [Some(2), Some(3), None]);
}

#[tokio::test]
async fn a_server_needs_little_to_be_understood() {
    let bare = json!({
        "id": 123_456_789_012_345_u64,
        "name": "cattle-rex-x",
        "created": "2026-11-22T10:00:00Z",
        "status": "levitating",
        "labels": super::labels(),
    });
    let fake = Fake::start(vec![Answer::Json(200, page("servers", vec![bare], None))]).await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    let server = &listed.servers[0];
    assert_eq!(server.id, ServerId(123_456_789_012_345));
    assert_eq!(server.status, ServerState::Unknown);
    assert_eq!(
        (
            &server.ipv4,
            &server.location,
            server.locked,
            server.protected
        ),
        (&None, &None, false, false)
    );
    assert_eq!(server.labels.expires_at.unwrap().timestamp(), 1_795_348_800);
}

#[tokio::test]
async fn a_server_without_created_goes_by_its_label() {
    let mut undated = server(1);
    undated.as_object_mut().unwrap().remove("created");
    let fake = Fake::start(vec![Answer::Json(
        200,
        page("servers", vec![undated], None),
    )])
    .await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    assert_eq!(listed.servers[0].created.timestamp(), 1_795_341_600);
}

#[tokio::test]
async fn what_another_tool_marked_is_not_even_odd() {
    let mut foreign = server(1);
    foreign["labels"]["apricote.de/created-by"] = json!("hcloud-upload-image");
    let fake = Fake::start(vec![Answer::Json(
        200,
        page("servers", vec![foreign], None),
    )])
    .await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    assert!(listed.servers.is_empty() && listed.odd.is_empty());
}

#[tokio::test]
async fn a_server_of_another_fleet_is_never_ours_whatever_the_list_says() {
    let mut other = server(1);
    other["labels"]["fleet"] = json!("test");
    let mut unlabelled = server(2);
    unlabelled["labels"] = json!([]);
    let entries = vec![other, unlabelled];
    let answer = || Answer::Json(200, page("servers", entries.clone(), None));
    let fake = Fake::start(vec![answer(), answer()]).await;
    let client = client(&fake.url);
    let listed = client.list_servers(&fleet(), TTL).await.unwrap();
    assert!(listed.servers.is_empty());
    assert_eq!(listed.odd.len(), 2);
    let all = client.list_scope(&Scope::AllFleets, TTL).await.unwrap();
    assert_eq!(
        all.servers.len(),
        1,
        "the reaper of all fleets takes the one that is cattle"
    );
}

#[tokio::test]
async fn half_a_list_is_no_list() {
    let answers = vec![
        Answer::Json(200, page("servers", vec![server(1)], Some(2))),
        Answer::Html(502, "<html>bad gateway</html>"),
    ];
    let fake = Fake::start(answers).await;
    let error = client(&fake.url)
        .list_servers(&fleet(), TTL)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Gateway);
    assert!(error.is_unreachable());
}

#[tokio::test]
async fn pages_that_do_not_end_are_an_error() {
    let fake = Fake::start(vec![Answer::Json(
        200,
        page("servers", vec![server(1)], Some(1)),
    )])
    .await;
    let error = client(&fake.url)
        .list_servers(&fleet(), TTL)
        .await
        .unwrap_err();
    assert_eq!(
        error.kind,
        Kind::Unreadable("its pages do not end".to_owned())
    );
}

#[tokio::test]
async fn a_full_page_that_does_not_say_whether_there_is_more_is_an_error() {
    let full = (1..=50).map(server).collect::<Vec<_>>();
    let short = json!({ "servers": [server(1)] });
    let answers = vec![
        Answer::Json(200, json!({ "servers": full })),
        Answer::Json(200, short),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    client.list_servers(&fleet(), TTL).await.unwrap_err();
    assert_eq!(
        client
            .list_servers(&fleet(), TTL)
            .await
            .unwrap()
            .servers
            .len(),
        1
    );
}

#[tokio::test]
async fn an_empty_object_is_not_an_empty_list() {
    let fake = Fake::start(vec![Answer::Json(200, json!({}))]).await;
    let error = client(&fake.url)
        .list_servers(&fleet(), TTL)
        .await
        .unwrap_err();
    assert_eq!(
        error.kind,
        Kind::Unreadable("no `servers` in it".to_owned())
    );
}
