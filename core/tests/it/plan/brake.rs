//! No slip with spec files ends more than a few runs.

use cattle_core::{
    action::Action,
    desired::{Requester, RootState, SpecState},
    lifecycle::{self, deadlines},
    names::ServerId,
    pause::{CONTROLLER, Pause, Resumed},
    plan::brake,
};
use cattle_schemas::status::{EndReason, PauseReason};

use crate::fixture::*;

/// So many cattle at work, from one directory.
fn herd(count: u8) -> World {
    let mut world = World::empty();
    for n in 0..count {
        let text = format!("rex-{n:02}");
        let id = u128::from(n) + 1;
        world = world.with_spec(cattle(&text)).with_run(&text, id);
        world.bind(run_id(id), ServerId(100 + u64::from(n)));
        let run = world.ledger.runs.get_mut(&run_id(id)).unwrap();
        let _ = lifecycle::mark_booted(run, at(100));
        let _ = lifecycle::env_handed_out(run, at(100));
        let _ = lifecycle::ready(run, at(100));
    }
    world
}

fn nth(n: u8) -> cattle_core::names::CattleName {
    name(&format!("rex-{n:02}"))
}

/// The first so many lost their files long enough ago.
fn remove(world: &mut World, count: u8) {
    let since = world.now - deadlines::ABSENCE;
    for n in 0..count {
        world.set_spec(SpecState::Absent { since }, &nth(n));
    }
}

fn put_back(world: &mut World, numbers: std::ops::Range<u8>) {
    for n in numbers {
        let spec = cattle(&format!("rex-{n:02}"));
        world.set_spec(SpecState::Valid(spec.into()), &nth(n));
    }
}

fn ends(world: &World) -> usize {
    let verbs = world.verbs();
    verbs.iter().filter(|verb| **verb == "end").count()
}

/// Carries out what the plan asks of the ledger and of runs, as the controller does.
fn act(world: &mut World) {
    let now = world.now;
    for action in world.plan().actions {
        match action {
            Action::Pause(fresh) => world.change_pause(fresh.reason, &fresh.subject, |held| {
                assert!(lifecycle::pause(held, &fresh).applied);
            }),
            Action::Resume {
                reason,
                subject,
                message,
            } => world.change_pause(reason, &subject, |held| {
                assert!(lifecycle::resume(held, CONTROLLER, &message, false, now).applied);
            }),
            Action::End {
                run,
                reason,
                message,
                counts_for,
                ..
            } => {
                let run = world.ledger.runs.get_mut(&run).unwrap();
                let ending = lifecycle::Ending::new(reason, message);
                assert!(lifecycle::end(run, None, &ending, now).applied);
                run.counts_for.clone_from(&counts_for);
                world
                    .ledger
                    .recent_ends
                    .extend(counts_for.map(|it| (now, it)));
            }
            _ => {}
        }
    }
}

/// What is held back, by name.
fn held(world: &World) -> Vec<String> {
    let pauses = world.ledger.holding();
    pauses
        .flat_map(|pause| pause.items.iter().map(|item| item.cattle.to_string()))
        .collect()
}

#[test]
fn three_runs_or_thirty_percent_may_end_for_their_specs() {
    for (live, removed, may) in [(10, 3, true), (10, 4, false), (20, 6, true), (20, 7, false)] {
        let mut world = herd(live);
        remove(&mut world, removed);
        let expected = if may { usize::from(removed) } else { 0 };
        assert_eq!(ends(&world), expected, "{removed} of {live}");
        assert_eq!(world.verbs().contains(&"pause"), !may);
    }
    assert_eq!(brake::allowed(0), 3);
}

#[test]
fn what_is_held_back_is_said_once_with_its_list() {
    let mut world = herd(10);
    remove(&mut world, 4);
    act(&mut world);
    assert_eq!(world.verbs(), [""; 0]);
    assert_eq!(held(&world), ["rex-00", "rex-01", "rex-02", "rex-03"]);
    let pause = &world.ledger.pauses[0];
    assert_eq!(
        pause.message,
        "4 runs of dir:/specs would end for their specs, and no more than 3 may within ten minutes"
    );
    assert!(!pause.starts && pause.ends && !pause.is_whole());
    // A pending one is not closed either: its place in the queue is somebody's too.
    world = world.with_spec(cattle("waits"));
    let key = (name("waits"), hash(1));
    world.ledger.assignments.insert(key, assignment(at(1)));
    let since = at(1);
    world.set_spec(SpecState::Absent { since }, &name("waits"));
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn ends_are_counted_over_ten_minutes() {
    let mut world = herd(10);
    remove(&mut world, 3);
    act(&mut world);
    world.later(300);
    remove(&mut world, 4);
    assert_eq!(ends(&world), 0, "the fourth within ten minutes");
    assert!(world.verbs().contains(&"pause"));
    world.later(301);
    assert_eq!(ends(&world), 1, "nobody was there to hold it back");
}

#[test]
fn a_slip_that_takes_its_time_is_seen_whole_before_its_first_run_ends() {
    let mut world = herd(10);
    remove(&mut world, 1);
    assert_eq!(ends(&world), 1);
    for n in 1..4 {
        let since = world.now - secs(u64::from(n));
        world.set_spec(SpecState::Absent { since }, &nth(n));
    }
    assert_eq!(ends(&world), 0, "three more are away");
    act(&mut world);
    assert_eq!(held(&world).len(), 4);
    // A checkout that puts them back.
    put_back(&mut world, 1..4);
    assert_eq!(ends(&world), 0, "who confirms it?");
    world.resume();
    assert_eq!(ends(&world), 1);
}

#[test]
fn nobody_brakes_others() {
    let mut world = herd(10);
    for n in 5..10 {
        let entry = world.desired.specs.get_mut(&nth(n)).unwrap();
        entry.origin.requester = Requester::directory("/other");
        entry.origin.root = "/other".to_owned();
    }
    let roots = &mut world.desired.roots;
    roots.insert("/other".to_owned(), RootState::Readable);
    remove(&mut world, 5);
    let since = world.now - deadlines::ABSENCE;
    let state = SpecState::Absent { since };
    world.desired.specs.get_mut(&nth(9)).unwrap().state = state;
    let plan = world.plan();
    let ends: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::End { run, .. } => Some(*run),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [run_id(10)]);
}

#[test]
fn a_directory_that_loses_all_of_three_specs_at_once_ends_nothing() {
    for (count, expected) in [(2, 2), (3, 0)] {
        let mut world = herd(count);
        remove(&mut world, count);
        assert_eq!(ends(&world), expected, "of {count}");
    }
    // One after the other is no slip.
    let mut world = herd(3);
    for n in 0..3 {
        let since = world.now - deadlines::ABSENCE;
        world.set_spec(SpecState::Absent { since }, &nth(n));
        assert_eq!(ends(&world), 1);
        act(&mut world);
        world.later(700);
    }
    // After a restart nobody knows which files there were.
    let mut world = herd(3);
    world.desired.specs.clear();
    assert_eq!(ends(&world), 0);
    act(&mut world);
    assert_eq!(held(&world).len(), 3);
}

#[test]
fn a_directory_that_cannot_be_read_for_a_while_is_held_back_and_shown() {
    let mut world = herd(2);
    let gone = RootState::Unreadable("No such file or directory".to_owned());
    world.desired.roots.insert(ROOT.to_owned(), gone);
    let since = world.now;
    let unreadable = &mut world.desired.unreadable_since;
    unreadable.insert(ROOT.to_owned(), since);
    let plan = world.plan();
    assert_eq!(plan.actions, [], "it may be a checkout");
    assert_eq!(plan.next_wake, Some(since + deadlines::ABSENCE));
    world.later(15);
    act(&mut world);
    assert_eq!(held(&world).len(), 2);
    assert_eq!(
        world.ledger.pauses[0].message,
        "dir:/specs cannot be read (No such file or directory): none of its 2 runs ends for its spec"
    );
    // It is known to be gone for good.
    world.resume();
    assert_eq!(ends(&world), 2);
    act(&mut world);
    assert_eq!(world.ledger.recent_ends, [], "an operator said so");
    assert!(!world.verbs().contains(&"pause"));
}

#[test]
fn files_that_come_back_end_the_pause_by_themselves() {
    let mut world = herd(10);
    remove(&mut world, 8);
    act(&mut world);
    put_back(&mut world, 0..6);
    act(&mut world);
    assert_eq!(held(&world), ["rex-06", "rex-07"], "two are still away");
    assert_eq!(ends(&world), 0);
    put_back(&mut world, 6..8);
    assert_eq!(world.verbs(), ["resume"]);
    act(&mut world);
    assert_eq!(held(&world), [""; 0]);
    assert_eq!(world.verbs(), [""; 0]);
}

#[test]
fn what_was_confirmed_ends_and_what_was_not_is_counted_anew() {
    let mut world = herd(20);
    remove(&mut world, 10);
    act(&mut world);
    world.resume();
    world.later(1);
    assert_eq!(ends(&world), 10);
    act(&mut world);
    remove(&mut world, 13);
    assert_eq!(ends(&world), 3, "these are the first of their ten minutes");
    act(&mut world);
    remove(&mut world, 14);
    assert_eq!(ends(&world), 0);
}

#[test]
fn a_confirmation_is_good_for_ten_minutes_alone() {
    let mut world = herd(10);
    remove(&mut world, 5);
    act(&mut world);
    world.resume();
    put_back(&mut world, 0..5);
    world.later(601);
    remove(&mut world, 5);
    assert_eq!(ends(&world), 0);
}

#[test]
fn a_spec_that_was_put_over_the_socket_is_never_braked() {
    let mut world = herd(10);
    remove(&mut world, 4);
    act(&mut world);
    let mut changed = cattle("rex-09");
    changed.hash = hash(2);
    world.set_spec(SpecState::Valid(changed.into()), &nth(9));
    assert_eq!(ends(&world), 0, "in a directory it is");
    let entry = world.desired.specs.get_mut(&nth(9)).unwrap();
    entry.origin.from_socket = true;
    let plan = world.plan();
    let counts: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::End { counts_for, .. } => Some(counts_for),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [&None]);
}

#[test]
fn what_was_confirmed_is_not_lost_once_more() {
    let mut world = herd(5);
    remove(&mut world, 4);
    act(&mut world);
    world.resume();
    assert_eq!(ends(&world), 4);
    act(&mut world);
    world.later(60);
    let since = world.now - deadlines::ABSENCE;
    world.set_spec(SpecState::Absent { since }, &nth(4));
    assert_eq!(ends(&world), 1);
    act(&mut world);
    assert_eq!(held(&world), [""; 0]);
}

/// It was confirmed before the clock went back a day.
#[test]
fn a_list_that_was_confirmed_tomorrow_excuses_no_directory_that_is_emptied_now() {
    for (ahead, may_end) in [(0, 3), (90_000, 0)] {
        let mut world = herd(3);
        let confirmed = Pause {
            subject: Requester::directory(ROOT).0,
            ends: true,
            resumed: Some(Resumed {
                at: world.now + secs(ahead),
                by: "operator".to_owned(),
                confirmed: true,
            }),
            ..Pause::by_controller(PauseReason::Deletes, "emptied", world.now)
        };
        world.ledger.pauses.push(confirmed);
        remove(&mut world, 3);
        assert_eq!(ends(&world), may_end, "{ahead}");
    }
}

#[test]
fn what_is_over_is_not_its_specs_to_end() {
    let mut world = herd(4);
    for run in world.ledger.runs.values_mut() {
        assert!(lifecycle::outcome(run, outcome(0), at(100)).applied);
    }
    remove(&mut world, 4);
    assert_eq!(ends(&world), 4);
    act(&mut world);
    assert_eq!(held(&world), [""; 0]);
}

#[test]
fn results_and_ttls_are_never_braked() {
    let mut world = herd(10);
    remove(&mut world, 10);
    act(&mut world);
    let run = world.ledger.runs.get_mut(&run_id(1)).unwrap();
    let _ = lifecycle::outcome(run, outcome(0), at(100));
    world.ledger.runs.get_mut(&run_id(2)).unwrap().expires_at = world.now;
    let plan = world.plan();
    let over: Vec<_> = plan.actions.iter().filter_map(Action::run).collect();
    assert_eq!(over, [run_id(1), run_id(2)]);
}

#[test]
fn an_edit_that_waits_for_its_run_says_that_the_end_is_held_back() {
    let mut world = herd(10);
    for n in 0..4 {
        let mut changed = cattle(&format!("rex-{n:02}"));
        changed.hash = hash(2);
        world.set_spec(SpecState::Valid(changed.into()), &nth(n));
    }
    act(&mut world);
    let pause = &world.ledger.pauses[0];
    assert_eq!(pause.reason, PauseReason::Deletes);
    let plan = world.plan();
    let message = &plan.waiting[0].message;
    assert!(
        message.contains("may not be ended now: 4 runs of dir:/specs"),
        "{message}"
    );
    assert!(message.contains("`clawdlets cattle resume --reason deletes`"));
}

#[test]
fn the_guard_counts_for_itself() {
    use cattle_core::{action::Plan, guard};
    let mut world = herd(10);
    remove(&mut world, 10);
    let action = |n: u128, counts_for: Option<Requester>| Action::End {
        run: run_id(n),
        reason: EndReason::SpecRemoved,
        message: String::new(),
        hold_until: None,
        unless_env_handed_out: false,
        counts_for,
    };
    let refused = |world: &World, actions: Vec<Action>| -> Vec<&'static str> {
        let plan = Plan {
            actions,
            ..Plan::default()
        };
        let (_, violations) = guard::guard(plan, &world.inputs());
        violations.iter().map(|violation| violation.rule).collect()
    };
    let source = Some(Requester::directory(ROOT));
    let all: Vec<Action> = (1..=10).map(|n| action(n, source.clone())).collect();
    let rules = refused(&world, all.clone());
    assert_eq!(
        rules,
        vec!["no source of specs ends more than a few of its runs at once"; 7]
    );
    let uncounted = refused(&world, vec![action(1, None)]);
    assert_eq!(
        uncounted,
        ["an end for a spec counts, unless somebody asked for that one"]
    );
    let others = refused(&world, vec![action(1, Some(Requester::uid(7)))]);
    assert_eq!(others, ["an end for a spec counts for the spec's source"]);
    act(&mut world);
    assert_eq!(
        refused(&world, vec![all[0].clone()]),
        ["nothing ends for the specs of a source that is held back"]
    );
}
