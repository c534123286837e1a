use std::{fs, os::unix::fs::symlink, time::Duration};

use super::{super::Scanner, FLEET, SPEC, Yard, broken, valid};
use cattle_core::{desired::SpecState, fleet::Fleet};

fn with_task_file(path: &str) -> String {
    SPEC.replace(
        "task: { message: Fix the flaky test }",
        &format!("taskFile: {path}"),
    )
}

fn task(message: &str) -> String {
    format!(r#"{{ "schemaVersion": 1, "message": "{message}" }}"#)
}

#[test]
fn a_new_fleet_default_completes_what_was_parsed_before() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let before = valid(&yard.scan(0), "rex");
    yard.fleet = Fleet::load("fleet", FLEET.replace("2h", "3h").as_bytes()).unwrap();
    let after = valid(&yard.scan(1), "rex");
    assert_eq!((before.ttl.as_secs(), after.ttl.as_secs()), (7_200, 10_800));
    assert_eq!(before.hash, after.hash);
    assert_eq!(yard.scanner.parses(), 1);
}

#[test]
fn a_file_that_is_no_spec_is_held_against_the_fleet_all_the_same() {
    let mut yard = Yard::new();
    let text = format!(
        "{}  ttl: 20d\n  presona: ada\n",
        SPEC.trim_end().to_owned() + "\n"
    );
    yard.write(&yard.spec("rex.yaml"), &text);
    let desired = yard.scan(0);
    let entry = &desired.specs[&"rex".parse().unwrap()];
    let SpecState::Broken(errors) = &entry.state else {
        panic!("not broken: {entry:?}")
    };
    let said: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("20d") && said[1].contains("presona"),
        "{said:?}"
    );
}

#[test]
fn an_unchanged_spec_is_the_very_same() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let before = valid(&yard.scan(0), "rex");
    assert!(
        std::sync::Arc::ptr_eq(&before, &valid(&yard.scan(1), "rex")),
        "completed once"
    );
}

#[test]
fn a_personas_model_follows_its_file_and_replaces_nothing() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let before = valid(&yard.scan(0), "rex");
    let config = yard.path("project/cattle/personas/rex/config.json");
    yard.replace(&config, r#"{ "model": { "primary": "zai/glm-5" } }"#);
    let after = valid(&yard.scan(1), "rex");
    assert_eq!(
        (before.model.as_str(), after.model.as_str()),
        ("zai/glm-4.7", "zai/glm-5")
    );
    assert_eq!(before.hash, after.hash);
}

#[test]
fn a_persona_that_is_not_there_breaks_its_specs_until_it_is() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("ada.yaml"), &SPEC.replace("rex", "ada"));
    let said = broken(&yard.scan(0), "ada");
    assert!(
        said.ends_with("persona `ada`: `cattle/personas/ada/SOUL.md` does not exist"),
        "{said}"
    );
    // Without a `config.json`, it is an empty one.
    yard.write(
        &yard.path("project/cattle/personas/ada/SOUL.md"),
        "You are ada.",
    );
    valid(&yard.scan(1), "ada");
}

#[test]
fn a_persona_cannot_be_a_way_out() {
    let mut yard = Yard::new();
    yard.write(&yard.path("secret/SOUL.md"), "hunter2");
    symlink(
        yard.path("secret"),
        yard.path("project/cattle/personas/ada"),
    )
    .unwrap();
    yard.write(&yard.spec("ada.yaml"), &SPEC.replace("rex", "ada"));
    let said = broken(&yard.scan(0), "ada");
    assert!(
        said.ends_with("`cattle/personas/ada/SOUL.md`: it leads out of its directory"),
        "{said}"
    );
}

#[test]
fn a_task_files_content_makes_it_another_task() {
    let mut yard = Yard::new();
    yard.write(&yard.path("project/cattle/tasks/t.json"), &task("first"));
    yard.write(&yard.spec("rex.yaml"), &with_task_file("../tasks/t.json"));
    let before = valid(&yard.scan(0), "rex");
    assert_eq!(before.task.message, "first");
    yard.replace(&yard.path("project/cattle/tasks/t.json"), &task("second"));
    let after = valid(&yard.scan(1), "rex");
    assert_eq!(after.task.message, "second");
    assert_ne!(before.hash, after.hash);
    assert_eq!(yard.scanner.parses(), 1);
}

#[test]
fn a_spec_and_its_task_file_are_edited_as_one() {
    let mut yard = Yard::new();
    let (spec, tasks) = (yard.spec("rex.yaml"), yard.path("project/cattle/tasks"));
    yard.write(&tasks.join("t.json"), &task("first"));
    yard.write(&spec, &with_task_file("../tasks/t.json"));
    let before = valid(&yard.scan(0), "rex");
    // The spec is complete, its task file is still being written; then the other way round.
    yard.write(&tasks.join("t.json"), &task("second"));
    yard.replace(
        &spec,
        &format!("{}  model: zai/other\n", with_task_file("../tasks/t.json")),
    );
    yard.settled.complete(&spec);
    yard.settled.open(&tasks.join("t.json"));
    assert_eq!(valid(&yard.scan_now(1).desired, "rex"), before);
    let between = yard.scan_after(Duration::from_secs(5), 2);
    assert_eq!(valid(&between.desired, "rex"), before);
    yard.settled.complete(&tasks.join("t.json"));
    let after = valid(&yard.scan(3), "rex");
    assert_eq!(
        (after.task.message.as_str(), after.model.as_str()),
        ("second", "zai/other")
    );
}

#[test]
fn a_task_file_lies_beneath_the_projects_cattle_in_the_open() {
    let mut yard = Yard::new();
    // A secret, and one whose shape is a task's.
    yard.write(&yard.path("project/secrets/key"), "a: [hunter2");
    yard.write(&yard.path("project/secrets/task"), &task("hunter2"));
    yard.write(&yard.path("project/cattle/.t.json"), &task("hunter2"));
    yard.write(&yard.path("project/cattle/tasks/no-task"), "a: [hunter2");
    yard.write(&yard.path("outside.json"), &task("hunter2"));
    yard.write(&yard.path("project/.clawdlets/t.json"), &task("hunter2"));
    symlink(
        yard.path("outside.json"),
        yard.path("project/cattle/tasks/link.json"),
    )
    .unwrap();
    for (name, file) in [
        ("dots", "../../../outside.json"),
        ("absolute", "/etc/passwd"),
        ("secret", "../../secrets/key"),
        ("secret-task", "../../secrets/task"),
        ("no-secret", "../../secrets/none"),
        ("state", "../../.clawdlets/t.json"),
        ("hidden", "../.t.json"),
        ("no-task", "../tasks/no-task"),
        ("link", "../tasks/link.json"),
        ("missing", "../tasks/missing.json"),
        ("directory", "../tasks"),
    ] {
        yard.write(&yard.spec(&format!("{name}.yaml")), &with_task_file(file));
    }
    let desired = yard.scan(0);
    for (name, why) in [
        ("dots", "it must lie beneath `cattle/` of the project"),
        ("secret", "it must lie beneath `cattle/` of the project"),
        (
            "secret-task",
            "it must lie beneath `cattle/` of the project",
        ),
        ("no-secret", "it must lie beneath `cattle/` of the project"),
        ("state", "it must lie beneath `cattle/` of the project"),
        ("absolute", "must not be absolute"),
        ("hidden", "it must not be hidden"),
        ("link", "it leads out of its directory"),
        ("missing", "it does not exist"),
        ("directory", "it is not a regular file"),
    ] {
        let said = broken(&desired, name);
        assert!(said.contains(why), "{name}: {said}");
        assert!(!said.contains("hunter2"), "{name}: {said}");
    }
}

#[test]
fn a_bot_is_told_nothing_of_a_file_that_is_no_task() {
    let mut yard = Yard::new();
    yard.write(&yard.path("project/cattle/tasks/no-task"), "a: [hunter2");
    let spec = with_task_file("../tasks/no-task");
    let bots = yard.path("project/cattle/bots");
    yard.write(&bots.join("mine.yaml"), &spec);
    yard.settings.spec_dirs[0].path = bots;
    yard.scanner = Scanner::new(&yard.settings, yard.settled.clone());
    yard.write(&yard.spec("theirs.yaml"), &spec);
    let desired = yard.scan(0);
    let said = broken(&desired, "mine");
    assert!(
        said.ends_with("`../tasks/no-task`: it is not a task"),
        "{said}"
    );
    let said = broken(&desired, "theirs");
    assert!(
        said.contains("line 1, column"),
        "operators are told: {said}"
    );
}

#[test]
fn a_spec_outside_the_project_has_no_task_file() {
    let mut yard = Yard::new();
    yard.write(&yard.path("bots/t.json.txt"), &task("x"));
    yard.write(&yard.path("bots/rex.yaml"), &with_task_file("t.json.txt"));
    let said = broken(&yard.scan(0), "rex");
    assert!(said.contains("write the task inline"), "{said}");
}

#[test]
fn a_spec_that_writes_its_task_inline_needs_no_file_any_more() {
    let mut yard = Yard::new();
    let spec = yard.spec("rex.yaml");
    yard.write(&spec, &with_task_file("../tasks/t.json"));
    broken(&yard.scan(0), "rex");
    yard.replace(&spec, SPEC);
    valid(&yard.scan(1), "rex");
    fs::remove_dir_all(yard.path("project/cattle/tasks")).unwrap();
    valid(&yard.scan(2), "rex");
}
