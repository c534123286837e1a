//! What Hetzner offers, as far as it is known: server types, where they can be ordered, prices, and
//! the images that specs name.
//!
//! Plain values. They are read now and then and may be old or incomplete: what is missing here is
//! not known, which forbids nothing. Only what is said clearly (a type that is retired, an image of
//! another architecture, a disk that is too small) keeps a create from being tried.

use std::collections::{BTreeMap, BTreeSet};

use cattle_schemas::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cost::{Price, ServerPrice};

/// Everything that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// The account's currency; empty until known.
    pub currency: String,
    /// By name; empty until known.
    pub server_types: BTreeMap<String, ServerType>,
    /// Net price of one primary IPv4 address, by location.
    pub ipv4: BTreeMap<String, Price>,
    /// What became of looking for each image, by the text that a placement names it with. What is
    /// not in here was not looked for yet.
    pub images: BTreeMap<String, ImageAnswer>,
    /// Of those, what was looked for so long ago that nothing starts by it before it was looked for
    /// again: there may be a newer one.
    pub stale: BTreeSet<String>,
}

/// A server type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerType {
    /// Hetzner's number, by which a placement may name it too.
    pub id: Option<u64>,
    /// Its processors'.
    pub architecture: Option<Architecture>,
    /// Local disk in GB: an image needs one at least as large as its own.
    pub disk_gb: Option<u32>,
    /// Virtual processors.
    pub cores: Option<u32>,
    /// Whether its processors are its own, which the account limits apart.
    pub dedicated: Option<bool>,
    /// Memory in MB.
    pub memory_mb: Option<u32>,
    /// `cost_optimized`, `regular_purpose`, `general_purpose`; free text.
    pub category: Option<String>,
    /// Where it is offered. A location that is missing does not have it; an empty map says nothing.
    pub offers: BTreeMap<String, Offer>,
    /// Net, by location. Also of locations where it cannot be ordered.
    pub prices: BTreeMap<String, Price>,
}

/// A server type in one location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Said to be in stock. Seen wrong both ways, so it orders candidates and forbids none.
    pub available: bool,
    /// Hetzner would rather have one use it.
    pub recommended: bool,
    /// Cannot be ordered from then on.
    pub unavailable_after: Option<Timestamp>,
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// CX, CPX, CCX.
    X86,
    /// CAX.
    Arm,
}

/// What became of looking for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageAnswer {
    /// The newest usable one of each architecture; never empty.
    Found(Vec<Image>),
    /// There is none.
    Missing {
        /// A sentence for people.
        message: String,
        /// What to do.
        hint: String,
    },
    /// There are several, and none is the newest.
    Ambiguous {
        /// A sentence for people.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Hetzner did not say.
    Unread {
        /// Why.
        message: String,
    },
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Hetzner's number.
    pub id: u64,
    /// What people know it by: its name, or a snapshot's description.
    pub title: String,
    /// Where it comes from.
    pub kind: ImageKind,
    /// What it runs on.
    pub architecture: Option<Architecture>,
    /// The disk that it needs, in GB.
    pub disk_gb: Option<u32>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Not usable for new servers from then on.
    pub unavailable_after: Option<Timestamp>,
}

/// Where an image comes from; servers of some kinds take longer to come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// Hetzner's own; on every host.
    System,
    /// Hetzner's own, with an application.
    App,
    /// Somebody's; copied to the host first, which takes minutes.
    Snapshot,
    /// Of one server.
    Backup,
    /// Not known.
    Other,
}

impl Catalogue {
    /// A server type by name or by Hetzner's number, and its name.
    #[must_use]
    pub fn server_type(&self, text: &str) -> Option<(&str, &ServerType)> {
        let named = self.server_types.get_key_value(text);
        let numbered = || {
            let id: u64 = text.parse().ok()?;
            let mut types = self.server_types.iter();
            types.find(|(_, server_type)| server_type.id == Some(id))
        };
        named
            .or_else(numbered)
            .map(|(name, server_type)| (name.as_str(), server_type))
    }

    /// What follows if the images with these words are there: for who asks what would happen, and
    /// is not to be told that they would be looked for first.
    #[must_use]
    pub fn presuming<'a>(&self, images: impl IntoIterator<Item = &'a str>) -> Self {
        let mut presumed = self.clone();
        presumed.stale.clear();
        for text in images {
            let there = || {
                ImageAnswer::Found(vec![Image {
                    id: 0,
                    title: text.to_owned(),
                    kind: ImageKind::Other,
                    architecture: None,
                    disk_gb: None,
                    created: None,
                    unavailable_after: None,
                }])
            };
            presumed.images.entry(text.to_owned()).or_insert_with(there);
        }
        presumed
    }

    /// What a server costs with its IPv4 address; `None` while either is not known.
    #[must_use]
    pub fn price(&self, server_type: &str, location: &str) -> Option<ServerPrice> {
        let (_, server_type) = self.server_type(server_type)?;
        Some(ServerPrice {
            server: *server_type.prices.get(location)?,
            ipv4: *self.ipv4.get(location)?,
        })
    }
}

impl Architecture {
    /// Hetzner's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "x86" => Some(Self::X86),
            "arm" => Some(Self::Arm),
            _ => None,
        }
    }

    /// Hetzner's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::Arm => "arm",
        }
    }
}

impl ImageKind {
    /// Hetzner's word; others are [`ImageKind::Other`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "system" => Self::System,
            "app" => Self::App,
            "snapshot" => Self::Snapshot,
            "backup" => Self::Backup,
            _ => Self::Other,
        }
    }
}

impl Image {
    /// Whether a new server may still be made of it.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.unavailable_after.is_none_or(|end| now < end)
    }
}

impl Offer {
    /// Since when it cannot be ordered any more.
    #[must_use]
    pub fn retired(&self, now: Timestamp) -> Option<Timestamp> {
        self.unavailable_after.filter(|end| *end <= now)
    }
}
