//! One spec file by itself.

use std::collections::BTreeMap;

use cattle_schemas::{
    duration::SpecDuration,
    problem::Diagnostic,
    spec_file::{self, API_VERSION, CattleFile, CattleFileSpec, KIND, Metadata, OnFailure},
    task::TaskInput,
};

use super::{
    decode::{At, Fields, Unknown},
    findings::{Findings, nearest, quoted},
    model, task,
    tree::{self, Node, Place, Value},
};
use crate::{
    desired::Authority,
    fleet::{Fleet, check_candidates, check_image},
    labels,
    names::{CattleName, PersonaName},
};

/// The longest `taskFile`; Linux paths end at 4,096 bytes.
const MAX_TASK_FILE: usize = 1_024;

/// A spec file that is right by itself, with the places of what others may still object to.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedSpec {
    /// The file, as messages name it.
    pub path: String,
    /// The file's stem.
    pub name: CattleName,
    /// Checked.
    pub labels: BTreeMap<String, String>,
    /// Who it is; whether it exists is not known here.
    pub persona: PersonaName,
    /// Relative to the spec file. Exactly one of this and the inline task is there.
    pub task_file: Option<String>,
    pub(crate) task: Option<TaskInput>,
    pub(crate) places: Places,
    pub(crate) start_within: Option<SpecDuration>,
    pub(crate) auto_shutdown: Option<bool>,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) choices: Choices,
}

/// What the fleet may object to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choices {
    pub(crate) ttl: Option<At<SpecDuration>>,
    pub(crate) model: Option<At<String>>,
    pub(crate) with_github_token: Option<At<bool>>,
    pub(crate) placement: Placement,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Places {
    pub(crate) spec: Place,
    pub(crate) persona: Place,
    /// Of `task` or `taskFile`.
    pub(crate) task: Place,
}

/// `spec.hetzner`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    pub(crate) image: Option<At<String>>,
    pub(crate) server_types: Option<Vec<At<String>>>,
    pub(crate) locations: Option<Vec<At<String>>>,
}

/// Reads one spec file. `path` is how messages name it, `stem` is the name its file gives it.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn parse(path: &str, stem: &str, bytes: &[u8]) -> Result<ParsedSpec, Vec<Diagnostic>> {
    parse_with(path, stem, bytes, None)
}

/// Reads one spec file and holds it against the fleet too, so that a file with errors of both kinds
/// shows them all at once. What [`ParsedSpec::complete`] checks it checks again.
///
/// # Errors
/// As [`parse`], and what the fleet does not allow.
pub fn parse_for(
    path: &str,
    stem: &str,
    bytes: &[u8],
    fleet: &Fleet,
    authority: Authority,
) -> Result<ParsedSpec, Vec<Diagnostic>> {
    parse_with(path, stem, bytes, Some((fleet, authority)))
}

fn parse_with(
    path: &str,
    stem: &str,
    bytes: &[u8],
    fleet: Option<(&Fleet, Authority)>,
) -> Result<ParsedSpec, Vec<Diagnostic>> {
    let mut findings = Findings::new(path);
    let name = match stem.parse::<CattleName>() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!(
                "the file's stem `{}` names the cattle: {error}",
                quoted(stem)
            );
            findings.error_hint(Place::default(), message, "rename the file");
            None
        }
    };
    let spec = match tree::read(path, bytes) {
        Ok(root) => decode(root, path, stem, name, fleet, &mut findings),
        Err(error) => {
            findings.add(*error);
            None
        }
    };
    match spec {
        Some(spec) if findings.is_empty() => Ok(spec),
        _ => Err(findings.into_sorted()),
    }
}

/// `metadata.name` of a spec file, for input that has no file name (`apply -f -`). `None` when there
/// is none or the file cannot be read; [`parse`] then says why.
#[must_use]
pub fn name_in(bytes: &[u8]) -> Option<String> {
    let mut silent = Findings::silent();
    let root = tree::read("", bytes).ok()?;
    let mut file = Fields::open(root, "", &["metadata"], Unknown::Leave, &mut silent)?;
    let mut metadata = file.open_field("metadata", &["name"], Unknown::Leave, &mut silent)?;
    metadata.string("name", &mut silent).map(|name| name.value)
}

fn decode(
    root: Node,
    path: &str,
    stem: &str,
    name: Option<CattleName>,
    fleet: Option<(&Fleet, Authority)>,
    findings: &mut Findings,
) -> Option<ParsedSpec> {
    let known = ["apiVersion", "kind", "metadata", "spec"];
    let mut file = Fields::open(root, "", &known, Unknown::Refuse, findings)?;
    constant(&mut file, "apiVersion", API_VERSION, findings);
    constant(&mut file, "kind", KIND, findings);
    let labels = decode_metadata(&mut file, stem, findings);

    let known = [
        "persona",
        "task",
        "taskFile",
        "ttl",
        "startWithin",
        "model",
        "withGithubToken",
        "autoShutdown",
        "hetzner",
        "onFailure",
    ];
    let spec = file.require("spec", findings)?;
    let mut spec = Fields::open(spec, "spec", &known, Unknown::Refuse, findings)?;
    let persona = spec.require_parsed::<PersonaName>("persona", findings);
    let (task, task_file, task_place) = decode_task(&mut spec, findings);
    let start_within = spec.parsed::<SpecDuration>("startWithin", findings);
    let auto_shutdown = spec.boolean("autoShutdown", findings);
    let on_failure = spec
        .take("onFailure")
        .and_then(|node| decode_on_failure(node, findings));
    let choices = Choices {
        ttl: spec.parsed("ttl", findings),
        model: spec
            .string("model", findings)
            .filter(|text| model::check(text, "spec.model", findings).is_some()),
        with_github_token: spec.boolean("withGithubToken", findings),
        placement: decode_placement(&mut spec, findings),
    };
    if let Some((fleet, authority)) = fleet {
        choices.check(fleet, authority, findings);
    }
    let persona = persona?;
    Some(ParsedSpec {
        path: path.to_owned(),
        name: name?,
        labels,
        places: Places {
            spec: spec.place,
            persona: persona.place,
            task: task_place,
        },
        persona: persona.value,
        task_file,
        task,
        start_within: start_within.map(|at| at.value),
        auto_shutdown: auto_shutdown.map(|at| at.value),
        on_failure,
        choices,
    })
}

fn constant(file: &mut Fields, field: &str, expected: &str, findings: &mut Findings) {
    if !file.has(field) {
        let message = format!("missing field `{field}`");
        findings.error_hint(file.place, message, format!("write `{field}: {expected}`"));
    } else if let Some(text) = file.string(field, findings)
        && text.value != expected
    {
        let message = format!(
            "`{field}` must be `{expected}`, this is `{}`",
            quoted(&text.value)
        );
        findings.error(text.place, message);
    }
}

fn decode_metadata(
    file: &mut Fields,
    stem: &str,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let known = ["name", "labels"];
    let Some(mut metadata) = file.open_field("metadata", &known, Unknown::Refuse, findings) else {
        return BTreeMap::new();
    };
    if let Some(name) = metadata.string("name", findings)
        && name.value != stem
    {
        let message = format!(
            "`metadata.name` is `{}`, but the file's stem is `{}`",
            quoted(&name.value),
            quoted(stem)
        );
        let hint = "rename the file, or remove `metadata.name`: the stem is the name";
        findings.error_hint(name.place, message, hint);
    }
    metadata.labels("labels", labels::check_spec_label, findings)
}

fn decode_task(
    spec: &mut Fields,
    findings: &mut Findings,
) -> (Option<TaskInput>, Option<String>, Place) {
    match (spec.has("task"), spec.has("taskFile")) {
        (true, true) => {
            let place = spec.key_place("task").max(spec.key_place("taskFile"));
            findings.error(place, "`spec.task` and `spec.taskFile` exclude each other");
        }
        (false, false) => {
            let hint = "write the task inline as `task`, or name its file as `taskFile`";
            findings.error_hint(spec.place, "`spec` has neither `task` nor `taskFile`", hint);
        }
        _ => {}
    }
    let place = spec.key_place(if spec.has("task") { "task" } else { "taskFile" });
    let task = spec
        .take("task")
        .and_then(|node| task::decode(node, "spec.task", findings));
    let task_file = spec.string("taskFile", findings).map(|text| {
        if text.value.is_empty() || text.value.len() > MAX_TASK_FILE {
            findings.error(text.place, "`spec.taskFile` is not a path");
        } else if text.value.starts_with('/') {
            let hint = "write it relative to the spec file, beneath the project";
            findings.error_hint(text.place, "`spec.taskFile` must not be absolute", hint);
        }
        text.value
    });
    (task, task_file, place)
}

fn decode_on_failure(node: Node, findings: &mut Findings) -> Option<OnFailure> {
    let hint = "write `destroy`, or `{ hold: 30m }`";
    match &node.value {
        Value::String(text) if text == "destroy" => return Some(OnFailure::Destroy),
        Value::String(text) => {
            let message = format!("unknown `spec.onFailure` `{}`", quoted(text));
            let hint = nearest(text, &["destroy"])
                .map_or_else(|| hint.to_owned(), |near| format!("did you mean `{near}`?"));
            findings.error_hint(node.place, message, hint);
        }
        Value::Map(_) => {
            let mut fields =
                Fields::open(node, "spec.onFailure", &["hold"], Unknown::Refuse, findings)?;
            let hold = fields.require_parsed::<SpecDuration>("hold", findings)?;
            return Some(OnFailure::Hold(hold.value));
        }
        other => {
            let message = format!("`spec.onFailure` must not be {}", other.kind());
            findings.error_hint(node.place, message, hint);
        }
    }
    None
}

fn decode_placement(spec: &mut Fields, findings: &mut Findings) -> Placement {
    let known = [
        "image",
        "serverType",
        "serverTypes",
        "location",
        "locations",
    ];
    let Some(mut fields) = spec.open_field("hetzner", &known, Unknown::Refuse, findings) else {
        return Placement::default();
    };
    let image = fields.string("image", findings);
    if let Some(image) = &image {
        check_image(image, "spec.hetzner.image", findings);
    }
    let mut candidates = |one: &str, many: &str, findings: &mut Findings| {
        let texts = fields.one_or_many(one, many, findings)?;
        check_candidates(&texts, &format!("spec.hetzner.{many}"), findings);
        Some(texts)
    };
    Placement {
        image,
        server_types: candidates("serverType", "serverTypes", findings),
        locations: candidates("location", "locations", findings),
    }
}

impl ParsedSpec {
    /// The spec as a document of its own, as the socket takes it: `task` stands in for the task
    /// file, whose content the caller has read.
    #[must_use]
    pub fn to_document(&self, task: Option<TaskInput>) -> CattleFile {
        let text = |at: &At<String>| at.value.clone();
        let texts = |list: &Vec<At<String>>| list.iter().map(text).collect();
        let task = task.or_else(|| self.task.clone());
        let placement = spec_file::Placement {
            image: self.choices.placement.image.as_ref().map(text),
            server_type: None,
            server_types: self.choices.placement.server_types.as_ref().map(texts),
            location: None,
            locations: self.choices.placement.locations.as_ref().map(texts),
        };
        CattleFile {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Some(Metadata {
                name: Some(self.name.to_string()),
                labels: self.labels.clone(),
            }),
            spec: CattleFileSpec {
                persona: self.persona.to_string(),
                task_file: if task.is_none() {
                    self.task_file.clone()
                } else {
                    None
                },
                task,
                ttl: self.choices.ttl.as_ref().map(|at| at.value),
                start_within: self.start_within,
                model: self.choices.model.as_ref().map(text),
                with_github_token: self.choices.with_github_token.as_ref().map(|at| at.value),
                auto_shutdown: self.auto_shutdown,
                hetzner: (placement != spec_file::Placement::default()).then_some(placement),
                on_failure: self.on_failure,
            },
        }
    }
}
