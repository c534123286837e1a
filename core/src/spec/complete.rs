//! A parsed spec and everything around it, made into a complete [`Cattle`].

use std::time::Duration;

use cattle_schemas::{problem::Diagnostic, task::TaskInput};

use super::{
    decode::At,
    findings::{Findings, quoted},
    hash,
    limits::check_provider,
    parsed::ParsedSpec,
    persona::PersonaFiles,
    task,
};
use crate::{
    desired::{Authority, Cattle, Placement},
    fleet::Fleet,
    substance::{Defaults, Substance, Written},
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
        let task = self.read_task(inputs.task_file, inputs.authority, &mut findings);
        let model = self.resolve_model(fleet, &inputs.persona, &mut findings);
        if let Err(why) = &inputs.persona {
            let message = format!("persona `{}`: {}", self.persona, one_line(why));
            findings.error(self.places.persona, message);
        }
        self.choices.check(fleet, inputs.authority, &mut findings);
        let (Some(task), Some(model), true) = (task, model, findings.is_empty()) else {
            return Err(findings.into_sorted());
        };
        let task = task::normalise(task, &self.name);
        let written_model = self.choices.model.as_ref().map(|at| at.value.as_str());
        let with_github_token = self.choices.with_github_token.as_ref().map(|at| at.value);
        let ttl = self.choices.ttl.as_ref();
        let hash = hash::spec_hash(
            &self.persona,
            &task,
            written_model,
            with_github_token,
            self.auto_shutdown,
        );
        let substance = Substance {
            as_written: hash.clone(),
            content: hash::content_hash(&self.persona, &task),
            written: Written {
                model: written_model.map(str::to_owned),
                with_github_token,
                auto_shutdown: self.auto_shutdown,
            },
            defaults: Defaults {
                model: default_model(fleet, &inputs.persona).map(str::to_owned),
                auto_shutdown: Some(fleet.auto_shutdown),
            },
        };
        Ok(Cattle {
            name: self.name.clone(),
            labels: self.labels.clone(),
            persona: self.persona.clone(),
            task,
            ttl: ttl.map_or(fleet.default_ttl, |at| at.value.as_std()),
            start_within: self
                .start_within
                .map_or(DEFAULT_START_WITHIN, |duration| duration.as_std()),
            model,
            with_github_token: with_github_token.unwrap_or(false),
            auto_shutdown: self.auto_shutdown.unwrap_or(fleet.auto_shutdown),
            on_failure: self.on_failure.unwrap_or_default(),
            placement: self.place(fleet),
            hash,
            substance,
        })
    }

    /// The task, inline or of the file whose content this is, for who has no fleet to complete the
    /// spec with.
    ///
    /// # Errors
    /// What is wrong with the file, at the place that names it.
    pub fn task(
        &self,
        file: Option<Result<Vec<u8>, String>>,
    ) -> Result<TaskInput, Vec<Diagnostic>> {
        let mut findings = Findings::new(&self.path);
        // Whoever reads the file themselves may be told what is in it.
        self.read_task(file, Authority::Operator, &mut findings)
            .ok_or_else(|| findings.into_sorted())
    }

    fn read_task(
        &self,
        file: Option<Result<Vec<u8>, String>>,
        authority: Authority,
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
                // A bot may name a file that it cannot read. Where in it something stands that is
                // no task, and what, would be told to somebody who is not to know.
                Err(_) if authority == Authority::Bot => {
                    let hint = "`clawdlets cattle validate` says why, to who may read the file";
                    findings.error_hint(
                        place,
                        format!("task file `{path}`: it is not a task"),
                        hint,
                    );
                    None
                }
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
        let (model, place) = if let Some(model) = &self.choices.model {
            (model.value.as_str(), model.place)
        } else {
            // An unreadable persona is reported by itself; what it would have said is not known.
            let personas = persona.as_ref().ok()?.model();
            let Some(model) = default_model(fleet, persona) else {
                findings.error_hint(
                    self.places.spec,
                    "no model: neither the spec, nor the persona, nor the host names one",
                    "set `spec.model`, the persona's `model.primary`, or `hosts.<defaultHost>.agentModelPrimary`",
                );
                return None;
            };
            let place = personas.map_or(self.places.spec, |_| self.places.persona);
            (model, place)
        };
        let (provider, _) = model.split_once('/')?;
        check_provider(provider, place, fleet, findings).then(|| model.to_owned())
    }

    fn place(&self, fleet: &Fleet) -> Placement {
        let own = &self.choices.placement;
        let text = |at: &At<String>| at.value.clone();
        let texts = |list: &Vec<At<String>>| list.iter().map(text).collect();
        let fleets = fleet.placement.clone();
        Placement {
            image: own.image.as_ref().map_or(fleets.image, text),
            server_types: own.server_types.as_ref().map_or(fleets.server_types, texts),
            locations: own.locations.as_ref().map_or(fleets.locations, texts),
        }
    }
}

/// The model of a spec that names none: the persona's, else the host's.
fn default_model<'a>(
    fleet: &'a Fleet,
    persona: &Result<&'a PersonaFiles, String>,
) -> Option<&'a str> {
    let personas = persona.as_ref().ok()?.model();
    personas.or(fleet.host_model.as_deref())
}

/// What a caller says about a file, which may hold a name that others chose.
fn one_line(text: &str) -> String {
    crate::untrusted::escape(text.lines().next().unwrap_or_default()).into_owned()
}
