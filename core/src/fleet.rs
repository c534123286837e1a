//! `fleet/clawdlets.json`, validated: whoever holds a [`Fleet`] need not check it again.
//!
//! Keys outside `cattle` belong to other tools and are left alone; an unknown key inside is an
//! error. Secrets are named here, never held.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use base64::Engine as _;
use cattle_schemas::{duration::SpecDuration, fleet::FLEET_SCHEMA_VERSION, problem::Diagnostic};

use crate::{
    desired::Placement,
    names::FleetName,
    provider_env,
    spec::{
        decode::{At, Fields, Findings, Unknown, nearest, quoted, string},
        label_rules, model,
        tree::{self, Key, Node, Value},
    },
};

/// The most servers a fleet may have at once; the list, the plan and the display are made for it.
const MAX_INSTANCES: u32 = 10_000;
/// The most creates an hour that can be configured: Hetzner's own rate limit is 3,600 calls.
const MAX_CREATES_PER_HOUR: u32 = 3_600;
/// The most candidates of one kind; each is one more call when nothing is in stock.
const MAX_CANDIDATES: usize = 20;
/// The longest image, server type or location name.
const MAX_HETZNER_NAME: usize = 64;
/// The longest name of a secret, a file name.
const MAX_SECRET_NAME: usize = 128;
/// `maxInstances` unless written.
const DEFAULT_MAX_INSTANCES: u32 = 10;
/// `defaultTtl` unless written.
const DEFAULT_TTL: Duration = Duration::from_secs(2 * 3_600);
/// `limits.maxTtl` unless written.
const DEFAULT_MAX_TTL: Duration = Duration::from_secs(24 * 3_600);
/// `limits.createsPerHour` unless written.
const DEFAULT_CREATES_PER_HOUR: u32 = 60;

/// Secrets of the controller itself, or their beginnings: no guest ever gets them as a model's key.
const OWN_SECRETS: &[&str] = &[
    "hcloud",
    "hetzner",
    "tailscale",
    "tailnet",
    "ts_",
    "github",
    "gh_",
    "clf_",
];

/// The name of a secret: a file in the credentials directory. `[A-Za-z0-9._-]+`, no leading dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// Why a text does not name a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name is made of letters, digits, `.`, `_` and `-` and does not begin with `.`")]
pub struct SecretNameError;

impl SecretName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one of the controller's own credentials.
    #[must_use]
    pub fn is_controllers_own(&self) -> bool {
        let name = self.0.to_ascii_lowercase().replace(['-', '.'], "_");
        OWN_SECRETS.iter().any(|own| name.starts_with(own))
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty()
            || text.len() > MAX_SECRET_NAME
            || text.starts_with('.')
            || !text.bytes().all(allowed)
        {
            return Err(SecretNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The fleet, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The label `fleet`.
    pub name: FleetName,
    /// `false` starts nothing and still ends runs.
    pub enabled: bool,
    /// What a spec gets that chooses nothing.
    pub placement: Placement,
    /// Servers at once.
    pub max_instances: u32,
    /// The TTL of a spec that has none.
    pub default_ttl: Duration,
    /// Labels on every server, without `managed-by`.
    pub labels: BTreeMap<String, String>,
    /// What a spec may choose.
    pub limits: FleetLimits,
    /// What may be spent.
    pub budget: Budget,
    /// OpenSSH public keys.
    pub ssh_keys: Vec<String>,
    /// Canonical provider to the secret with its API key.
    pub model_secrets: BTreeMap<String, SecretName>,
    /// Canonical provider to further environment variables.
    pub model_env: BTreeMap<String, Vec<String>>,
    /// The host whose settings count.
    pub default_host: Option<String>,
    /// That host's `agentModelPrimary`, `provider/model`.
    pub host_model: Option<String>,
    /// That host's `adminCidr`, as written.
    pub admin_cidr: Option<String>,
    /// `cattle.defaults.autoShutdown`.
    pub auto_shutdown: bool,
}

/// `cattle.limits`, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetLimits {
    /// Images a spec may name.
    pub images: Vec<String>,
    /// Server types a spec may name.
    pub server_types: Vec<String>,
    /// Locations a spec may name.
    pub locations: Vec<String>,
    /// The longest life of a server, extensions included.
    pub max_ttl: Duration,
    /// Live runs of one requester.
    pub live_runs_per_requester: u32,
    /// Servers created within an hour.
    pub creates_per_hour: u32,
}

/// `cattle.budget`, in the account's currency, net; finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// The sum of the hourly prices of all servers at once.
    pub max_hourly: Option<f64>,
    /// What the started hours of one UTC day may cost.
    pub max_daily: Option<f64>,
}

impl Fleet {
    /// Reads and validates the file.
    ///
    /// # Errors
    /// Everything that is wrong with it, with places.
    pub fn load(path: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let root = tree::read(path, bytes).map_err(|error| vec![*error])?;
        let mut findings = Findings::new(path);
        let fleet = decode(root, &mut findings);
        match fleet {
            Some(fleet) if findings.is_empty() => Ok(fleet),
            _ => Err(findings.into_sorted()),
        }
    }

    /// The secret that holds the API key for a model's provider, and the variables it goes into.
    #[must_use]
    pub fn model_secret(&self, model: &str) -> Option<(&SecretName, Vec<String>)> {
        let (provider, _) = model.split_once('/')?;
        let provider = provider_env::canonical(provider);
        let secret = self.model_secrets.get(provider)?;
        Some((secret, provider_env::env_names(provider, &self.model_env)?))
    }
}

fn decode(root: Node, findings: &mut Findings) -> Option<Fleet> {
    let known = ["schemaVersion", "defaultHost", "hosts", "fleet", "cattle"];
    let mut file = Fields::open(root, "", &known, Unknown::Leave, findings)?;
    if file.has("schemaVersion") {
        file.integer(
            "schemaVersion",
            FLEET_SCHEMA_VERSION..=FLEET_SCHEMA_VERSION,
            findings,
        );
    } else {
        findings.error_hint(
            file.place,
            "missing field `schemaVersion`",
            format!("this version reads {FLEET_SCHEMA_VERSION}"),
        );
    }
    let default_host = file.string("defaultHost", findings);
    let hosts = file.entries("hosts", findings);
    let host = decode_host(default_host.as_ref(), hosts, findings);
    let shared = decode_shared(&mut file, findings);
    let cattle = file.require("cattle", findings)?;
    let cattle = decode_cattle(cattle, findings)?;
    Some(Fleet {
        name: cattle.name,
        enabled: cattle.enabled,
        placement: cattle.placement,
        max_instances: cattle.max_instances,
        default_ttl: cattle.default_ttl,
        labels: cattle.labels,
        limits: cattle.limits,
        budget: cattle.budget,
        ssh_keys: shared.ssh_keys,
        model_secrets: shared.model_secrets,
        model_env: shared.model_env,
        default_host: host.name,
        host_model: host.model,
        admin_cidr: host.admin_cidr,
        auto_shutdown: cattle.auto_shutdown,
    })
}

#[derive(Default)]
struct Host {
    name: Option<String>,
    model: Option<String>,
    admin_cidr: Option<String>,
}

/// The host whose settings count: the default one, or the only one.
fn decode_host(
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
struct Shared {
    ssh_keys: Vec<String>,
    model_secrets: BTreeMap<String, SecretName>,
    model_env: BTreeMap<String, Vec<String>>,
}

fn decode_shared(file: &mut Fields, findings: &mut Findings) -> Shared {
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

fn decode_model_secret(
    key: &Key,
    secret: &At<String>,
    shared: &mut Shared,
    findings: &mut Findings,
) {
    let provider = provider_env::canonical(&key.text);
    if provider_env::env_names(provider, &shared.model_env).is_none() {
        let known: Vec<&str> = provider_env::known().collect();
        let message = format!(
            "unknown provider `{}` in `fleet.modelSecrets`",
            quoted(&key.text)
        );
        let hint = nearest(&key.text, &known).map_or_else(
            || {
                format!(
                    "set its environment variables in `fleet.modelEnv.{}`",
                    quoted(&key.text)
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        findings.error_hint(key.place, message, hint);
    }
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

struct CattlePart {
    name: FleetName,
    enabled: bool,
    placement: Placement,
    max_instances: u32,
    default_ttl: Duration,
    labels: BTreeMap<String, String>,
    limits: FleetLimits,
    budget: Budget,
    auto_shutdown: bool,
}

fn decode_cattle(node: Node, findings: &mut Findings) -> Option<CattlePart> {
    let known = [
        "enabled", "fleet", "hetzner", "defaults", "limits", "budget",
    ];
    let mut cattle = Fields::open(node, "cattle", &known, Unknown::Refuse, findings)?;
    let enabled = cattle.boolean("enabled", findings).is_none_or(|b| b.value);
    let name = cattle.require_parsed::<FleetName>("fleet", findings);
    let auto_shutdown = decode_defaults(&mut cattle, findings);
    let budget = decode_budget(&mut cattle, findings);

    let known = [
        "image",
        "serverType",
        "serverTypes",
        "location",
        "locations",
        "maxInstances",
        "defaultTtl",
        "labels",
    ];
    let hetzner = cattle.require("hetzner", findings);
    let mut hetzner = Fields::open(
        hetzner?,
        "cattle.hetzner",
        &known,
        Unknown::Refuse,
        findings,
    )?;
    let image = hetzner.require_string("image", findings);
    if let Some(image) = &image {
        check_hetzner_name(image, "cattle.hetzner.image", findings);
    }
    let server_types = candidates(&mut hetzner, "serverType", "serverTypes", findings);
    let locations = candidates(&mut hetzner, "location", "locations", findings);
    let max_instances = hetzner
        .integer("maxInstances", 0..=MAX_INSTANCES, findings)
        .map_or(DEFAULT_MAX_INSTANCES, |n| n.value);
    let default_ttl = hetzner.parsed::<SpecDuration>("defaultTtl", findings);
    let mut labels = BTreeMap::new();
    for (key, value) in hetzner.string_map("labels", findings) {
        if label_rules::check_fleet(&key, &value, findings) {
            labels.insert(key.text, value.value);
        }
    }
    let placement = Placement {
        image: image.map(|text| text.value).unwrap_or_default(),
        server_types: server_types.unwrap_or_default(),
        locations: locations.unwrap_or_default(),
    };
    let limits = decode_limits(&mut cattle, &placement, max_instances, findings);
    let ttl = default_ttl
        .as_ref()
        .map_or(DEFAULT_TTL, |ttl| ttl.value.as_std());
    if ttl > limits.max_ttl {
        let place = default_ttl.map_or(hetzner.place, |ttl| ttl.place);
        findings.error_hint(
            place,
            "`cattle.hetzner.defaultTtl` is longer than `cattle.limits.maxTtl`",
            "a spec without a `ttl` could never start",
        );
    }
    Some(CattlePart {
        name: name?.value,
        enabled,
        placement,
        max_instances,
        default_ttl: ttl,
        labels,
        limits,
        budget,
        auto_shutdown,
    })
}

fn candidates(
    hetzner: &mut Fields,
    one: &str,
    many: &str,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    if !hetzner.has(one) && !hetzner.has(many) {
        let message = format!("missing field `{}`", hetzner.name(many));
        findings.error_hint(
            hetzner.place,
            message,
            format!("or `{one}` for a single one"),
        );
        return None;
    }
    let name = hetzner.name(many);
    let texts = hetzner.one_or_many(one, many, findings)?;
    Some(check_candidates(texts, &name, findings))
}

/// Names that Hetzner could know, each once, not too many.
pub(crate) fn check_candidates(
    texts: Vec<At<String>>,
    name: &str,
    findings: &mut Findings,
) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (index, text) in texts.into_iter().enumerate() {
        if index == MAX_CANDIDATES {
            findings.error(
                text.place,
                format!("`{name}` has more than {MAX_CANDIDATES} elements"),
            );
            break;
        }
        check_hetzner_name(&text, name, findings);
        if out.contains(&text.value) {
            findings.error(
                text.place,
                format!("`{}` is in `{name}` twice", quoted(&text.value)),
            );
        } else {
            out.push(text.value);
        }
    }
    out
}

/// Hetzner's names and ids: letters, digits, `.`, `_`, `-`.
pub(crate) fn check_hetzner_name(text: &At<String>, name: &str, findings: &mut Findings) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.value.is_empty()
        || text.value.len() > MAX_HETZNER_NAME
        || !text.value.bytes().all(allowed)
    {
        let message = format!(
            "`{name}`: `{}` is not a name or id that Hetzner could know",
            quoted(&text.value)
        );
        findings.error(text.place, message);
    }
}

fn decode_defaults(cattle: &mut Fields, findings: &mut Findings) -> bool {
    let known = ["autoShutdown", "callbackUrl"];
    let Some(mut defaults) = cattle.open_field("defaults", &known, Unknown::Refuse, findings)
    else {
        return true;
    };
    if let Some(url) = defaults.string("callbackUrl", findings)
        && !url.value.is_empty()
    {
        findings.error_hint(
            url.place,
            "`cattle.defaults.callbackUrl` must be empty: a guest calls nobody back",
            "read results with `clawdlets cattle result`",
        );
    }
    defaults
        .boolean("autoShutdown", findings)
        .is_none_or(|b| b.value)
}

fn decode_budget(cattle: &mut Fields, findings: &mut Findings) -> Budget {
    let known = ["maxHourly", "maxDaily"];
    let Some(mut budget) = cattle.open_field("budget", &known, Unknown::Refuse, findings) else {
        return Budget::default();
    };
    Budget {
        max_hourly: amount(&mut budget, "maxHourly", findings),
        max_daily: amount(&mut budget, "maxDaily", findings),
    }
}

fn amount(budget: &mut Fields, field: &str, findings: &mut Findings) -> Option<f64> {
    let name = budget.name(field);
    let node = budget.take(field)?;
    if let Value::Number(text) = &node.value
        && let Ok(value) = text.parse::<f64>()
        && value.is_finite()
        && value >= 0.0
    {
        return Some(value);
    }
    findings.error(
        node.place,
        format!("`{name}` must be an amount of money, zero or more"),
    );
    None
}

fn decode_limits(
    cattle: &mut Fields,
    placement: &Placement,
    max_instances: u32,
    findings: &mut Findings,
) -> FleetLimits {
    let known = [
        "images",
        "serverTypes",
        "locations",
        "maxTtl",
        "liveRunsPerRequester",
        "createsPerHour",
    ];
    let mut limits = FleetLimits {
        images: vec![placement.image.clone()],
        server_types: placement.server_types.clone(),
        locations: placement.locations.clone(),
        max_ttl: DEFAULT_MAX_TTL,
        live_runs_per_requester: max_instances,
        creates_per_hour: DEFAULT_CREATES_PER_HOUR,
    };
    let Some(mut fields) = cattle.open_field("limits", &known, Unknown::Refuse, findings) else {
        return limits;
    };
    let mut names = |field: &str, own: &mut Vec<String>, findings: &mut Findings| {
        let place = fields.key_place(field);
        let name = fields.name(field);
        let Some(texts) = fields.strings(field, findings) else {
            return;
        };
        for text in &texts {
            check_hetzner_name(text, &name, findings);
        }
        let allowed: Vec<String> = texts.into_iter().map(|text| text.value).collect();
        // A fleet whose own choice is outside its limits refuses every spec that is silent.
        for choice in own.iter().filter(|choice| !allowed.contains(choice)) {
            if !choice.is_empty() {
                let message = format!("`{name}` lacks the fleet's own choice `{}`", quoted(choice));
                findings.error(place, message);
            }
        }
        *own = allowed;
    };
    names("images", &mut limits.images, findings);
    names("serverTypes", &mut limits.server_types, findings);
    names("locations", &mut limits.locations, findings);
    if let Some(ttl) = fields.parsed::<SpecDuration>("maxTtl", findings) {
        limits.max_ttl = ttl.value.as_std();
    }
    if let Some(n) = fields.integer("liveRunsPerRequester", 0..=MAX_INSTANCES, findings) {
        limits.live_runs_per_requester = n.value;
    }
    if let Some(n) = fields.integer("createsPerHour", 0..=MAX_CREATES_PER_HOUR, findings) {
        limits.creates_per_hour = n.value;
    }
    limits
}
