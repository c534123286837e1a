//! Task files: their errors have places and field names, never their content.

use insta::assert_snapshot;

use super::fixture::{complete_with, with};
use crate::{desired::Authority, spec::parse_task};

const INLINE: &str = "  task:\n    schemaVersion: 1\n    taskId: issue-42\n    type: clawdbot.gateway.agent\n    message: Fix the flaky test\n";

fn said(file: Result<&[u8], &str>) -> String {
    let text = with(INLINE, "  taskFile: ../tasks/issue-42.json\n");
    let file = file.map(<[u8]>::to_vec).map_err(str::to_owned);
    complete_with(&text, |around| around.task_file = Some(file)).expect_err("accepted")
}

#[test]
fn what_is_wrong_with_it_is_said_at_the_key_that_names_it() {
    assert_snapshot!(said(Ok(b"{\"mesage\": \"x\",\n \"schemaVersion\": 2}")), @r#"
    specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: line 1, column 2: unknown field (did you mean `message`?)
    specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: line 2, column 19: `schemaVersion` must be 1, this is a number
    "#);
    assert_snapshot!(said(Ok(b"{\"message\": \"\"}")), @"specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: line 1, column 13: `message` must not be empty");
    assert_snapshot!(said(Ok(b"{\"message\": [1]}")), @"specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: line 1, column 13: `message` must be a string, this is a list");
    assert_snapshot!(said(Ok(b"")), @"specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: not readable as JSON or YAML");
    assert_snapshot!(said(Err("no such file")), @"specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: no such file");
    let text = with(INLINE, "  taskFile: ../tasks/issue-42.json\n");
    assert_snapshot!(complete_with(&text, |_| {}).unwrap_err(), @"specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json` cannot be read here (write the task inline as `task`)");
}

#[test]
fn a_bot_is_not_told_what_stands_in_it_instead_of_a_task() {
    let text = with(INLINE, "  taskFile: ../tasks/issue-42.json\n");
    let files: [&[u8]; 4] = [b"a: [1, 2", b"{\"message\": [1]}", b"- x\n- y", b""];
    let said = files.map(|file| {
        complete_with(&text, |around| {
            around.authority = Authority::Bot;
            around.task_file = Some(Ok(file.to_vec()));
        })
        .unwrap_err()
    });
    assert_snapshot!(said[0], @"specs/rex-1.yaml:8:3: task file `../tasks/issue-42.json`: it is not a task (`clawdlets cattle validate` says why, to who may read the file)");
    assert!(said.iter().all(|other| *other == said[0]), "{said:?}");
}

#[test]
fn its_content_is_never_quoted() {
    let secret = "hunter2-hunter2";
    for file in [
        format!("ZAI_API_KEY={secret}\n"),
        format!("{{\"{secret}\": 1}}"),
        format!("{{\"message\": {{\"{secret}\": \"{secret}\"}}}}"),
        format!("{{\"schemaVersion\": \"{secret}\", \"message\": \"x\"}}"),
        format!("{{\"taskId\": [\"{secret}\"], \"message\": \"x\"}}"),
        format!("a: !{secret} 1"),
        format!("a: *{secret}"),
        format!("root:{secret}: {secret}: x"),
        format!("'{secret}"),
        format!("- {secret}"),
        format!("{secret}: &{secret} 1\n{secret}: 2"),
    ] {
        let said = said(Ok(file.as_bytes()));
        assert!(!said.contains("hunter2"), "{file}: {said}");
    }
}

#[test]
fn a_readable_task_is_read_as_json_and_as_yaml() {
    let json = parse_task(br#"{"message": "x", "callbackUrl": "https://example.org"}"#).unwrap();
    let yaml = parse_task(b"message: x\ncallbackUrl: https://example.org\n").unwrap();
    assert_eq!(json, yaml);
}
