//! What can be bought: locations, server types, images and prices.
//!
//! Captured from an EUR account on 2026-09-29 (net prices; VAT is shown as 0, so gross equals
//! net). Prices outside the EU were not captured for types that are sold on both sides; the EU
//! price stands in for them.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{labels::Labels, money::Money};

/// A place, as `/locations` lists it.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) country: &'static str,
    pub(crate) city: &'static str,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) network_zone: &'static str,
}

#[rustfmt::skip]
pub(crate) const LOCATIONS: [Location; 6] = [
    Location { id: 1, name: "fsn1", description: "Falkenstein DC Park 1", country: "DE", city: "Falkenstein", latitude: 50.47612, longitude: 12.370071, network_zone: "eu-central" },
    Location { id: 2, name: "nbg1", description: "Nuremberg DC Park 1", country: "DE", city: "Nuremberg", latitude: 49.452102, longitude: 11.076665, network_zone: "eu-central" },
    Location { id: 3, name: "hel1", description: "Helsinki DC Park 1", country: "FI", city: "Helsinki", latitude: 60.169855, longitude: 24.938379, network_zone: "eu-central" },
    Location { id: 4, name: "ash", description: "Ashburn, VA", country: "US", city: "Ashburn, VA", latitude: 39.045821, longitude: -77.487073, network_zone: "us-east" },
    Location { id: 5, name: "hil", description: "Hillsboro, OR", country: "US", city: "Hillsboro, OR", latitude: 45.54222, longitude: -122.951924, network_zone: "us-west" },
    Location { id: 6, name: "sin", description: "Singapore", country: "SG", city: "Singapore", latitude: 1.283333, longitude: 103.833333, network_zone: "ap-southeast" },
];

const EU: &[&str] = &["fsn1", "nbg1", "hel1"];
const EU_AND_SIN: &[&str] = &["fsn1", "nbg1", "hel1", "sin"];
const US: &[&str] = &["ash", "hil"];
const EVERYWHERE: &[&str] = &["fsn1", "nbg1", "hel1", "ash", "hil", "sin"];

/// A kind of server.
#[derive(Debug)]
pub(crate) struct ServerType {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) cores: u32,
    pub(crate) memory_gb: u32,
    pub(crate) disk_gb: u32,
    pub(crate) hourly: Money,
    pub(crate) monthly: Money,
    /// Where it can be ordered, stock permitting.
    pub(crate) sold_in: &'static [&'static str],
    /// Where it is still listed, with a deprecation that has passed.
    pub(crate) retired_in: &'static [&'static str],
}

impl ServerType {
    pub(crate) fn architecture(&self) -> &'static str {
        if self.name.starts_with("cax") {
            "arm"
        } else {
            "x86"
        }
    }

    pub(crate) fn dedicated(&self) -> bool {
        self.name.starts_with("ccx")
    }

    pub(crate) fn category(&self) -> &'static str {
        match &self.name[..3] {
            "ccx" => "general_purpose",
            "cpx" => "regular_purpose",
            _ => "cost_optimized",
        }
    }

    pub(crate) fn description(&self) -> String {
        let split = self.name.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        let (family, size) = self.name.split_at(split);
        let family = family.to_uppercase();
        match family.as_str() {
            "CCX" => format!("CCX{size} Dedicated CPU"),
            "CAX" => format!("CAX{size}"),
            _ => format!("{family} {size}"),
        }
    }

    /// Whether the capture of 2026-09-29 had it in stock.
    pub(crate) fn captured_in_stock(&self) -> bool {
        self.name.starts_with("cpx") || self.dedicated()
    }
}

#[allow(clippy::too_many_arguments)]
const fn sold(
    id: u64,
    name: &'static str,
    (cores, memory_gb, disk_gb): (u32, u32, u32),
    hourly_e4: u64,
    monthly_cents: u64,
    sold_in: &'static [&'static str],
    retired_in: &'static [&'static str],
) -> ServerType {
    ServerType {
        id,
        name,
        cores,
        memory_gb,
        disk_gb,
        hourly: Money::from_e4(hourly_e4),
        monthly: Money::from_e4(monthly_cents * 100),
        sold_in,
        retired_in,
    }
}

/// Sorted by id, as the API lists them.
pub(crate) const SERVER_TYPES: [ServerType; 25] = [
    sold(22, "cpx11", (2, 2, 40), 280, 1749, US, EU_AND_SIN),
    sold(23, "cpx21", (3, 4, 80), 513, 3199, US, EU_AND_SIN),
    sold(24, "cpx31", (4, 8, 160), 1001, 6249, US, EU_AND_SIN),
    sold(25, "cpx41", (8, 16, 240), 1931, 12049, US, EU_AND_SIN),
    sold(26, "cpx51", (16, 32, 360), 3814, 23799, US, EU_AND_SIN),
    sold(45, "cax11", (2, 4, 40), 96, 599, EU, &[]),
    sold(93, "cax21", (4, 8, 80), 168, 1049, EU, &[]),
    sold(94, "cax31", (8, 16, 160), 336, 2099, EU, &[]),
    sold(95, "cax41", (16, 32, 320), 657, 4099, EU, &[]),
    sold(96, "ccx13", (2, 8, 80), 689, 4299, EVERYWHERE, &[]),
    sold(97, "ccx23", (4, 16, 160), 1378, 8599, EVERYWHERE, &[]),
    sold(98, "ccx33", (8, 32, 240), 2219, 13849, EVERYWHERE, &[]),
    sold(99, "ccx43", (16, 64, 360), 4423, 27599, EVERYWHERE, &[]),
    sold(100, "ccx53", (32, 128, 600), 8550, 53349, EVERYWHERE, &[]),
    sold(101, "ccx63", (48, 192, 960), 13678, 85349, EVERYWHERE, &[]),
    sold(108, "cpx12", (1, 2, 40), 184, 1149, EU_AND_SIN, &[]),
    sold(109, "cpx22", (2, 4, 80), 312, 1949, EU_AND_SIN, &[]),
    sold(110, "cpx32", (4, 8, 160), 569, 3549, EU_AND_SIN, &[]),
    sold(111, "cpx42", (8, 16, 320), 1114, 6949, EU_AND_SIN, &[]),
    sold(112, "cpx52", (12, 24, 480), 1610, 10049, EU_AND_SIN, &[]),
    sold(113, "cpx62", (16, 32, 640), 2083, 12999, EU_AND_SIN, &[]),
    sold(114, "cx23", (2, 4, 40), 88, 549, EU, &[]),
    sold(115, "cx33", (4, 8, 80), 136, 849, EU, &[]),
    sold(116, "cx43", (8, 16, 160), 256, 1599, EU, &[]),
    sold(117, "cx53", (16, 32, 320), 473, 2949, EU, &[]),
];

/// Types that are gone from the list; ordering one is refused by its id.
pub(crate) const RETIRED_TYPES: [(u64, &str); 4] =
    [(104, "cx22"), (105, "cx32"), (106, "cx42"), (107, "cx52")];

/// When the `retired_in` offers were announced to end, and ended.
pub(crate) const RETIREMENT: (&str, &str) = ("2025-10-16T00:00:00Z", "2025-12-31T23:59:59Z");

/// A Primary IPv4 costs this much an hour, up to the cap, used or not.
pub(crate) const IPV4_HOURLY: Money = Money::from_e4(8);
pub(crate) const IPV4_MONTHLY: Money = Money::from_e4(5000);
pub(crate) const SNAPSHOT_GB_MONTH: Money = Money::from_e4(143);
pub(crate) const VOLUME_GB_MONTH: Money = Money::from_e4(572);

/// Traffic included in a server's price, in bytes: the least that is included in that region.
pub(crate) fn included_traffic(location: &str) -> u64 {
    const TB: u64 = 1 << 40;
    match location {
        "ash" | "hil" => TB,
        "sin" => TB / 2,
        _ => 20 * TB,
    }
}

pub(crate) fn traffic_per_tb(location: &str) -> Money {
    Money::from_e4(if location == "sin" { 74_000 } else { 10_000 })
}

/// Finds by name or by id written as a string.
pub(crate) fn server_type(name_or_id: &str) -> Option<&'static ServerType> {
    SERVER_TYPES
        .iter()
        .find(|t| t.name == name_or_id || name_or_id.parse() == Ok(t.id))
}

/// Finds by name or by id written as a string.
pub(crate) fn location(name_or_id: &str) -> Option<&'static Location> {
    LOCATIONS
        .iter()
        .find(|l| l.name == name_or_id || name_or_id.parse() == Ok(l.id))
}

/// An image's or a type's processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Architecture {
    #[default]
    X86,
    Arm,
}

impl Architecture {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::Arm => "arm",
        }
    }
}

/// Whether an image can be started from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ImageStatus {
    #[default]
    Available,
    Creating,
    Unavailable,
}

impl ImageStatus {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Creating => "creating",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A disk image.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) id: u64,
    /// `system`, `snapshot` or `backup`.
    pub(crate) kind: &'static str,
    /// The server of a backup.
    pub(crate) bound_to: Option<u64>,
    pub(crate) status: ImageStatus,
    /// Snapshots have none.
    pub(crate) name: Option<&'static str>,
    pub(crate) description: String,
    pub(crate) os_flavor: &'static str,
    pub(crate) os_version: Option<&'static str>,
    pub(crate) architecture: &'static str,
    pub(crate) disk_gb: u32,
    /// Compressed size in GB; null for system images, which cost nothing to keep.
    pub(crate) image_gb: Option<f64>,
    pub(crate) created: DateTime<Utc>,
    pub(crate) created_from: Option<(u64, String)>,
    pub(crate) labels: Labels,
    pub(crate) protected: bool,
    /// Announced, and no longer usable for new servers after.
    pub(crate) deprecation: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// `(id for x86, id for arm, name, flavour, version)`. Ids have the magnitude of the real ones.
const SYSTEM_IMAGES: [(u64, u64, &str, &str, &str); 10] = [
    (45_557_056, 103_907_373, "debian-11", "debian", "11"),
    (114_690_387, 114_690_389, "debian-12", "debian", "12"),
    (310_557_660, 310_557_662, "debian-13", "debian", "13"),
    (67_794_396, 103_908_130, "ubuntu-22.04", "ubuntu", "22.04"),
    (161_547_269, 161_547_270, "ubuntu-24.04", "ubuntu", "24.04"),
    (396_102_101, 396_102_102, "ubuntu-26.04", "ubuntu", "26.04"),
    (322_557_801, 322_557_802, "fedora-43", "fedora", "43"),
    (295_311_110, 295_311_112, "rocky-10", "rocky", "10"),
    (295_311_120, 295_311_122, "alma-10", "alma", "10"),
    (306_120_001, 306_120_002, "opensuse-15", "opensuse", "15"),
];

/// The snapshots a new simulator has: one for each architecture, labelled `role=cattle-image`.
pub(crate) const SNAPSHOTS: [(u64, &str); 2] = [(123_456, "x86"), (123_457, "arm")];

fn day(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).map_or_else(|_| DateTime::UNIX_EPOCH, |t| t.to_utc())
}

/// The images of a new simulator.
pub(crate) fn images() -> Vec<Image> {
    let mut images = Vec::new();
    for (id, architecture) in SNAPSHOTS {
        images.push(Image {
            id,
            kind: "snapshot",
            bound_to: None,
            status: ImageStatus::Available,
            name: None,
            description: format!("cattle image {architecture}"),
            os_flavor: "unknown",
            os_version: None,
            architecture,
            disk_gb: 40,
            image_gb: Some(1.25),
            created: day("2026-11-01T08:00:00Z"),
            created_from: Some((4_999_999_999, "hcloud-upload-image".to_owned())),
            labels: Labels::from([("role".to_owned(), "cattle-image".to_owned())]),
            protected: false,
            deprecation: None,
        });
    }
    for (x86, arm, name, os_flavor, version) in SYSTEM_IMAGES {
        for (id, architecture) in [(x86, "x86"), (arm, "arm")] {
            images.push(Image {
                id,
                kind: "system",
                bound_to: None,
                status: ImageStatus::Available,
                name: Some(name),
                description: format!("{os_flavor} {version}"),
                os_flavor,
                os_version: Some(version),
                architecture,
                disk_gb: 5,
                image_gb: None,
                created: day("2026-01-15T11:34:45Z"),
                created_from: None,
                labels: Labels::new(),
                protected: false,
                deprecation: (name == "debian-11")
                    .then(|| (day("2026-08-30T00:00:00Z"), day("2026-11-30T00:00:00Z"))),
            });
        }
    }
    images.sort_by_key(|image| image.id);
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_holds_exactly_one_default_page_of_types() {
        assert_eq!(SERVER_TYPES.len(), 25);
        assert!(SERVER_TYPES.is_sorted_by_key(|t| t.id));
    }

    #[test]
    fn every_hourly_price_reaches_its_cap_after_about_624_hours() {
        for t in &SERVER_TYPES {
            let hours = t.monthly.e4() / t.hourly.e4();
            assert!((620..=626).contains(&hours), "{}: {hours} h", t.name);
        }
    }

    #[test]
    fn descriptions_read_as_captured() {
        let of = |name| server_type(name).map(ServerType::description);
        assert_eq!(of("cx23").as_deref(), Some("CX 23"));
        assert_eq!(of("cax21").as_deref(), Some("CAX21"));
        assert_eq!(of("ccx13").as_deref(), Some("CCX13 Dedicated CPU"));
    }
}
