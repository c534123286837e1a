//! Writes the JSON Schemas of the files that people write, or with `--check` says which of the
//! committed ones differ from what the types say.
//!
//! They are kept twice: in `schemas/`, and in the example project, whose files point at them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use cattle_schemas::{
    fleet::FleetFile, persona::PersonaConfig, runners::RunnersFile, spec_file::CattleFile,
    task::TaskInput,
};
use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::Value;

/// Where the schemas are committed, relative to the repository.
const DIRECTORIES: &[&str] = &["schemas", "specs/schemas"];

/// One schema: file name, title, description, and how to make it.
struct Document {
    file: &'static str,
    title: &'static str,
    description: &'static str,
    /// Whether a JSON file of this kind may hold `$schema`; its reader must let it pass.
    names_its_schema: bool,
    root: fn() -> Schema,
}

const DOCUMENTS: &[Document] = &[
    Document {
        file: "cattle.schema.json",
        title: "Cattle",
        description: "A spec file: one virtual machine that runs one task and is gone afterwards.",
        names_its_schema: true,
        root: root::<CattleFile>,
    },
    Document {
        file: "task.schema.json",
        title: "Task",
        description: "A task file: what one cattle does.",
        names_its_schema: true,
        root: root::<TaskInput>,
    },
    Document {
        file: "persona-config.schema.json",
        title: "Persona configuration",
        description: "A persona's `config.json`. Keys that are not described here belong to the agent.",
        names_its_schema: true,
        root: root::<PersonaConfig>,
    },
    Document {
        file: "fleet.schema.json",
        title: "Fleet configuration",
        description: "`fleet/clawdlets.json`. Keys outside `cattle` that are not described here belong to other tools.",
        names_its_schema: true,
        root: root::<FleetFile>,
    },
    Document {
        file: "runners.schema.json",
        title: "Runners",
        description: "`runners.json` of a guest: which command runs which type of task.",
        names_its_schema: false,
        root: root::<RunnersFile>,
    },
];

fn root<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
}

/// An optional field may be left out; written and empty it is an error, for `ttl:` with nothing after
/// it is a slip. Derived schemas let it be null.
fn refuse_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [single] = types.as_slice() {
            let single = single.clone();
            schema.insert("type".to_owned(), single);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type") != Some(&"null".into()));
    if let [Value::Object(single)] = choices.as_slice() {
        let single = single.clone();
        schema.remove("anyOf");
        for (key, value) in single {
            schema.insert(key, value);
        }
    }
}

impl Document {
    fn text(&self) -> anyhow::Result<String> {
        let mut schema = (self.root)();
        RecursiveTransform(refuse_null).transform(&mut schema);
        if self.names_its_schema
            && let Some(Value::Object(properties)) = schema.get_mut("properties")
        {
            let description = "Where this schema is, for editors.";
            let property = serde_json::json!({ "type": "string", "description": description });
            properties.insert("$schema".to_owned(), property);
        }
        schema.insert("title".to_owned(), self.title.into());
        schema.insert("description".to_owned(), self.description.into());
        let mut text = serde_json::to_string_pretty(&schema)
            .with_context(|| format!("cannot print {}", self.file))?;
        text.push('\n');
        Ok(text)
    }
}

/// Every file that should be there, and what should be in it.
fn expected(repository: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for document in DOCUMENTS {
        let text = document.text()?;
        for directory in DIRECTORIES {
            files.push((repository.join(directory).join(document.file), text.clone()));
        }
    }
    Ok(files)
}

/// Those of the committed files that differ.
fn outdated(repository: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(expected(repository)?
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect())
}

fn write(repository: &Path) -> anyhow::Result<()> {
    for (path, text) in expected(repository)? {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => write(&repository())?,
        ["--check"] => {
            let outdated = outdated(&repository())?;
            if !outdated.is_empty() {
                let names: Vec<_> = outdated
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                bail!(
                    "not what the types say (run `cargo run -p cattle-schemas`):\n{}",
                    names.join("\n")
                );
            }
        }
        _ => bail!("usage: cattle-schemas [--check]"),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_committed_schemas_are_what_the_types_say() {
        let outdated = outdated(&repository()).unwrap();
        assert!(
            outdated.is_empty(),
            "run `cargo run -p cattle-schemas`: {outdated:?}"
        );
    }

    #[test]
    fn no_field_may_be_null() {
        for document in DOCUMENTS {
            let text = document.text().unwrap();
            assert!(!text.contains("\"null\""), "{}", document.file);
        }
    }

    #[test]
    fn every_schema_names_its_draft_its_title_and_all_its_fields() {
        for document in DOCUMENTS {
            let text = document.text().unwrap();
            let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                schema["$schema"],
                "https://json-schema.org/draft/2020-12/schema"
            );
            assert_eq!(schema["title"], document.title);
            for (name, field) in schema["properties"].as_object().unwrap() {
                let described = field.get("description").is_some() || field.get("$ref").is_some();
                assert!(described, "{}: {name}", document.file);
            }
        }
    }
}
