//! `cattle`: ours alone, so an unknown key in it is an error.

use std::{collections::BTreeMap, time::Duration};

use cattle_schemas::duration::SpecDuration;

use super::{Budget, FleetLimits};
use crate::{
    cost::Amount,
    desired::Placement,
    image_ref::ImageRef,
    labels,
    names::FleetName,
    retired,
    spec::{
        decode::{At, Fields, Unknown},
        findings::{Findings, quoted},
        tree::{Node, Value},
    },
    untrusted,
};

/// The most servers a fleet may have at once; the list, the plan and the display are made for it.
const MAX_INSTANCES: u32 = 10_000;
/// The most creates an hour that can be configured: Hetzner's own rate limit is 3,600 calls.
const MAX_CREATES_PER_HOUR: u32 = 3_600;
/// The most candidates of one kind; each is one more call when nothing is in stock.
const MAX_CANDIDATES: usize = 20;
/// The longest server type or location name.
const MAX_HETZNER_NAME: usize = 64;
/// `maxInstances` unless written.
const DEFAULT_MAX_INSTANCES: u32 = 10;
/// `defaultTtl` unless written.
const DEFAULT_TTL: Duration = Duration::from_secs(2 * 3_600);
/// `limits.maxTtl` unless written.
const DEFAULT_MAX_TTL: Duration = Duration::from_secs(24 * 3_600);
/// `limits.createsPerHour` unless written.
const DEFAULT_CREATES_PER_HOUR: u32 = 60;

pub(super) struct CattlePart {
    pub(super) name: FleetName,
    pub(super) enabled: bool,
    pub(super) placement: Placement,
    pub(super) max_instances: u32,
    pub(super) default_ttl: Duration,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) limits: FleetLimits,
    pub(super) budget: Budget,
    pub(super) auto_shutdown: bool,
}

pub(super) fn decode_cattle(node: Node, findings: &mut Findings) -> Option<CattlePart> {
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
        check_image(image, "cattle.hetzner.image", findings);
    }
    let server_types = candidates(&mut hetzner, "serverType", "serverTypes", findings);
    let locations = candidates(&mut hetzner, "location", "locations", findings);
    let places: Vec<&str> = locations
        .iter()
        .flatten()
        .map(|at| at.value.as_str())
        .collect();
    check_not_retired(server_types.iter().flatten(), &places, findings);
    let texts = |list: Option<Vec<At<String>>>| {
        let list = list.unwrap_or_default();
        list.into_iter().map(|at| at.value).collect()
    };
    let max_instances = hetzner
        .integer("maxInstances", 0..=MAX_INSTANCES, findings)
        .map_or(DEFAULT_MAX_INSTANCES, |n| n.value);
    let default_ttl = hetzner.parsed::<SpecDuration>("defaultTtl", findings);
    let mut labels = hetzner.labels("labels", labels::check_fleet_label, findings);
    // Let pass because it is true; we write it anyway.
    labels.remove("managed-by");
    let placement = Placement {
        image: image.map(|text| text.value).unwrap_or_default(),
        server_types: texts(server_types),
        locations: texts(locations),
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
) -> Option<Vec<At<String>>> {
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
    check_candidates(&texts, &name, findings);
    Some(texts)
}

/// Names that Hetzner could know, each once, not too many.
pub(crate) fn check_candidates(texts: &[At<String>], name: &str, findings: &mut Findings) {
    for (index, text) in texts.iter().enumerate() {
        if index == MAX_CANDIDATES {
            findings.error(
                text.place,
                format!("`{name}` has more than {MAX_CANDIDATES} elements"),
            );
            break;
        }
        check_hetzner_name(text, name, findings);
        if texts[..index].iter().any(|it| it.value == text.value) {
            findings.error(
                text.place,
                format!("`{}` is in `{name}` twice", quoted(&text.value)),
            );
        }
    }
}

/// Types that can be had in none of the locations any more. Answers which of them are.
pub(crate) fn check_not_retired<'a>(
    server_types: impl IntoIterator<Item = &'a At<String>>,
    locations: &[&str],
    findings: &mut Findings,
) -> Vec<&'a str> {
    let mut gone = Vec::new();
    for at in server_types {
        if let Some((message, hint)) = retired::check(&at.value, locations) {
            findings.error_hint(at.place, message, hint);
            gone.push(at.value.as_str());
        }
    }
    gone
}

/// An image: an id, a name, or a selector of labels.
pub(crate) fn check_image(text: &At<String>, name: &str, findings: &mut Findings) {
    if let Err(error) = ImageRef::parse(&text.value) {
        let message = format!("`{name}`: {}", untrusted::escape(&error.to_string()));
        findings.error_hint(
            text.place,
            message,
            "write an id, a name as `debian-13`, or labels as `role=cattle-image`",
        );
    }
}

/// A server type's or location's name or id: letters, digits, `.`, `_`, `-`.
fn check_hetzner_name(text: &At<String>, name: &str, findings: &mut Findings) {
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

fn amount(budget: &mut Fields, field: &str, findings: &mut Findings) -> Option<Amount> {
    let name = budget.name(field);
    let node = budget.take(field)?;
    if let Value::Number(text) = &node.value
        && let Ok(value) = text.parse::<f64>()
        && value.is_finite()
        // `2e1` is a number too.
        && let Ok(amount) = text.parse().or_else(|_| format!("{value:.10}").parse())
    {
        return Some(amount);
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
        "unprovenImage",
    ];
    let mut limits = FleetLimits {
        images: vec![placement.image.clone()],
        server_types: placement.server_types.clone(),
        locations: placement.locations.clone(),
        max_ttl: DEFAULT_MAX_TTL,
        live_runs_per_requester: max_instances,
        creates_per_hour: DEFAULT_CREATES_PER_HOUR,
        unproven_image: None,
    };
    let Some(mut fields) = cattle.open_field("limits", &known, Unknown::Refuse, findings) else {
        return limits;
    };
    type Check = fn(&At<String>, &str, &mut Findings);
    let mut names = |field: &str, own: &mut Vec<String>, check: Check, findings: &mut Findings| {
        let place = fields.key_place(field);
        let name = fields.name(field);
        let Some(texts) = fields.strings(field, findings) else {
            return;
        };
        for text in &texts {
            check(text, &name, findings);
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
    names("images", &mut limits.images, check_image, findings);
    let name = check_hetzner_name;
    names("serverTypes", &mut limits.server_types, name, findings);
    names("locations", &mut limits.locations, name, findings);
    if let Some(ttl) = fields.parsed::<SpecDuration>("maxTtl", findings) {
        limits.max_ttl = ttl.value.as_std();
    }
    if let Some(n) = fields.integer("liveRunsPerRequester", 0..=MAX_INSTANCES, findings) {
        limits.live_runs_per_requester = n.value;
    }
    if let Some(n) = fields.integer("createsPerHour", 0..=MAX_CREATES_PER_HOUR, findings) {
        limits.creates_per_hour = n.value;
    }
    if let Some(n) = fields.integer("unprovenImage", 1..=MAX_INSTANCES, findings) {
        limits.unproven_image = Some(n.value);
    }
    limits
}
