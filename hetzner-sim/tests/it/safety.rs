//! Who may talk to a simulator that starts processes.

use std::path::PathBuf;

use hetzner_sim::{Guests, SimError};
use rstest::rstest;
use tokio::net::TcpListener;

use super::*;

fn processes(root: &std::path::Path) -> Guests {
    Guests::Process {
        command: vec!["/bin/true".to_owned()],
        runners: None,
        root: root.to_owned(),
    }
}

#[rstest]
#[case::foreign_host("host", "evil.example", 403)]
#[case::rebound_host("host", "127.0.0.1.evil.example:80", 403)]
#[case::origin("origin", "http://evil.example", 403)]
#[case::own_origin("origin", "http://127.0.0.1", 403)]
#[case::local_name("host", "localhost:8080", 200)]
#[tokio::test]
async fn with_processes_headers_decide(
    #[case] name: &str,
    #[case] value: &str,
    #[case] status: u16,
) {
    let dir = tempfile::tempdir().unwrap();
    let harness = Harness::new(quick().guests(processes(dir.path()))).await;
    for path in ["/v1/servers", "/_sim/state"] {
        let reply = harness
            .request(Method::GET, path)
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), status, "{path}");
    }
}

#[tokio::test]
async fn with_processes_the_control_api_needs_the_token_too() {
    let dir = tempfile::tempdir().unwrap();
    let harness = Harness::new(quick().guests(processes(dir.path()))).await;
    let url = format!("{}/state", harness.sim.control_url());
    assert_eq!(harness.http.get(&url).send().await.unwrap().status(), 401);
    let wrong = harness.http.get(&url).bearer_auth("wrong").send();
    assert_eq!(wrong.await.unwrap().status(), 401);
    let right = harness.http.get(&url).bearer_auth(TOKEN).send();
    assert_eq!(right.await.unwrap().status(), 200);
}

#[tokio::test]
async fn without_processes_the_control_api_is_open() {
    let harness = Harness::new(quick()).await;
    let url = format!("{}/state", harness.sim.control_url());
    assert_eq!(harness.http.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn processes_need_a_token_a_command_and_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let tokenless = Config::default().guests(processes(dir.path()));
    assert!(matches!(
        Sim::start(tokenless).await,
        Err(SimError::TokenRequired)
    ));
    let idle = quick().guests(Guests::Process {
        command: Vec::new(),
        runners: None,
        root: PathBuf::from(dir.path()),
    });
    assert!(matches!(
        Sim::start(idle).await,
        Err(SimError::GuestCommandRequired)
    ));
    let open = TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert!(matches!(
        Sim::start_on(open, quick().guests(processes(dir.path()))),
        Err(SimError::NotLoopback(_))
    ));
}

#[tokio::test]
async fn tokens_are_not_shown() {
    let config = quick().read_only_token("other-secret");
    let shown = format!("{config:?}");
    assert!(
        !shown.contains(TOKEN) && !shown.contains("other-secret"),
        "{shown}"
    );
}
