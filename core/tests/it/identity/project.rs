//! Whose project the token opens, and what a 404 proves in it.

use super::*;

#[test]
fn a_project_is_ours_by_the_firewall_or_a_server_and_foreign_without_both() {
    let gone = |firewall| {
        let mut world = World::running().with_firewall(firewall);
        world.observed.servers.clear();
        world.observed.listed_at = Some(at(200));
        world
    };
    assert_eq!(gone(ours()).project(), Project::Ours);
    assert_eq!(gone(FirewallView::Unread(None)).project(), Project::Unknown);
    for firewall in [
        FirewallView::Absent,
        seen(None, None),
        seen(Some(mark("l0", 1)), None),
    ] {
        assert_eq!(gone(firewall).project(), Project::Foreign);
    }
    let mut made = gone(FirewallView::Absent);
    made.rex().env_at = None;
    assert_eq!(made.project(), Project::Foreign, "it had a server");
    let mut called = gone(FirewallView::Absent);
    called.rex().server = None;
    assert_eq!(called.project(), Project::Foreign, "its guest has called");
    let mut left = gone(FirewallView::Absent);
    left.rex().gone_at = Some(at(150));
    assert_eq!(left.project(), Project::Ours, "nothing of it is left");
    let mut renamed = gone(FirewallView::Absent);
    renamed.rex().fleet = Some("before".parse().unwrap());
    assert_eq!(renamed.project(), Project::Ours, "another list has it");
    let mut listed = World::running().with_firewall(FirewallView::Absent);
    listed.observed.listed_at = Some(at(200));
    assert_eq!(listed.project(), Project::Ours);
    let fresh = World::dropped().with_firewall(FirewallView::Absent);
    assert_eq!(fresh.project(), Project::Ours, "nothing is at stake");
    let mut crashed = World::intended().with_firewall(FirewallView::Absent);
    crashed.later(60);
    crashed.observed.listed_at = Some(crashed.now);
    assert_eq!(
        crashed.project(),
        Project::Ours,
        "no call may ever have been made"
    );
    assert_eq!(crashed.verbs(), ["retry"], "so it goes on");
    let mut young = gone(FirewallView::Absent);
    young.rex().called_at = Some(at(300));
    assert_eq!(young.project(), Project::Ours, "the list is older than it");
}

#[test]
fn nothing_is_created_or_asked_in_a_project_that_is_not_ours() {
    let mut world = World::running()
        .with_spec(cattle("new"))
        .with_firewall(FirewallView::Absent);
    world.observed.servers.clear();
    world.later(60);
    let world = world.knowing(own());
    assert_eq!(world.verbs(), ["enqueue"]);
    assert_eq!(
        world.waits(),
        [("new".to_owned(), PendingReason::StartsPaused.to_string())]
    );
    assert_eq!(world.plan().waiting[0].message, identity::FOREIGN);
}

#[test]
fn a_404_proves_nothing_in_a_project_that_is_not_ours() {
    for project in [Project::Foreign, Project::Unknown] {
        let mut world = World::running();
        world.now = at(5000);
        assert!(world.not_found(project, 0).events.is_empty());
        assert!(world.rex().is_live());
        assert_eq!(world.rex().retry_at, None);
        let mut world = World::ended();
        world.now = at(5000);
        let told = world.not_found(project, 0);
        assert_eq!(world.rex().gone_at, None, "a delete's is no proof either");
        // Until the first list has told whose project it is, there is nothing to be alarmed about.
        let (alerts, again) = match project {
            Project::Foreign => (1, at(5060)),
            _ => (0, at(5005)),
        };
        let of_alert = |it: &&lifecycle::Note| it.reason == EventReason::Alert;
        assert_eq!(told.events.iter().filter(of_alert).count(), alerts);
        assert_eq!(world.rex().retry_at.unwrap().until, again);
    }
}

#[test]
fn a_404_is_held_against_a_guest_that_reported_until_it_is_silent() {
    let mut world = World::running();
    world.observed.servers.clear();
    world.later(60);
    world.now = at(163);
    let told = world.not_found(Project::Ours, 0);
    assert!(world.rex().is_live());
    assert_eq!(told.events[0].reason, EventReason::Alert);
    insta::assert_snapshot!(told.events[0].message, @"Hetzner says that its server is not there, but its guest reported 4 s ago; it goes on until the guest is silent or its time is up");
    assert!(
        world.not_found(Project::Ours, 0).events.is_empty(),
        "that is said once"
    );
    // It is asked again after each list, and its guest is not called lost meanwhile.
    world.observed.listed_at = Some(at(170));
    world.now = at(170);
    assert_eq!(world.verbs(), ["confirm-gone"]);
    let silent = at(159) + SILENCE;
    world.now = silent;
    world.observed.listed_at = Some(silent);
    assert_eq!(world.verbs(), ["confirm-gone"]);
    // We could not hear for a while: the wait begins anew.
    assert!(world.not_found(Project::Ours, 300).events.is_empty());
    assert!(world.rex().is_live());
    world.now = silent + secs(1);
    let _ = world.not_found(Project::Ours, 0);
    assert_eq!(
        world.rex().ended.as_ref().unwrap().reason,
        EndReason::DeletedExternally
    );
    assert!(world.rex().gone_at.is_some());
}

#[test]
fn a_404_counts_at_once_where_no_guest_was_heard_and_at_the_latest_at_the_ttl() {
    let mut world = World::booting();
    world.now = at(120);
    let _ = world.not_found(Project::Ours, 0);
    assert!(world.rex().gone_at.is_some());
    let mut world = World::running();
    world.now = at(100 + 7200);
    let _ = lifecycle::heartbeat(world.rex(), at(7299));
    let _ = world.not_found(Project::Ours, 0);
    assert_eq!(
        world.rex().ended.as_ref().unwrap().reason,
        EndReason::TtlExpired
    );
}

#[test]
fn a_server_that_is_shown_again_is_told_once() {
    let mut world = World::running();
    world.now = at(103);
    let _ = world.not_found(Project::Ours, 0);
    assert_eq!(lifecycle::found_again(world.rex()).events.len(), 1);
    assert!(lifecycle::found_again(world.rex()).events.is_empty());
}

/// Firewall and servers were deleted by hand while runs were live: no 404 proves that, so somebody has
/// to say so.
#[test]
fn what_a_foreign_project_does_not_have_can_be_given_up_run_by_run() {
    let mut world = World::running().with_firewall(FirewallView::Absent);
    world.observed.servers.clear();
    world.later(60);
    assert_eq!(world.project(), Project::Foreign);
    let give_up = |world: &mut World, project| {
        let now = world.now;
        lifecycle::give_up(world.rex(), project, "destroyed by operator", now)
    };
    assert!(!give_up(&mut world, Project::Foreign).applied, "it lives");
    let now = world.now;
    let ending = lifecycle::Ending::new(EndReason::Destroyed, "by operator");
    assert!(lifecycle::end(world.rex(), None, &ending, now).applied);
    let told = world.not_found(Project::Foreign, 0);
    assert!(
        told.events[0]
            .message
            .contains("`clawdlets cattle destroy rex` gives it up"),
        "{told:?}"
    );
    assert_eq!(
        world.project(),
        Project::Foreign,
        "that answer changes nothing"
    );
    assert!(
        !give_up(&mut world, Project::Foreign).applied,
        "its guest may hand over"
    );
    world.now += secs(60);
    assert!(
        !give_up(&mut world, Project::Ours).applied,
        "it will be proved gone"
    );
    assert!(!give_up(&mut world, Project::Unknown).applied);
    assert!(give_up(&mut world, Project::Foreign).applied);
    assert_eq!(
        world.project(),
        Project::Ours,
        "nothing is at stake any more"
    );
    // Should it be found after all, it goes.
    let mut found = World::running();
    found.ledger = world.ledger.clone();
    found.now = world.now + secs(30);
    found.observed.listed_at = Some(found.now);
    assert!(found.verbs().contains(&"delete"), "{:?}", found.verbs());
}
