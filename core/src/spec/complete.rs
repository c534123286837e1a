//! A parsed spec and everything around it, made into a complete [`Cattle`].

use std::time::Duration;

use cattle_schemas::{problem::Diagnostic, task::TaskInput};

use super::{
    decode::{At, Findings, nearest, quoted},
    hash,
    parsed::ParsedSpec,
    persona::PersonaFiles,
    task,
    tree::Place,
};
use crate::{
    desired::{Authority, Cattle, Placement},
    fleet::Fleet,
    provider_env,
};

/// How long a spec waits that does not say.
pub const DEFAULT_START_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// What a spec file is completed with.
pub struct Inputs<'a> {
    /// The fleet's configuration.
    pub fleet: &'a Fleet,
    /// What the spec's source may do.
    pub authority: Authority,
    /// The content of `taskFile`, read beneath the project, or why it could not be read (a sentence
    /// that does not quote it). `None` when the spec names none.
    pub task_file: Option<Result<Vec<u8>, String>>,
    /// The persona's files, or why they could not be read.
    pub persona: Result<&'a PersonaFiles, String>,
}

impl ParsedSpec {
    /// Checks the spec against its surroundings and applies every default.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn complete(&self, inputs: Inputs<'_>) -> Result<Cattle, Vec<Diagnostic>> {
        let mut findings = Findings::new(&self.path);
        let fleet = inputs.fleet;
        let task = self.task(inputs.task_file, &mut findings);
        let model = self.resolve_model(fleet, &inputs.persona, &mut findings);
        if let Err(why) = &inputs.persona {
            let message = format!("persona `{}`: {}", self.persona, one_line(why));
            findings.error(self.places.persona, message);
        }
        let ttl = self.check_limits(fleet, inputs.authority, &mut findings);
        let (Some(task), Some(model), true) = (task, model, findings.is_empty()) else {
            return Err(findings.into_sorted());
        };
        let task = task::normalise(task, &self.name);
        let written_model = self.model.as_ref().map(|at| at.value.as_str());
        let with_github_token = self.with_github_token.as_ref().map(|at| at.value);
        let hash = hash::spec_hash(
            &self.persona,
            &task,
            written_model,
            with_github_token,
            self.auto_shutdown,
        );
        Ok(Cattle {
            name: self.name.clone(),
            labels: self.labels.clone(),
            persona: self.persona.clone(),
            task,
            ttl,
            start_within: self
                .start_within
                .map_or(DEFAULT_START_WITHIN, |duration| duration.as_std()),
            model,
            with_github_token: with_github_token.unwrap_or(false),
            auto_shutdown: self.auto_shutdown.unwrap_or(fleet.auto_shutdown),
            on_failure: self.on_failure.unwrap_or_default(),
            placement: self.place(fleet),
            hash,
        })
    }

    fn task(
        &self,
        file: Option<Result<Vec<u8>, String>>,
        findings: &mut Findings,
    ) -> Option<TaskInput> {
        if let Some(task) = &self.task {
            return Some(task.clone());
        }
        let path = quoted(self.task_file.as_deref().unwrap_or_default());
        let place = self.places.task;
        match file {
            Some(Ok(bytes)) => match task::parse_task(&bytes) {
                Ok(task) => Some(task),
                Err(problems) => {
                    for problem in problems {
                        findings.error(place, format!("task file `{path}`: {problem}"));
                    }
                    None
                }
            },
            Some(Err(why)) => {
                findings.error(place, format!("task file `{path}`: {}", one_line(&why)));
                None
            }
            None => {
                let hint = "write the task inline as `task`";
                findings.error_hint(
                    place,
                    format!("task file `{path}` cannot be read here"),
                    hint,
                );
                None
            }
        }
    }

    /// The spec's own model, else the persona's, else the host's; with a key for its provider.
    fn resolve_model(
        &self,
        fleet: &Fleet,
        persona: &Result<&PersonaFiles, String>,
        findings: &mut Findings,
    ) -> Option<String> {
        let (model, place) = if let Some(model) = &self.model {
            (model.value.as_str(), model.place)
        } else {
            // An unreadable persona is reported by itself; what it would have said is not known.
            let persona = persona.as_ref().ok()?;
            match persona.model() {
                Some(model) => (model, self.places.persona),
                None => match &fleet.host_model {
                    Some(model) => (model.as_str(), self.places.spec),
                    None => {
                        findings.error_hint(
                            self.places.spec,
                            "no model: neither the spec, nor the persona, nor the host names one",
                            "set `spec.model`, the persona's `model.primary`, or `hosts.<defaultHost>.agentModelPrimary`",
                        );
                        return None;
                    }
                },
            }
        };
        let (provider, _) = model.split_once('/')?;
        self.check_provider(provider, place, fleet, findings)
            .then(|| model.to_owned())
    }

    fn check_provider(
        &self,
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

    /// What bounds the spec. The answer is its TTL.
    fn check_limits(
        &self,
        fleet: &Fleet,
        authority: Authority,
        findings: &mut Findings,
    ) -> Duration {
        let limits = &fleet.limits;
        let ttl = self
            .ttl
            .as_ref()
            .map_or(fleet.default_ttl, |at| at.value.as_std());
        if let Some(at) = &self.ttl
            && ttl > limits.max_ttl
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
        let placement = &self.placement;
        if let Some(image) = &placement.image {
            check_allowed(image, &limits.images, "image", "images", findings);
        }
        for at in placement.server_types.iter().flatten() {
            check_allowed(
                at,
                &limits.server_types,
                "server type",
                "serverTypes",
                findings,
            );
        }
        for at in placement.locations.iter().flatten() {
            check_allowed(at, &limits.locations, "location", "locations", findings);
        }
        ttl
    }

    fn place(&self, fleet: &Fleet) -> Placement {
        let texts = |own: &Option<Vec<At<String>>>, fleets: &Vec<String>| {
            own.as_ref().map_or_else(
                || fleets.clone(),
                |list| list.iter().map(|at| at.value.clone()).collect(),
            )
        };
        Placement {
            image: self
                .placement
                .image
                .as_ref()
                .map_or_else(|| fleet.placement.image.clone(), |at| at.value.clone()),
            server_types: texts(&self.placement.server_types, &fleet.placement.server_types),
            locations: texts(&self.placement.locations, &fleet.placement.locations),
        }
    }
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
    cattle_schemas::duration::SpecDuration::from_secs(duration.as_secs())
        .map_or_else(|_| format!("{}s", duration.as_secs()), |d| d.to_string())
}

/// What a caller says about a file, which may hold a name that others chose.
fn one_line(text: &str) -> String {
    crate::untrusted::escape(text.lines().next().unwrap_or_default()).into_owned()
}
