//! Whose fleet and whose project it is, and what a 404 proves.

use std::sync::Arc;

use cattle_core::{
    desired::{RootState, SpecState},
    guard,
    identity::{
        self, ControllerMark, Grounds, LedgerMark, Marks, Own, Project, Standing, claim, project,
        rival, standing,
    },
    lifecycle::{self, deadlines::SILENCE},
    observed::{FirewallView, ServerState},
    pause::{Resumed, Unread},
    plan,
};
use cattle_schemas::{
    event::EventReason,
    status::{EndReason, PauseReason, PendingReason},
};
use proptest::prelude::*;

use crate::fixture::*;

fn mark(id: &str, count: u64) -> LedgerMark {
    LedgerMark {
        id: id.to_owned(),
        count,
    }
}

fn life(id: &str) -> ControllerMark {
    ControllerMark {
        id: id.to_owned(),
        started: 1_790_000_000,
    }
}

fn own() -> Own {
    Own {
        ledger: Some("l1".to_owned()),
        steps: 5,
        controller: Some(life("c2")),
        earlier: vec!["c1".to_owned()],
        settled: false,
        rival: None,
        accepted: None,
        looked_at: None,
    }
}

fn seen(ledger: Option<LedgerMark>, controller: Option<&str>) -> FirewallView {
    FirewallView::Seen(Marks {
        ledger,
        controller: controller.map(life),
    })
}

/// The fleet's firewall is ours.
fn ours() -> FirewallView {
    seen(Some(mark("l1", 5)), Some("c2"))
}

impl World {
    fn with_firewall(mut self, firewall: FirewallView) -> Self {
        self.observed.firewall = firewall;
        self
    }

    fn standing(&self) -> Standing {
        standing(&own(), &self.observed, &self.limits.fleet)
    }

    fn project(&self) -> Project {
        project(&own(), &self.observed, &self.ledger, &self.limits.fleet)
    }

    /// As the controller plans: with what it knows of itself.
    fn knowing(mut self, own: Own) -> Self {
        self.limits.project = project(&own, &self.observed, &self.ledger, &self.limits.fleet);
        self.limits.own = Some(Arc::new(own));
        self
    }

    fn claims(&self, own: &Own, may_raise: bool) -> Option<String> {
        let next = claim(
            own,
            &self.observed,
            &self.limits.fleet,
            self.project(),
            may_raise,
        )?;
        let ledger = next.ledger.map(|it| it.to_string()).unwrap_or_default();
        Some(format!("{ledger} {}", next.controller.unwrap().id))
    }

    /// Hetzner answers 404 about the server of `rex`.
    fn not_found(&mut self, project: Project, heard_since: u64) -> lifecycle::Transition {
        let (now, key) = (self.now, (name("rex"), hash(1)));
        let run = self.ledger.runs.get_mut(&run_id(1)).unwrap();
        let grounds = Grounds {
            project,
            heard_since: Some(at(heard_since)),
            judges: true,
        };
        lifecycle::not_found(run, self.ledger.assignments.get_mut(&key), grounds, now)
    }
}

#[test]
fn a_ledger_knows_by_the_firewall_whether_it_was_lost() {
    let lost = |firewall| World::dropped().with_firewall(firewall).standing();
    assert_eq!(lost(FirewallView::Unread(None)), Standing::Unread(None));
    assert_eq!(lost(FirewallView::Absent), Standing::Fresh);
    assert_eq!(lost(ours()), Standing::Ours);
    assert_eq!(lost(seen(Some(mark("l1", 4)), None)), Standing::Ours);
    assert_eq!(
        lost(seen(Some(mark("l1", 6)), None)),
        Standing::Behind { label: 6, own: 5 }
    );
    let other = Standing::OtherLedger {
        id: "l0".to_owned(),
    };
    assert_eq!(lost(seen(Some(mark("l0", 1)), None)), other);
    assert!(other.is_lost());
    assert_eq!(lost(seen(None, None)), Standing::Unclaimed);
}

#[test]
fn an_unlabelled_firewall_is_claimed_by_a_ledger_with_runs_and_by_an_empty_one_without_servers() {
    let empty = Own { steps: 0, ..own() };
    let stands = |own: &Own, world: World| {
        let world = world.with_firewall(seen(None, None));
        standing(own, &world.observed, &world.limits.fleet)
    };
    assert_eq!(stands(&own(), World::running()), Standing::Unclaimed);
    assert_eq!(stands(&empty, World::empty()), Standing::Unclaimed);
    assert_eq!(stands(&empty, World::running()), Standing::Unknown);
    let mut unreadable = World::empty();
    unreadable.observed.odd = vec!["a server without an id".to_owned()];
    assert_eq!(stands(&empty, unreadable), Standing::Unknown);
}

#[test]
fn what_is_written_onto_the_firewall() {
    let claims = |firewall, raise| {
        World::dropped()
            .with_firewall(firewall)
            .claims(&own(), raise)
    };
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(claims(FirewallView::Absent, true), None);
    assert_eq!(claims(FirewallView::Unread(None), true), None);
    assert_eq!(claims(ours(), true), None);
    assert_eq!(claims(seen(None, None), true), said("l1.5 c2"));
    assert_eq!(
        claims(seen(Some(mark("l1", 3)), Some("c2")), true),
        said("l1.5 c2")
    );
    assert_eq!(
        claims(seen(Some(mark("l1", 3)), Some("c2")), false),
        None,
        "the count is raised now and then"
    );
    assert_eq!(
        claims(seen(Some(mark("l1", 5)), Some("c1")), true),
        said("l1.5 c2"),
        "each life says that it is there"
    );
    assert_eq!(
        claims(seen(Some(mark("l0", 9)), Some("c9")), true),
        said("l0.9 c2"),
        "also one whose ledger was lost, which claims nothing"
    );
    let dry = Own {
        controller: None,
        ..own()
    };
    let world = World::dropped().with_firewall(seen(None, None));
    assert_eq!(world.claims(&dry, true), None);
    let mut elsewhere = World::running().with_firewall(seen(None, None));
    elsewhere.observed.servers.clear();
    elsewhere.observed.listed_at = Some(at(200));
    assert_eq!(
        elsewhere.claims(&own(), true),
        None,
        "another project's firewall is not ours to label"
    );
}

#[test]
fn a_second_controller_is_who_is_neither_we_nor_whom_we_replaced() {
    let noticed = |own: &Own, firewall| {
        let world = World::dropped().with_firewall(firewall);
        rival(own, &world.observed, &world.limits.fleet).map(|it| it.id.clone())
    };
    let at = |id: &str| seen(Some(mark("l1", 5)), Some(id));
    let settled = Own {
        settled: true,
        ..own()
    };
    assert_eq!(noticed(&own(), at("c2")), None);
    assert_eq!(noticed(&own(), at("c1")), None, "that was our last life");
    assert_eq!(noticed(&own(), at("c9")).as_deref(), Some("c9"));
    // A copied state directory knows the same lives.
    assert_eq!(noticed(&settled, at("c1")).as_deref(), Some("c1"));
    // A lost ledger does not know whom it replaces, until that one speaks up.
    let other = || seen(Some(mark("l0", 5)), Some("c9"));
    assert_eq!(noticed(&own(), other()), None);
    assert_eq!(noticed(&settled, other()).as_deref(), Some("c9"));
    let dry = Own {
        controller: None,
        ..own()
    };
    assert_eq!(noticed(&dry, at("c9")), None);
}

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
fn nothing_is_created_by_a_ledger_that_was_lost_or_beside_a_second_controller() {
    let waits = |own: Own, firewall| {
        let world = World::dropped().with_firewall(firewall).knowing(own);
        assert_eq!(world.verbs(), ["enqueue"]);
        world.plan().waiting[0].reason
    };
    let beside = Own {
        rival: Some(life("c9")),
        ..own()
    };
    assert_eq!(waits(beside, ours()), PendingReason::StartsPaused);
    for firewall in [
        seen(Some(mark("l0", 1)), None),
        seen(Some(mark("l1", 6)), None),
    ] {
        assert_eq!(waits(own(), firewall), PendingReason::StartsPaused);
    }
    assert_eq!(
        waits(own(), FirewallView::Unread(None)),
        PendingReason::HetznerUnreachable
    );
    let world = World::dropped().with_firewall(ours()).knowing(own());
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn the_guard_takes_out_what_is_created_in_the_wrong_place() {
    let planned = World::dropped().with_firewall(ours()).knowing(own());
    let plan = plan::plan(
        &planned.desired,
        &planned.observed,
        &planned.ledger,
        &planned.limits,
        planned.now,
    );
    let rules = |world: &World| {
        let (_, violations) = guard::guard(plan.clone(), &world.inputs());
        let rules = violations.iter().map(|violation| violation.rule);
        rules.collect::<Vec<_>>()
    };
    assert_eq!(rules(&planned), [""; 0]);
    let mut foreign = World::running();
    foreign.rex().cattle = name("other");
    foreign.observed.servers.clear();
    foreign.observed.listed_at = Some(at(200));
    let unknowing = "nothing is created by a ledger that does not know what the fleet has done";
    let cases = [
        (
            planned.clone().with_firewall(FirewallView::Unread(None)),
            "nothing is created before the fleet's firewall was read",
        ),
        (
            planned
                .clone()
                .with_firewall(seen(Some(mark("l0", 1)), None)),
            unknowing,
        ),
        (
            planned
                .clone()
                .with_firewall(seen(Some(mark("l1", 6)), None)),
            unknowing,
        ),
        (
            planned.clone().knowing(Own {
                rival: Some(life("c9")),
                ..own()
            }),
            "nothing is created beside a second controller",
        ),
        (
            World {
                ledger: foreign.ledger.clone(),
                observed: foreign.observed.clone(),
                ..planned.clone()
            },
            "nothing is created in a project in which nothing of the fleet is found",
        ),
    ];
    for (world, rule) in cases {
        assert_eq!(rules(&world), [rule]);
    }
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

fn marks() -> impl Strategy<Value = FirewallView> {
    let ledger = proptest::option::of(("[a-b]", 0_u64..4).prop_map(|(id, n)| mark(&id, n)));
    let controller = proptest::option::of("[x-z]".prop_map(|id| life(&id)));
    prop_oneof![
        Just(FirewallView::Unread(None)),
        Just(FirewallView::Absent),
        (ledger, controller)
            .prop_map(|(ledger, controller)| FirewallView::Seen(Marks { ledger, controller })),
    ]
}

proptest! {
    #[test]
    fn marks_are_read_as_they_were_written(id in "[0-9a-f]{1,16}", count: u64, started in 1_i64..4_000_000_000) {
        let ledger = LedgerMark { id: id.clone(), count };
        prop_assert_eq!(LedgerMark::read(&ledger.to_string()), ledger);
        let controller = ControllerMark { id, started };
        prop_assert_eq!(ControllerMark::read(&controller.to_string()), controller);
    }

    #[test]
    fn no_label_is_too_odd_to_be_read(text in ".{0,80}") {
        let _ = (LedgerMark::read(&text), ControllerMark::read(&text));
    }

    #[test]
    fn what_was_claimed_needs_no_further_claim_and_nobody_elses_ledger_is_claimed(
        firewall in marks(), steps in 0_u64..4, settled: bool, may_raise: bool,
    ) {
        let own = Own {
            ledger: Some("a".to_owned()),
            steps,
            controller: Some(life("x")),
            earlier: vec!["y".to_owned()],
            settled,
            ..own()
        };
        let mut world = World::dropped().with_firewall(firewall.clone());
        let lost = standing(&own, &world.observed, &world.limits.fleet).is_lost();
        if let Some(next) = claim(&own, &world.observed, &world.limits.fleet, Project::Ours, may_raise) {
            if let FirewallView::Seen(before) = &firewall && lost {
                prop_assert_eq!(&before.ledger, &next.ledger);
            }
            world.observed.firewall = FirewallView::Seen(next);
            let again = claim(&own, &world.observed, &world.limits.fleet, Project::Ours, may_raise);
            prop_assert_eq!(again, None);
            prop_assert_eq!(rival(&own, &world.observed, &world.limits.fleet), None);
        }
    }
}

fn pauses_of(world: &World, own: &Own) -> Vec<cattle_core::pause::Pause> {
    identity::pauses(
        own,
        &world.observed,
        &world.desired,
        &world.ledger,
        &world.limits.fleet,
        world.now,
    )
}

#[test]
fn a_lost_ledger_pauses_starts_with_the_list_of_what_it_finds() {
    let mut world = World::running()
        .with_spec(cattle("new"))
        .with_firewall(seen(Some(mark("l0", 9)), Some("c9")));
    world.set_spec(broken(), &name("broken"));
    let pauses = pauses_of(&world, &own());
    assert_eq!(pauses.len(), 1);
    let pause = &pauses[0];
    assert_eq!(pause.reason, PauseReason::Ledger);
    assert!(pause.starts && !pause.ends);
    let found: Vec<_> = pause.items.iter().map(|it| it.cattle.to_string()).collect();
    assert_eq!(found, ["new"], "what runs is no item");
    // It holds: what comes later is not of the list, and what starts to run leaves it.
    world.ledger.pauses = pauses.clone();
    assert!(pauses_of(&world, &own()).is_empty());
    world = world.with_spec(cattle("later"));
    assert!(pauses_of(&world, &own()).is_empty());
    world.desired.specs.remove(&name("new"));
    assert_eq!(pauses_of(&world, &own())[0].items, []);
    // Ended by an operator, it does not begin again on the strength of what was read before.
    world.ledger.pauses[0].resumed = Some(cattle_core::pause::Resumed {
        at: at(150),
        by: "operator".to_owned(),
        confirmed: true,
    });
    let looked = |at| Own {
        looked_at: Some(at),
        ..own()
    };
    assert!(pauses_of(&world, &looked(at(140))).is_empty());
    assert_eq!(pauses_of(&world, &looked(at(160))).len(), 1);
    let dry = Own {
        controller: None,
        ..own()
    };
    world.ledger.pauses.clear();
    assert!(pauses_of(&world, &dry).is_empty());
}

#[test]
fn what_an_older_copy_knows_as_done_or_as_running_is_not_found() {
    let found = |mut world: World| {
        world.observed.servers.clear();
        let world = world.with_firewall(seen(Some(mark("l1", 9)), None));
        pauses_of(&world, &own())[0].items.len()
    };
    let mut done = World::ended();
    let _ = lifecycle::mark_gone(done.rex(), at(100));
    assert_eq!(found(done.clone()), 0);
    assert_eq!(found(World::running()), 0);
    done.task().ended.as_mut().unwrap().reopens = true;
    assert_eq!(found(done), 1, "it could start");
}

#[test]
fn what_a_lost_ledger_is_about_to_take_over_is_not_found() {
    let mut world = World::running().with_firewall(seen(Some(mark("l0", 9)), None));
    world.ledger = Default::default();
    assert_eq!(pauses_of(&world, &own())[0].items, []);
    // Nobody takes over what is off, nor a server of what the spec was before.
    let mut off = world.clone();
    off.listed().status = ServerState::Off;
    assert_eq!(pauses_of(&off, &own())[0].items.len(), 1);
    world.edit(|cattle| cattle.hash = hash(2));
    assert_eq!(pauses_of(&world, &own())[0].items.len(), 1);
}

#[test]
fn a_run_of_an_older_copy_that_waited_for_its_server_is_found_too() {
    let mut world = World::intended().with_firewall(seen(Some(mark("l1", 9)), None));
    world.now = at(103);
    let pauses = pauses_of(&world, &own());
    assert_eq!(pauses[0].items[0].run, Some(run_id(1)));
}

#[test]
fn a_second_controller_pauses_starts_and_ends() {
    let world = World::running().with_firewall(ours());
    let beside = Own {
        rival: Some(life("c9")),
        settled: true,
        ..own()
    };
    let pauses = pauses_of(&world, &beside);
    assert_eq!(pauses.len(), 1);
    assert!(pauses[0].starts && pauses[0].ends);
    insta::assert_snapshot!(pauses[0].message, @"another controller keeps this fleet too: `c9` (started 1970-01-21 17:13:20 UTC), as old as this one, `c2` (started 1970-01-21 17:13:20 UTC)");
}

#[test]
fn a_ledger_takes_over_from_the_mark_that_an_operator_saw_and_no_other() {
    let accepted = Own {
        ledger: Some("l2".to_owned()),
        accepted: Some("l0.9".to_owned()),
        ..own()
    };
    let stands = |count| {
        let world = World::dropped().with_firewall(seen(Some(mark("l0", count)), None));
        standing(&accepted, &world.observed, &world.limits.fleet)
    };
    assert_eq!(stands(9), Standing::TakingOver);
    assert!(stands(10).is_lost());
    let world = World::dropped().with_firewall(seen(Some(mark("l0", 9)), Some("c9")));
    assert_eq!(
        world.claims(&accepted, false).as_deref(),
        Some("l2.5 c2"),
        "its own id goes onto the firewall"
    );
    let world = world.knowing(accepted);
    assert_eq!(
        world.verbs(),
        ["enqueue"],
        "starts go on with the next list"
    );
    assert!(world.plan().list_soon);
}

#[test]
fn what_an_older_copy_knows_as_running_is_taken_as_it_is() {
    let mut world = World::booting().with_firewall(seen(Some(mark("l1", 9)), None));
    world.later(5);
    let mut world = world.knowing(own());
    assert_eq!(world.verbs(), ["rejoin"]);
    let told = lifecycle::rejoin(world.rex(), Some("session".to_owned()));
    assert!(told.applied);
    assert!(!lifecycle::rejoin(world.rex(), None).applied, "once");
    // Far beyond its boot deadline and any silence it goes on, and its labels are its own.
    world.now = at(4000);
    world.observed.listed_at = Some(at(4000));
    let labels = cattle_core::labels::of_run(
        world.rex(),
        &"test".parse().unwrap(),
        &std::collections::BTreeMap::new(),
    );
    assert_eq!(labels["ledger-session"], "session");
    world.listed().labels.raw = labels;
    assert_eq!(world.verbs(), [""; 0]);
    let _ = lifecycle::heartbeat(world.rex(), at(4000));
    world.now = at(4000) + SILENCE;
    world.observed.listed_at = Some(world.now);
    assert_eq!(world.verbs(), ["end"], "once it was heard, silence counts");
}

#[test]
fn a_lost_ledger_leaves_orphans_to_who_may_still_hand_over() {
    let mut world = World::running().with_firewall(seen(Some(mark("l0", 9)), None));
    world.ledger = Default::default();
    world.desired.specs.clear();
    let expired = world.listed().labels.expires_at.unwrap();
    world.now = expired + secs(60);
    world.observed.listed_at = Some(world.now);
    let mut world = world.knowing(own());
    assert_eq!(world.verbs(), [""; 0]);
    world.now = expired + secs(120);
    world.observed.listed_at = Some(world.now);
    assert_eq!(world.verbs(), ["reap"]);
}

proptest! {
    #[test]
    fn a_session_survives_its_label(digest: [u8; 32]) {
        let text = cattle_core::labels::session_text(&digest);
        prop_assert!(text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let raw = [("ledger-session".to_owned(), text)].into();
        prop_assert_eq!(cattle_core::labels::session(&raw), Some(digest));
    }

    #[test]
    fn no_label_is_a_session_by_chance(text in "[a-z2-7]{0,60}|.{0,20}") {
        let raw = [("ledger-session".to_owned(), text.clone())].into();
        if let Some(digest) = cattle_core::labels::session(&raw) {
            prop_assert_eq!(cattle_core::labels::session_text(&digest), text);
        }
    }
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

/// What an older copy takes for a server that only boots may have done its task since, and be gone.
#[test]
fn a_run_of_an_older_copy_counts_as_begun_before_it_ends_for_anything() {
    let older = seen(Some(mark("l1", 6)), Some("c1"));
    for (what, listed, seconds) in [
        ("listed", true, 30),
        ("gone", false, 30),
        ("late", false, 90_000),
    ] {
        let mut world = World::booting().with_firewall(older.clone());
        world.rex().env_at = None;
        if !listed {
            world.observed.servers.clear();
        }
        world.now += secs(seconds);
        world.observed.listed_at = Some(world.now);
        let mut world = world.knowing(own());
        assert_eq!(world.verbs(), ["rejoin"], "{what}");
        assert!(lifecycle::rejoin(world.rex(), None).applied);
        assert!(!world.verbs().contains(&"rejoin"), "{what}");
        let now = world.now;
        let mut task = assignment(at(90));
        let _ = lifecycle::found_gone(world.rex(), Some(&mut task), now);
        let end = task.ended.unwrap();
        assert!(!end.reopens, "{what}: it does not run twice");
    }
}

/// Whoever reaps by labels, the other controller among them, must spare what was extended.
#[test]
fn a_later_expiry_is_written_beside_a_second_controller_too() {
    let beside = Own {
        rival: Some(life("c9")),
        ..own()
    };
    let mut world = World::running().with_firewall(ours()).knowing(beside);
    let hour = chrono::TimeDelta::hours(1);
    world.rex().expires_at += hour;
    assert_eq!(world.verbs(), ["relabel"]);
    world.rex().expires_at -= hour * 2;
    assert_eq!(
        world.verbs(),
        [""; 0],
        "an earlier one they would correct for ever"
    );
}

/// A directory that is mounted late, and a file that is mended later, were there when the ledger was
/// lost: what is in them may have run before.
#[test]
fn what_cannot_be_read_yet_joins_the_list_of_a_lost_ledger() {
    let mut world = World::dropped().with_firewall(seen(Some(mark("l0", 9)), None));
    let unreadable = RootState::Unreadable("not mounted".to_owned());
    world.desired.roots.insert(ROOT.to_owned(), unreadable);
    let specs = std::mem::take(&mut world.desired.specs);
    let begun = pauses_of(&world, &own()).remove(0);
    assert_eq!(begun.items, []);
    let sentence = begun.sentence();
    assert!(
        sentence.contains(&format!("directory {ROOT} cannot be read yet")),
        "{sentence}"
    );
    let empty = begun.digest();
    world.ledger.pauses.push(begun);
    assert_eq!(pauses_of(&world, &own()), [], "nothing new");
    // Mounted, with one that does not validate.
    world
        .desired
        .roots
        .insert(ROOT.to_owned(), RootState::Readable);
    world.desired.specs = specs.clone();
    let broken = SpecState::Broken(vec![]);
    world = world.with_spec(cattle("max"));
    world.set_spec(broken, &name("max"));
    let next = pauses_of(&world, &own()).remove(0);
    assert_eq!(next.items[0].cattle, name("rex"));
    assert_eq!(next.unread, [Unread::Spec(name("max"))]);
    assert_ne!(next.digest(), empty, "whoever confirms has seen it");
    world.ledger.pauses[0] = next;
    // Mended; and what comes now is new.
    let mut world = world.with_spec(cattle("max")).with_spec(cattle("new"));
    let last = pauses_of(&world, &own()).remove(0);
    let listed: Vec<_> = last.items.iter().map(|item| item.cattle.as_str()).collect();
    assert_eq!(listed, ["rex", "max"]);
    assert_eq!(last.unread, []);
    world.ledger.pauses[0] = last;
    assert_eq!(pauses_of(&world, &own()), []);
}

#[test]
fn a_pause_that_was_ended_tomorrow_keeps_no_second_controller_from_being_told() {
    let mut world = World::running().with_firewall(ours());
    let beside = Own {
        rival: Some(life("c9")),
        settled: true,
        looked_at: Some(world.now),
        ..own()
    };
    let mut ended = pauses_of(&world, &beside).remove(0);
    for (at, begins) in [(world.now + secs(90_000), 1), (world.now, 0)] {
        ended.resumed = Some(Resumed {
            at,
            by: "operator".to_owned(),
            confirmed: false,
        });
        world.ledger.pauses = vec![ended.clone()];
        assert_eq!(pauses_of(&world, &beside).len(), begins, "{at}");
    }
}
