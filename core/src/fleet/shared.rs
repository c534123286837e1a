//! What cattle need of the parts of the file that are not theirs: `hosts` and `fleet`.

use std::collections::BTreeMap;

use base64::Engine as _;

use super::SecretName;
use crate::{
    provider_env,
    spec::{
        decode::{At, Fields, Unknown, string},
        findings::{Findings, nearest, quoted},
        model,
        tree::{Key, Node, Value},
    },
};

#[derive(Default)]
pub(super) struct Host {
    pub(super) name: Option<String>,
    pub(super) model: Option<String>,
    pub(super) admin_cidr: Option<String>,
}

/// The host whose settings count: the default one, or the only one.
pub(super) fn decode_host(
    default: Option<&At<String>>,
    mut hosts: Vec<(Key, Node)>,
    findings: &mut Findings,
) -> Host {
    let chosen = match default {
        Some(name) => {
            let at = hosts.iter().position(|(key, _)| key.text == name.value);
            if at.is_none() {
                let names: Vec<&str> = hosts.iter().map(|(key, _)| key.text.as_str()).collect();
                let message = format!(
                    "`defaultHost` names `{}`, which is not in `hosts`",
                    quoted(&name.value)
                );
                match nearest(&name.value, &names) {
                    Some(near) => {
                        findings.error_hint(name.place, message, format!("did you mean `{near}`?"))
                    }
                    None => findings.error(name.place, message),
                }
            }
            at
        }
        None => (hosts.len() == 1).then_some(0),
    };
    let Some(at) = chosen else {
        return Host::default();
    };
    let (key, node) = hosts.swap_remove(at);
    let path = format!("hosts.{}", quoted(&key.text));
    let known = ["agentModelPrimary", "adminCidr"];
    let Some(mut fields) = Fields::open(node, &path, &known, Unknown::Leave, findings) else {
        return Host::default();
    };
    let model = fields
        .string("agentModelPrimary", findings)
        .and_then(|text| model::check(&text, &fields.name("agentModelPrimary"), findings));
    Host {
        name: Some(key.text),
        model,
        admin_cidr: fields.string("adminCidr", findings).map(|text| text.value),
    }
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) ssh_keys: Vec<String>,
    pub(super) model_secrets: BTreeMap<String, SecretName>,
    pub(super) model_env: BTreeMap<String, Vec<String>>,
}

pub(super) fn decode_shared(file: &mut Fields, findings: &mut Findings) -> Shared {
    let known = ["sshAuthorizedKeys", "modelSecrets", "modelEnv"];
    let Some(mut fields) = file.open_field("fleet", &known, Unknown::Leave, findings) else {
        return Shared::default();
    };
    let mut shared = Shared::default();
    if let Some(node) = fields.take("sshAuthorizedKeys") {
        shared.ssh_keys = decode_ssh_keys(node, findings);
    }
    for (key, node) in fields.entries("modelEnv", findings) {
        decode_model_env(key, node, &mut shared.model_env, findings);
    }
    for (key, secret) in fields.string_map("modelSecrets", findings) {
        decode_model_secret(&key, &secret, &mut shared, findings);
    }
    shared
}

fn decode_ssh_keys(node: Node, findings: &mut Findings) -> Vec<String> {
    let Value::List(items) = node.value else {
        let kind = node.value.kind();
        findings.error(
            node.place,
            format!("`fleet.sshAuthorizedKeys` must be a list, this is {kind}"),
        );
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let name = format!("fleet.sshAuthorizedKeys[{index}]");
        let Some(text) = string(item, &name, findings) else {
            continue;
        };
        let key = text.value.trim();
        if is_openssh_key(key) {
            keys.push(key.to_owned());
        } else {
            findings.error_hint(
                text.place,
                format!("`{name}` is not an OpenSSH public key"),
                "write one line as in a `.pub` file: `ssh-ed25519 AAAA… comment`",
            );
        }
    }
    keys
}

/// `type base64 [comment]`, where the base64 names the same type inside (RFC 4253, section 6.6).
fn is_openssh_key(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return false;
    };
    if text.contains(|c: char| c.is_control())
        || !(kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-"))
    {
        return false;
    }
    let Ok(decoded) = base64::engine::general_purpose::STANDARD.decode(blob) else {
        return false;
    };
    let Some((length, rest)) = decoded.split_first_chunk::<4>() else {
        return false;
    };
    usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .and_then(|length| rest.get(..length))
        .is_some_and(|inner| inner == kind.as_bytes())
}

fn decode_model_env(
    key: Key,
    node: Node,
    model_env: &mut BTreeMap<String, Vec<String>>,
    findings: &mut Findings,
) {
    let name = format!("fleet.modelEnv.{}", quoted(&key.text));
    if !model::is_provider(&key.text) {
        findings.error(key.place, format!("`{name}`: not a provider's name"));
    }
    let place = node.place;
    let Value::List(items) = node.value else {
        let kind = node.value.kind();
        findings.error(place, format!("`{name}` must be a list, this is {kind}"));
        return;
    };
    let variables = model_env
        .entry(provider_env::canonical(&key.text).to_owned())
        .or_default();
    for item in items {
        let Some(text) = string(item, &name, findings) else {
            continue;
        };
        if provider_env::is_env_name(&text.value) {
            variables.push(text.value);
        } else {
            findings.error_hint(
                text.place,
                format!("`{}` cannot be set for a provider", quoted(&text.value)),
                "environment variables match `[A-Z][A-Z0-9_]*_(KEY|TOKEN)`",
            );
        }
    }
}

/// A provider that nobody knows here is left alone: other tools read this table too.
fn decode_model_secret(
    key: &Key,
    secret: &At<String>,
    shared: &mut Shared,
    findings: &mut Findings,
) {
    let provider = provider_env::canonical(&key.text);
    let name: SecretName = match secret.value.parse() {
        Ok(name) => name,
        Err(error) => {
            let message = format!("`fleet.modelSecrets.{}`: {error}", quoted(&key.text));
            findings.error(secret.place, message);
            return;
        }
    };
    if name.is_controllers_own() {
        findings.error_hint(
            secret.place,
            format!(
                "`{name}` is one of the controller's own credentials and is never handed to a guest"
            ),
            "keep the provider's API key in a secret of its own",
        );
        return;
    }
    if shared
        .model_secrets
        .insert(provider.to_owned(), name)
        .is_some()
    {
        let message = format!("provider `{provider}` is in `fleet.modelSecrets` twice");
        findings.error(key.place, message);
    }
}
