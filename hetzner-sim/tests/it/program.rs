//! `hetzner-sim` as a program.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Already ended in a test that passes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (Program, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hetzner-sim"))
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .env_remove("HETZNER_SIM_TOKEN")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line
        .trim_end()
        .strip_prefix("listening on ")
        .map(str::to_owned);
    let program = Program(child);
    (program, url.unwrap_or_else(|| panic!("{line:?}")))
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hetzner-sim"))
        .args(arguments)
        .env_remove("HETZNER_SIM_TOKEN")
        .output()
        .unwrap()
}

#[tokio::test]
async fn it_says_where_it_listens_serves_and_ends_with_zero_on_either_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut program, url) = start(&["--max-servers", "5"]);
        assert!(
            url.starts_with("http://127.0.0.1:") && url.ends_with("/v1"),
            "{url}"
        );
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let reply = http.get(format!("{url}/servers")).bearer_auth("any").send();
        assert_eq!(reply.await.unwrap().status(), 200);
        let pid = Pid::from_raw(i32::try_from(program.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(program.0.wait().unwrap().code(), Some(0));
        let mut errors = String::new();
        program
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert_eq!(errors, "");
    }
}

#[tokio::test]
async fn its_options_reach_the_account_and_its_replies_the_file() {
    let replies = tempfile::NamedTempFile::new().unwrap();
    let file = replies.path().to_str().unwrap();
    let bucket = ["--rate-limit", "60", "--rate-refill", "3600"];
    let others = [
        "--first-server-id",
        "600000000000000",
        "--record-replies",
        file,
    ];
    let (_program, url) = start(&[&bucket[..], &others[..]].concat());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let order = http.post(format!("{url}/servers")).bearer_auth("any");
    let reply = order.json(&super::order("a")).send().await.unwrap();
    assert_eq!(reply.status(), 201);
    assert_eq!(reply.headers()["ratelimit-limit"], "60");
    let reset: i64 = reply.headers()["ratelimit-reset"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    // One call is missing, and a second brings it back; a whole one lies in the rounding.
    let ahead = reset - chrono::Utc::now().timestamp();
    assert!((0..=2).contains(&ahead), "{ahead}");
    let body: serde_json::Value = reply.json().await.unwrap();
    let id = body["server"]["id"].as_u64().unwrap();
    assert!(id > 600_000_000_000_000, "{id}");
    let recorded = std::fs::read_to_string(file).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&recorded).unwrap();
    assert_eq!(recorded["operation"], "create_server");
    assert_eq!(recorded["status"], 201);
    assert_eq!(recorded["odd"], false);
    assert_eq!(recorded["body"], body);
}

#[test]
fn with_processes_it_refuses_to_start_without_a_token_or_beyond_loopback() {
    let processes = ["--guests", "process", "--guest-command", "/bin/true"];
    let tokenless = run(&[&processes[..], &["--listen", "127.0.0.1:0"]].concat());
    assert_eq!(tokenless.status.code(), Some(1));
    let said = String::from_utf8(tokenless.stderr).unwrap();
    assert!(said.contains("a token is required"), "{said}");
    let open = run(&[&processes[..], &["--listen", "0.0.0.0:0", "--token", "t"]].concat());
    assert_eq!(open.status.code(), Some(1));
    let said = String::from_utf8(open.stderr).unwrap();
    assert!(said.contains("listens on loopback only"), "{said}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(&["--listen", &addr]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen on {addr}")), "{said}");
}

#[test]
fn the_help_shows_examples() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(
        help.contains("Examples:") && help.contains("/_sim/faults"),
        "{help}"
    );
}
