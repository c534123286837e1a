//! The rules of the API, one by one, under virtual time.

#![allow(clippy::unwrap_used)]

mod fault_matrix;
mod faults;
mod firewalls;
mod guests;
mod lifecycle;
mod properties;
mod quotas;
mod readme;
mod refusals;
mod replies;
mod servers;
mod shapes;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::World;
use crate::{
    config::Config,
    message::{Answer, Delivery, Request},
    shapes::Shapes,
};

/// Every answer of every test here passes through this.
///
/// # Panics
/// When an answer that reaches a client has not the shape of the API and is not odd on purpose.
pub(super) fn check_shape(answer: &Answer) {
    let delivered = !matches!(answer.delivery, Delivery::Cut | Delivery::Hang(_));
    if delivered && !answer.odd {
        let (operation, status) = (&answer.operation, u64::from(answer.status));
        if let Some(problem) = Shapes::get().problem(operation, status, answer.value()) {
            panic!("not the shape of the API: {problem}");
        }
    }
}

/// An account and its time. Creation takes 1 s, booting 9 s, power actions 2 s, deletes 5 s.
struct Account {
    world: World,
    now: DateTime<Utc>,
}

fn timed() -> Config {
    Config::default()
        .create_ms(1000)
        .boot_ms(9000)
        .power_ms(2000)
        .delete_ms(5000)
        .firewall_lag_ms(4000)
}

/// A create that is accepted; tests deviate from it.
fn order(name: &str) -> Value {
    json!({"name": name, "server_type": "cx23", "image": "123456", "location": "nbg1"})
}

impl Account {
    fn new() -> Self {
        Self::with(timed())
    }

    fn with(config: Config) -> Self {
        let now: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
        Self {
            world: World::new(config, now),
            now,
        }
    }

    fn pass(&mut self, ms: i64) -> &mut Self {
        self.now += Duration::milliseconds(ms);
        self
    }

    fn send(&mut self, request: &Request) -> Answer {
        if request.path.starts_with("/_sim") {
            self.world.control(self.now, request)
        } else {
            self.world.call(self.now, request)
        }
    }

    fn get(&mut self, path: &str) -> Value {
        self.send(&Request::new("GET", path)).value().clone()
    }

    fn status_of(&mut self, method: &str, path: &str) -> u16 {
        self.send(&Request::new(method, path)).status
    }

    fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(&Request::new("POST", path).json(body))
    }

    fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.send(&Request::new("PUT", path).json(body))
    }

    /// Creates a server from a body and gives its id.
    fn create(&mut self, body: &Value) -> u64 {
        let answer = self.post("/v1/servers", body);
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.value()["server"]["id"].as_u64().unwrap()
    }

    /// A server that runs.
    fn running(&mut self, name: &str) -> u64 {
        let id = self.create(&order(name));
        self.pass(10_000);
        assert_eq!(self.server(id)["status"], "running");
        id
    }

    fn server(&mut self, id: u64) -> Value {
        self.get(&format!("/v1/servers/{id}"))["server"].clone()
    }

    fn action(&mut self, answer: &Answer) -> Value {
        let id = answer.value()["action"]["id"].as_u64().unwrap();
        self.get(&format!("/v1/actions/{id}"))["action"].clone()
    }

    fn fault(&mut self, rule: &Value) {
        let answer = self.post("/_sim/faults", rule);
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }

    fn act(&mut self, id: u64, verb: &str) -> Answer {
        self.send(&Request::new(
            "POST",
            &format!("/v1/servers/{id}/actions/{verb}"),
        ))
    }

    fn delete(&mut self, id: u64) -> Answer {
        self.send(&Request::new("DELETE", &format!("/v1/servers/{id}")))
    }
}

fn code(answer: &Answer) -> (u16, &str) {
    let code = answer.value()["error"]["code"].as_str().unwrap_or("none");
    (answer.status, code)
}
