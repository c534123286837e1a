//! What the machine asks of whoever runs guests, and what their ends do.

use std::path::PathBuf;

use super::*;
use crate::{config::Guests, world::Effect};

fn account() -> Account {
    Account::with(timed().token("token").guests(Guests::Process {
        command: vec!["guest".to_owned()],
        runners: None,
        root: PathBuf::from("/nowhere"),
    }))
}

impl Account {
    fn effects(&mut self) -> Vec<Effect> {
        self.world.advance(self.now);
        self.world.take_effects()
    }
}

#[test]
fn a_guest_boots_when_its_server_runs_with_the_data_as_sent() {
    let mut account = account();
    let mut body = order("a");
    body["user_data"] = json!("#cloud-config\n{}");
    let server = account.create(&body);
    assert_eq!(account.pass(9999).effects(), []);
    let user_data = Some("#cloud-config\n{}".to_owned());
    let boot = Effect::Boot {
        server,
        boot: 1,
        user_data,
    };
    assert_eq!(account.pass(1).effects(), [boot]);
}

#[test]
fn a_guest_that_ends_turns_its_server_off_and_it_still_bills() {
    let mut account = account();
    let id = account.running("a");
    account.world.guest_exited(account.now, id, 1);
    assert_eq!(account.server(id)["status"], "off");
    account.pass(3_600_000);
    assert_eq!(account.get("/_sim/cost")["startedHours"], 2);
}

#[test]
fn the_end_of_an_earlier_boot_changes_nothing() {
    let mut account = account();
    let id = account.running("a");
    account.act(id, "reset");
    assert_eq!(account.effects().last(), Some(&Effect::Kill { server: id }));
    account.world.guest_exited(account.now, id, 1);
    assert_eq!(account.server(id)["status"], "running");
    account.pass(2000);
    assert!(matches!(
        account.effects()[..],
        [Effect::Boot { boot: 2, .. }]
    ));
    account.world.guest_exited(account.now, id, 1);
    assert_eq!(account.server(id)["status"], "running");
    account.world.guest_exited(account.now, id, 2);
    assert_eq!(account.server(id)["status"], "off");
}

#[test]
fn shutdown_only_asks_and_poweroff_cuts() {
    let mut account = account();
    let id = account.running("a");
    account.effects();
    account.act(id, "shutdown");
    assert_eq!(account.effects(), [Effect::Terminate { server: id }]);
    assert_eq!(account.pass(60_000).server(id)["status"], "running");
    account.act(id, "poweroff");
    assert_eq!(account.effects(), [Effect::Kill { server: id }]);
    assert_eq!(account.pass(2000).server(id)["status"], "off");
}

#[test]
fn a_deleted_server_takes_its_guest_along_at_once() {
    let mut account = account();
    let id = account.running("a");
    account.effects();
    account.delete(id);
    assert_eq!(account.effects(), [Effect::Destroy { server: id }]);
    account.world.guest_exited(account.now, id, 1);
    assert_eq!(account.server(id)["status"], "deleting");
    assert_eq!(
        account.pass(5000).effects(),
        [Effect::Forget { server: id }]
    );
}

#[test]
fn without_guests_nothing_is_asked_for() {
    let mut account = Account::new();
    let id = account.running("a");
    account.delete(id);
    assert_eq!(account.pass(5000).effects(), []);
}

#[test]
fn a_poweron_of_a_running_server_starts_nothing() {
    let mut account = account();
    let id = account.running("a");
    account.effects();
    assert_eq!(account.act(id, "poweron").status, 201);
    assert_eq!(account.pass(2000).effects(), []);
    assert_eq!(account.server(id)["status"], "running");
}
