//! What is in the spec hash, and what is not.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::fixture::{SPEC, complete, complete_with, parsed, persona, with};
use crate::{names::SpecHash, spec::parse};

fn hash(text: &str) -> SpecHash {
    complete(text).unwrap().hash
}

#[test]
fn the_hash_of_a_spec_stays_the_same_from_release_to_release() {
    assert_snapshot!(hash(SPEC), @"f12ed65e5cd1");
}

#[test]
fn each_thing_that_makes_it_another_task_changes_the_hash() {
    let changes = [
        ("persona: rex", "persona: ada"),
        ("message: Fix the flaky test", "message: Fix the other test"),
        ("taskId: issue-42", "taskId: issue-43"),
        ("type: clawdbot.gateway.agent", "type: other"),
        ("model: zai/glm-4.7", "model: zai/glm-5"),
        ("  model: zai/glm-4.7\n", ""),
        ("withGithubToken: false", "withGithubToken: true"),
        ("autoShutdown: true", "autoShutdown: false"),
        ("  autoShutdown: true\n", ""),
    ];
    let mut hashes: Vec<_> = changes
        .iter()
        .map(|(from, to)| hash(&with(from, to)))
        .collect();
    hashes.push(hash(SPEC));
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), changes.len() + 1);
}

#[test]
fn what_changes_in_place_or_for_the_next_run_does_not_change_the_hash() {
    for (from, to) in [
        ("ttl: 2h", "ttl: 3h"),
        ("startWithin: 12h", "startWithin: 1h"),
        ("team: docs", "team: code"),
        ("onFailure: destroy", "onFailure: { hold: 30m }"),
        ("[cx23, cpx22]", "[cpx22]"),
        ("    schemaVersion: 1\n", ""),
        ("    type: clawdbot.gateway.agent\n", ""),
        (
            "    message: Fix",
            "    callbackUrl: https://example.org\n    message: Fix",
        ),
    ] {
        assert_eq!(hash(&with(from, to)), hash(SPEC), "{to}");
    }
}

#[test]
fn a_changed_default_of_fleet_or_persona_replaces_nothing() {
    let silent = with("  model: zai/glm-4.7\n", "").replace("  autoShutdown: true\n", "");
    let before = hash(&silent);
    let after = complete_with(&silent, |around| {
        around.fleet.auto_shutdown = false;
        around.persona = Ok(persona(r#"{"model":{"primary":"zai/other"}}"#));
    })
    .unwrap();
    assert!(!after.auto_shutdown);
    assert_eq!(after.model, "zai/other");
    assert_eq!(after.hash, before);
}

#[test]
fn a_task_file_hashes_as_the_same_task_inline() {
    let inline = "  task:\n    schemaVersion: 1\n    taskId: issue-42\n    type: clawdbot.gateway.agent\n    message: Fix the flaky test\n";
    let text = with(inline, "  taskFile: ../tasks/a.json\n");
    let task = br#"{"message": "Fix the flaky test", "taskId": "issue-42"}"#;
    let cattle = complete_with(&text, |around| around.task_file = Some(Ok(task.to_vec()))).unwrap();
    assert_eq!(cattle.hash, hash(SPEC));
}

#[test]
fn comments_order_and_language_do_not_change_the_hash() {
    let commented = SPEC.replace('\n', " # a comment\n");
    assert_eq!(hash(&commented), hash(SPEC));
    let json = serde_json::to_string(&parsed(SPEC).to_document(None)).unwrap();
    assert_eq!(hash(&json), hash(SPEC));
}

proptest! {
    #[test]
    fn any_order_of_the_keys_gives_the_same_hash(seed in any::<u64>()) {
        let json = serde_json::to_value(parsed(SPEC).to_document(None)).unwrap();
        let mut seed = seed;
        let shuffled = print_shuffled(&json, &mut seed);
        let spec = parse("specs/rex-1.yaml", "rex-1", shuffled.as_bytes());
        prop_assert!(spec.is_ok(), "{shuffled}");
        prop_assert_eq!(hash(&shuffled), hash(SPEC));
    }

    #[test]
    fn a_spec_printed_as_yaml_reads_the_same(message in "\\PC{1,200}", id in "[ -~]{1,40}") {
        prop_assume!(!message.trim().is_empty() && !id.trim().is_empty());
        let mut document = parsed(SPEC).to_document(None);
        let task = document.spec.task.as_mut().unwrap();
        task.message = message;
        task.task_id = Some(id);
        let yaml = serde_yaml::to_string(&document).unwrap();
        let again = parse("rex-1.yaml", "rex-1", yaml.as_bytes());
        prop_assert!(again.is_ok(), "{again:?} {yaml}");
        prop_assert_eq!(again.unwrap().to_document(None), document);
    }

    #[test]
    fn any_message_survives_printing_and_parsing(message in any::<String>(), id in "[ -~]{1,40}") {
        prop_assume!(!message.trim().is_empty() && !id.trim().is_empty());
        let mut document = parsed(SPEC).to_document(None);
        let task = document.spec.task.as_mut().unwrap();
        task.message = message;
        task.task_id = Some(id);
        let json = serde_json::to_string(&document).unwrap();
        let again = parse("rex-1.json", "rex-1", json.as_bytes());
        prop_assert!(again.is_ok(), "{again:?} {json}");
        prop_assert_eq!(again.unwrap().to_document(None), document);
    }
}

/// JSON with the keys of every object in an order that depends on the seed.
fn print_shuffled(value: &serde_json::Value, seed: &mut u64) -> String {
    let mut next = || {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    };
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|entry| (next(), entry)).collect();
            entries.sort_by_key(|(order, _)| *order);
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(_, (key, value))| {
                    format!(
                        "{}: {}",
                        serde_json::to_string(key).unwrap(),
                        print_shuffled(value, seed)
                    )
                })
                .collect();
            format!("{{ {} }}", entries.join(",\n"))
        }
        other => other.to_string(),
    }
}
