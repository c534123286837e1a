//! What firewalls, SSH keys and placement groups have in common: a unique name, labels, a moment
//! of creation, and being listed, selected, renamed, relabelled and removed by the same rules.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    error::ApiError,
    labels::{self, Labels, Selector},
    message::Request,
    paging::SortField,
};

/// One thing on a shelf; `is` holds what its kind alone has.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) created: DateTime<Utc>,
    pub(crate) is: T,
}

impl<T: 'static> Entry<T> {
    pub(crate) const SORT: &'static [SortField<Self>] = &[
        ("id", |a, b| a.id.cmp(&b.id)),
        ("name", |a, b| a.name.cmp(&b.name)),
        ("created", |a, b| a.created.cmp(&b.created)),
    ];
}

/// All things of one kind, by id.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    /// As error messages call one of them.
    what: &'static str,
    name_max: usize,
    entries: BTreeMap<u64, Entry<T>>,
}

impl<T> Shelf<T> {
    /// An empty shelf, for names of up to `name_max` bytes.
    pub(crate) fn new(what: &'static str, name_max: usize) -> Self {
        Self {
            what,
            name_max,
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, id: u64) -> Result<&Entry<T>, ApiError> {
        self.entries
            .get(&id)
            .ok_or_else(|| ApiError::not_found(self.what, id))
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Result<&mut Entry<T>, ApiError> {
        self.entries
            .get_mut(&id)
            .ok_or_else(|| ApiError::not_found(self.what, id))
    }

    /// In the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.entries.values()
    }

    /// Those that a list call asks for by `name` and `label_selector`.
    pub(crate) fn asked_for(&self, request: &Request) -> Result<Vec<&Entry<T>>, ApiError> {
        let selector = Selector::parse(request.param("label_selector").unwrap_or(""))?;
        let name = request.param("name");
        Ok(self
            .iter()
            .filter(|entry| name.is_none_or(|name| entry.name == name))
            .filter(|entry| selector.matches(&entry.labels))
            .collect())
    }

    /// Whether something new may have this name and these labels.
    pub(crate) fn check(&self, name: &str, labels: &Labels) -> Result<(), ApiError> {
        self.check_name(name, None)?;
        labels::check(labels)
    }

    fn check_name(&self, name: &str, own: Option<u64>) -> Result<(), ApiError> {
        if name.is_empty() || name.len() > self.name_max {
            let message = format!("Length must be between 1 and {}.", self.name_max);
            return Err(ApiError::invalid("name", message));
        }
        if self.iter().any(|e| e.name == name && Some(e.id) != own) {
            let message = format!("{} name is already used", self.what);
            return Err(ApiError::name_taken(&message));
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, entry: Entry<T>) {
        self.entries.insert(entry.id, entry);
    }

    /// `PUT`: a name, or labels that replace all there are, or both.
    pub(crate) fn update(&mut self, request: &Request, id: u64) -> Result<(), ApiError> {
        #[derive(Deserialize)]
        struct Body {
            name: Option<String>,
            labels: Option<Labels>,
        }
        self.get(id)?;
        let body: Body = request.parse()?;
        if let Some(name) = &body.name {
            self.check_name(name, Some(id))?;
        }
        if let Some(labels) = &body.labels {
            labels::check(labels)?;
        }
        let entry = self.get_mut(id)?;
        if let Some(name) = body.name {
            entry.name = name;
        }
        if let Some(labels) = body.labels {
            entry.labels = labels;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: u64) -> Result<Entry<T>, ApiError> {
        self.entries
            .remove(&id)
            .ok_or_else(|| ApiError::not_found(self.what, id))
    }
}
