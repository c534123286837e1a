//! The Hetzner Cloud API on loopback: servers, actions, firewalls, prices, faults, a cost meter.
//!
//! [`World`] is the whole account as a state machine without I/O, stepped by hand under virtual
//! time. [`Sim`] puts it behind HTTP with the real clock, and can run a real process inside each
//! server. The official clients work against it unchanged.
//!
//! ```
//! use chrono::{TimeDelta, Utc};
//! use hetzner_sim::{Config, Request, World};
//! use serde_json::json;
//!
//! let now = Utc::now();
//! let mut world = World::new(Config::default().create_ms(1_000).boot_ms(9_000), now);
//! let order = json!({"name": "web", "server_type": "cx23", "image": "debian-12"});
//! let reply = world.call(now, &Request::new("POST", "/v1/servers").json(&order));
//! assert_eq!(reply.status, 201);
//!
//! let later = now + TimeDelta::seconds(10);
//! let list = world.call(later, &Request::new("GET", "/v1/servers?name=web"));
//! assert_eq!(list.value()["servers"][0]["status"], "running");
//! assert_eq!(world.cost().total.to_string(), "0.0096");
//! ```
//!
//! Invariant: this crate knows nothing of its clients and shares no code with them. A field that
//! a client misreads fails here, instead of agreeing with itself.

mod bucket;
mod catalogue;
mod config;
mod connection;
mod error;
mod guest;
mod http;
mod labels;
mod md5;
mod message;
mod money;
mod paging;
mod recording;
mod rng;
#[cfg(test)]
mod shapes;
mod shared;
mod sim;
mod world;

pub use config::{Config, Guests, StockPreset, Token};
pub use error::ApiError;
pub use labels::Labels;
pub use message::{Answer, Body, Delivery, Request};
pub use money::Money;
pub use sim::{Sim, SimError, serve};
pub use world::{Call, Cost, Effect, ServerCost, World};
