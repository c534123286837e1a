//! What a wrong wall clock of the machine costs: nothing.
//!
//! A clock that is two hours ahead is had by a controller whose dates are two hours back.

use cattle_schemas::guest::{FailureCause, paths};
use chrono::TimeDelta;
use rstest::rstest;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::controller::{Call, Controller, Fault};
use crate::vm::Vm;

/// A machine whose clock is two hours ahead of its task's expiry, which is in five minutes.
async fn two_hours_ahead() -> (Controller, Vm) {
    let controller = Controller::start().await;
    controller.expires_in(TimeDelta::hours(-2));
    controller.seconds_left(300);
    let vm = Vm::new(&controller);
    vm.edit(paths::BOOTSTRAP, |bootstrap| {
        bootstrap["expiresAt"] = json!(chrono::Utc::now() - TimeDelta::hours(2));
    });
    (controller, vm)
}

fn lost_twice() -> [Fault; 2] {
    [Fault::Status(503), Fault::LostAfter]
}

#[rstest]
#[case::the_env(Call::Env)]
#[case::the_persona(Call::Persona)]
#[case::the_first_report(Call::Ready)]
#[case::the_result(Call::Finished)]
#[tokio::test]
async fn a_lost_call_is_repeated_by_a_guest_whose_clock_is_ahead(#[case] call: Call) {
    let (controller, vm) = two_hours_ahead().await;
    let archive = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let digest = Sha256::digest(&archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    controller.set_persona(archive, digest);
    controller.fault(call, lost_twice());
    assert_eq!(vm.run().await, 0, "{}", vm.stderr());
    assert!(
        controller.outcome().succeeded(),
        "{:?}",
        controller.outcome()
    );
    assert_eq!(controller.seen(|seen| seen.count(call)), 3);
}

#[tokio::test]
async fn a_lost_heartbeat_ends_no_task_of_a_guest_whose_clock_is_ahead() {
    let (controller, vm) = two_hours_ahead().await;
    controller.fault(Call::Heartbeat, lost_twice());
    vm.runner("while ! [ -e go ]; do sleep 0.01; done");
    let guest = vm.start();
    controller
        .until("heartbeats after the lost ones", |seen| {
            seen.count(Call::Heartbeat) > 4
        })
        .await;
    std::fs::write(vm.workspace("go"), "").unwrap();
    assert_eq!(guest.ended().await, 0);
    assert!(
        controller.outcome().succeeded(),
        "{:?}",
        controller.outcome()
    );
}

#[tokio::test]
async fn a_clock_that_is_behind_does_not_lengthen_a_task_that_nobody_answers() {
    let controller = Controller::start().await;
    controller.seconds_left(1);
    controller.expires_in(TimeDelta::hours(2));
    controller.fault(Call::Heartbeat, (0..1000).map(|_| Fault::Status(503)));
    let vm = Vm::new(&controller);
    vm.runner("trap 'exit 0' TERM; while :; do sleep 0.01; done");
    assert_eq!(vm.run().await, 0);
    let outcome = controller.outcome();
    assert_eq!(outcome.cause, Some(FailureCause::TimeUp), "{outcome:?}");
    assert_eq!(outcome.message.as_deref(), Some("stopped: ttl-expired"));
}

#[tokio::test]
async fn a_guest_that_is_restarted_goes_by_what_it_heard_before() {
    let (controller, vm) = two_hours_ahead().await;
    vm.runner("echo up; while :; do sleep 0.01; done");
    let guest = vm.start();
    controller
        .until("output", |seen| !seen.log.is_empty())
        .await;
    guest.kill().await;
    controller.fault(Call::Finished, lost_twice());
    assert_eq!(vm.run().await, 0);
    assert_eq!(
        controller.outcome().cause,
        Some(FailureCause::GuestRestarted)
    );
}
