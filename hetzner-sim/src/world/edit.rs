//! How a fault changes a right reply.

use serde_json::{Map, Value};

use super::fault::glob;
use crate::message::{Answer, Body};

/// A change at any depth. The key `status` is every key of that name; `servers.status` only one
/// directly within `servers`, be that an object or a list of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit<'a> {
    /// Takes the keys away.
    Remove(&'a [String]),
    /// Puts other values under keys that are there.
    Replace(&'a Map<String, Value>),
    /// Puts keys into every object.
    Add(&'a Map<String, Value>),
}

impl Edit<'_> {
    /// Changes a reply's body; with `only`, just the resources in it whose names fit: one odd
    /// server among good ones.
    pub(crate) fn apply(self, answer: &mut Answer, only: Option<&str>) {
        let Body::Json(body) = &mut answer.body else {
            return;
        };
        let Some(only) = only else {
            return self.edit(body, &mut Vec::new());
        };
        let fits = |resource: &&mut Value| {
            let name = resource["name"].as_str();
            name.is_some_and(|name| glob(only, name))
        };
        for (key, value) in body.as_object_mut().into_iter().flatten() {
            let resources = match value {
                Value::Array(items) => items.iter_mut().collect(),
                one => vec![one],
            };
            for resource in resources.into_iter().filter(fits) {
                self.edit(resource, &mut vec![key.clone()]);
            }
        }
    }

    fn edit(self, value: &mut Value, path: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                self.edit_keys(map, path);
                for (key, value) in map.iter_mut() {
                    path.push(key.clone());
                    self.edit(value, path);
                    path.pop();
                }
                // A label more would not be a key more, but another label.
                if let Edit::Add(keys) = self
                    && path.last().is_none_or(|key| key != "labels")
                {
                    map.extend(keys.clone());
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.edit(item, path)),
            _ => {}
        }
    }

    fn edit_keys(self, map: &mut Map<String, Value>, path: &[String]) {
        let named = |key: &str, wanted: &str| {
            let mut steps = wanted.rsplit('.');
            let depth = wanted.matches('.').count();
            steps.next() == Some(key) && steps.eq(path.iter().rev().take(depth).map(String::as_str))
        };
        match self {
            Edit::Remove(keys) => {
                map.retain(|key, _| !keys.iter().any(|wanted| named(key, wanted)));
            }
            Edit::Replace(keys) => {
                for (key, value) in map.iter_mut() {
                    if let Some((_, new)) = keys.iter().find(|(wanted, _)| named(key, wanted)) {
                        *value = new.clone();
                    }
                }
            }
            Edit::Add(_) => {}
        }
    }
}
