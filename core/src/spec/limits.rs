//! What a fleet allows a spec to choose.

use std::time::Duration;

use cattle_schemas::duration::SpecDuration;

use super::{
    decode::At,
    findings::{Findings, nearest, quoted},
    parsed::Choices,
    tree::Place,
};
use crate::{
    desired::Authority,
    fleet::{Fleet, check_not_retired},
    provider_env,
};

impl Choices {
    /// What the fleet does not allow.
    pub(super) fn check(&self, fleet: &Fleet, authority: Authority, findings: &mut Findings) {
        let limits = &fleet.limits;
        if let Some(at) = &self.ttl
            && at.value.as_std() > limits.max_ttl
        {
            let max = shown(limits.max_ttl);
            let message = format!("`spec.ttl` is {}, at most {max} are allowed", at.value);
            findings.error_hint(at.place, message, "the bound is `cattle.limits.maxTtl`");
        }
        if let Some(at) = &self.with_github_token
            && at.value
            && authority == Authority::Bot
        {
            findings.error_hint(
                at.place,
                "`spec.withGithubToken` is for operators only",
                "remove it, or have an operator apply the spec",
            );
        }
        if let Some(at) = &self.model
            && let Some((provider, _)) = at.value.split_once('/')
        {
            check_provider(provider, at.place, fleet, findings);
        }
        let placement = &self.placement;
        if let Some(at) = &placement.image {
            check_allowed(at, &limits.images, "image", "images", findings);
        }
        let retired = self.check_not_retired(fleet, findings);
        let named = placement.server_types.iter().flatten();
        for at in named.filter(|at| !retired.contains(&at.value.as_str())) {
            let allowed = &limits.server_types;
            check_allowed(at, allowed, "server type", "serverTypes", findings);
        }
        for at in placement.locations.iter().flatten() {
            check_allowed(at, &limits.locations, "location", "locations", findings);
        }
    }

    /// Types that are gone from where the spec would have them; answers which of its own.
    fn check_not_retired(&self, fleet: &Fleet, findings: &mut Findings) -> Vec<&str> {
        let (own, fleets) = (&self.placement, &fleet.placement);
        let locations: Vec<&str> = match &own.locations {
            Some(texts) => texts.iter().map(|at| at.value.as_str()).collect(),
            None => fleets.locations.iter().map(String::as_str).collect(),
        };
        if let Some(texts) = &own.server_types {
            return check_not_retired(texts, &locations, findings);
        }
        // The fleet's types are right in the fleet's locations; these are the spec's.
        let first = own.locations.iter().flatten().next();
        let place = first.map_or_else(Place::default, |at| at.place);
        let types: Vec<At<String>> = fleets
            .server_types
            .iter()
            .filter(|_| own.locations.is_some())
            .map(|value| At {
                value: value.clone(),
                place,
            })
            .collect();
        check_not_retired(&types, &locations, findings);
        Vec::new()
    }
}

/// Whether the provider is known and has a key; otherwise says what to do about it.
pub(super) fn check_provider(
    written: &str,
    place: Place,
    fleet: &Fleet,
    findings: &mut Findings,
) -> bool {
    let provider = provider_env::canonical(written);
    if provider_env::env_names(provider, &fleet.model_env).is_none() {
        let known: Vec<&str> = provider_env::known().collect();
        let hint = nearest(written, &known).map_or_else(
            || format!("set its environment variables in `fleet.modelEnv.{written}`"),
            |near| format!("did you mean `{near}`?"),
        );
        findings.error_hint(place, format!("unknown model provider `{written}`"), hint);
        return false;
    }
    if !fleet.model_secrets.contains_key(provider) {
        findings.error_hint(
            place,
            format!("missing modelSecrets entry for {provider}"),
            format!(
                "set `fleet.modelSecrets.{provider}` to the name of the secret with its API key"
            ),
        );
        return false;
    }
    true
}

fn check_allowed(
    at: &At<String>,
    allowed: &[String],
    what: &str,
    field: &str,
    findings: &mut Findings,
) {
    if allowed.contains(&at.value) {
        return;
    }
    let list = allowed
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    findings.error_hint(
        at.place,
        format!(
            "{what} `{}` is not in `cattle.limits.{field}`",
            quoted(&at.value)
        ),
        format!("allowed: {list}"),
    );
}

fn shown(duration: Duration) -> String {
    SpecDuration::from_secs(duration.as_secs())
        .map_or_else(|_| format!("{}s", duration.as_secs()), |d| d.to_string())
}
