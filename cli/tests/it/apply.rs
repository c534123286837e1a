//! `apply`: checked here, then sent.

use cattle_schemas::problem::{Diagnostic, ErrorCode, Problem};
use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Fake, Run, SPEC, applied, ended, list, running};

const BROKEN: &str = "\
apiVersion: clawdlets.dev/v1
kind: Cattle
spec:
  presona: rex
  task: { message: hi }
  ttl: soon
";

#[test]
fn each_file_says_what_became_of_it() {
    let mut replaced = applied("c", "replaced");
    replaced["run"] = json!("01JD3KZ6W8Q4T2N7V5X9Y1B3CD");
    replaced["warnings"] = json!(["the running task ends"]);
    let fake = Fake::start()
        .file("specs/a.yaml", SPEC)
        .file("specs/b.yml", SPEC)
        .file("specs/sub/c.yaml", SPEC)
        .on("PUT /v1/cattle/a", applied("a", "created"))
        .on("PUT /v1/cattle/b", applied("b", "unchanged"))
        .on("PUT /v1/cattle/c", replaced);
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "specs"]), @r"
    exit: 0
    --- stdout ---
    a created
    b unchanged
    c replaced (run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD)
    --- stderr ---
    warning: c: the running task ends
    ");
    let mut lines: Vec<String> = fake.lines().lines().map(str::to_owned).collect();
    lines.sort();
    assert_snapshot!(lines.join("\n"), @r"
    PUT /v1/cattle/a?applySet=[DIR]%2Fspecs
    PUT /v1/cattle/b?applySet=[DIR]%2Fspecs
    PUT /v1/cattle/c?applySet=[DIR]%2Fspecs
    ");
    assert_eq!(
        fake.asked()[0].body,
        SPEC.as_bytes(),
        "the file goes as it was written"
    );
}

#[test]
fn one_broken_file_and_nothing_is_sent() {
    let fake = Fake::start()
        .file("specs/good.yaml", SPEC)
        .file("specs/bad.yaml", BROKEN);
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "specs"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: unknown field `presona` in `spec`
     --> specs/bad.yaml:4:3
      |
    4 |   presona: rex
      |   ^^^^^^^
      |
      = help: did you mean `persona`?

    error: `spec.ttl`: `soon` is not a duration: write a number and one of s, m, h, d, as in `90m`
     --> specs/bad.yaml:6:8
      |
    6 |   ttl: soon
      |        ^^^^

    error: 1 of 2 files broken, nothing was sent
    ");
    assert_eq!(fake.lines(), "");
}

#[test]
fn two_files_of_one_stem_are_refused() {
    let fake = Fake::start()
        .file("specs/rex.yaml", SPEC)
        .file("specs/sub/rex.json", SPEC);
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "specs"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: `specs/rex.yaml` already names a cattle `rex`
    --> specs/sub/rex.json
     = help: the stem is the name: rename one of the files

    error: 1 of 2 files broken, nothing was sent
    ");
}

#[test]
fn a_task_file_travels_inline_and_never_from_outside() {
    let spec = SPEC.replace(
        "task:\n    message: Fix the flaky test",
        "taskFile: task.json",
    );
    let outside = SPEC.replace(
        "task:\n    message: Fix the flaky test",
        "taskFile: ../secret.json",
    );
    let fake = Fake::start()
        .file("specs/rex.yaml", &spec)
        .file("specs/task.json", r#"{"taskId": "t1", "message": "hi"}"#)
        .file("out/thief.yaml", &outside)
        .file("secret.json", r#"{"message": "s3cret"}"#)
        .on("PUT /v1/cattle/rex", applied("rex", "created"));
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "specs/rex.yaml"]), @r"
    exit: 0
    --- stdout ---
    rex created
    --- stderr ---
    ");
    let body: serde_json::Value = serde_json::from_slice(&fake.asked()[0].body).unwrap();
    assert_eq!(
        body["spec"]["task"],
        json!({"taskId": "t1", "message": "hi"})
    );
    assert_eq!(body["spec"].get("taskFile"), None);
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "out/thief.yaml"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: task file `../secret.json`: it lies outside `[DIR]/out`
     --> out/thief.yaml:5:3
      |
    5 |   taskFile: ../secret.json
      |   ^^^^^^^^

    error: 1 of 1 file broken, nothing was sent
    ");
}

#[test]
fn in_a_project_persona_and_limits_are_checked_too() {
    let fake = Fake::start();
    let run = fake.clawdlets(&["init", "-q", "-o", "json"]);
    assert_eq!(run.code, 0, "{run}");
    let fake = fake.file(
        "cattle/specs/odd.yaml",
        &SPEC
            .replace("rex", "nobody")
            .replace("spec:\n", "spec:\n  ttl: 9d\n"),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "cattle/specs/odd.yaml"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: `spec.ttl` is 9d, at most 1d are allowed
     --> cattle/specs/odd.yaml:4:8
      |
    4 |   ttl: 9d
      |        ^^
      |
      = help: the bound is `cattle.limits.maxTtl`

    error: persona `nobody`: there is no `cattle/personas/nobody`
     --> cattle/specs/odd.yaml:5:12
      |
    5 |   persona: nobody
      |            ^^^^^^

    error: 1 of 1 file broken, nothing was sent
    ");
}

#[test]
fn what_the_controller_finds_is_shown_in_the_persons_own_file() {
    let mut problem = Problem::new(ErrorCode::SpecInvalid, "the spec has 1 error");
    problem.errors.push(Diagnostic {
        path: "rex".to_owned(),
        line: 4,
        column: 12,
        message: "there is no persona `rex`".to_owned(),
        hint: Some("personas here: `ada`".to_owned()),
    });
    let fake = Fake::start()
        .file("specs/ada.yaml", SPEC)
        .file("specs/rex.yaml", SPEC)
        .on("PUT /v1/cattle/ada", applied("ada", "created"))
        .on("PUT /v1/cattle/rex", problem);
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "specs"]), @r"
    exit: 1
    --- stdout ---
    ada created
    --- stderr ---
    error: there is no persona `rex`
     --> specs/rex.yaml:4:12
      |
    4 |   persona: rex
      |            ^^^
      |
      = help: personas here: `ada`

    error: specs/rex.yaml: the spec has 1 error
    ");
}

#[test]
fn standard_input_needs_a_name() {
    let fake = Fake::start().on("PUT /v1/cattle/rex", applied("rex", "configured"));
    let args = ["cattle", "apply", "-f", "-"];
    let apply = |input: &str| {
        let command = fake.command(env!("CARGO_BIN_EXE_clawdlets"), &args);
        Run::with_stdin(command, input.as_bytes(), fake.dir.path())
    };
    assert_snapshot!(apply(SPEC), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: standard input needs `metadata.name`: it has no file name
    hint: write `metadata: { name: … }`, or name a file
    ");
    let named = SPEC.replace("spec:\n", "metadata: { name: rex }\nspec:\n");
    assert_snapshot!(apply(&named), @r"
    exit: 0
    --- stdout ---
    rex configured
    --- stderr ---
    ");
}

#[test]
fn prune_lists_what_it_removes_and_removes_it() {
    let mut history = ended("old", "Canceled", "spec-removed");
    history["origin"] = json!(null);
    let fake = Fake::start()
        .file("specs/keep.yaml", SPEC)
        .on("PUT /v1/cattle/keep", applied("keep", "unchanged"))
        .on(
            "GET /v1/cattle",
            list(&[running("gone"), running("keep"), history]),
        )
        .on(
            "POST /v1/prune",
            json!({
                "items": [{ "name": "gone", "run": "01JD3KZ6W8Q4T2N7V5X9Y1B3CD" }]
            }),
        );
    let args = ["cattle", "apply", "-f", "specs", "--prune"];
    let mut dry = args.to_vec();
    dry.push("--dry-run");
    assert_snapshot!(fake.clawdlets(&dry), @r"
    exit: 0
    --- stdout ---
    keep unchanged
    gone pruned (dry run)
    --- stderr ---
    warning: 1 would be pruned: gone
    ");
    assert!(!fake.lines().contains("POST"), "a dry run changes nothing");
    assert_snapshot!(fake.clawdlets(&args), @r"
    exit: 0
    --- stdout ---
    keep unchanged
    gone pruned: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends for it in 15 s, unless that makes too many
    --- stderr ---
    warning: 1 to prune: gone
    ");
    assert_snapshot!(fake.lines(), @r"
    PUT /v1/cattle/keep?dryRun=true&applySet=[DIR]%2Fspecs
    GET /v1/cattle?all=true&applySet=[DIR]%2Fspecs
    PUT /v1/cattle/keep?applySet=[DIR]%2Fspecs
    GET /v1/cattle?all=true&applySet=[DIR]%2Fspecs
    POST /v1/prune
    ");
}

#[test]
fn prune_of_a_directory_without_spec_files_is_refused() {
    let fake = Fake::start()
        .file("full/keep.yaml", SPEC)
        .file("empty/README.md", "unmounted")
        .on("PUT /v1/cattle/keep", applied("keep", "unchanged"))
        .on("GET /v1/cattle", list(&[running("gone")]))
        .on(
            "POST /v1/prune",
            json!({
                "items": [{ "name": "gone", "run": "01JD3KZ6W8Q4T2N7V5X9Y1B3CD" }]
            }),
        );
    let args = ["cattle", "apply", "-f", "empty", "--prune"];
    assert_snapshot!(fake.clawdlets(&args), @r"
    exit: 6
    --- stdout ---
    --- stderr ---
    error: `empty` has no spec files: `--prune` would end everything that was applied from it
    hint: is it mounted, and the directory that you mean? If so, say `--allow-empty`
    ");
    // One of several is enough, and a dry run says what would become of it.
    let both = [
        "cattle",
        "apply",
        "-f",
        "full",
        "-f",
        "empty",
        "--prune",
        "--dry-run",
    ];
    assert_eq!(fake.clawdlets(&both).code, 6);
    assert_eq!(fake.lines(), "", "nothing was sent");
    let meant = [&args[..], &["--allow-empty"]].concat();
    assert_snapshot!(fake.clawdlets(&meant), @r"
    exit: 0
    --- stdout ---
    gone pruned: run 01JD3KZ6W8Q4T2N7V5X9Y1B3CD ends for it in 15 s, unless that makes too many
    --- stderr ---
    warning: 1 to prune: gone
    ");
}

#[test]
fn a_file_that_is_there_and_broken_is_never_pruned() {
    let fake = Fake::start()
        .file("only/gone.yaml", BROKEN)
        .file("some/keep.yaml", SPEC)
        .on("GET /v1/cattle", list(&[running("gone"), running("keep")]))
        .on("PUT /v1/cattle/keep", applied("keep", "unchanged"));
    // What cannot be read is there all the same: a link that leads nowhere, a pipe.
    std::os::unix::fs::symlink("nowhere", fake.dir.path().join("some/gone.yaml")).unwrap();
    let pipes = fake.dir.path().join("pipes");
    std::fs::create_dir(&pipes).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(pipes.join("gone.yaml"))
        .status()
        .unwrap();
    assert!(made.success());
    for directory in ["only", "some", "pipes"] {
        for more in [&[][..], &["--allow-empty"]] {
            let args = [&["cattle", "apply", "-f", directory, "--prune"][..], more].concat();
            let run = fake.clawdlets(&args);
            assert_eq!(run.code, 1, "{directory}: {run}");
            assert!(run.stderr.contains("gone.yaml"), "{directory}: {run}");
        }
    }
    assert_eq!(fake.lines(), "", "nothing was sent");
}

#[test]
fn prune_needs_directories() {
    let fake = Fake::start().file("rex.yaml", SPEC);
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "rex.yaml", "--prune"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: `--prune` needs a directory to compare with
    hint: name directories only: `-f DIR --prune`
    ");
}

#[test]
fn programs_get_the_apis_own_shape() {
    let fake = Fake::start()
        .file("rex.yaml", SPEC)
        .on("PUT /v1/cattle/rex", applied("rex", "created"));
    let args = ["cattle", "apply", "-f", "rex.yaml", "-o"];
    let with = |format| fake.clawdlets(&[&args[..], &[format]].concat());
    assert_eq!(
        with("json").json(),
        json!({"items": [applied("rex", "created")]})
    );
    assert_snapshot!(with("yaml"), @r"
    exit: 0
    --- stdout ---
    items:
    - change: created
      dryRun: false
      name: rex
      phase: Pending
    --- stderr ---
    ");
    assert_snapshot!(with("name"), @r"
    exit: 0
    --- stdout ---
    rex
    --- stderr ---
    ");
}

#[test]
fn waiting_ends_with_the_result_and_its_exit_code() {
    let fake = Fake::start()
        .file("rex.yaml", SPEC)
        .on("PUT /v1/cattle/rex", applied("rex", "created"))
        .on("GET /v1/cattle/rex", running("rex"))
        .on("GET /v1/cattle/rex", ended("rex", "Failed", "task-failed"))
        .on("GET /v1/cattle/01JD3KZ6W8Q4T2N7V5X9Y1B3CD/result", json!({
            "name": "rex", "run": "01JD3KZ6W8Q4T2N7V5X9Y1B3CD", "endReason": "task-failed",
            "exitCode": 1, "message": "the runner exited with 1", "result": {"summary": "no luck"}
        }));
    assert_snapshot!(fake.clawdlets(&["cattle", "apply", "-f", "rex.yaml", "--wait"]), @r#"
    exit: 4
    --- stdout ---
    {
      "summary": "no luck"
    }
    --- stderr ---
    rex created
    rex: Running
    rex: Failed (task-failed) after 12m, 0.0060 EUR
    the runner exited with 1
    "#);
}
