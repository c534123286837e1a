#![allow(clippy::unwrap_used)]
use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cattle_schemas::{
    guest::{Bootstrap, paths},
    task::Task,
};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::spec::PersonaFiles;

const KEY: &str = "sk-ant-0123456789abcdef";

struct Fixture {
    task: Task,
    persona: PersonaFiles,
    bootstrap: Bootstrap,
}

fn fixture() -> Fixture {
    Fixture {
        task: Task {
            schema_version: 1,
            task_id: "issue-42".to_owned(),
            kind: "clawdbot.gateway.agent".to_owned(),
            message: "Fix the flaky test".to_owned(),
            callback_url: String::new(),
        },
        persona: PersonaFiles::parse(
            b"# Rex\n",
            br#"{"model":{"primary":"zai/other","x":1},"y":[2]}"#,
        )
        .unwrap(),
        bootstrap: Bootstrap {
            schema_version: 1,
            cattle: "rex-1".to_owned(),
            run: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            controller_url: "http://100.64.0.1:18337".to_owned(),
            controller_address: None,
            controller_stable_id: None,
            token: "00ff".to_owned().into(),
            expires_at: "2026-11-22T15:00:00Z".parse().unwrap(),
        },
    }
}

impl Fixture {
    fn build(&self, secrets: &[Secret<'_>]) -> Result<UserData, UserDataError> {
        let input = Input {
            task: &self.task,
            persona: &self.persona,
            model: "zai/glm-4.7",
            bootstrap: &self.bootstrap,
            tailnet_key: Some("tskey-auth-x"),
        };
        build(&input, secrets)
    }
}

/// What cloud-init makes of it: base64 and gzip undone, then YAML.
fn unpack(data: &UserData) -> String {
    if !data.is_packed() {
        return data.as_str().to_owned();
    }
    let bytes = STANDARD.decode(data.as_str()).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn files(data: &UserData) -> Vec<(String, String)> {
    let text = unpack(data);
    let body = text.strip_prefix("#cloud-config\n").unwrap();
    let document: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        document.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["write_files"]
    );
    let entries = document["write_files"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["permissions"], "0600");
            assert_eq!(entry["owner"], "root:root");
            assert_eq!(entry.as_object().unwrap().len(), 4);
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            (text("path"), text("content"))
        })
        .collect()
}

/// Text that does not compress.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b' ' + u8::try_from((state >> 33) % 94).unwrap())
        })
        .map(|c| if matches!(c, '"' | '\\') { ' ' } else { c })
        .collect()
}

#[test]
fn the_document_writes_the_files_that_the_guest_looks_for() {
    let data = fixture().build(&[]).unwrap();
    assert!(!data.is_packed());
    assert_snapshot!(data.as_str(), @r##"
    #cloud-config
    {"write_files":[{"path":"/var/lib/clawdlets/cattle/task.json","owner":"root:root","permissions":"0600","content":"{\"schemaVersion\":1,\"taskId\":\"issue-42\",\"type\":\"clawdbot.gateway.agent\",\"message\":\"Fix the flaky test\",\"callbackUrl\":\"\"}"},{"path":"/var/lib/clawdlets/cattle/persona/SOUL.md","owner":"root:root","permissions":"0600","content":"# Rex\n"},{"path":"/var/lib/clawdlets/cattle/persona/config.json","owner":"root:root","permissions":"0600","content":"{\"model\":{\"primary\":\"zai/glm-4.7\",\"x\":1},\"y\":[2]}"},{"path":"/run/clawdlets/cattle/bootstrap.json","owner":"root:root","permissions":"0600","content":"{\"schemaVersion\":1,\"cattle\":\"rex-1\",\"run\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\",\"controllerUrl\":\"http://100.64.0.1:18337\",\"token\":\"00ff\",\"expiresAt\":\"2026-11-22T15:00:00Z\"}"},{"path":"/run/clawdlets/ts.key","owner":"root:root","permissions":"0600","content":"tskey-auth-x"}]}
    "##);
    let files = files(&data);
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            paths::TASK,
            paths::SOUL,
            paths::PERSONA_CONFIG,
            paths::BOOTSTRAP,
            paths::TAILNET_KEY
        ]
    );
    let task: Task = serde_json::from_str(&files[0].1).unwrap();
    assert_eq!(task, fixture().task);
    let bootstrap: Bootstrap = serde_json::from_str(&files[3].1).unwrap();
    assert_eq!(*bootstrap.token, "00ff");
}

#[test]
fn the_personas_configuration_says_the_model_of_the_run() {
    let files = files(&fixture().build(&[]).unwrap());
    let config: Value = serde_json::from_str(&files[2].1).unwrap();
    assert_eq!(
        config,
        serde_json::json!({"model": {"primary": "zai/glm-4.7", "x": 1}, "y": [2]})
    );
}

#[test]
fn a_long_task_is_packed_and_reads_the_same() {
    let mut fixture = fixture();
    fixture.task.message = "All work and no play makes Rex a dull boy. ".repeat(1_500);
    let data = fixture.build(&[]).unwrap();
    assert!(data.is_packed());
    assert!(data.as_str().len() <= MAX_BYTES);
    let task: Task = serde_json::from_str(&files(&data)[0].1).unwrap();
    assert_eq!(task, fixture.task);
    assert_eq!(fixture.build(&[]).unwrap().as_str(), data.as_str());
}

#[test]
fn what_does_not_fit_even_packed_is_refused_with_the_sizes_of_its_parts() {
    let mut fixture = fixture();
    fixture.task.message = noise(60_000);
    let error = fixture.build(&[]).unwrap_err().to_string();
    assert!(
        error.starts_with("cloud-init user_data too large: "),
        "{error}"
    );
    assert!(error.contains(" bytes (limit 32768)"), "{error}");
    assert!(error.contains("SOUL.md 6, config.json "), "{error}");
    assert!(!error.contains("00ff"), "{error}");
}

#[test]
fn text_that_does_not_compress_is_sent_plain_while_it_fits() {
    let mut fixture = fixture();
    fixture.task.message = noise(31_000);
    let data = fixture.build(&[]).unwrap();
    assert!(!data.is_packed() && data.as_str().len() > MAX_PLAIN_BYTES);
    assert!(data.as_str().len() <= MAX_BYTES);
}

#[test]
fn its_debug_form_shows_no_content() {
    let data = fixture().build(&[]).unwrap();
    assert!(!format!("{data:?}").contains("00ff"));
}

#[test]
fn a_secret_in_any_part_refuses_the_run_and_is_named_without_its_value() {
    let secrets = [
        Secret {
            name: "zai_api_key",
            value: "zzzzzzzzzz",
        },
        Secret {
            name: "anthropic_key",
            value: KEY,
        },
    ];
    let hides: [fn(&mut Fixture); 5] = [
        |f| f.task.message = format!("use {KEY} please"),
        |f| f.task.task_id = KEY.to_owned(),
        |f| f.persona = PersonaFiles::parse(format!("x{KEY}y").as_bytes(), b"{}").unwrap(),
        |f| {
            f.persona =
                PersonaFiles::parse(b"", format!("{{\"k\":[{{\"{KEY}\":1}}]}}").as_bytes()).unwrap()
        },
        |f| {
            let escaped = KEY.replace('s', "\\u0073");
            f.persona =
                PersonaFiles::parse(b"", format!("{{\"k\":\"{escaped}\"}}").as_bytes()).unwrap();
        },
    ];
    for hide in hides {
        let mut fixture = fixture();
        hide(&mut fixture);
        let error = fixture.build(&secrets).unwrap_err();
        let UserDataError::Secret { name, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(name, "anthropic_key");
        assert!(!error.to_string().contains(KEY));
    }
    assert!(fixture().build(&secrets).is_ok());
}

#[test]
fn values_too_short_to_be_credentials_are_not_looked_for() {
    let secrets = [
        Secret {
            name: "pin",
            value: "test",
        },
        Secret {
            name: "empty",
            value: "",
        },
    ];
    assert!(fixture().build(&secrets).is_ok());
}

#[test]
fn yaml_1_1_does_not_stumble_over_any_character() {
    let mut fixture = fixture();
    fixture.task.message = "a\u{85}b\u{2028}c\u{7f}d\u{9f}e\u{feff}f\u{ffff}g\u{1b}h".to_owned();
    let data = fixture.build(&[]).unwrap();
    let bad = |c: char| {
        matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    assert!(!data.as_str().contains(bad));
    let task: Task = serde_json::from_str(&files(&data)[0].1).unwrap();
    assert_eq!(task, fixture.task);
}

proptest! {
    #[test]
    fn a_secret_is_found_wherever_and_however_it_is_written(
        secret in "[A-Za-z0-9/+_.-]{10,60}",
        before in proptest::collection::vec(any::<u8>(), 0..40),
        after in proptest::collection::vec(any::<u8>(), 0..40),
        form in 0..5,
    ) {
        let mut whole = before.clone();
        whole.extend_from_slice(secret.as_bytes());
        whole.extend_from_slice(&after);
        let haystack = match form {
            0 => whole,
            1 => STANDARD.encode(&whole).into_bytes(),
            2 => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&whole).into_bytes(),
            3 => whole.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes(),
            _ => serde_json::to_vec(&secret).unwrap(),
        };
        let secrets = [Secret { name: "s", value: &secret }];
        prop_assert_eq!(find_secret(&haystack, &secrets), Some("s"));
    }

    #[test]
    fn nothing_is_found_where_nothing_is(text in "[a-z ]{0,400}") {
        let secrets = [Secret { name: "s", value: "SK-0123456789" }];
        prop_assert_eq!(find_secret(text.as_bytes(), &secrets), None);
    }

    #[test]
    fn any_task_and_soul_survive_the_way(message in any::<String>(), soul in any::<String>()) {
        prop_assume!(!soul.contains('\0'));
        let mut fixture = fixture();
        fixture.task.message = message;
        fixture.persona.soul = soul;
        let files = files(&fixture.build(&[]).unwrap());
        let task: Task = serde_json::from_str(&files[0].1).unwrap();
        prop_assert_eq!(task, fixture.task);
        prop_assert_eq!(&files[1].1, &fixture.persona.soul);
    }
}
