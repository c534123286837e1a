//! What can be ordered, and what it costs.
//!
//! An entry that cannot be read is left out, and of one that can, whatever cannot: what is missing
//! forbids nothing.

use std::collections::BTreeMap;

use cattle_core::{
    catalogue::{Architecture, Offer, ServerType},
    cost::Price,
};
use cattle_schemas::Timestamp;
use serde_json::Value;

use super::{
    client::Client,
    error::{ApiError, Kind},
    table::Operation,
    transport::Call,
    wire::{boolean, id, number, string, timestamp},
};

/// `GET /pricing`, as far as servers go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pricing {
    /// The account's currency.
    pub currency: String,
    /// Of one primary IPv4 address, net, by location.
    pub ipv4: BTreeMap<String, Price>,
    /// Of server types by name, net, by location; also of locations where they cannot be ordered.
    pub server_types: BTreeMap<String, BTreeMap<String, Price>>,
}

impl Client {
    /// All server types by name.
    ///
    /// # Errors
    /// Any page failed, or none of them could be read.
    pub async fn server_types(&self) -> Result<BTreeMap<String, ServerType>, ApiError> {
        let (operation, subject) = (Operation::ListServerTypes, "the server types");
        let call = || Call::get(operation, subject, "/server_types");
        let entries = self.pages(call, "server_types").await?;
        let types: BTreeMap<_, _> = entries.iter().filter_map(server_type).collect();
        if types.is_empty() {
            let kind = Kind::Unreadable("no server types in it".to_owned());
            return Err(ApiError::new(operation, subject, kind));
        }
        Ok(types)
    }

    /// The account's currency, and net prices.
    ///
    /// # Errors
    /// The call failed, or its answer names no currency or no prices.
    pub async fn pricing(&self) -> Result<Pricing, ApiError> {
        let (operation, subject) = (Operation::Prices, "the price list");
        let call = Call::get(operation, subject, "/pricing");
        let reply = self.transport().send(call).await?;
        pricing(&reply.body).ok_or_else(|| {
            let kind = Kind::Unreadable("no prices in it".to_owned());
            ApiError::about(&reply, operation, subject, kind)
        })
    }
}

fn server_type(entry: &Value) -> Option<(String, ServerType)> {
    let whole = |path: &[&str]| {
        let number = number(entry, path)?;
        // Cores and disks are small whole numbers; 2^32 is beyond any of them.
        (number >= 0.0 && number < f64::from(u32::MAX)).then_some(number as u32)
    };
    let server_type = ServerType {
        id: id(entry),
        architecture: string(entry, &["architecture"])
            .and_then(|word| Architecture::from_word(&word)),
        disk_gb: whole(&["disk"]),
        cores: whole(&["cores"]),
        dedicated: string(entry, &["cpu_type"]).map(|word| word == "dedicated"),
        memory_mb: number(entry, &["memory"])
            .map(|gb| gb * 1024.0)
            .filter(|mb| *mb >= 0.0 && *mb < f64::from(u32::MAX))
            .map(|mb| mb as u32),
        category: string(entry, &["category"]),
        offers: offers(entry),
        prices: by_location(entry).collect(),
    };
    Some((string(entry, &["name"])?, server_type))
}

/// Where a type is offered. One location that cannot be read makes the list say nothing: else it
/// would say that the type is not offered there.
fn offers(entry: &Value) -> BTreeMap<String, Offer> {
    let whole_type = ends(entry);
    let offers: Option<BTreeMap<_, _>> = list(entry, "locations")
        .map(|offer| {
            let read = Offer {
                available: boolean(offer, &["available"]),
                recommended: boolean(offer, &["recommended"]),
                unavailable_after: ends(offer).or(whole_type),
            };
            Some((string(offer, &["name"])?, read))
        })
        .collect();
    offers.unwrap_or_default()
}

fn ends(value: &Value) -> Option<Timestamp> {
    timestamp(value, &["deprecation", "unavailable_after"])
}

fn pricing(body: &Value) -> Option<Pricing> {
    let pricing = body.get("pricing")?;
    let server_types: BTreeMap<_, BTreeMap<_, _>> = list(pricing, "server_types")
        .filter_map(|entry| Some((string(entry, &["name"])?, by_location(entry).collect())))
        .filter(|(_, prices): &(_, BTreeMap<_, _>)| !prices.is_empty())
        .collect();
    let ipv4 = list(pricing, "primary_ips")
        .filter(|address| string(address, &["type"]).as_deref() == Some("ipv4"))
        .flat_map(by_location)
        .collect();
    let read = Pricing {
        currency: string(pricing, &["currency"])?,
        ipv4,
        server_types,
    };
    (!read.server_types.is_empty() || !read.ipv4.is_empty()).then_some(read)
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
