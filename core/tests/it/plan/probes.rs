//! An image that does not boot costs what was in flight and the probes, whatever waits.

use std::collections::BTreeSet;

use cattle_core::{
    action::{Action, Plan},
    breaker::{ImageFact, ImageRecord, PROBE_EVERY},
    guard,
    names::ServerId,
};
use cattle_schemas::status::{EndReason, PauseReason};

use crate::{
    fixture::*,
    model::{Fate, Model},
};

const IMAGE: &str = "123456";

fn timeouts(world: &mut World, count: u32) {
    let at = world.now;
    let record = world.ledger.images.entry(IMAGE.to_owned()).or_default();
    for _ in 0..count {
        record.learn(ImageFact::TimedOut(at));
    }
}

fn queue(count: usize) -> World {
    (0..count).fold(World::empty(), |world, n| {
        world.with_spec(cattle(&format!("rex-{n:02}")))
    })
}

fn starts(world: &World) -> usize {
    let verbs = world.verbs();
    verbs.iter().filter(|verb| **verb == "start").count()
}

#[test]
fn three_timeouts_in_a_row_stop_an_image_and_a_report_between_them_does_not() {
    let mut world = queue(5);
    timeouts(&mut world, 2);
    assert_eq!(starts(&world), 5);
    let now = world.now;
    let record = world.ledger.images.get_mut(IMAGE).unwrap();
    record.learn(ImageFact::Reported(now));
    timeouts(&mut world, 2);
    assert_eq!(starts(&world), 5, "two in a row again");
    timeouts(&mut world, 1);
    assert_eq!(starts(&world), 0);
    let plan = world.plan();
    assert_eq!(plan.next_wake, Some(now + PROBE_EVERY));
    assert_eq!(
        plan.waiting[0].message,
        "3 servers of image 123456 in a row did not boot in time; one more is tried at 15:15:00 UTC, or now by `clawdlets cattle resume --reason breaker`"
    );
    assert_eq!(plan.waiting[0].reason.as_str(), "starts-paused");
    let Some(Action::Pause(pause)) = plan.actions.iter().find(|it| it.verb() == "pause") else {
        panic!("{plan:#?}")
    };
    assert_eq!(
        (pause.reason, pause.subject.as_str(), pause.starts),
        (PauseReason::Breaker, IMAGE, true)
    );
}

#[test]
fn one_probe_at_a_time_an_hour_after_the_last_or_when_an_operator_asks() {
    let mut world = queue(5);
    timeouts(&mut world, 3);
    world.later(3_599);
    assert_eq!(starts(&world), 0);
    world.later(1);
    assert_eq!(starts(&world), 1);
    let mut asked = queue(5);
    timeouts(&mut asked, 3);
    asked.later(5);
    asked.resume();
    assert_eq!(starts(&asked), 1);
    // It is under way.
    let mut asked = asked.with_run("rex-00", 1);
    asked.bind(run_id(1), ServerId(7));
    asked.resume();
    asked.later(5);
    assert_eq!(starts(&asked), 0);
    let waiting = asked.plan().waiting;
    assert!(
        waiting[0]
            .message
            .ends_with("waits for the one that is tried (1 under way)"),
        "{waiting:?}"
    );
    // It failed as well: an hour again, though an operator had asked.
    asked.ledger.runs.clear();
    timeouts(&mut asked, 1);
    asked.later(3_599);
    assert_eq!(starts(&asked), 0);
    // The next one boots.
    let now = asked.now;
    let record = asked.ledger.images.get_mut(IMAGE).unwrap();
    record.learn(ImageFact::Reported(now));
    assert_eq!(starts(&asked), 4, "the first's assignment has ended");
}

#[test]
fn other_images_start_beside_one_that_does_not_boot() {
    let mut world = queue(2);
    let mut other = cattle("other");
    other.placement.image = "debian-13".to_owned();
    world = world.with_spec(other);
    let catalogue = std::sync::Arc::make_mut(&mut world.limits.catalogue);
    *catalogue = catalogue.presuming(["debian-13"]);
    timeouts(&mut world, 3);
    let started: Vec<_> = world
        .plan()
        .actions
        .iter()
        .filter(|action| action.verb() == "start")
        .filter_map(|action| action.cattle().map(ToString::to_string))
        .collect();
    assert_eq!(started, ["other"]);
}

#[test]
fn the_pause_of_an_image_is_over_when_it_boots_or_nothing_asks_for_it() {
    let mut world = queue(1);
    timeouts(&mut world, 3);
    let pause = world.plan().actions.into_iter().find_map(|it| match it {
        Action::Pause(pause) => Some(*pause),
        _ => None,
    });
    world.ledger.pauses.extend(pause);
    assert!(!world.verbs().contains(&"resume"));
    let mut idle = world.clone();
    idle.desired.specs.clear();
    assert_eq!(idle.verbs(), ["resume"]);
    let now = world.now;
    let record = world.ledger.images.get_mut(IMAGE).unwrap();
    record.learn(ImageFact::Reported(now));
    assert!(world.verbs().contains(&"resume"));
}

#[test]
fn so_many_servers_of_an_unproven_image_exist_at_once() {
    let mut world = queue(5);
    world.limits.unproven_image = Some(2);
    assert_eq!(starts(&world), 2);
    let waits = world.waits();
    assert_eq!(waits.len(), 3);
    assert_eq!(waits[0].1, "unproven-image");
    let mut one = world.clone().with_run("rex-00", 1);
    one.bind(run_id(1), ServerId(7));
    assert_eq!(starts(&one), 1);
    let now = world.now;
    let record = world.ledger.images.entry(IMAGE.to_owned()).or_default();
    record.learn(ImageFact::Reported(now));
    assert_eq!(starts(&world), 5);
}

#[test]
fn the_guard_lets_no_second_probe_pass() {
    let mut world = queue(2);
    let all = world.plan().actions;
    timeouts(&mut world, 3);
    let rules = |world: &World| {
        let plan = Plan {
            actions: all.clone(),
            ..Plan::default()
        };
        let (_, violations) = guard::guard(plan, &world.inputs());
        let rules = violations.iter().map(|violation| violation.rule);
        rules.collect::<Vec<_>>()
    };
    let rule = "of an image that does not boot one server at a time is tried";
    assert_eq!(rules(&world), [rule; 2]);
    world.later(3_600);
    assert_eq!(rules(&world), [rule]);
}

#[test]
fn a_record_tells_when_the_next_probe_may_be_made() {
    let mut record = ImageRecord::default();
    let probe_at = |record: &ImageRecord| record.probe_at(at(40));
    assert_eq!(probe_at(&record), None);
    record.learn(ImageFact::TimedOut(at(10)));
    assert_eq!(probe_at(&record), Some(at(10) + PROBE_EVERY));
    record.released_at = Some(at(20));
    assert_eq!(probe_at(&record), Some(at(20)));
    record.learn(ImageFact::TimedOut(at(30)));
    assert_eq!(probe_at(&record), Some(at(30) + PROBE_EVERY));
}

/// A hundred cattle, an image whose guests are never heard of, a day.
#[test]
fn a_broken_image_costs_what_was_in_flight_and_a_probe_an_hour() {
    const MAX: u32 = 4;
    let mut model = Model::new(MAX);
    for n in 0..100 {
        let spec = cattle(&format!("rex-{n:02}"));
        let name = spec.name.clone();
        let state = cattle_core::desired::SpecState::Valid(spec.into());
        model.world.set_spec(state, &name);
    }
    let hours = 12;
    for _ in 0..hours * 60 {
        model.list();
        for _ in 0..6 {
            model.pass(|| Fate::Works);
        }
        model.run_servers();
        model.world.now += secs(60);
    }
    let timed_out: BTreeSet<_> = model
        .world
        .ledger
        .runs
        .values()
        .filter(|run| {
            let end = run.ended.as_ref();
            end.is_some_and(|end| end.reason == EndReason::BootTimeout)
        })
        .map(|run| run.id)
        .collect();
    let paid = model.world.ledger.runs.len();
    assert!(timed_out.len() > MAX as usize, "{timed_out:?}");
    assert!(
        paid <= MAX as usize + hours,
        "{paid} servers were paid for, {} of them in vain",
        timed_out.len()
    );
    // The image is mended: everything is done.
    model.world.resume();
    for _ in 0..6_000 {
        model.list();
        model.pass(|| Fate::Works);
        for n in 0..MAX as usize {
            model.guest_step(n, 0);
        }
        model.world.now += secs(1);
    }
    let done = model.world.ledger.runs.values();
    let done = done.filter(|run| run.outcome.is_some()).count();
    // Three probes use a spec up, as three failed starts always do.
    let spent = model.world.ledger.assignments.values().filter(|it| {
        let end = it.ended.as_ref();
        end.is_some_and(|end| end.reason == EndReason::BootTimeout)
    });
    assert_eq!(done + spent.count(), 100);
    assert!(done >= 95, "{done}");
}
