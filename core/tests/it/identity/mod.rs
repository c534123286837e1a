//! Who keeps the fleet: what the firewall says, and what is created, written and claimed by it.
//! `project` has whose project it is, `pauses` what a lost ledger and a second controller pause.

use std::sync::Arc;

use cattle_core::{
    desired::{RootState, SpecState},
    grounds::Grounds,
    guard,
    identity::{
        self, ControllerMark, LedgerMark, Marks, Own, Project, Standing, claim, project, rival,
        standing,
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

mod pauses;
mod project;

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
