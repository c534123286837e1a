use cattle_core::{names::ServerId, observed::ServerState};
use serde_json::{Value, json};

use super::{
    super::{Kind, Scope},
    TTL, client,
    fake::{Answer, Fake},
    fleet, labels, page, server,
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

fn without(id: u64, keys: &[&str]) -> Value {
    let mut server = server(id);
    for key in keys {
        server.as_object_mut().unwrap().remove(*key);
    }
    server
}

fn without_labels(id: u64, keys: &[&str]) -> Value {
    let mut server = without(id, &["created"]);
    for key in keys {
        server["labels"].as_object_mut().unwrap().remove(*key);
    }
    server
}

#[tokio::test]
async fn one_odd_server_spoils_nothing_and_is_seen_all_the_same() {
    let mut undated = server(3);
    undated["created"] = json!("yesterday");
    let mut nameless = without(6, &["id"]);
    nameless["name"] = json!("cattle-\u{1b}[31mrex");
    let entries = vec![
        server(1),
        without(
            2,
            &["name", "status", "public_net", "server_type", "location"],
        ),
        undated,
        json!("what"),
        server(4),
        nameless,
        without(7, &["labels"]),
    ];
    let fake = Fake::start(vec![Answer::Json(200, page("servers", entries, None))]).await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    let ids: Vec<u64> = listed.servers.iter().map(|server| server.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4], "with an id and our labels it is seen");
    insta::assert_snapshot!(listed.unread().join("\n"), @r"
    an entry without a name: it has no id that can be read
    an entry named `cattle-\u{1b}[31mrex`: it has no id that can be read
    server cattle-rex-7 (7): its labels cannot be read
    server server-2 (2): its name is missing; its status is missing
    server cattle-rex-3 (3): it does not say when it was created; taken from its label `created-at`
    ");
}

#[tokio::test]
async fn when_a_server_was_created_is_guessed_from_what_we_wrote_on_it() {
    let entries = vec![
        without_labels(1, &[]),
        without_labels(2, &["created-at"]),
        without_labels(3, &["created-at", "run"]),
        without_labels(4, &["created-at", "run", "expires-at"]),
    ];
    let mut overflowing = without_labels(5, &[]);
    overflowing["labels"]["created-at"] = json!("8210298412799");
    let entries = [entries, vec![overflowing]].concat();
    let fake = Fake::start(vec![Answer::Json(200, page("servers", entries, None))]).await;
    let listed = client(&fake.url).list_servers(&fleet(), TTL).await.unwrap();
    let guessed: Vec<_> = listed
        .servers
        .iter()
        .map(|server| {
            (
                server.created.timestamp(),
                server.labels.expires_at.unwrap().timestamp(),
            )
        })
        .collect();
    let drawn = 1_469_922_850;
    assert_eq!(
        guessed,
        [
            (1_795_341_600, 1_795_348_800),
            (drawn, 1_795_348_800),
            (0, 1_795_348_800),
            (0, 7_200),
            (drawn, 1_795_348_800),
        ],
        "what says nothing at all is long due"
    );
    assert!(listed.servers.iter().all(|server| server.odd.len() == 1));
}

#[tokio::test]
async fn one_server_by_its_id_or_name_is_read_as_tolerantly() {
    let answers = vec![
        Answer::Json(200, json!({ "server": without(1, &["name", "created"]) })),
        Answer::Json(
            200,
            page("servers", vec![without(1, &["status", "created"])], None),
        ),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let by_id = client.get_server(ServerId(1), TTL).await.unwrap().unwrap();
    assert_eq!((by_id.name.as_str(), by_id.odd.len()), ("server-1", 2));
    let by_name = client.find_server("cattle-rex-1", TTL).await.unwrap();
    assert_eq!(by_name.unwrap().odd.len(), 2);
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
    assert_eq!(server.odd, ["its status `levitating` is not known"]);
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

#[tokio::test]
async fn the_image_of_a_server_is_read_where_it_still_has_one() {
    let mut made = json!({"id": 7, "labels": labels()});
    made["image"] = json!({"id": 123456, "type": "snapshot", "name": null});
    let of = |value: &Value| {
        let server = super::super::wire::server(value, TTL).unwrap();
        crate::record::run_server(&server, &cattle_core::catalogue::Catalogue::default())
    };
    let server = of(&made);
    assert_eq!(server.made_of.as_deref(), Some("123456"));
    assert_eq!(
        server.image,
        Some(cattle_core::catalogue::ImageKind::Snapshot)
    );
    for odd in [json!(null), json!({"name": "x"}), json!(7)] {
        made["image"] = odd;
        let server = of(&made);
        assert_eq!((server.made_of, server.image), (None, None));
    }
}
