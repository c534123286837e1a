//! What servers cost, from `/pricing`, remembered for a while.

use std::time::{Duration, Instant};

use cattle_core::{
    catalogue::{Catalogue, ServerType},
    cost::Price,
};
use serde_json::Value;

use super::{
    client::Client,
    error::{ApiError, Kind},
    table::Operation,
    transport::Call,
    wire::string,
};

/// Prices change a few times a year; what a run is charged is fixed at its create.
pub(super) const FRESH: Duration = Duration::from_secs(6 * 3600);

/// The latest prices and when they were read.
pub(super) type Remembered = Option<(Instant, Catalogue)>;

impl Client {
    /// Hourly prices of server types and of primary IPv4 addresses, net. Read at most every six
    /// hours; while a newer answer cannot be had, the last one stands.
    ///
    /// # Errors
    /// The call failed and there is no earlier answer.
    pub async fn prices(&self) -> Result<Catalogue, ApiError> {
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
fn decode(body: &Value) -> Option<Catalogue> {
    let pricing = body.get("pricing")?;
    let mut catalogue = Catalogue {
        currency: string(pricing, &["currency"])?,
        ..Catalogue::default()
    };
    for server_type in list(pricing, "server_types") {
        let Some(name) = string(server_type, &["name"]) else {
            continue;
        };
        let server_type = ServerType {
            prices: by_location(server_type).collect(),
            ..ServerType::default()
        };
        if !server_type.prices.is_empty() {
            catalogue.server_types.insert(name, server_type);
        }
    }
    for address in list(pricing, "primary_ips") {
        if string(address, &["type"]).as_deref() == Some("ipv4") {
            catalogue.ipv4 = by_location(address).collect();
        }
    }
    (!catalogue.server_types.is_empty()).then_some(catalogue)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn by_location(value: &Value) -> impl Iterator<Item = (String, Price)> {
    list(value, "prices").filter_map(|entry| {
        let amount = |period| string(entry, &[period, "net"])?.parse().ok();
        let price = Price {
            hourly: amount("price_hourly")?,
            monthly: amount("price_monthly"),
        };
        Some((string(entry, &["location"])?, price))
    })
}
