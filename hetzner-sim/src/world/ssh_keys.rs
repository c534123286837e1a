//! SSH keys.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    World,
    shelf::{Entry, Shelf},
};
use crate::{
    error::ApiError,
    labels::Labels,
    md5::md5,
    message::{Answer, Request},
    paging,
};

/// No limit is documented; a name is there to be read.
const NAME_MAX: usize = 255;

/// What only an SSH key has.
#[derive(Clone, Debug)]
pub(crate) struct SshKey {
    fingerprint: String,
    public_key: String,
}

pub(crate) fn shelf() -> Shelf<SshKey> {
    Shelf::new("SSH key", NAME_MAX)
}

impl World {
    fn render_ssh_key(&self, key: &Entry<SshKey>) -> Value {
        json!({
            "id": key.id,
            "name": key.name,
            "fingerprint": key.is.fingerprint,
            "public_key": key.is.public_key,
            "labels": key.labels,
            "created": self.stamp(key.created),
        })
    }

    pub(crate) fn list_ssh_keys(&self, request: &Request) -> Result<Answer, ApiError> {
        let mut found = self.ssh_keys.asked_for(request)?;
        if let Some(fingerprint) = request.param("fingerprint") {
            found.retain(|key| key.is.fingerprint == fingerprint);
        }
        // Not by `created`, of all lists.
        let sort = &Entry::SORT[..2];
        paging::list(request, "ssh_keys", found, sort, |k| self.render_ssh_key(k))
    }

    pub(crate) fn get_ssh_key(&self, id: u64) -> Result<Answer, ApiError> {
        let key = self.ssh_keys.get(id)?;
        Ok(Answer::ok(json!({"ssh_key": self.render_ssh_key(key)})))
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
        self.ssh_keys.check(&body.name, &body.labels)?;
        let fingerprint = fingerprint(&body.public_key)
            .ok_or_else(|| ApiError::invalid("public_key", "is not a valid public key"))?;
        if self
            .ssh_keys
            .iter()
            .any(|k| k.is.fingerprint == fingerprint)
        {
            return Err(ApiError::name_taken(
                "SSH key with the same fingerprint already exists",
            ));
        }
        let id = self.next_small_id();
        self.ssh_keys.put(Entry {
            id,
            name: body.name,
            labels: body.labels,
            created: self.now,
            is: SshKey {
                fingerprint,
                public_key: body.public_key,
            },
        });
        let mut answer = self.get_ssh_key(id)?;
        answer.status = 201;
        Ok(answer)
    }

    pub(crate) fn update_ssh_key(
        &mut self,
        request: &Request,
        id: u64,
    ) -> Result<Answer, ApiError> {
        self.ssh_keys.update(request, id)?;
        self.get_ssh_key(id)
    }

    pub(crate) fn delete_ssh_key(&mut self, id: u64) -> Result<Answer, ApiError> {
        self.ssh_keys.remove(id).map(|_| Answer::empty())
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
