//! The controller's StableID, asked of a tailscaled that is a socket with a fixed answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use cattle_schemas::guest::paths;
use serde_json::{Value, json};

use crate::controller::{Call, Controller};
use crate::vm::Vm;

const STABLE_ID: &str = "nController11CNTRL";

async fn vm(controller: &Controller) -> Vm {
    let vm = Vm::new(controller);
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["controllerAddress"] = json!("127.0.0.1");
        bootstrap["controllerStableId"] = json!(STABLE_ID);
    });
    vm
}

/// Answers with each of `statuses` once, then with the last; counts the calls.
fn tailscaled(vm: &Vm, statuses: Vec<Value>) -> Arc<AtomicUsize> {
    let socket = vm.path("/run/tailscale/tailscaled.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let answer = move |headers: HeaderMap| async move {
        if headers["host"] != "local-tailscaled.sock" {
            return Err(StatusCode::FORBIDDEN);
        }
        let call = counted.fetch_add(1, Ordering::SeqCst);
        Ok(statuses[call.min(statuses.len() - 1)].to_string())
    };
    let app = Router::new().route("/localapi/v0/status", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    calls
}

fn node(id: &str, address: &str) -> Value {
    json!({ "BackendState": "Running", "Peer": {
        "nodekey:aa": { "ID": "nOther", "HostName": "other", "TailscaleIPs": ["100.64.0.9"] },
        "nodekey:bb": { "ID": id, "HostName": "ctl", "TailscaleIPs": [address, "fd7a::1"] },
        // What tailscaled knows nothing of, it leaves out.
        "nodekey:cc": {},
    }})
}

#[tokio::test]
async fn the_pinned_node_at_the_pinned_address_gets_the_token() {
    let controller = Controller::start().await;
    let vm = vm(&controller).await;
    tailscaled(&vm, vec![node(STABLE_ID, "127.0.0.1")]);
    assert_eq!(vm.run().await, 0);
    assert!(controller.outcome().succeeded());
}

#[tokio::test]
async fn another_node_at_the_pinned_address_does_not() {
    let controller = Controller::start().await;
    let vm = vm(&controller).await;
    tailscaled(&vm, vec![node("nImpostor", "127.0.0.1")]);
    assert_eq!(vm.run().await, 1);
    assert_eq!(controller.seen(|seen| seen.count(Call::Env)), 0);
    assert!(vm.stderr().contains("belongs to the node `nImpostor`"));
}

#[tokio::test]
async fn a_tailnet_that_comes_up_later_is_waited_for() {
    let controller = Controller::start().await;
    let vm = vm(&controller).await;
    let calls = tailscaled(
        &vm,
        vec![
            json!({ "BackendState": "Starting", "Peer": null }),
            node(STABLE_ID, "100.64.0.1"),
            node(STABLE_ID, "127.0.0.1"),
        ],
    );
    assert_eq!(vm.run().await, 0);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn without_tailscaled_the_token_stays_whatever_the_wall_clock_says() {
    let controller = Controller::start().await;
    let vm = vm(&controller).await;
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["expiresAt"] = json!(chrono::Utc::now() - chrono::TimeDelta::hours(2));
    });
    let guest = vm.start();
    crate::vm::eventually("it asks again and again", || {
        vm.stderr().matches("tailscaled does not answer").count() > 2
    })
    .await;
    assert_eq!(controller.seen(|seen| seen.count(Call::Env)), 0);
    guest.kill().await;
}
