//! SSH keys.

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::World;
use crate::{
    error::ApiError,
    labels::{self, Labels, Selector},
    md5::md5,
    message::{Answer, Request},
    paging::{self, SortField},
};

#[derive(Clone, Debug)]
pub(crate) struct SshKey {
    pub(crate) id: u64,
    pub(crate) name: String,
    fingerprint: String,
    public_key: String,
    labels: Labels,
    created: DateTime<Utc>,
}

const SORT: &[SortField<SshKey>] = &[
    ("id", |a, b| a.id.cmp(&b.id)),
    ("name", |a, b| a.name.cmp(&b.name)),
];

impl World {
    fn render_ssh_key(&self, key: &SshKey) -> Value {
        json!({
            "id": key.id,
            "name": key.name,
            "fingerprint": key.fingerprint,
            "public_key": key.public_key,
            "labels": key.labels,
            "created": self.stamp(key.created),
        })
    }

    pub(crate) fn list_ssh_keys(&self, request: &Request) -> Result<Answer, ApiError> {
        let selector = Selector::parse(request.param("label_selector").unwrap_or(""))?;
        let is = |key: &str, value: &str| request.param(key).is_none_or(|v| v == value);
        let found = self
            .ssh_keys
            .values()
            .filter(|k| is("name", &k.name) && is("fingerprint", &k.fingerprint))
            .filter(|k| selector.matches(&k.labels))
            .collect();
        paging::list(request, "ssh_keys", found, SORT, |k| self.render_ssh_key(k))
    }

    pub(crate) fn get_ssh_key(&self, id: u64) -> Result<Answer, ApiError> {
        self.ssh_keys
            .get(&id)
            .map(|key| Answer::ok(json!({"ssh_key": self.render_ssh_key(key)})))
            .ok_or_else(|| ApiError::not_found("SSH key", id))
    }

    pub(crate) fn create_ssh_key(&mut self, request: &Request) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            name: String,
            public_key: String,
            #[serde(default)]
            labels: Labels,
        }
        let body: Body = request.parse()?;
        if body.name.is_empty() {
            return Err(ApiError::invalid("name", "must not be empty"));
        }
        labels::check(&body.labels)?;
        let fingerprint = fingerprint(&body.public_key)
            .ok_or_else(|| ApiError::invalid("public_key", "is not a valid public key"))?;
        if self.ssh_keys.values().any(|k| k.name == body.name) {
            return Err(ApiError::name_taken("SSH key name is already used"));
        }
        if self.ssh_keys.values().any(|k| k.fingerprint == fingerprint) {
            return Err(ApiError::name_taken(
                "SSH key with the same fingerprint already exists",
            ));
        }
        let id = self.next_small_id();
        self.ssh_keys.insert(
            id,
            SshKey {
                id,
                name: body.name,
                fingerprint,
                public_key: body.public_key,
                labels: body.labels,
                created: self.now,
            },
        );
        let mut answer = self.get_ssh_key(id)?;
        answer.status = 201;
        Ok(answer)
    }

    pub(crate) fn update_ssh_key(
        &mut self,
        request: &Request,
        id: u64,
    ) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            name: Option<String>,
            labels: Option<Labels>,
        }
        self.get_ssh_key(id)?;
        let body: Body = request.parse()?;
        if let Some(labels) = &body.labels {
            labels::check(labels)?;
        }
        if let Some(name) = &body.name
            && self
                .ssh_keys
                .values()
                .any(|k| k.name == *name && k.id != id)
        {
            return Err(ApiError::name_taken("SSH key name is already used"));
        }
        if let Some(key) = self.ssh_keys.get_mut(&id) {
            key.name = body.name.unwrap_or_else(|| key.name.clone());
            key.labels = body.labels.unwrap_or_else(|| key.labels.clone());
        }
        self.get_ssh_key(id)
    }

    pub(crate) fn delete_ssh_key(&mut self, id: u64) -> Result<Answer, ApiError> {
        self.ssh_keys
            .remove(&id)
            .map(|_| Answer::empty())
            .ok_or_else(|| ApiError::not_found("SSH key", id))
    }
}

/// MD5 of the key's blob, in the old colon form that the API shows.
fn fingerprint(public_key: &str) -> Option<String> {
    let mut words = public_key.split_whitespace();
    let (kind, blob) = (words.next()?, words.next()?);
    if !(kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-")) {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(blob).ok()?;
    let pairs: Vec<String> = md5(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    Some(pairs.join(":"))
}
