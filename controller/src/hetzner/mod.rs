//! Hetzner's cloud API, as far as cattle need it.
//!
//! ```text
//! client.rs   what the controller asks for, in its own words
//! servers.rs  servers as they are asked for and got
//! firewall.rs, ssh_keys.rs   what rarely changes and is remembered for a while
//! offer.rs, images.rs   what can be ordered, of what it is made, and what it costs
//! candidates.rs   (server type, location) pairs and how long a refused one is left alone
//! standing.rs   what exchanges say of the token
//! error.rs    what a failure was; sentences.rs what a person reads about it
//! table.rs    the one table that says what to do about it
//! redact.rs   what is kept of other people's messages
//! wire.rs     replies, decoded as tolerantly as is safe
//! gate.rs     where each call waits until the rate limit has room for it
//! transport.rs   one HTTP exchange
//! ```
//!
//! Requests are written with the `hcloud` crate's models. Its reply models are not used: one key
//! that the API dropped, or one new word in an enum, would make a list of all servers unreadable
//! (docs/adr). Invariants: the token is in the `Authorization` header and nowhere else; no body is
//! ever logged, because `user_data` carries a bootstrap token; nothing is concluded from a reply
//! that could not be read.

pub mod candidates;
pub mod client;
pub mod error;
mod firewall;
mod gate;
mod images;
mod offer;
mod redact;
mod sentences;
mod servers;
mod ssh_keys;
mod standing;
pub mod table;
#[cfg(test)]
pub(crate) mod tests;
mod transport;
mod wire;

pub use candidates::CoolDowns;
pub use client::Client;
pub use error::{ApiError, CreateOutcome, Kind};
pub use firewall::{Firewall, mark_labels};
pub use offer::Pricing;
pub use servers::{Created, Deleted, Listed, NewServer, Scope};
pub use table::{Code, Disposition, Operation, Pace};
pub use transport::{DEFAULT_ENDPOINT, Endpoint, EndpointError, Search};
pub use wire::{ActionState, ActionStatus, Odd};
