//! Which image a text stands for, among those that Hetzner gave for it.

use std::collections::BTreeMap;

use cattle_schemas::Timestamp;

use crate::{
    catalogue::{Architecture, Image, ImageAnswer},
    image_ref::ImageRef,
    spec::findings::quoted,
    untrusted,
};

/// An image as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Itself.
    pub image: Image,
    /// Hetzner's word, where it is none of `available`: `creating`, `unavailable`, `deleted`.
    pub not_available: Option<String>,
}

/// The newest usable one of each architecture, or why there is none.
#[must_use]
pub fn newest(
    text: &str,
    reference: &ImageRef<'_>,
    found: Vec<Listed>,
    now: Timestamp,
) -> ImageAnswer {
    let mut refused = None;
    let mut usable: BTreeMap<Option<Architecture>, Vec<Image>> = BTreeMap::new();
    for Listed {
        image,
        not_available,
    } in found
    {
        if let Some(word) = not_available {
            let word = untrusted::escape(&word).into_owned();
            refused.get_or_insert(format!("image {} is not available ({word})", image.id));
        } else if image.is_usable(now) {
            usable.entry(image.architecture).or_default().push(image);
        } else {
            let title = untrusted::escape(&image.title);
            let until = image.unavailable_after.map_or_else(String::new, |end| {
                format!(" since {}", end.format("%Y-%m-%d"))
            });
            refused.get_or_insert(format!(
                "image {} ({title}) is not usable for new servers{until}",
                image.id
            ));
        }
    }
    if usable.is_empty() {
        let (message, hint) = missing(text, reference);
        return ImageAnswer::Missing {
            message: refused.unwrap_or(message),
            hint,
        };
    }
    let mut newest = Vec::new();
    for (architecture, mut images) in usable {
        images.sort_by_key(|image| std::cmp::Reverse((image.created, image.id)));
        images.dedup_by_key(|image| image.id);
        if let [first, second, ..] = &images[..]
            && first.created == second.created
        {
            return ambiguous(text, architecture, first, second);
        }
        newest.extend(images.into_iter().next());
    }
    ImageAnswer::Found(newest)
}

fn missing(text: &str, reference: &ImageRef<'_>) -> (String, String) {
    match reference {
        ImageRef::Id(id) => (
            format!("there is no image {id} in this project"),
            "name one that `hcloud image list` shows, or choose by label, as `role=cattle-image` does".to_owned(),
        ),
        ImageRef::Name(name) => (
            format!("there is no image of the name `{name}`"),
            "names are Hetzner's own (`hcloud image list --type system`); a snapshot goes by its id or its labels".to_owned(),
        ),
        ImageRef::Selector(selector) => (
            format!("no snapshot has the labels `{}`", quoted(selector)),
            format!(
                "label one (`hcloud image add-label <id> <key>=<value>`), or change `{}`; it is looked for again every minute",
                quoted(text)
            ),
        ),
    }
}

fn ambiguous(
    text: &str,
    architecture: Option<Architecture>,
    first: &Image,
    second: &Image,
) -> ImageAnswer {
    let when = first.created.map_or_else(
        || "at times that are not known".to_owned(),
        |at| format!("at {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
    );
    let architecture = architecture.map_or("", |it| it.as_str());
    ImageAnswer::Ambiguous {
        message: format!(
            "images {} and {} ({architecture}) of `{}` were both created {when}",
            second.id,
            first.id,
            quoted(text)
        ),
        hint: "name one by its id, or leave the labels on one alone".to_owned(),
    }
}
