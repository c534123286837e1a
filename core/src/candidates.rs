//! Where a server may be made: (server type, location) pairs in the order in which they are tried.
//!
//! A pair is left out only for what Hetzner says clearly: the type does not exist, is not offered or
//! is retired there, runs on another architecture than the image, or has a smaller disk. What is not
//! known forbids nothing, and neither do the flags that say what is in stock: they have been seen
//! wrong both ways, so they only put pairs first. The order is: pairs said to be available as the
//! spec has them, then the rest as the spec has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use cattle_schemas::{Timestamp, status::PendingReason};

use crate::{
    catalogue::{Architecture, Catalogue, Image, ImageAnswer, ImageKind, Offer, ServerType},
    clock::Wait,
    cost::ServerPrice,
    desired::Placement,
    image_ref, retired,
    spec::findings::{nearest, quoted},
};

/// Pairs that one sentence names; twenty types in twenty locations would be a page.
const MAX_TOLD: usize = 20;

/// What there is to try.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// In the order in which they are tried. Empty too while the image is not known.
    pub candidates: Vec<Candidate>,
    /// What is not tried, in the spec's order.
    pub rejected: Vec<Rejected>,
}

/// A pair that may be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Server type, as the placement names it.
    pub server_type: String,
    /// Location, likewise.
    pub location: String,
    /// What the create says: the image's number where it is known.
    pub image: String,
    /// What that image is.
    pub image_kind: Option<ImageKind>,
    /// What it costs.
    pub price: Option<ServerPrice>,
}

/// A pair that is not tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Server type.
    pub server_type: String,
    /// Location.
    pub location: String,
    /// A clause for people.
    pub why: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.server_type, self.location, self.why)
    }
}

/// A pair that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cold {
    /// Server type.
    pub server_type: String,
    /// Location.
    pub location: String,
    /// What was said when it was last refused.
    pub why: String,
    /// Until it is tried again, by one create at a time until one succeeds.
    pub wait: Wait,
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {}: {}, tried again at {}",
            self.server_type,
            self.location,
            self.why,
            self.wait.until.format("%H:%M:%S UTC")
        )
    }
}

/// Pairs that were refused, by server type and location. What is not in here is free to be tried.
pub type ColdPairs = BTreeMap<(String, String), Cold>;

impl Choice {
    /// Why nothing is left to try, and what to do.
    #[must_use]
    pub fn refusal(&self) -> String {
        format!(
            "no server type can be used in any location: {}; change `serverTypes`, `locations` or `image` in the spec's `hetzner` or in `cattle.hetzner`",
            told(&self.rejected)
        )
    }
}

/// The first few of many, in one sentence.
pub fn told<T: fmt::Display>(all: &[T]) -> String {
    let mut told: Vec<String> = all.iter().take(MAX_TOLD).map(T::to_string).collect();
    if all.len() > MAX_TOLD {
        told.push(format!("and {} more", all.len() - MAX_TOLD));
    }
    told.join("; ")
}

/// All pairs of a placement, sorted into those to try and those not to.
#[must_use]
pub fn choose(placement: &Placement, catalogue: &Catalogue, now: Timestamp) -> Choice {
    let mut choice = Choice::default();
    let Some(offer) = Look::new(placement, catalogue, now) else {
        return choice;
    };
    let mut rest = Vec::new();
    for (server_type, location) in placement.candidates() {
        match offer.pair(server_type, location) {
            Ok((candidate, true)) => choice.candidates.push(candidate),
            Ok((candidate, false)) => rest.push(candidate),
            Err(why) => choice.rejected.push(Rejected {
                server_type: server_type.to_owned(),
                location: location.to_owned(),
                why,
            }),
        }
    }
    choice.candidates.append(&mut rest);
    choice
}

/// What keeps a server from being asked for at all, where something does: its image must have been
/// looked for and found, and a pair must be left.
///
/// Only what Hetzner said clearly does so; an endpoint that fails holds back a selector alone, which
/// no create can name.
#[must_use]
pub fn obstacle(
    placement: &Placement,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Option<(PendingReason, String)> {
    let text = placement.image.as_str();
    match catalogue.images.get(text) {
        None => {
            let message = format!("looks for image `{}`", quoted(text));
            return Some((PendingReason::Queued, message));
        }
        Some(_) if catalogue.stale.contains(text) => {
            let message = format!("looks whether image `{}` is still the one", quoted(text));
            return Some((PendingReason::Queued, message));
        }
        Some(ImageAnswer::Missing { message, hint } | ImageAnswer::Ambiguous { message, hint }) => {
            return Some((PendingReason::Config, format!("{message}; {hint}")));
        }
        Some(ImageAnswer::Unread { message }) if image_ref::is_selector(text) => {
            return Some((PendingReason::HetznerUnreachable, message.clone()));
        }
        Some(ImageAnswer::Unread { .. } | ImageAnswer::Found(_)) => {}
    }
    if is_possible(placement, catalogue, now) {
        return None;
    }
    let refusal = choose(placement, catalogue, now).refusal();
    Some((PendingReason::Config, refusal))
}

/// Whether [`choose`] leaves anything to try; stops at the first.
#[must_use]
pub fn is_possible(placement: &Placement, catalogue: &Catalogue, now: Timestamp) -> bool {
    Look::new(placement, catalogue, now).is_some_and(|offer| {
        placement
            .candidates()
            .any(|(server_type, location)| offer.pair(server_type, location).is_ok())
    })
}

/// The catalogue with a placement's image looked up in it.
struct Look<'a> {
    catalogue: &'a Catalogue,
    text: &'a str,
    /// `None` when it is not known, and sent as it is written.
    images: Option<&'a [Image]>,
    now: Timestamp,
}

impl<'a> Look<'a> {
    /// `None` when no create can name the image.
    fn new(placement: &'a Placement, catalogue: &'a Catalogue, now: Timestamp) -> Option<Self> {
        let text = placement.image.as_str();
        let images = match catalogue.images.get(text) {
            Some(ImageAnswer::Found(images)) => Some(images.as_slice()),
            Some(ImageAnswer::Missing { .. } | ImageAnswer::Ambiguous { .. }) => return None,
            // Whoever looked could not see it; a create says more than nothing.
            None | Some(ImageAnswer::Unread { .. }) if !image_ref::is_selector(text) => None,
            None | Some(ImageAnswer::Unread { .. }) => return None,
        };
        Some(Self {
            catalogue,
            text,
            images,
            now,
        })
    }

    /// A candidate and whether it is said to be available, or why not to try.
    fn pair(&self, server_type: &str, location: &str) -> Result<(Candidate, bool), String> {
        let known = self.catalogue.server_type(server_type);
        if known.is_none() {
            self.check_unknown(server_type)?;
        }
        let offer = known.map_or(Ok(None), |known| self.check_offer(known, location))?;
        let image = self.check_image(server_type, known.map(|(_, known)| known))?;
        let candidate = Candidate {
            server_type: server_type.to_owned(),
            location: location.to_owned(),
            image: image.map_or_else(|| self.text.to_owned(), |image| image.id.to_string()),
            image_kind: image.map(|image| image.kind),
            price: self.catalogue.price(server_type, location),
        };
        Ok((candidate, offer.is_some_and(|offer| offer.available)))
    }

    /// Of a type that the catalogue does not have: whether that says anything.
    fn check_unknown(&self, server_type: &str) -> Result<(), String> {
        let types = &self.catalogue.server_types;
        // Prices alone name types too, but not all; a number may be one that was not read.
        let listed = types.values().any(|it| !it.offers.is_empty());
        if !listed || is_number(server_type) {
            return Ok(());
        }
        if let Some((_, hint)) = retired::check(server_type, &[]) {
            return Err(format!("the type is retired, {hint}"));
        }
        let names: Vec<&str> = types.keys().map(String::as_str).collect();
        Err(match nearest(server_type, &names) {
            Some(near) => format!("there is no such type, did you mean `{near}`?"),
            None => "there is no such type".to_owned(),
        })
    }

    fn check_offer(
        &self,
        (name, server_type): (&str, &'a ServerType),
        location: &str,
    ) -> Result<Option<&'a Offer>, String> {
        let offers = &server_type.offers;
        let Some(offer) = offers.get(location) else {
            if offers.is_empty() || is_number(location) {
                return Ok(None);
            }
            let places: Vec<&str> = offers
                .iter()
                .filter(|(_, offer)| offer.retired(self.now).is_none())
                .map(|(place, _)| place.as_str())
                .collect();
            return Err(if places.is_empty() {
                "the type is not offered there".to_owned()
            } else {
                format!(
                    "the type is not offered there, but in {}",
                    places.join(", ")
                )
            });
        };
        let Some(since) = offer.retired(self.now) else {
            return Ok(Some(offer));
        };
        let since = since.format("%Y-%m-%d");
        Err(match self.replacement(name, server_type, location) {
            Some(instead) => format!("retired there since {since}, use `{instead}`"),
            None => format!("retired there since {since}"),
        })
    }

    /// The cheapest type of the same kind that is no smaller and can be ordered there.
    fn replacement(&self, name: &str, gone: &ServerType, location: &str) -> Option<&'a str> {
        let alike = |it: &ServerType| {
            it.category == gone.category
                && it.architecture == gone.architecture
                && it.cores >= gone.cores
                && it.memory_mb >= gone.memory_mb
                && it.disk_gb >= gone.disk_gb
        };
        let orderable = |it: &ServerType| {
            let offer = it.offers.get(location);
            offer.is_some_and(|offer| offer.retired(self.now).is_none())
        };
        self.catalogue
            .server_types
            .iter()
            .filter(|(other, it)| *other != name && alike(it) && orderable(it))
            .filter_map(|(other, it)| Some((it.prices.get(location)?.hourly, other)))
            .min()
            .map(|(_, other)| other.as_str())
    }

    /// The image to send for a type; `None` sends the text.
    fn check_image(
        &self,
        name: &str,
        server_type: Option<&ServerType>,
    ) -> Result<Option<&'a Image>, String> {
        let Some(images) = self.images else {
            return Ok(None);
        };
        let text = quoted(self.text);
        let usable: Vec<&Image> = images.iter().filter(|it| it.is_usable(self.now)).collect();
        if usable.is_empty() {
            return Err(format!(
                "image `{text}` is not usable for new servers any more"
            ));
        }
        let known = server_type.and_then(|it| it.architecture);
        let wanted = known.unwrap_or_else(|| guess(name));
        let image = usable
            .iter()
            .find(|it| it.architecture == Some(wanted))
            .or_else(|| usable.iter().find(|it| it.architecture.is_none()))
            // Not known to be wrong.
            .or_else(|| usable.first().filter(|_| known.is_none()));
        let Some(image) = image else {
            let there: BTreeSet<&str> = usable
                .iter()
                .filter_map(|it| Some(it.architecture?.as_str()))
                .collect();
            let there: Vec<&str> = there.into_iter().collect();
            return Err(format!(
                "its architecture is {}, image `{text}` is for {}",
                wanted.as_str(),
                there.join(" and ")
            ));
        };
        if let (Some(disk), Some(needed)) = (server_type.and_then(|it| it.disk_gb), image.disk_gb)
            && disk < needed
        {
            return Err(format!(
                "its disk has {disk} GB, image `{text}` needs {needed} GB"
            ));
        }
        Ok(Some(image))
    }
}

/// Types and locations may be named by Hetzner's numbers, which the catalogue may not have.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// What a type's name says; only chooses between images, and refuses nothing.
fn guess(server_type: &str) -> Architecture {
    if server_type.starts_with("cax") {
        Architecture::Arm
    } else {
        Architecture::X86
    }
}
