//! What needs no controller: `init`, `validate`, `persona`.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Run, SPEC, plain_command, write};

fn clawdlets(dir: &std::path::Path, args: &[&str]) -> Run {
    let mut command = plain_command(env!("CARGO_BIN_EXE_clawdlets"), dir);
    command.args(args);
    Run::of(command, dir)
}

#[test]
fn init_writes_a_project_that_validates() {
    let dir = tempfile::tempdir().unwrap();
    let run = clawdlets(dir.path(), &["init", "my-fleet"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(
        run.stdout.contains("created fleet/clawdlets.json\n"),
        "{run}"
    );
    assert_snapshot!(run.stderr, @r"

    Next:
      cd my-fleet
      clawdlets cattle validate                   check the spec files
      clf-orchestrator demo                       see it work, without an account
      $EDITOR fleet/clawdlets.json                your image, sizes and limits
      (umask 077; cat > secrets/zai_api_key)      your model's key; git ignores secrets/
      export HCLOUD_ENDPOINT=http://127.0.0.1:8080/v1
      export HCLOUD_TOKEN=…                       of a `hetzner-sim`; the real one is refused for now
      clf-orchestrator run --secrets-dir secrets  starts what cattle/specs asks for

    In another terminal, in the project:
      clawdlets cattle list                       see what is there
      clawdlets cattle spawn --persona rex --message 'Say hello' --wait
    ");
    let project = dir.path().join("my-fleet");
    assert_eq!(
        fs::read_to_string(project.join(".gitignore")).unwrap(),
        ".clawdlets/\nsecrets/\n"
    );
    for ignored in [".clawdlets", "secrets"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(project.join(ignored))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{ignored}");
        let own = fs::read_to_string(project.join(ignored).join(".gitignore")).unwrap();
        assert_eq!(own, "*\n", "whatever the files above say");
    }
    let run = clawdlets(&project, &["cattle", "validate"]);
    assert_snapshot!(run, @r"
    exit: 0
    --- stdout ---
    cattle/specs/ada-quickstart.yaml: valid
    cattle/specs/rex-changelog.yaml: valid
    cattle/specs/rex-issue-42.yaml: valid
    --- stderr ---
    ");
}

#[test]
fn git_takes_neither_secrets_nor_state_of_a_new_project() {
    let dir = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut command = plain_command("git", dir.path());
        command
            .args(args)
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        Run::of(command, dir.path())
    };
    assert_eq!(git(&["init", "-q"]).code, 0);
    // Whether or not a `.gitignore` was there before.
    for project in ["new", "old"] {
        if project == "old" {
            write(dir.path(), "old/.gitignore", "target\n");
        }
        assert_eq!(clawdlets(dir.path(), &["init", "-q", project]).code, 0);
        write(
            dir.path(),
            &format!("{project}/secrets/zai_api_key"),
            "sk-0123456789",
        );
        write(
            dir.path(),
            &format!("{project}/.clawdlets/cattle/state.sqlite"),
            "x",
        );
    }
    assert_eq!(git(&["add", "-A"]).code, 0);
    let tracked = git(&["ls-files"]).stdout;
    assert!(tracked.contains("new/fleet/clawdlets.json"), "{tracked}");
    for secret in ["secrets/", "state.sqlite"] {
        assert!(!tracked.contains(secret), "{tracked}");
    }
}

#[test]
fn a_task_file_is_named_beneath_the_projects_cattle_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(clawdlets(dir.path(), &["init", "-q"]).code, 0);
    let task = r#"{"message": "hi"}"#;
    for path in [
        "secrets/x.json",
        "beside.json",
        "cattle/.hidden.json",
        "cattle/tasks/t.json",
    ] {
        write(dir.path(), path, task);
    }
    let outside = dir.path().join("cattle/tasks/out.json");
    std::os::unix::fs::symlink("../../secrets/x.json", outside).unwrap();
    for (named, wrong) in [
        (
            "../../secrets/x.json",
            "it must lie beneath `cattle/` of the project",
        ),
        (
            "../../beside.json",
            "it must lie beneath `cattle/` of the project",
        ),
        (
            "../../../x.json",
            "it must lie beneath `cattle/` of the project",
        ),
        ("/etc/passwd", "must not be absolute"),
        ("../.hidden.json", "it must not be hidden"),
        ("../tasks/out.json", "it lies outside"),
        ("../tasks/t.json", ""),
    ] {
        let spec = SPEC.replace(
            "task:\n    message: Fix the flaky test",
            &format!("taskFile: {named}"),
        );
        write(dir.path(), "cattle/specs/rex.yaml", &spec);
        let run = clawdlets(dir.path(), &["cattle", "validate", "cattle/specs/rex.yaml"]);
        assert_eq!(run.code, i32::from(!wrong.is_empty()), "{named}: {run}");
        assert!(run.stderr.contains(wrong), "{named}: {run}");
    }
}

#[test]
fn init_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "fleet/clawdlets.json", "mine");
    write(dir.path(), ".gitignore", "target\n");
    let run = clawdlets(dir.path(), &["init"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(
        run.stderr.contains("kept fleet/clawdlets.json as it is\n"),
        "{run}"
    );
    for missing in [".clawdlets/", "secrets/"] {
        let warning = format!("warning: `.gitignore` was there already: add `{missing}` to it");
        assert!(run.stderr.contains(&warning), "{run}");
    }
    assert_eq!(
        fs::read_to_string(dir.path().join("fleet/clawdlets.json")).unwrap(),
        "mine"
    );
}

#[test]
fn validate_shows_every_error_of_every_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "good.yaml", SPEC);
    write(
        dir.path(),
        "bad.yaml",
        &SPEC
            .replace("persona", "presona")
            .replace("kind: Cattle", "kind: Cow"),
    );
    write(dir.path(), "worse.json", "{");
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "validate", "."]), @r"
    exit: 1
    --- stdout ---
    good.yaml: valid
    --- stderr ---
    error: `kind` must be `Cattle`, this is `Cow`
     --> bad.yaml:2:7
      |
    2 | kind: Cow
      |       ^^^

    error: unknown field `presona` in `spec`
     --> bad.yaml:4:3
      |
    4 |   presona: rex
      |   ^^^^^^^
      |
      = help: did you mean `persona`?

    error: unclosed bracket '{'
     --> worse.json:1:1
      |
    1 | {
      | ^

    `bad.yaml` and 2 more are in no project: persona, model and limits were not checked
    error: 2 of 3 files broken
    ");
    let run = clawdlets(dir.path(), &["cattle", "validate", ".", "-o", "json"]);
    assert_eq!(run.code, 1, "{run}");
    let verdicts: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let valid: Vec<_> = verdicts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["valid"])
        .collect();
    assert_eq!(valid, [&json!(false), &json!(true), &json!(false)]);
    assert_eq!(verdicts["items"][0]["errors"][0]["line"], 2);
}

#[test]
fn validate_without_files_needs_a_project() {
    let dir = tempfile::tempdir().unwrap();
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "validate"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: name a file: this is not a project (no fleet/clawdlets.json here or above)
    hint: `clawdlets cattle validate FILE`, or `clawdlets init` for a project
    ");
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "validate", "none.yaml"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: cannot open `none.yaml`
      caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn a_broken_fleet_file_is_shown_where_it_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(clawdlets(dir.path(), &["init", "-q"]).code, 0);
    let path = dir.path().join("fleet/clawdlets.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("maxInstances", "maxInstance");
    fs::write(&path, text).unwrap();
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "validate"]), @r#"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: unknown field `maxInstance` in `cattle.hetzner`
      --> fleet/clawdlets.json:23:7
       |
    23 |       "maxInstance": 5,
       |       ^^^^^^^^^^^^^
       |
       = help: did you mean `maxInstances`?
    "#);
}

#[test]
fn a_persona_is_added_once() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(clawdlets(dir.path(), &["init", "-q"]).code, 0);
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "persona", "add", "--name", "eve"]), @r"
    exit: 0
    --- stdout ---
    cattle/personas/eve created
    --- stderr ---
    next: say who it is in cattle/personas/eve/SOUL.md, then `clawdlets cattle spawn --persona eve --message …`
    ");
    fs::write(dir.path().join("cattle/personas/eve/SOUL.md"), "mine").unwrap();
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "persona", "add", "--name", "eve"]), @r"
    exit: 6
    --- stdout ---
    --- stderr ---
    error: `cattle/personas/eve` exists already; nothing was changed
    ");
    assert_eq!(
        fs::read_to_string(dir.path().join("cattle/personas/eve/SOUL.md")).unwrap(),
        "mine"
    );
    write(dir.path(), "cattle/personas/odd/SOUL.md", "x");
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "persona", "list"]), @r"
    exit: 0
    --- stdout ---
    NAME  MODEL
    ada   -
    eve   -
    odd   -
    rex   zai/glm-4.7
    --- stderr ---
    warning: odd: config.json: there is no such file
    ");
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "persona", "add", "--name", "Eve"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: invalid value 'Eve' for '--name <NAME>': a persona name is made of a-z, 0-9 and `-`, begins with a letter and does not end with `-`

    For more information, try '--help'.
    ");
}

#[test]
fn a_persona_needs_a_project() {
    let dir = tempfile::tempdir().unwrap();
    assert_snapshot!(clawdlets(dir.path(), &["cattle", "persona", "list"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: this is not a project: no fleet/clawdlets.json here or above
    hint: `clawdlets init` makes one
    ");
}

#[test]
fn what_lies_beside_a_project_is_not_in_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(clawdlets(dir.path(), &["init", "-q", "fleet-a"]).code, 0);
    write(dir.path(), "beside/rex.yaml", SPEC);
    let project = dir.path().join("fleet-a");
    for named in ["../beside/rex.yaml", "../beside"] {
        let run = clawdlets(&project, &["cattle", "validate", named]);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(
            run.stderr,
            "`../beside/rex.yaml` is in no project: persona, model and limits were not checked\n"
        );
    }
    let specs = project.join("cattle/specs");
    let run = clawdlets(
        &specs,
        &["cattle", "validate", "../specs/rex-changelog.yaml"],
    );
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
}
