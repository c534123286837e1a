//! The Hetzner Cloud API on loopback: servers, actions, firewalls, prices, faults, a cost meter.
//!
//! [`World`] is the whole account as a state machine without I/O, stepped by hand under virtual
//! time. [`Sim`] puts it behind HTTP with the real clock, and can run a real process inside each
//! server. The official clients work against it unchanged.
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
mod rng;
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
