//! What servers cost, from `/pricing`, remembered for a while.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    client::Client,
    error::{ApiError, Kind},
    table::Operation,
    transport::Call,
    wire::string,
};
use crate::world::Prices;

/// Prices change a few times a year; what a run is charged is fixed at its create.
pub(super) const FRESH: Duration = Duration::from_secs(6 * 3600);

/// The latest prices and when they were read.
pub(super) type Remembered = Option<(Instant, Prices)>;

impl Client {
    /// Hourly prices of server types and of primary IPv4 addresses, net. Read at most every six
    /// hours; while a newer answer cannot be had, the last one stands.
    ///
    /// # Errors
    /// The call failed and there is no earlier answer.
    pub async fn prices(&self) -> Result<Prices, ApiError> {
        let mut remembered = self.memory().prices.lock().await;
        if let Some((read_at, prices)) = remembered.as_ref()
            && read_at.elapsed() < FRESH
        {
            return Ok(prices.clone());
        }
        let call = Call::get(Operation::Prices, "the price list", "/pricing");
        let error = match self.transport().send(call).await {
            Ok(reply) => match decode(&reply.body) {
                Some(prices) => {
                    *remembered = Some((Instant::now(), prices.clone()));
                    return Ok(prices);
                }
                None => {
                    let kind = Kind::Unreadable("no prices in it".to_owned());
                    ApiError::about(&reply, Operation::Prices, "the price list", kind)
                }
            },
            Err(error) => error,
        };
        match remembered.as_ref() {
            Some((_, prices)) => {
                tracing::warn!(%error, "prices are out of date");
                Ok(prices.clone())
            }
            None => Err(error),
        }
    }
}

/// Entries that cannot be read are left out: a server without a price is better than no prices.
fn decode(body: &Value) -> Option<Prices> {
    let pricing = body.get("pricing")?;
    let mut prices = Prices {
        currency: string(pricing, &["currency"])?,
        ..Prices::default()
    };
    for server_type in list(pricing, "server_types") {
        let Some(name) = string(server_type, &["name"]) else {
            continue;
        };
        for (location, hourly) in by_location(server_type) {
            prices.hourly.insert((name.clone(), location), hourly);
        }
    }
    for address in list(pricing, "primary_ips") {
        if string(address, &["type"]).as_deref() == Some("ipv4") {
            prices.ipv4_hourly = by_location(address).collect::<BTreeMap<_, _>>();
        }
    }
    (!prices.hourly.is_empty()).then_some(prices)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn by_location(value: &Value) -> impl Iterator<Item = (String, String)> {
    list(value, "prices").filter_map(|price| {
        let net = string(price, &["price_hourly", "net"])?;
        // What is not a number would be taken for zero further on.
        net.parse::<f64>()
            .ok()
            .filter(|net| net.is_finite() && *net >= 0.0)?;
        Some((string(price, &["location"])?, net))
    })
}
