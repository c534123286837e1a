//! Clocks that are wrong, hosts that stand still, and waits that they must not stretch or cut short.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::stage::{Stage, boots, ended};

/// Just short of the fifteen minutes in which a guest must have reported.
const ALMOST_BOOTED: u64 = 14 * 60 + 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_our_wall_clock_ends_nothing_and_is_told() {
    let mut stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    for step in [240, 3_600, 86_400, -86_400] {
        stage.set_wall(step).await;
        let status = stage.get("cattle/rex").await;
        assert!(boots(&status), "{step}: {status:#}");
        let skew = stage.until_condition("ClockSkew", "own-clock").await;
        assert_eq!(skew["status"], true, "{skew:#}");
    }
    stage.set_wall(0).await;
    stage.until_condition("ClockSkew", "agree").await;
    assert!(stage.calls("delete_server").is_empty());
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_that_hetzner_alone_has_end_nothing_and_no_expiry_follows_them() {
    let mut stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    for (name, ahead) in [("three", 3 * 3_600), ("a-day", 25 * 3_600), ("ten", 600)] {
        stage.misdate(ahead);
        let skew = stage.until_condition("ClockSkew", "hetzner").await;
        assert_eq!(skew["status"], true, "{skew:#}");
        // What starts meanwhile lives two hours from now, on its label too.
        stage.drop_spec(name);
        let label = stage
            .until_there("its server", |stage| {
                let servers = stage.servers();
                let server = servers
                    .iter()
                    .find(|it| it["labels"]["cattle-name"] == name)?;
                server["labels"]["expires-at"].as_str()?.parse::<i64>().ok()
            })
            .await;
        let lives = label - Utc::now().timestamp();
        assert!((7_000..=7_260).contains(&lives), "{name}: {lives} s");
        stage.misdate(0);
        stage.until_condition("ClockSkew", "agree").await;
    }
    assert!(stage.calls("delete_server").is_empty());
    stage.pass_time(60).await;
    assert!(boots(&stage.get("cattle/rex").await));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_stood_still_gives_its_guests_their_time_again() {
    let mut stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    stage.pass_time(ALMOST_BOOTED).await;
    stage.stand_still(200).await;
    // Its boot deadline is over, but nobody could hear it.
    assert!(boots(&stage.get("cattle/rex").await));
    stage.pass_time(150).await;
    assert!(boots(&stage.get("cattle/rex").await));
    stage.pass_time(60).await;
    let status = stage.until("rex", |status| ended(status).is_some()).await;
    assert_eq!(ended(&status).unwrap()["endReason"], "boot-timeout");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_held_up_in_its_middle_ends_nothing() {
    let mut stage = Stage::open().await;
    stage.drop_spec("rex");
    stage.until("rex", boots).await;
    stage.pass_time(ALMOST_BOOTED).await;
    // Where in a pass it strikes is up to the scheduler; some of them do.
    for turns in 0..30 {
        stage.stand_still_in_a_pass(turns, 200).await;
        let status = stage.get("cattle/rex").await;
        assert!(boots(&status), "{turns}: {status:#}");
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_socket_answers_is_dated_by_the_time_that_counts() {
    let mut stage = Stage::open().await;
    stage.set_wall(-86_400).await;
    stage.pass_time(3_600).await;
    let date = stage.date().await;
    let off = date - (Utc::now() + TimeDelta::hours(1));
    assert!(off.abs() < TimeDelta::seconds(30), "{off}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_comes_back_is_found_when_its_cool_down_is_over() {
    let mut stage = Stage::open().await;
    stage.control("PUT", "stock", &json!({ "all": "out_of_stock" }));
    stage.drop_spec("rex");
    stage
        .until("rex", |status| status["reason"] == "out-of-stock")
        .await;
    stage.control("PUT", "stock", &json!({ "all": "available" }));
    stage.pass_time(660).await;
    stage.until("rex", boots).await;
    stage.close().await;
}
