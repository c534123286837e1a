//! Nobody there, somebody else there, or the door is shut.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener, process::CommandExt as _},
};

use cattle_schemas::problem::{ErrorCode, Problem};
use insta::assert_snapshot;
use serde_json::json;

use crate::fake::{Fake, Reply, Run, list, plain_command, running};

/// The user that has nothing, on every Linux.
const NOBODY: u32 = 65_534;

fn list_at(dir: &std::path::Path, args: &[&str]) -> Run {
    let mut command = plain_command(env!("CARGO_BIN_EXE_clawdlets"), dir);
    command.args(["cattle", "list"]).args(args);
    Run::of(command, dir)
}

#[test]
fn without_a_controller_every_place_looked_at_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_snapshot!(list_at(dir.path(), &[]), @r"
    exit: 3
    --- stdout ---
    --- stderr ---
    error: no controller found; looked at `[DIR]/.clawdlets/cattle/orchestrator.sock` (the project), `/run/clf/orchestrator.sock` (the host)
    hint: start a controller with `clf-orchestrator run` in the project, or name its socket with `--socket`; `clf-orchestrator demo --keep` starts one to try
    ");
}

#[test]
fn a_named_socket_that_is_not_there_is_the_only_one_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    assert_snapshot!(list_at(dir.path(), &["--socket", "none.sock"]), @r"
    exit: 3
    --- stdout ---
    --- stderr ---
    error: no controller found; looked at `none.sock` (--socket)
    hint: start a controller with `clf-orchestrator run` in the project, or name its socket with `--socket`; `clf-orchestrator demo --keep` starts one to try
    ");
}

#[test]
fn a_file_that_is_no_socket_is_called_that() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_snapshot!(list_at(dir.path(), &["--socket", "file"]), @r"
    exit: 3
    --- stdout ---
    --- stderr ---
    error: `file` is not a socket
    hint: name the controller's socket with `--socket` or `CLF_SOCKET_PATH`
    ");
}

#[test]
fn a_socket_whose_controller_has_ended_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(dir.path().join("sock")).unwrap());
    assert_snapshot!(list_at(dir.path(), &["--socket", "sock"]), @r"
    exit: 3
    --- stdout ---
    --- stderr ---
    error: nobody listens at `sock`: its controller has ended
    hint: start it again with `clf-orchestrator run`
    ");
}

#[test]
fn a_socket_that_is_closed_to_us_names_the_group_that_may() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may connect whatever the mode is, so it steps down first, with a program that everybody
    // may start.
    let program = dir.path().join("clawdlets");
    fs::copy(env!("CARGO_BIN_EXE_clawdlets"), &program).unwrap();
    let mut command = plain_command(program.to_str().unwrap(), dir.path());
    command.args(["cattle", "list", "--socket", "sock"]);
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let run = Run::of(command, dir.path());
    assert_eq!(run.code, 3, "{run}");
    let told = "error: permission to connect to `sock` is denied\nhint: ";
    assert!(run.stderr.starts_with(told), "{run}");
    assert!(run.stderr.contains("group `"), "{run}");
    assert!(!run.stderr.contains("-aG root"), "{run}");
}

#[test]
fn the_projects_socket_is_found_from_below() {
    let fake = Fake::start().on("GET /v1/cattle", list(&[running("rex")]));
    let below = fake.dir.path().join("cattle/specs");
    fs::create_dir_all(&below).unwrap();
    fs::create_dir_all(fake.dir.path().join(".clawdlets/cattle")).unwrap();
    std::os::unix::fs::symlink(
        fake.dir.path().join("sock"),
        fake.dir.path().join(".clawdlets/cattle/orchestrator.sock"),
    )
    .unwrap();
    assert_snapshot!(list_at(&below, &["-o", "name"]), @r"
    exit: 0
    --- stdout ---
    rex
    --- stderr ---
    ");
}

#[test]
fn somebody_else_on_the_socket_is_noticed() {
    let fake = Fake::start().on(
        "GET /v1/cattle",
        Reply::Text(404, "404 page\u{1b}[2J not found"),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "list"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: GET /v1/cattle was answered 404, not by a clawdlets controller: 404 page\u{1b}[2J not found
    ");
}

#[test]
fn an_answer_of_another_shape_names_the_call() {
    let fake = Fake::start().on("GET /v1/cattle/rex", json!({"name": 7}));
    assert_snapshot!(fake.clawdlets(&["cattle", "describe", "rex"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: the answer to GET /v1/cattle/rex cannot be read (client 0.1.0)
      caused by: invalid type: integer `7`, expected a string at line 1 column 9
    ");
}

#[test]
fn a_cut_answer_is_an_error() {
    let fake = Fake::start().on("GET /v1/cattle/rex", Reply::Cut);
    let run = fake.clawdlets(&["cattle", "describe", "rex"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr
            .starts_with("error: GET /v1/cattle/rex broke off\n"),
        "{run}"
    );
}

#[test]
fn a_problem_is_told_with_its_hint_and_exit_code() {
    let fake = Fake::start()
        .on(
            "GET /v1/cattle/nobody",
            Problem::new(
                ErrorCode::NotFound,
                "no cattle, run or server goes by `nobody`",
            ),
        )
        .on(
            "POST /v1/cattle/rex/rerun",
            Problem::new(ErrorCode::WrongPhase, "run 01JD3K of `rex` is live"),
        );
    assert_snapshot!(fake.clawdlets(&["cattle", "describe", "nobody"]), @r"
    exit: 1
    --- stdout ---
    --- stderr ---
    error: no cattle, run or server goes by `nobody`
    hint: `clawdlets cattle list --all` shows what there is
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "rerun", "rex"]), @r"
    exit: 6
    --- stdout ---
    --- stderr ---
    error: run 01JD3K of `rex` is live
    ");
}

#[test]
fn verbose_tells_each_call() {
    let fake = Fake::start().on("GET /v1/cattle", list(&[running("rex")]));
    let run = fake.clawdlets(&["cattle", "list", "-v", "-o", "name"]);
    assert!(run.stderr.starts_with("GET /v1/cattle: 200 OK ("), "{run}");
}
