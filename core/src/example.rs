//! The example project and the demo's scenarios, embedded: what `init` writes and the demo plays is
//! what the repository shows, byte for byte.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../specs/", $path)) as &[u8])),*]
    };
}

macro_rules! demo {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../specs/demo/", $name)) as &[u8])),*]
    };
}

/// A file: its path relative to the project (or to the demo's directory), and its content.
pub type File = (&'static str, &'static [u8]);

/// The project, without the demo.
pub const FILES: &[File] = files![
    ".gitignore",
    "README.md",
    "cattle/personas/ada/SOUL.md",
    "cattle/personas/ada/config.json",
    "cattle/personas/ada/skills/plain-words/SKILL.md",
    "cattle/personas/rex/SOUL.md",
    "cattle/personas/rex/config.json",
    "cattle/personas/rex/memory/conventions.md",
    "cattle/personas/rex/skills/bisect/SKILL.md",
    "cattle/specs/ada-quickstart.yaml",
    "cattle/specs/rex-changelog.yaml",
    "cattle/specs/rex-issue-42.yaml",
    "cattle/tasks/issue-42.json",
    "cattle/tasks/quickstart.json",
    "fleet/clawdlets.json",
    "schemas/cattle.schema.json",
    "schemas/fleet.schema.json",
    "schemas/persona-config.schema.json",
    "schemas/runners.schema.json",
    "schemas/task.schema.json",
];

/// The demo: its scenarios, and the runner that plays the agent.
pub const DEMO: &[File] = demo![
    "batch-01.yaml",
    "batch-02.yaml",
    "batch-03.yaml",
    "batch-04.yaml",
    "batch-05.yaml",
    "batch-06.yaml",
    "batch-07.yaml",
    "batch-08.yaml",
    "batch-09.yaml",
    "batch-10.yaml",
    "fails.yaml",
    "hello.yaml",
    "overstays.yaml",
    "runner.sh",
    "runners.json",
];

/// The content of one file of the project.
#[must_use]
pub fn file(path: &str) -> Option<&'static [u8]> {
    FILES
        .iter()
        .find(|(name, _)| *name == path)
        .map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use cattle_schemas::runners::RunnersFile;

    use super::*;
    use crate::{
        desired::{Authority, Cattle},
        fleet::Fleet,
        spec::{self, Inputs, PersonaFiles},
    };

    fn fleet() -> Fleet {
        let path = "fleet/clawdlets.json";
        Fleet::load(path, file(path).unwrap()).unwrap()
    }

    fn complete(path: &str, bytes: &[u8]) -> Cattle {
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        let parsed = spec::parse(path, stem, bytes).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let persona = format!("cattle/personas/{}", parsed.persona);
        let persona = PersonaFiles::parse(
            file(&format!("{persona}/SOUL.md")).unwrap(),
            file(&format!("{persona}/config.json")).unwrap(),
        )
        .unwrap();
        let task_file = parsed.task_file.as_ref().map(|name| {
            let name = name.strip_prefix("../").unwrap();
            Ok(file(&format!("cattle/{name}")).unwrap().to_vec())
        });
        parsed
            .complete(Inputs {
                fleet: &fleet(),
                authority: Authority::Bot,
                task_file,
                persona: Ok(&persona),
            })
            .unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    fn walk(directory: &Path, base: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".clawdlets") {
                // Left by a controller that was tried out here; git ignores it too.
            } else if path.is_dir() {
                walk(&path, base, found);
            } else {
                found.insert(
                    path.strip_prefix(base)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }

    #[test]
    fn what_is_embedded_is_all_that_the_directory_has() {
        let base = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs"));
        let mut found = BTreeSet::new();
        walk(&base, &base, &mut found);
        let embedded: BTreeSet<String> = FILES
            .iter()
            .map(|(path, _)| (*path).to_owned())
            .chain(DEMO.iter().map(|(name, _)| format!("demo/{name}")))
            .collect();
        assert_eq!(embedded, found);
    }

    #[test]
    fn every_spec_of_the_project_and_the_demo_is_valid() {
        let yaml = |(path, bytes): &File| path.ends_with(".yaml").then(|| complete(path, bytes));
        let project: Vec<Cattle> = FILES.iter().filter_map(yaml).collect();
        assert_eq!(project.len(), 3);
        let demo: Vec<Cattle> = DEMO.iter().filter_map(yaml).collect();
        assert_eq!(demo.len(), 13);
        for cattle in project.iter().chain(&demo) {
            assert_eq!(cattle.model, "zai/glm-4.7", "{}", cattle.name);
            assert_eq!(cattle.task.callback_url, "");
        }
    }

    #[test]
    fn every_yaml_file_points_its_editor_at_a_schema_that_is_there() {
        for (path, bytes) in FILES.iter().filter(|(path, _)| path.ends_with(".yaml")) {
            let text = std::str::from_utf8(bytes).unwrap();
            let modeline = "# yaml-language-server: $schema=../../schemas/cattle.schema.json\n";
            assert!(text.starts_with(modeline), "{path}");
        }
        for (name, bytes) in DEMO.iter().filter(|(name, _)| name.ends_with(".yaml")) {
            let text = std::str::from_utf8(bytes).unwrap();
            let modeline = "# yaml-language-server: $schema=../schemas/cattle.schema.json\n";
            assert!(text.starts_with(modeline), "{name}");
        }
        assert!(file("schemas/cattle.schema.json").is_some());
    }

    #[test]
    fn the_demo_has_a_runner_for_every_task_in_it() {
        let bytes = DEMO
            .iter()
            .find(|(name, _)| *name == "runners.json")
            .unwrap()
            .1;
        let runners: RunnersFile = serde_json::from_slice(bytes).unwrap();
        for (name, bytes) in DEMO.iter().filter(|(name, _)| name.ends_with(".yaml")) {
            let kind = complete(name, bytes).task.kind;
            let runner = runners
                .runners
                .get(&kind)
                .unwrap_or_else(|| panic!("{name}: {kind}"));
            assert!(runner.command.iter().any(|word| word == "runner.sh"));
        }
    }
}
