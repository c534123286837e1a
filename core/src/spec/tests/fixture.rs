//! A valid spec, fleet and persona.

use cattle_schemas::problem::Diagnostic;

use crate::{
    desired::{Authority, Cattle},
    fleet::Fleet,
    spec::{Inputs, ParsedSpec, PersonaFiles, line, parse},
};

/// Everything a spec can say, each on a line of its own.
pub(super) const SPEC: &str = "\
apiVersion: clawdlets.dev/v1
kind: Cattle
metadata:
  name: rex-1
  labels: { team: docs }
spec:
  persona: rex
  task:
    schemaVersion: 1
    taskId: issue-42
    type: clawdbot.gateway.agent
    message: Fix the flaky test
  ttl: 2h
  startWithin: 12h
  model: zai/glm-4.7
  withGithubToken: false
  autoShutdown: true
  hetzner:
    image: \"123456\"
    serverTypes: [cx23, cpx22]
    locations: [nbg1, fsn1]
  onFailure: destroy
";

pub(super) const FLEET: &str = r#"{
  "schemaVersion": 8,
  "defaultHost": "one",
  "hosts": { "one": { "agentModelPrimary": "openai/host-model" } },
  "fleet": { "modelSecrets": { "zai": "zai_api_key", "openai": "openai_api_key" } },
  "cattle": {
    "fleet": "test",
    "hetzner": { "image": "123456", "serverTypes": ["cx23", "cpx22"], "locations": ["nbg1", "fsn1"] }
  }
}"#;

pub(super) fn fleet() -> Fleet {
    Fleet::load("fleet/clawdlets.json", FLEET.as_bytes()).unwrap()
}

pub(super) fn persona(config: &str) -> PersonaFiles {
    PersonaFiles::parse(b"# Rex\n", config.as_bytes()).unwrap()
}

/// The valid spec with one piece of text replaced, which must be there.
pub(super) fn with(from: &str, to: &str) -> String {
    assert!(SPEC.contains(from), "the fixture has no {from:?}");
    SPEC.replacen(from, to, 1)
}

pub(super) fn parsed(text: &str) -> ParsedSpec {
    parse("specs/rex-1.yaml", "rex-1", text.as_bytes()).unwrap_or_else(|e| panic!("{}", show(&e)))
}

pub(super) fn show(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What `parse` says about a deviation.
pub(super) fn refused(from: &str, to: &str) -> String {
    match parse("rex-1.yaml", "rex-1", with(from, to).as_bytes()) {
        Ok(parsed) => panic!("accepted: {parsed:?}"),
        Err(errors) => show(&errors),
    }
}

/// Completes with everything in order.
pub(super) fn complete(text: &str) -> Result<Cattle, String> {
    complete_with(text, |_| {})
}

/// Completes after a change of what surrounds the spec.
pub(super) fn complete_with(
    text: &str,
    change: impl FnOnce(&mut Surroundings),
) -> Result<Cattle, String> {
    let mut around = Surroundings {
        fleet: fleet(),
        authority: Authority::Operator,
        task_file: None,
        persona: Ok(persona("{}")),
    };
    change(&mut around);
    parsed(text)
        .complete(Inputs {
            fleet: &around.fleet,
            authority: around.authority,
            task_file: around.task_file,
            persona: around.persona.as_ref().map_err(Clone::clone),
        })
        .map_err(|errors| show(&errors))
}

pub(super) struct Surroundings {
    pub(super) fleet: Fleet,
    pub(super) authority: Authority,
    pub(super) task_file: Option<Result<Vec<u8>, String>>,
    pub(super) persona: Result<PersonaFiles, String>,
}
