//! Locations, server types, images and prices as the API shows them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::World;
use crate::{
    catalogue::{self, Image, LOCATIONS, Location, SERVER_TYPES, ServerType},
    error::ApiError,
    labels::{self, Labels, Selector},
    message::{Answer, Request},
    money::Money,
    paging::{self, SortField},
};

const LOCATION_SORT: &[SortField<Location>] = &[
    ("id", |a, b| a.id.cmp(&b.id)),
    ("name", |a, b| a.name.cmp(b.name)),
];

const IMAGE_SORT: &[SortField<Image>] = &[
    ("id", |a, b| a.id.cmp(&b.id)),
    ("name", |a, b| a.name.cmp(&b.name)),
    ("created", |a, b| a.created.cmp(&b.created)),
];

pub(crate) fn render_location(location: &Location) -> Value {
    json!({
        "id": location.id,
        "name": location.name,
        "description": location.description,
        "country": location.country,
        "city": location.city,
        "latitude": location.latitude,
        "longitude": location.longitude,
        "network_zone": location.network_zone,
    })
}

fn price(amount: Money) -> Value {
    json!({"net": amount.net(), "gross": amount.gross()})
}

/// Prices of every location that ever had the type, sorted by the location's name as the real
/// list is: a price entry proves nothing about where it can be ordered.
fn prices(kind: &ServerType) -> Vec<Value> {
    let mut names: Vec<&str> = kind
        .sold_in
        .iter()
        .chain(kind.retired_in)
        .copied()
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            json!({
                "location": name,
                "price_hourly": price(kind.hourly),
                "price_monthly": price(kind.monthly),
                "included_traffic": catalogue::included_traffic(name),
                "price_per_tb_traffic": price(catalogue::traffic_per_tb(name)),
            })
        })
        .collect()
}

impl World {
    pub(crate) fn list_locations(&self, request: &Request) -> Result<Answer, ApiError> {
        let name = request.param("name");
        let found = LOCATIONS
            .iter()
            .filter(|l| name.is_none_or(|name| l.name == name))
            .collect();
        paging::list(request, "locations", found, LOCATION_SORT, render_location)
    }

    pub(crate) fn get_location(&self, id: u64) -> Result<Answer, ApiError> {
        LOCATIONS
            .iter()
            .find(|l| l.id == id)
            .map(|l| Answer::ok(json!({"location": render_location(l)})))
            .ok_or_else(|| ApiError::not_found("location", id))
    }

    pub(crate) fn render_server_type(&self, kind: &ServerType) -> Value {
        let mut places: Vec<&Location> = LOCATIONS
            .iter()
            .filter(|l| kind.sold_in.contains(&l.name) || kind.retired_in.contains(&l.name))
            .collect();
        places.sort_by_key(|l| l.id);
        let locations: Vec<Value> = places
            .into_iter()
            .map(|l| {
                let retired = kind.retired_in.contains(&l.name);
                let available = !retired && self.stock.shown(kind, l.name);
                let (announced, unavailable_after) = catalogue::RETIREMENT;
                let deprecation = retired.then(
                    || json!({"announced": announced, "unavailable_after": unavailable_after}),
                );
                json!({
                    "id": l.id,
                    "name": l.name,
                    "available": available,
                    "recommended": available,
                    "deprecation": deprecation,
                })
            })
            .collect();
        let mut value = json!({
            "id": kind.id,
            "name": kind.name,
            "description": kind.description(),
            "category": kind.category(),
            "cores": kind.cores,
            "memory": kind.memory_gb,
            "disk": kind.disk_gb,
            "cpu_type": if kind.dedicated() { "dedicated" } else { "shared" },
            "architecture": kind.architecture(),
            "storage_type": "local",
            "prices": prices(kind),
            "locations": locations,
            // Stays null while only some locations are retired.
            "deprecation": null,
        });
        if self.config.legacy_deprecated {
            value["deprecated"] = json!(false);
        }
        value
    }

    pub(crate) fn list_server_types(&self, request: &Request) -> Result<Answer, ApiError> {
        let name = request.param("name");
        let found = SERVER_TYPES
            .iter()
            .filter(|t| name.is_none_or(|name| t.name == name))
            .collect();
        paging::list(request, "server_types", found, &[], |t| {
            self.render_server_type(t)
        })
    }

    pub(crate) fn get_server_type(&self, id: u64) -> Result<Answer, ApiError> {
        SERVER_TYPES
            .iter()
            .find(|t| t.id == id)
            .map(|t| Answer::ok(json!({"server_type": self.render_server_type(t)})))
            .ok_or_else(|| ApiError::not_found("server type", id))
    }

    pub(crate) fn render_image(&self, image: &Image) -> Value {
        let deprecation = image.deprecation.map(|(announced, after)| {
            json!({"announced": super::time::rfc3339(announced),
                "unavailable_after": super::time::rfc3339(after)})
        });
        let mut value = json!({
            "id": image.id,
            "type": image.kind,
            "status": image.status.text(),
            "name": image.name,
            "description": image.description,
            "image_size": image.image_gb,
            "disk_size": image.disk_gb,
            "created": super::time::rfc3339(image.created),
            "created_from": image.created_from.as_ref()
                .map(|(id, name)| json!({"id": id, "name": name})),
            "bound_to": image.bound_to,
            "os_flavor": image.os_flavor,
            "os_version": image.os_version,
            "rapid_deploy": image.kind == "system",
            "protection": {"delete": image.protected},
            "deleted": null,
            "deprecation": deprecation,
            "labels": image.labels,
            "architecture": image.architecture,
        });
        if self.config.legacy_deprecated {
            value["deprecated"] = image
                .deprecation
                .map_or(Value::Null, |(at, _)| json!(super::time::rfc3339(at)));
        }
        value
    }

    pub(crate) fn list_images(&self, request: &Request) -> Result<Answer, ApiError> {
        let selector = Selector::parse(request.param("label_selector").unwrap_or(""))?;
        let any = |key: &str, value: Option<&str>| {
            let mut wanted = request.params(key).peekable();
            wanted.peek().is_none() || wanted.any(|w| Some(w) == value)
        };
        // hcloud-python writes `True`.
        let deprecated_too = request
            .param("include_deprecated")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let found = self
            .images
            .iter()
            .filter(|i| any("type", Some(i.kind)))
            .filter(|i| any("status", Some(i.status.text())))
            .filter(|i| any("bound_to", i.bound_to.map(|id| id.to_string()).as_deref()))
            .filter(|i| any("name", i.name))
            .filter(|i| any("architecture", Some(i.architecture)))
            .filter(|i| deprecated_too || i.deprecation.is_none())
            .filter(|i| selector.matches(&i.labels))
            .collect();
        paging::list(request, "images", found, IMAGE_SORT, |i| {
            self.render_image(i)
        })
    }

    pub(crate) fn get_image(&self, id: u64) -> Result<Answer, ApiError> {
        let image = self
            .images
            .iter()
            .find(|image| image.id == id)
            .ok_or_else(|| ApiError::not_found("image", id))?;
        Ok(Answer::ok(json!({"image": self.render_image(image)})))
    }

    pub(crate) fn update_image(&mut self, request: &Request, id: u64) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            description: Option<String>,
            labels: Option<Labels>,
        }
        let body: Body = request.parse()?;
        let image = self
            .images
            .iter_mut()
            .find(|image| image.id == id)
            .ok_or_else(|| ApiError::not_found("image", id))?;
        if image.kind == "system" {
            return Err(ApiError::forbidden());
        }
        if let Some(labels) = body.labels {
            labels::check(&labels)?;
            image.labels = labels;
        }
        if let Some(description) = body.description {
            image.description = description;
        }
        self.get_image(id)
    }

    pub(crate) fn delete_image(&mut self, id: u64) -> Result<Answer, ApiError> {
        let at = self
            .images
            .iter()
            .position(|image| image.id == id)
            .ok_or_else(|| ApiError::not_found("image", id))?;
        let image = &self.images[at];
        if image.kind == "system" {
            return Err(ApiError::forbidden());
        }
        if image.protected {
            return Err(ApiError::protected("image"));
        }
        self.images.remove(at);
        Ok(Answer::empty())
    }

    pub(crate) fn prices(&self) -> Answer {
        let everywhere = |hourly: Option<Money>, monthly: Money| -> Vec<Value> {
            let mut names: Vec<&str> = LOCATIONS.iter().map(|l| l.name).collect();
            names.sort_unstable();
            names
                .into_iter()
                .map(|name| {
                    let mut entry = json!({"location": name, "price_monthly": price(monthly)});
                    if let Some(hourly) = hourly {
                        entry["price_hourly"] = price(hourly);
                    }
                    entry
                })
                .collect()
        };
        let free = Money::default();
        // Floating IPs were not captured; the price of three euros a month is the public one.
        let floating = Money::from_e4(30_000);
        let types: Vec<Value> = SERVER_TYPES
            .iter()
            .map(|t| json!({"id": t.id, "name": t.name, "prices": prices(t)}))
            .collect();
        Answer::ok(json!({"pricing": {
            "currency": "EUR",
            "vat_rate": "0.00",
            "primary_ips": [
                {"type": "ipv4", "prices":
                    everywhere(Some(catalogue::IPV4_HOURLY), catalogue::IPV4_MONTHLY)},
                {"type": "ipv6", "prices": everywhere(Some(free), free)},
            ],
            "floating_ip": {"price_monthly": price(floating)},
            "floating_ips": [
                {"type": "ipv4", "prices": everywhere(None, floating)},
                {"type": "ipv6", "prices": everywhere(None, free)},
            ],
            "image": {"price_per_gb_month": price(catalogue::SNAPSHOT_GB_MONTH)},
            "volume": {"price_per_gb_month": price(catalogue::VOLUME_GB_MONTH)},
            "server_backup": {"percentage": "20.0000000000"},
            "server_types": types,
            "load_balancer_types": [],
        }}))
    }
}
