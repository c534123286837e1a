//! Servers that no run stands behind.

use cattle_core::{labels, lifecycle, names::ServerId};
use cattle_schemas::{event::EventReason, status::PendingReason};

use crate::fixture::*;

/// A running server whose run the ledger lost.
fn lost_ledger() -> World {
    let mut world = World::running();
    world.ledger = Default::default();
    world
}

#[test]
fn a_server_whose_spec_stands_is_taken_over_and_nothing_starts_beside_it() {
    assert_eq!(lost_ledger().verbs(), ["enqueue", "adopt"]);
}

#[test]
fn one_is_taken_over_by_any_way_to_write_its_spec_and_by_no_other_spec() {
    let spec = |more: &str| {
        let text = format!(
            "apiVersion: clawdlets.dev/v1\nkind: Cattle\nspec:\n  persona: rex\n  task: {{ message: work }}\n{more}"
        );
        read_spec("rex", &text)
    };
    let mut world = World::empty().with_spec(spec("")).with_run("rex", 1);
    world.bind(run_id(1), ServerId(7));
    world.ledger = Default::default();
    let with = |more: &str| world.clone().with_spec(spec(more)).verbs();
    assert_eq!(with(""), ["enqueue", "adopt"]);
    assert_eq!(with("  autoShutdown: true\n"), ["enqueue", "adopt"]);
    assert_eq!(with("  model: zai/glm-4.7\n"), ["enqueue", "adopt"]);
    assert_eq!(with("  model: zai/other\n"), ["enqueue"]);
}

#[test]
fn one_that_is_not_desired_is_left_to_its_expiry() {
    let mut world = lost_ledger();
    world.desired.specs.clear();
    let plan = world.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.next_wake, Some(at(7300)));
    assert!(!plan.list_soon, "nothing is to be seen before then");
    world.later(7200);
    assert_eq!(world.verbs(), ["reap"]);
    assert!(world.plan().list_soon, "only a list says that it is gone");
}

#[test]
fn one_whose_label_says_never_is_left_to_the_longest_ttl() {
    let mut world = lost_ledger();
    world.desired.specs.clear();
    let server = world.listed();
    server
        .labels
        .raw
        .insert("expires-at".to_owned(), "253402300799".to_owned());
    server.labels = labels::decode(&server.labels.raw, server.created, lifetimes(7200));
    assert_eq!(world.plan().next_wake, Some(at(86_500)));
    world.later(86_400);
    assert_eq!(world.verbs(), ["reap"]);
}

#[test]
fn one_of_another_hash_keeps_its_name_from_starting() {
    let mut world = lost_ledger();
    world.edit(|cattle| cattle.hash = hash(2));
    assert_eq!(world.verbs(), ["enqueue"]);
    let plan = world.plan();
    assert_eq!(plan.waiting[0].reason, PendingReason::PreviousRun);
    assert!(plan.waiting[0].message.contains("is not in the ledger"));
}

#[test]
fn one_of_an_ended_task_is_not_taken_over() {
    let mut world = World::ended();
    world.ledger.runs.clear();
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn one_renamed_by_hand_is_not_taken_over() {
    let mut world = lost_ledger();
    world.listed().name = "cattle-rex-other".to_owned();
    assert_eq!(world.verbs(), ["enqueue"]);
}

#[test]
fn what_another_tool_has_marked_is_never_touched() {
    let mut world = lost_ledger();
    world
        .listed()
        .labels
        .raw
        .insert("apricote.de/created-by".to_owned(), "x".to_owned());
    world.later(10_000);
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn a_second_server_of_a_live_run_is_left_to_its_expiry() {
    let mut world = World::running();
    let mut second = world.server_of(run_id(1), ServerId(8));
    second.labels.expires_at = Some(at(200));
    world.observed.servers.push(second);
    assert_eq!(world.verbs(), ["note-duplicate"]);
    let told = lifecycle::duplicate_found(world.rex(), ServerId(8), "copy");
    assert_eq!(told.events[0].reason, EventReason::DuplicateFound);
    assert_eq!(world.verbs(), [""; 0], "it is told of once");
    world.later(100);
    assert_eq!(world.verbs(), ["reap"]);
}
