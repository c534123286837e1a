//! What Hetzner offers, as the imitated API says it: types, prices, and images found in each way.

use cattle_core::{
    candidates::{Choice, choose},
    catalogue::{Architecture, Catalogue, ImageAnswer, ImageKind},
    desired::Placement,
};
use cattle_schemas::Timestamp;
use chrono::Utc;
use hetzner_sim::{Body, Config, Request};
use serde_json::{Value, json};

use crate::hetzner::Account;

impl Account {
    /// A snapshot, as if somebody had uploaded it; its id.
    fn upload(&self, snapshot: &Value) -> u64 {
        let answer = self
            .sim
            .control(&Request::new("POST", "/_sim/images").json(snapshot));
        assert!(answer.status < 300, "{answer:?}");
        let Body::Json(answer) = answer.body else {
            panic!("{answer:?}");
        };
        answer["image"]["id"].as_u64().unwrap()
    }

    async fn image(&self, text: &str) -> ImageAnswer {
        self.client.image(text, Utc::now()).await.unwrap()
    }

    async fn ids(&self, text: &str) -> Vec<(u64, Option<Architecture>)> {
        match self.image(text).await {
            ImageAnswer::Found(images) => {
                images.iter().map(|it| (it.id, it.architecture)).collect()
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    /// All that can be known about a placement.
    async fn choose(&self, image: &str, types: &[&str], locations: &[&str]) -> Choice {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let placement = Placement {
            image: image.to_owned(),
            server_types: texts(types),
            locations: texts(locations),
        };
        let pricing = self.client.pricing().await.unwrap();
        let catalogue = Catalogue {
            currency: pricing.currency,
            server_types: self.client.server_types().await.unwrap(),
            ipv4: pricing.ipv4,
            images: [(image.to_owned(), self.image(image).await)].into(),
            ..Catalogue::default()
        };
        choose(&placement, &catalogue, Utc::now())
    }
}

fn missing(answer: &ImageAnswer) -> &str {
    match answer {
        ImageAnswer::Missing { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_types_are_read_with_their_prices_and_where_they_are_retired() {
    let account = Account::open(Config::default()).await;
    let types = account.client.server_types().await.unwrap();
    assert_eq!(types.len(), 25);
    let cax11 = &types["cax11"];
    assert_eq!(
        (cax11.architecture, cax11.disk_gb, cax11.memory_mb),
        (Some(Architecture::Arm), Some(40), Some(4_096))
    );
    let cpx11 = &types["cpx11"].offers;
    let end: Timestamp = "2025-12-31T23:59:59Z".parse().unwrap();
    assert_eq!(cpx11["nbg1"].unavailable_after, Some(end));
    assert_eq!(cpx11["ash"].unavailable_after, None);
    let pricing = account.client.pricing().await.unwrap();
    assert_eq!(pricing.currency, "EUR");
    let choice = account.choose("123456", &["cx23"], &["nbg1"]).await;
    let price = choice.candidates[0].price.unwrap();
    assert_eq!(price.server.hourly, "0.0088".parse().unwrap());
    assert_eq!(price.hourly(), "0.0096".parse().unwrap());
}

#[tokio::test]
async fn an_image_is_found_by_id_by_name_and_by_its_labels() {
    use Architecture::{Arm, X86};
    let account = Account::open(Config::default()).await;
    assert_eq!(account.ids("123456").await, [(123_456, Some(X86))]);
    let debian = account.ids("debian-13").await;
    assert_eq!(debian, [(310_557_660, Some(X86)), (310_557_662, Some(Arm))]);
    let selector = "role=cattle-image";
    assert_eq!(
        account.ids(selector).await,
        [(123_456, Some(X86)), (123_457, Some(Arm))]
    );
    let newer = account.upload(&json!({
        "architecture": "x86", "diskSize": 40, "labels": { "role": "cattle-image" },
        "created": "2026-11-20T08:00:00Z",
    }));
    account.upload(&json!({
        "architecture": "x86", "diskSize": 40, "labels": { "role": "cattle-image" },
        "created": "2026-10-20T08:00:00Z",
    }));
    account.upload(&json!({
        "architecture": "x86", "diskSize": 40, "labels": { "role": "cattle-image" },
        "created": "2026-11-21T08:00:00Z", "status": "creating",
    }));
    assert_eq!(
        account.ids(selector).await,
        [(newer, Some(X86)), (123_457, Some(Arm))]
    );
    assert_eq!(
        account.ids("role in (x, cattle-image), !old").await.len(),
        2
    );
}

#[tokio::test]
async fn what_cannot_be_found_says_so_and_two_of_one_age_are_not_chosen_between() {
    let account = Account::open(Config::default()).await;
    assert_eq!(
        missing(&account.image("7").await),
        "there is no image 7 in this project"
    );
    assert_eq!(
        missing(&account.image("debian-31").await),
        "there is no image of the name `debian-31`"
    );
    assert_eq!(
        missing(&account.image("role=nothing").await),
        "no snapshot has the labels `role=nothing`"
    );
    for _ in 0..2 {
        account.upload(&json!({
            "architecture": "arm", "labels": { "role": "twins" },
            "created": "2026-11-20T08:00:00Z",
        }));
    }
    assert!(matches!(
        account.image("role=twins").await,
        ImageAnswer::Ambiguous { .. }
    ));
    let unfinished = account.upload(&json!({ "architecture": "x86", "status": "creating" }));
    assert_eq!(
        missing(&account.image(&unfinished.to_string()).await),
        format!("image {unfinished} is not available (creating)")
    );
}

#[tokio::test]
async fn pairs_that_the_api_would_refuse_are_left_out_with_their_reason() {
    let account = Account::open(Config::default()).await;
    let types = ["cax11", "cpx11", "cx22", "cx23"];
    let choice = account.choose("123456", &types, &["nbg1"]).await;
    assert_eq!(choice.candidates.len(), 1);
    assert_eq!(choice.candidates[0].server_type, "cx23");
    assert_eq!(choice.candidates[0].image, "123456");
    assert_eq!(choice.candidates[0].image_kind, Some(ImageKind::Snapshot));
    let why: Vec<String> = choice.rejected.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(why.join("\n"), @"
    cax11 in nbg1: its architecture is arm, image `123456` is for x86
    cpx11 in nbg1: retired there since 2025-12-31, use `cpx22`
    cx22 in nbg1: the type is retired, use `cx23`
    ");
    let large = account.upload(&json!({
        "architecture": "x86", "diskSize": 80, "labels": { "role": "large" },
    }));
    let choice = account
        .choose("role=large", &["cx23", "cpx22"], &["nbg1", "ash"])
        .await;
    assert_eq!(choice.candidates.len(), 1);
    assert_eq!(choice.candidates[0].image, large.to_string());
    let why: Vec<String> = choice.rejected.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(why.join("\n"), @"
    cx23 in nbg1: its disk has 40 GB, image `role=large` needs 80 GB
    cx23 in ash: the type is not offered there, but in fsn1, hel1, nbg1
    cpx22 in ash: the type is not offered there, but in fsn1, hel1, nbg1, sin
    ");
}

#[tokio::test]
async fn what_is_chosen_is_what_the_api_takes() {
    let account = Account::open(Config::default()).await;
    let types = ["cax11", "cpx22"];
    let choice = account.choose("role=cattle-image", &types, &["nbg1"]).await;
    assert_eq!(choice.candidates.len(), 2);
    for (seed, candidate) in (1..).zip(choice.candidates) {
        let mut new = account.new_server(seed, 7_200).await;
        new.server_type = candidate.server_type;
        new.image = candidate.image;
        account
            .client
            .create_server(&new, crate::hetzner::TTL)
            .await
            .unwrap();
    }
}
