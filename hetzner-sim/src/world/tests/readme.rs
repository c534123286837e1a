//! The README names tests as its evidence: they must be there.

use std::path::{Path, PathBuf};

/// The table in question, between its heading and the next.
fn table() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("\n## By which test\n").unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a file of this name has a test of this name.
fn exists(module: &str, test: &str) -> bool {
    let places = [
        format!("src/world/tests/{module}.rs"),
        format!("src/{module}.rs"),
        format!("tests/it/{module}.rs"),
        format!("../tests/conformance/{module}.py"),
    ];
    places.iter().any(|place| has(&root().join(place), test))
}

fn has(file: &Path, test: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else {
        return false;
    };
    let marks = ["#[test]", "#[rstest]", "#[tokio::test]", "#[case"];
    let mut marked = file.extension().is_some_and(|extension| extension == "py");
    text.lines().any(|line| {
        let line = line.trim_start();
        if line.contains(&format!("fn {test}(")) || line.contains(&format!("def {test}(")) {
            return marked;
        }
        if line.contains("fn ") {
            marked = false;
        }
        marked |= marks.iter().any(|mark| line.starts_with(mark));
        false
    })
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let table = table();
    let names: Vec<(&str, &str)> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_once("::"))
        .collect();
    assert!(names.len() > 60, "only {} tests are named", names.len());
    let missing: Vec<_> = names
        .iter()
        .filter(|(module, test)| !exists(module, test))
        .collect();
    assert_eq!(missing, Vec::<&(&str, &str)>::new());
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(exists("readme", "a_test_that_is_not_there_is_noticed"));
    assert!(!exists("readme", "a_test_that_was_never_written"));
    assert!(!exists("readme", "has"), "a function that is no test");
    assert!(!exists("nothing", "a_test_that_is_not_there_is_noticed"));
}
