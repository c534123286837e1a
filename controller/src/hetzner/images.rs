//! Images, by id, by name, or by the labels of a snapshot.

use cattle_core::{
    catalogue::{Architecture, Image, ImageAnswer, ImageKind},
    image_ref::ImageRef,
    images::{Listed, newest},
};
use cattle_schemas::Timestamp;
use serde_json::Value;

use super::{
    client::{Client, is_not_found},
    error::{ApiError, Kind},
    table::Operation,
    transport::Call,
    wire::{id, number, string, timestamp},
};

impl Client {
    /// What stands behind the text with which a placement names its image. `now` is Hetzner's time.
    ///
    /// # Errors
    /// The call failed: that says nothing about the image.
    pub async fn image(&self, text: &str, now: Timestamp) -> Result<ImageAnswer, ApiError> {
        let reference = match ImageRef::parse(text) {
            Ok(reference) => reference,
            // Files are checked; a run of an older version may have anything.
            Err(error) => {
                return Ok(ImageAnswer::Missing {
                    message: error.to_string(),
                    hint: "change `image`".to_owned(),
                });
            }
        };
        let entries = match &reference {
            ImageRef::Id(id) => self.image_of(*id).await?.into_iter().collect(),
            ImageRef::Name(name) => {
                let subject = format!("image `{name}`");
                let call = || {
                    Call::get(Operation::ListImages, &subject, "/images")
                        .query("name", *name)
                        .query("status", "available")
                        // Usable until its time is over, which is said of it.
                        .query("include_deprecated", "true")
                };
                let mut entries = self.pages(call, "images").await?;
                entries.retain(|entry| string(entry, &["name"]).as_deref() == Some(name));
                entries
            }
            ImageRef::Selector(selector) => {
                let subject = format!("a snapshot with the labels `{selector}`");
                let call = || {
                    Call::get(Operation::ListImages, &subject, "/images")
                        .query("type", "snapshot")
                        .query("label_selector", selector)
                        .query("status", "available")
                        .query("sort", "created:desc")
                };
                self.pages(call, "images").await?
            }
        };
        let found = entries.iter().filter_map(listed).collect();
        let answer = newest(text, &reference, found, now);
        if let ImageAnswer::Found(images) = &answer {
            for image in images {
                if let Some(end) = image.unavailable_after {
                    tracing::warn!(image = image.id, text, %end, "the image is deprecated: it makes no new servers after its end");
                }
            }
        }
        Ok(answer)
    }

    async fn image_of(&self, number: u64) -> Result<Option<Value>, ApiError> {
        let (operation, subject) = (Operation::GetImage, format!("image {number}"));
        let call = Call::get(operation, &subject, format!("/images/{number}"));
        let mut reply = match self.transport().send(call).await {
            Ok(reply) => reply,
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let entry = reply.body.get_mut("image").map(Value::take);
        entry
            .filter(|entry| id(entry) == Some(number))
            .map(Some)
            .ok_or_else(|| {
                let kind = Kind::Unreadable("no image of this id in it".to_owned());
                ApiError::about(&reply, operation, subject, kind)
            })
    }
}

/// An image; `None` without an id.
fn listed(entry: &Value) -> Option<Listed> {
    let id = id(entry)?;
    let title = string(entry, &["name"])
        .or_else(|| string(entry, &["description"]))
        .unwrap_or_default();
    let image = Image {
        id,
        title,
        kind: string(entry, &["type"]).map_or(ImageKind::Other, |word| ImageKind::from_word(&word)),
        architecture: string(entry, &["architecture"])
            .and_then(|word| Architecture::from_word(&word)),
        // A disk of 4.5 GB does not fit onto one of 4.
        disk_gb: number(entry, &["disk_size"])
            .map(f64::ceil)
            .filter(|gb| *gb >= 0.0 && *gb < f64::from(u32::MAX))
            .map(|gb| gb as u32),
        created: timestamp(entry, &["created"]),
        unavailable_after: timestamp(entry, &["deprecation", "unavailable_after"]),
    };
    let deleted = entry.get("deleted").is_some_and(|at| !at.is_null());
    let not_available = if deleted {
        Some("deleted".to_owned())
    } else {
        string(entry, &["status"]).filter(|word| word != "available")
    };
    Some(Listed {
        image,
        not_available,
    })
}
