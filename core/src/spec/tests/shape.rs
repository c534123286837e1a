//! What a spec file by itself can get wrong.

use insta::assert_snapshot;

use super::fixture::{SPEC, parsed, refused, show, with};
use crate::spec::{name_in, parse};

#[test]
fn the_fixture_is_valid() {
    let spec = parsed(SPEC);
    assert_eq!(spec.name.as_str(), "rex-1");
    assert_eq!(spec.persona.as_str(), "rex");
    assert_eq!(spec.labels["team"], "docs");
    assert_eq!(spec.task_file, None);
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_in_its_order() {
    let text = with("persona: rex", "presona: rex")
        .replace("ttl: 2h", "ttl: 2 hours")
        .replace("kind: Cattle", "kind: Cow")
        .replace("message: Fix", "mesage: Fix");
    let errors = parse("rex-1.yaml", "rex-1", text.as_bytes()).unwrap_err();
    assert_snapshot!(show(&errors), @r#"
    rex-1.yaml:2:7: `kind` must be `Cattle`, this is `Cow`
    rex-1.yaml:7:3: unknown field `presona` in `spec` (did you mean `persona`?)
    rex-1.yaml:12:5: unknown field `mesage` in `spec.task` (did you mean `message`?)
    rex-1.yaml:13:8: `spec.ttl`: `2 hours` is not a duration: write a number and one of s, m, h, d, as in `90m`
    "#);
}

#[test]
fn an_unknown_field_names_the_nearest_one() {
    assert_snapshot!(refused("  ttl: 2h", "  tll: 2h"), @"rex-1.yaml:13:3: unknown field `tll` in `spec` (did you mean `ttl`?)");
    assert_snapshot!(refused("startWithin", "start_within"), @"rex-1.yaml:14:3: unknown field `start_within` in `spec` (did you mean `startWithin`?)");
    assert_snapshot!(refused("metadata:", "meta:"), @"rex-1.yaml:3:1: unknown field `meta` (did you mean `metadata`?)");
    assert_snapshot!(refused("  ttl: 2h", "  colour: blue"), @"rex-1.yaml:13:3: unknown field `colour` in `spec` (known fields: `persona`, `task`, `taskFile`, `ttl`, `startWithin`, `model`, `withGithubToken`, `autoShutdown`, `hetzner`, `onFailure`)");
    assert_snapshot!(refused("  labels: {", "  annotations: {"), @"rex-1.yaml:5:3: unknown field `annotations` in `metadata` (known fields: `name`, `labels`)");
}

#[test]
fn a_duplicate_key_is_reported_at_its_second_place() {
    assert_snapshot!(refused("  ttl: 2h", "  ttl: 2h\n  ttl: 3h"), @"rex-1.yaml:14:3: duplicate key `ttl` (first on line 13)");
    assert_snapshot!(refused("{ team: docs }", "{ team: docs, team: code }"), @"rex-1.yaml:5:25: duplicate key `team` (first on line 5)");
}

#[test]
fn a_missing_field_is_reported_where_it_should_be() {
    assert_snapshot!(refused("apiVersion: clawdlets.dev/v1\n", ""), @"rex-1.yaml:1:1: missing field `apiVersion` (write `apiVersion: clawdlets.dev/v1`)");
    assert_snapshot!(refused("  persona: rex\n", ""), @"rex-1.yaml:7:3: missing field `spec.persona`");
    assert_snapshot!(refused("    message: Fix the flaky test\n", ""), @"rex-1.yaml:9:5: missing field `spec.task.message`");
}

#[test]
fn a_wrong_type_says_what_was_found() {
    assert_snapshot!(refused("persona: rex", "persona: [rex]"), @"rex-1.yaml:7:12: `spec.persona` must be a string, this is a list");
    assert_snapshot!(refused("autoShutdown: true", "autoShutdown: yes"), @"rex-1.yaml:17:17: `spec.autoShutdown` must be `true` or `false`, this is the string `yes`");
    assert_snapshot!(refused("[cx23, cpx22]", "cx23"), @"rex-1.yaml:20:18: `spec.hetzner.serverTypes` must be a list, this is the string `cx23`");
    assert_snapshot!(refused("[cx23, cpx22]", "[]"), @"rex-1.yaml:20:18: `spec.hetzner.serverTypes` must not be empty");
    assert_snapshot!(refused("[cx23, cpx22]", "[cx23, {a: b}]"), @"rex-1.yaml:20:25: `spec.hetzner.serverTypes[1]` must be a string, this is a mapping");
    assert_snapshot!(refused("schemaVersion: 1", "schemaVersion: 2"), @"rex-1.yaml:9:20: `spec.task.schemaVersion` must be 1, this is `2`");
    assert_snapshot!(refused("{ team: docs }", "docs"), @"rex-1.yaml:5:11: `metadata.labels` must be a mapping, this is the string `docs`");
    assert_snapshot!(refused("ttl: 2h", "ttl:"), @"rex-1.yaml:13:6: `spec.ttl` is empty (give it a value, or remove the key)");
}

#[test]
fn exactly_one_of_task_and_task_file_is_wanted() {
    assert_snapshot!(refused("  ttl: 2h", "  taskFile: ../tasks/a.json\n  ttl: 2h"), @"rex-1.yaml:13:3: `spec.task` and `spec.taskFile` exclude each other");
    let neither = "apiVersion: clawdlets.dev/v1\nkind: Cattle\nspec:\n  persona: rex\n";
    let errors = parse("rex-1.yaml", "rex-1", neither.as_bytes()).unwrap_err();
    assert_snapshot!(show(&errors), @"rex-1.yaml:4:3: `spec` has neither `task` nor `taskFile` (write the task inline as `task`, or name its file as `taskFile`)");
}

#[test]
fn the_short_and_the_long_form_of_a_choice_exclude_each_other() {
    assert_snapshot!(refused("    serverTypes:", "    serverType: cx33\n    serverTypes:"), @"rex-1.yaml:21:5: `spec.hetzner.serverType` and `spec.hetzner.serverTypes` exclude each other (keep `serverTypes`, which takes several)");
    assert_snapshot!(refused("    locations:", "    location: hel1\n    locations:"), @"rex-1.yaml:22:5: `spec.hetzner.location` and `spec.hetzner.locations` exclude each other (keep `locations`, which takes several)");
    let spec = parsed(&with("serverTypes: [cx23, cpx22]", "serverType: cx23"));
    assert_eq!(
        spec.to_document(None)
            .spec
            .hetzner
            .unwrap()
            .server_types
            .unwrap(),
        ["cx23"]
    );
}

#[test]
fn the_stem_is_the_name() {
    assert_snapshot!(refused("name: rex-1", "name: rex-2"), @"rex-1.yaml:4:9: `metadata.name` is `rex-2`, but the file's stem is `rex-1` (rename the file, or remove `metadata.name`: the stem is the name)");
    let errors = parse(
        "Rex_1.yaml",
        "Rex_1",
        with("  name: rex-1\n", "").as_bytes(),
    )
    .unwrap_err();
    assert_snapshot!(show(&errors), @"Rex_1.yaml: the file's stem `Rex_1` names the cattle: a cattle name is made of a-z, 0-9 and `-`, begins with a letter and does not end with `-` (rename the file)");
    let long = "a".repeat(41);
    let errors = parse("x.yaml", &long, with("  name: rex-1\n", "").as_bytes()).unwrap_err();
    assert_snapshot!(show(&errors), @"x.yaml: the file's stem `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` names the cattle: a cattle name has at most 40 characters, this has 41 (rename the file)");
    assert_eq!(name_in(SPEC.as_bytes()).as_deref(), Some("rex-1"));
    assert_eq!(name_in(b"[").as_deref(), None);
}

#[test]
fn durations_names_and_models_are_checked() {
    assert_snapshot!(refused("ttl: 2h", "ttl: 1h30m"), @"rex-1.yaml:13:8: `spec.ttl`: `1h30m` is not a duration: write a number and one of s, m, h, d, as in `90m`");
    assert_snapshot!(refused("ttl: 2h", "ttl: 0s"), @"rex-1.yaml:13:8: `spec.ttl`: a duration must be longer than zero");
    assert_snapshot!(refused("ttl: 2h", "ttl: 7200"), @"rex-1.yaml:13:8: `spec.ttl`: `7200` is not a duration: write a number and one of s, m, h, d, as in `90m`");
    assert_snapshot!(refused("persona: rex", "persona: ../rex"), @"rex-1.yaml:7:12: `spec.persona`: a persona name is made of a-z, 0-9 and `-`, begins with a letter and does not end with `-`");
    assert_snapshot!(refused("zai/glm-4.7", "glm-4.7"), @"rex-1.yaml:15:10: `spec.model`: `glm-4.7` is not a model (write `provider/model`, as in `zai/glm-4.7`)");
    assert_snapshot!(refused("\"123456\"", "my image"), @"rex-1.yaml:19:12: `spec.hetzner.image`: `my image` is no requirement of a selector: write `key=value`, `key!=value`, `key in (a,b)` or `!key` (write an id, a name as `debian-13`, or labels as `role=cattle-image`)");
    assert_snapshot!(refused("\"123456\"", "a/b"), @"rex-1.yaml:19:12: `spec.hetzner.image`: not an image's id, name, or selector of labels (write an id, a name as `debian-13`, or labels as `role=cattle-image`)");
    assert_snapshot!(refused("cpx22", "role=x"), @"rex-1.yaml:20:25: `spec.hetzner.serverTypes`: `role=x` is not a name or id that Hetzner could know");
    assert_snapshot!(refused("message: Fix the flaky test", "message: ' '"), @"rex-1.yaml:12:14: `spec.task.message` must not be empty");
}

#[test]
fn labels_follow_hetzners_rules_and_leave_ours_alone() {
    assert_snapshot!(refused("team: docs", "run: docs"), @"rex-1.yaml:5:13: label key `run` is reserved");
    assert_snapshot!(refused("team: docs", "spec.team: docs"), @"rex-1.yaml:5:13: label keys beginning with `spec.` are reserved");
    assert_snapshot!(refused("team: docs", "-team: docs"), @"rex-1.yaml:5:13: `-team` is not a label key: 1 to 58 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric");
    assert_snapshot!(refused("team: docs", "team: a b"), @"rex-1.yaml:5:19: `a b` is not a label value: at most 63 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric");
    assert_snapshot!(refused("team: docs", "hetzner.cloud/team: a"), @"rex-1.yaml:5:13: label keys beginning with `hetzner.cloud/` are reserved");
    assert_eq!(parsed(&with("team: docs", "team: ''")).labels["team"], "");
}

#[test]
fn what_happens_on_failure_is_destroy_or_hold() {
    use cattle_schemas::spec_file::OnFailure;
    let hold = parsed(&with("onFailure: destroy", "onFailure: { hold: 30m }"));
    assert_eq!(
        hold.to_document(None).spec.on_failure,
        Some(OnFailure::Hold("30m".parse().unwrap()))
    );
    assert_snapshot!(refused("onFailure: destroy", "onFailure: destory"), @"rex-1.yaml:22:14: unknown `spec.onFailure` `destory` (did you mean `destroy`?)");
    assert_snapshot!(refused("onFailure: destroy", "onFailure: { keep: 30m }"), @r#"
    rex-1.yaml:22:14: missing field `spec.onFailure.hold`
    rex-1.yaml:22:16: unknown field `keep` in `spec.onFailure` (known fields: `hold`)
    "#);
    assert_snapshot!(refused("onFailure: destroy", "onFailure: true"), @"rex-1.yaml:22:14: `spec.onFailure` must not be a boolean (write `destroy`, or `{ hold: 30m }`)");
}

#[test]
fn a_task_file_is_named_relative_to_the_spec() {
    let absolute = with("  ttl: 2h", "  taskFile: /etc/passwd\n  ttl: 2h")
        .replace("  task:\n    schemaVersion: 1\n    taskId: issue-42\n    type: clawdbot.gateway.agent\n    message: Fix the flaky test\n", "");
    let errors = parse("rex-1.yaml", "rex-1", absolute.as_bytes()).unwrap_err();
    assert_snapshot!(show(&errors), @"rex-1.yaml:8:13: `spec.taskFile` must not be absolute (write it relative to the spec file, beneath the project)");
}

#[test]
fn scalars_in_string_fields_keep_their_text() {
    for text in [
        "no",
        "012",
        "123456",
        "1e3",
        "0x1F",
        "1_000",
        "+5",
        ".inf",
        "2026-01-01",
        "true",
        "1.0",
    ] {
        let spec = parsed(&with("taskId: issue-42", &format!("taskId: {text}")));
        let task = spec.to_document(None).spec.task.unwrap();
        assert_eq!(task.task_id.as_deref(), Some(text));
    }
    let spec = parsed(&with("\"123456\"", "0123456 # a comment"));
    assert_eq!(
        spec.to_document(None).spec.hetzner.unwrap().image.unwrap(),
        "0123456"
    );
}

#[test]
fn a_document_made_of_a_spec_is_the_same_spec() {
    let spec = parsed(SPEC);
    let document = spec.to_document(None);
    let json = serde_json::to_vec_pretty(&document).unwrap();
    let again = parse("rex-1.json", "rex-1", &json).unwrap();
    assert_eq!(again.to_document(None), document);
}

#[test]
fn a_json_file_may_name_its_schema_for_editors() {
    let text = format!("$schema: ../../schemas/cattle.schema.json\n{SPEC}");
    assert_eq!(
        parsed(&text).to_document(None),
        parsed(SPEC).to_document(None)
    );
    assert_snapshot!(refused("  ttl: 2h", "  $schema: x\n  ttl: 2h"), @"rex-1.yaml:13:3: unknown field `$schema` in `spec` (known fields: `persona`, `task`, `taskFile`, `ttl`, `startWithin`, `model`, `withGithubToken`, `autoShutdown`, `hetzner`, `onFailure`)");
}
