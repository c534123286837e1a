use serde_json::{Value, json};

use super::{
    super::{Disposition, Kind},
    client,
    fake::{Answer, Fake},
    fleet, page, refusal,
};

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample1 rex@desk";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample2";

fn rule() -> Value {
    json!({
        "direction": "in", "protocol": "udp", "port": "41641",
        "source_ips": ["::/0", "0.0.0.0/0"], "destination_ips": [], "description": "Tailscale",
    })
}

fn firewall(rules: Vec<Value>) -> Value {
    json!({
        "id": 38, "name": "clawdlets-cattle-prod", "rules": rules,
        "labels": { "managed-by": "clawdlets", "fleet": "prod", "ledger": "abc.7" },
    })
}

fn team() -> std::collections::BTreeMap<String, String> {
    [("team".to_owned(), "docs".to_owned())].into()
}

#[tokio::test]
async fn the_firewall_is_made_once_and_lets_in_wireguard_alone() {
    let answers = vec![
        Answer::Json(200, page("firewalls", vec![], None)),
        Answer::Json(201, json!({ "firewall": { "id": 38 }, "actions": [] })),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    assert_eq!(client.ensure_firewall(&fleet(), &team()).await.unwrap(), 38);
    assert_eq!(client.ensure_firewall(&fleet(), &team()).await.unwrap(), 38);
    let requests = fake.requests();
    assert_eq!(requests.len(), 2, "the second time is remembered");
    assert_eq!(
        requests[0].line,
        "GET /firewalls?name=clawdlets-cattle-prod"
    );
    assert_eq!(
        requests[1].json(),
        json!({
            "name": "clawdlets-cattle-prod",
            "labels": { "managed-by": "clawdlets", "fleet": "prod", "team": "docs" },
            "rules": [{
                "direction": "in", "protocol": "udp", "port": "41641",
                "source_ips": ["0.0.0.0/0", "::/0"], "description": "Tailscale",
            }],
        })
    );
}

#[tokio::test]
async fn a_firewall_in_order_is_left_alone() {
    let fake = Fake::start(vec![Answer::Json(
        200,
        page("firewalls", vec![firewall(vec![rule()])], None),
    )])
    .await;
    let client = client(&fake.url);
    assert_eq!(
        client
            .ensure_firewall(&fleet(), &Default::default())
            .await
            .unwrap(),
        38
    );
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_changed_firewall_is_mended_and_keeps_its_other_labels() {
    let mut open = rule();
    open["port"] = json!("22");
    let answers = vec![
        Answer::Json(
            200,
            page("firewalls", vec![firewall(vec![rule(), open])], None),
        ),
        Answer::Json(201, json!({ "actions": [] })),
        Answer::Json(200, json!({})),
    ];
    let fake = Fake::start(answers).await;
    client(&fake.url)
        .ensure_firewall(&fleet(), &team())
        .await
        .unwrap();
    let requests = fake.requests();
    assert_eq!(requests[1].line, "POST /firewalls/38/actions/set_rules");
    assert_eq!(requests[1].json()["rules"].as_array().unwrap().len(), 1);
    assert_eq!(requests[2].line, "PUT /firewalls/38");
    let labels =
        json!({ "managed-by": "clawdlets", "fleet": "prod", "ledger": "abc.7", "team": "docs" });
    assert_eq!(requests[2].json(), json!({ "labels": labels }));
}

#[tokio::test]
async fn a_firewall_that_somebody_else_made_is_not_touched() {
    let mut theirs = firewall(vec![]);
    theirs["labels"] = json!({});
    let fake = Fake::start(vec![Answer::Json(
        200,
        page("firewalls", vec![theirs], None),
    )])
    .await;
    let error = client(&fake.url)
        .ensure_firewall(&fleet(), &team())
        .await
        .unwrap_err();
    assert_eq!(
        (&error.kind, error.disposition()),
        (&Kind::NotOurs, Disposition::Operator)
    );
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn two_controllers_that_make_the_firewall_at_once_agree() {
    let answers = vec![
        Answer::Json(200, page("firewalls", vec![], None)),
        Answer::Json(409, refusal("uniqueness_error", "name is already used")),
        Answer::Json(200, page("firewalls", vec![firewall(vec![rule()])], None)),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    assert_eq!(
        client
            .ensure_firewall(&fleet(), &Default::default())
            .await
            .unwrap(),
        38
    );
}

#[tokio::test]
async fn keys_are_told_apart_by_themselves_and_uploaded_once() {
    let known = json!({
        "id": 1, "name": "rex's laptop", "fingerprint": "x",
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample1 another-comment",
    });
    let answers = vec![
        Answer::Json(200, page("ssh_keys", vec![known], None)),
        Answer::Json(201, json!({ "ssh_key": { "id": 2 } })),
    ];
    let fake = Fake::start(answers).await;
    let client = client(&fake.url);
    let keys = [
        ED25519.to_owned(),
        OTHER.to_owned(),
        format!("{ED25519} again"),
    ];
    let names = client.ensure_ssh_keys(&fleet(), &keys).await.unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "rex's laptop");
    assert!(
        names[1].starts_with("clawdlets-prod-") && names[1].len() == 27,
        "{names:?}"
    );
    assert_eq!(
        client.ensure_ssh_keys(&fleet(), &keys).await.unwrap(),
        names
    );
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    let body = requests[1].json();
    assert_eq!(
        (&body["name"], &body["public_key"]),
        (&json!(names[1]), &json!(OTHER))
    );
    assert_eq!(body["labels"]["managed-by"], "clawdlets");
}

#[tokio::test]
async fn no_keys_cost_no_call() {
    let fake = Fake::start(vec![]).await;
    assert!(
        client(&fake.url)
            .ensure_ssh_keys(&fleet(), &[])
            .await
            .unwrap()
            .is_empty()
    );
}
