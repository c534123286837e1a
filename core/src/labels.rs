//! The labels on a server: Hetzner's labels are the truth about what exists.
//!
//! Written by [`encode`], read by [`decode`]. Reading never fails: what cannot be read is said in
//! words and the server is still seen, because a server that is not seen is not deleted either.
//! Anything that carries [`FOREIGN_MARK`] is another tool's and is never ours, whatever else it
//! carries.

mod check;
mod session;

use std::{collections::BTreeMap, time::Duration};

use cattle_schemas::Timestamp;
use sha2::{Digest, Sha256};

use self::check::is_segment;
pub use self::check::{
    LabelError, check_count, check_fleet_label, check_key, check_spec_label, check_value,
};
pub use self::session::{session, session_text};
use crate::{
    expiry::{self, Lifetimes},
    ledger::Run,
    names::{CattleName, FleetName, PersonaName, RunId, SpecHash},
    ownership::{self, Owner},
};

/// Hetzner's limit on a label's value, and on the part of a key after its prefix.
pub const MAX_LABEL: usize = 63;
/// Hetzner's limit on the optional prefix of a key (a DNS subdomain before `/`).
const MAX_KEY_PREFIX: usize = 253;
/// Labels of one spec or one fleet: far above any use; Hetzner documents no limit of its own, so
/// this one bounds the size of a create call.
pub const MAX_LABELS: usize = 32;
/// The label with which `hcloud-upload-image` marks its temporary servers.
pub const FOREIGN_MARK: &str = "apricote.de/created-by";
/// The prefix of a spec's labels.
pub const SPEC_PREFIX: &str = "spec.";
/// What that prefix leaves of [`MAX_LABEL`] to a spec's own keys.
const MAX_SPEC_KEY: usize = MAX_LABEL - SPEC_PREFIX.len();

/// Latest instant read from a label, 9999-12-31: arithmetic on it must not overflow.
const MAX_UNIX: i64 = 253_402_300_799;
/// How far Hetzner's date of a creation may be from ours of its call without a word about it: an
/// expiry of exactly maxTtl must not be called one that is too late.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// Hex digits of the hash that a slugged value ends in: 32 bits, enough to tell task ids apart.
const SLUG_HASH_BYTES: usize = 4;

mod key {
    pub(super) const MANAGED_BY: &str = "managed-by";
    pub(super) const CATTLE: &str = "cattle";
    pub(super) const FLEET: &str = "fleet";
    pub(super) const CATTLE_NAME: &str = "cattle-name";
    pub(super) const RUN: &str = "run";
    pub(super) const PERSONA: &str = "persona";
    pub(super) const TASK_ID: &str = "task-id";
    pub(super) const CREATED_AT: &str = "created-at";
    pub(super) const EXPIRES_AT: &str = "expires-at";
    pub(super) const SPEC_HASH: &str = "spec-hash";
    // Beneath a prefix that nobody may use.
    pub(super) const SESSION: &str = "ledger-session";
}

const MANAGED_BY: &str = "clawdlets";
const RESERVED: [&str; 10] = [
    key::MANAGED_BY,
    key::CATTLE,
    key::FLEET,
    key::CATTLE_NAME,
    key::RUN,
    key::PERSONA,
    key::TASK_ID,
    key::CREATED_AT,
    key::EXPIRES_AT,
    key::SPEC_HASH,
];
/// Prefixes nobody may use: ours for specs, Hetzner's own, and the other tool's.
const RESERVED_PREFIXES: [&str; 4] = [SPEC_PREFIX, "ledger", "hetzner.cloud/", "apricote.de/"];

/// A server's labels, decoded as far as they go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerLabels {
    /// `cattle-name`.
    pub cattle: Option<CattleName>,
    /// `run`.
    pub run: Option<RunId>,
    /// `spec-hash`.
    pub hash: Option<SpecHash>,
    /// `expires-at`, unix seconds, at most created + maxTtl; created + default TTL when it is missing
    /// or malformed. `None` only in values that were not decoded.
    pub expires_at: Option<Timestamp>,
    /// What could not be decoded, in words.
    pub problems: Vec<String>,
    /// All labels as they are.
    pub raw: BTreeMap<String, String>,
}

/// Everything that goes onto a server.
#[derive(Clone, Copy, Debug)]
pub struct LabelSet<'a> {
    /// Which fleet.
    pub fleet: &'a FleetName,
    /// Which run.
    pub run: RunId,
    /// Whose run.
    pub cattle: &'a CattleName,
    /// Who it is.
    pub persona: &'a PersonaName,
    /// Free text; slugged.
    pub task_id: &'a str,
    /// When the create call was made.
    pub created_at: Timestamp,
    /// When the server is deleted whatever happens.
    pub expires_at: Timestamp,
    /// What it was started from.
    pub hash: &'a SpecHash,
    /// The digest of its guest's session token.
    pub session: Option<&'a str>,
    /// Of the spec; written as `spec.<key>`.
    pub spec_labels: &'a BTreeMap<String, String>,
    /// Of the fleet; written as they are.
    pub fleet_labels: &'a BTreeMap<String, String>,
}

/// The labels of a server. Ours win over the fleet's where a configuration was not validated.
#[must_use]
pub fn encode(set: &LabelSet<'_>) -> BTreeMap<String, String> {
    let mut labels = set.fleet_labels.clone();
    for (name, value) in set.spec_labels {
        labels.insert(format!("{SPEC_PREFIX}{name}"), value.clone());
    }
    let ours = [
        (key::MANAGED_BY, MANAGED_BY.to_owned()),
        (key::CATTLE, "true".to_owned()),
        (key::FLEET, set.fleet.to_string()),
        (key::CATTLE_NAME, set.cattle.to_string()),
        (key::RUN, set.run.to_string()),
        (key::PERSONA, set.persona.to_string()),
        (key::TASK_ID, slug(set.task_id)),
        (key::CREATED_AT, set.created_at.timestamp().to_string()),
        (key::EXPIRES_AT, set.expires_at.timestamp().to_string()),
        (key::SPEC_HASH, set.hash.to_string()),
    ];
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    let session = set
        .session
        .map(|text| (key::SESSION.to_owned(), text.to_owned()));
    labels.extend(session);
    labels.remove(FOREIGN_MARK);
    labels
}

impl<'a> LabelSet<'a> {
    /// What belongs onto the server of this run now.
    #[must_use]
    pub fn of_run(
        run: &'a Run,
        fleet: &'a FleetName,
        fleet_labels: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            fleet,
            run: run.id,
            cattle: &run.cattle,
            persona: &run.spec.persona,
            task_id: &run.spec.task.task_id,
            created_at: run.posted_at,
            expires_at: run.expires_at,
            hash: &run.hash,
            session: run.session.as_deref(),
            spec_labels: &run.spec.labels,
            fleet_labels,
        }
    }

    /// Whether these labels are on a server already, so that there is nothing to correct. Each pass
    /// asks this for each server, so it builds nothing.
    #[must_use]
    pub fn is_on(&self, actual: &BTreeMap<String, String>) -> bool {
        let has = |name: &str, value: &str| actual.get(name).is_some_and(|text| text == value);
        let seconds = |name: &str| actual.get(name).and_then(|text| unix_seconds(text));
        let run = actual.get(key::RUN).and_then(|text| text.parse().ok());
        let slugged = || match actual.get(key::TASK_ID) {
            Some(text) if text == self.task_id => is_segment(text),
            Some(text) => *text == slug(self.task_id),
            None => false,
        };
        let spec_labels = || {
            actual
                .range(SPEC_PREFIX.to_owned()..)
                .map_while(|(name, value)| Some((name.strip_prefix(SPEC_PREFIX)?, value)))
                .eq(self
                    .spec_labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), value)))
        };
        let fleet_labels = || {
            self.fleet_labels
                .iter()
                .filter(|(name, _)| !RESERVED.contains(&name.as_str()))
                .all(|(name, value)| has(name, value))
        };
        has(key::MANAGED_BY, MANAGED_BY)
            && has(key::CATTLE, "true")
            && has(key::FLEET, self.fleet.as_str())
            && has(key::CATTLE_NAME, self.cattle.as_str())
            && has(key::PERSONA, self.persona.as_str())
            && has(key::SPEC_HASH, self.hash.as_str())
            && self.session.is_none_or(|text| has(key::SESSION, text))
            && run == Some(self.run)
            && seconds(key::CREATED_AT).is_some()
            && seconds(key::EXPIRES_AT).map(|at| at.timestamp())
                == Some(self.expires_at.timestamp())
            && slugged()
            && spec_labels()
            && fleet_labels()
    }
}

/// The labels that a run's server should have now.
#[must_use]
pub fn of_run(
    run: &Run,
    fleet: &FleetName,
    fleet_labels: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    encode(&LabelSet::of_run(run, fleet, fleet_labels))
}

/// Reads a server's labels. `created` and `lifetimes` give the expiry where the label does not, and
/// bound it where it does.
#[must_use]
pub fn decode(
    raw: &BTreeMap<String, String>,
    created: Timestamp,
    lifetimes: Lifetimes,
) -> ServerLabels {
    let mut problems = Vec::new();
    let cattle = parsed(raw, key::CATTLE_NAME, &mut problems);
    let run = parsed(raw, key::RUN, &mut problems);
    let hash = parsed(raw, key::SPEC_HASH, &mut problems);
    let text = raw.get(key::EXPIRES_AT);
    let label = text.and_then(|text| unix_seconds(text));
    let expires_at = expiry::believed(label, created, lifetimes);
    let taken = expires_at.format("%Y-%m-%dT%H:%M:%SZ");
    match (label, text) {
        (Some(label), _) if label > expires_at + CLOCKS_DIFFER => problems.push(format!(
            "label `expires-at` is {}, further than maxTtl from its creation: without a run in the ledger it counts as {taken}",
            label.format("%Y-%m-%dT%H:%M:%SZ")
        )),
        (Some(_), _) => {}
        (None, None) => problems.push(format!(
            "label `expires-at` is missing: taken as {taken}, created + default TTL"
        )),
        (None, Some(text)) => problems.push(format!(
            "label `expires-at` is `{}`: taken as {taken}, created + default TTL",
            text.escape_default()
        )),
    }
    ServerLabels {
        cattle,
        run,
        hash,
        expires_at: Some(expires_at),
        problems,
        raw: raw.clone(),
    }
}

/// When the create call of a server was made, by its label.
#[must_use]
pub fn created_at(raw: &BTreeMap<String, String>) -> Option<Timestamp> {
    unix_seconds(raw.get(key::CREATED_AT)?)
}

/// The run that a server's label names.
#[must_use]
pub fn run(raw: &BTreeMap<String, String>) -> Option<RunId> {
    raw.get(key::RUN)?.parse().ok()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    raw: &BTreeMap<String, String>,
    name: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    let Some(text) = raw.get(name) else {
        problems.push(format!("label `{name}` is missing"));
        return None;
    };
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("label `{name}`: {error}"));
            None
        }
    }
}

fn unix_seconds(text: &str) -> Option<Timestamp> {
    // `i64::from_str` also takes a sign, which no label of ours has.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = text.parse().ok()?;
    (seconds <= MAX_UNIX)
        .then(|| Timestamp::from_timestamp(seconds, 0))
        .flatten()
}

/// The selector that finds a fleet's servers.
#[must_use]
pub fn selector(fleet: &FleetName) -> String {
    format!(
        "{}={MANAGED_BY},{}=true,{}={fleet}",
        key::MANAGED_BY,
        key::CATTLE,
        key::FLEET
    )
}

/// The selector that finds the servers of all fleets, for the reaper.
#[must_use]
pub fn selector_of_all_fleets() -> String {
    format!("{}={MANAGED_BY},{}=true", key::MANAGED_BY, key::CATTLE)
}

/// Whether a server with these labels is this fleet's, to be changed and deleted by us. Checked
/// again on our side: a selector that the API misread must not cost anybody a server.
#[must_use]
pub fn is_ours(raw: &BTreeMap<String, String>, fleet: &FleetName) -> bool {
    is_cattle(raw) && raw.get(key::FLEET).is_some_and(|f| f == fleet.as_str())
}

/// Whether a server with these labels is some fleet's cattle.
#[must_use]
pub fn is_cattle(raw: &BTreeMap<String, String>) -> bool {
    let has = |name: &str, value: &str| raw.get(name).is_some_and(|v| v == value);
    has(key::MANAGED_BY, MANAGED_BY) && has(key::CATTLE, "true") && !is_foreign(raw)
}

/// Whether another tool has marked it as its own.
#[must_use]
pub fn is_foreign(raw: &BTreeMap<String, String>) -> bool {
    raw.contains_key(FOREIGN_MARK)
}

/// The label by which somebody else claims a server, for people; `None` where nobody does. Without a
/// fleet, any fleet is ours.
#[must_use]
pub fn others_claim(raw: &BTreeMap<String, String>, fleet: Option<&FleetName>) -> Option<String> {
    let ours = [
        (key::MANAGED_BY, Some(MANAGED_BY)),
        (key::CATTLE, Some("true")),
        (key::FLEET, fleet.map(FleetName::as_str)),
    ];
    let other = ours.into_iter().find_map(|(name, ours)| {
        let value = raw.get(name)?;
        ours.is_some_and(|ours| value != ours)
            .then_some((name, value))
    });
    let mark = raw.get(FOREIGN_MARK).map(|value| (FOREIGN_MARK, value));
    mark.or(other)
        .map(|(name, value)| format!("{name}={}", value.escape_default()))
}

/// What a server's labels should become: `wanted`, plus what somebody else has put there. `None`
/// when there is nothing to change. `created-at` belongs to the attempt that made the server and
/// is kept where it can be read.
#[must_use]
pub fn correction(
    actual: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let mut next: BTreeMap<String, String> = actual
        .iter()
        .filter(|(name, _)| !name.starts_with(SPEC_PREFIX))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in wanted {
        let kept = name == key::CREATED_AT
            && actual
                .get(name)
                .is_some_and(|text| unix_seconds(text).is_some());
        if !kept {
            next.insert(name.clone(), value.clone());
        }
    }
    (next != *actual).then_some(next)
}

/// What the labels of a run's server should become. `None` when they are right, and when they say
/// that it is somebody else's by now.
#[must_use]
pub fn repair(
    run: &Run,
    actual: &BTreeMap<String, String>,
    fleet: &FleetName,
    fleet_labels: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let given_away = matches!(ownership::owner_of(actual, run, fleet), Owner::Other(_));
    let wanted = LabelSet::of_run(run, fleet, fleet_labels);
    if given_away || wanted.is_on(actual) {
        return None;
    }
    correction(actual, &encode(&wanted))
}

/// Arbitrary text as a label's value: unchanged where it is one, else its allowed characters and a
/// hash of the whole, so that different texts stay different.
#[must_use]
pub fn slug(text: &str) -> String {
    if check_value(text).is_ok() && !text.is_empty() {
        return text.to_owned();
    }
    let digest = Sha256::digest(text.as_bytes());
    let suffix: String = digest[..SLUG_HASH_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut slug = String::new();
    for c in text.chars() {
        if slug.len() + suffix.len() + 1 >= MAX_LABEL {
            break;
        }
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            '.' | '_' if !slug.is_empty() => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches(['-', '.', '_']);
    if slug.is_empty() {
        suffix
    } else {
        format!("{slug}-{suffix}")
    }
}
