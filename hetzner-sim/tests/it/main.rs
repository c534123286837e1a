//! The simulator over real sockets, with real processes in its servers, and as a program.

#![allow(clippy::unwrap_used)]

mod delivery;
mod guests;
mod program;
mod safety;
#[path = "../../src/shapes.rs"]
mod shapes;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use hetzner_sim::{Config, Sim};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Longer than anything here takes, so that only a defect runs into it.
const PATIENCE: Duration = Duration::from_secs(20);

const TOKEN: &str = "test-token";

/// A simulator and a client for it.
struct Harness {
    sim: Sim,
    http: reqwest::Client,
    _replies: Replies,
}

/// Every reply that went out over HTTP: when it is dropped, they are held against the shapes of
/// the API.
struct Replies(tempfile::NamedTempFile);

impl Drop for Replies {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for line in std::fs::read_to_string(self.0.path()).unwrap().lines() {
            let reply: Value = serde_json::from_str(line).unwrap();
            let (operation, status) = (reply["operation"].as_str(), reply["status"].as_u64());
            let shapes = shapes::Shapes::get();
            let problem = shapes.problem(operation.unwrap(), status.unwrap(), &reply["body"]);
            assert!(reply["odd"] == true || problem.is_none(), "{problem:?}");
        }
    }
}

fn quick() -> Config {
    Config::default()
        .create_ms(5)
        .boot_ms(5)
        .power_ms(5)
        .delete_ms(5)
        .firewall_lag_ms(10)
        .token(TOKEN)
}

fn order(name: &str) -> Value {
    json!({"name": name, "server_type": "cx23", "image": "123456", "location": "nbg1"})
}

impl Harness {
    async fn new(config: Config) -> Self {
        let replies = tempfile::NamedTempFile::new().unwrap();
        let config = config.record_replies(replies.path());
        Self {
            sim: Sim::start(config).await.unwrap(),
            _replies: Replies(replies),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.sim.addr());
        self.http
            .request(method, url)
            .bearer_auth(TOKEN)
            .timeout(PATIENCE)
    }

    async fn get(&self, path: &str) -> Value {
        let reply = self.request(Method::GET, path).send().await.unwrap();
        reply.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let reply = self.request(Method::POST, path).json(body).send().await;
        let reply = reply.unwrap();
        let status = reply.status();
        (status, reply.json().await.unwrap_or_default())
    }

    async fn create(&self, body: &Value) -> u64 {
        let (status, reply) = self.post("/v1/servers", body).await;
        assert_eq!(status, 201, "{reply}");
        reply["server"]["id"].as_u64().unwrap()
    }

    async fn delete(&self, id: u64) {
        let path = format!("/v1/servers/{id}");
        let reply = self.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(reply.status(), 200);
    }

    async fn status(&self, id: u64) -> String {
        let body = self.get(&format!("/v1/servers/{id}")).await;
        body["server"]["status"]
            .as_str()
            .unwrap_or("gone")
            .to_owned()
    }

    async fn reaches(&self, id: u64, status: &str) {
        eventually(&format!("server {id} is {status}"), || async {
            self.status(id).await == status
        })
        .await;
    }
}

/// Polls until something holds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
