//! From any start, through any mishap, plans lead to rest: every task that is asked for is done at
//! most once, nothing is left over, and then there is nothing to do.

use std::sync::Arc;

use cattle_core::{
    desired::{RootState, SpecState},
    names::ServerId,
    pause::Pause,
};
use cattle_schemas::{
    spec_file::OnFailure,
    status::{EndReason, PauseReason},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    fixture::*,
    model::{Fate, Model},
};

/// Enough cattle to crowd the limit.
const NAMES: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
const MAX_INSTANCES: u32 = 4;

/// `maxHourly` for two servers, of which there may be as many orphans; `maxDaily` for a few starts.
const BUDGETS: [(Option<&str>, Option<&str>); 4] = [
    (None, None),
    (Some("0.0192"), None),
    (None, Some("0.2")),
    (Some("0.0192"), Some("0.2")),
];

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Pass(Vec<Fate>),
    List,
    Wait(u64),
    Guest(usize, i32),
    Drop { cattle: usize, hash: u8, ttl: u64 },
    Break(usize),
    Remove(usize),
    Rerun(usize, u8),
    ComeBack,
    Crash,
    Vanish(usize),
    TurnOff(usize),
    LoseLabels(usize, bool),
    Rename(usize),
    TakeOver(usize, usize),
    GiveBack(usize),
    Copy(usize),
    Odd(usize),
    Root(bool),
    PauseStarts(bool),
    PauseEnds(bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Works),
        1 => Just(Fate::ReplyLost),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Slow),
        1 => Just(Fate::Crash),
        1 => select(vec![Fate::Fails, Fate::Sticks, Fate::BornOff, Fate::StaysOff]),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let cattle = 0..NAMES.len();
    let server = 0..8_usize;
    prop_oneof![
        10 => vec(fate(), 1..8).prop_map(Event::Pass),
        6 => Just(Event::List),
        5 => select(vec![1, 5, 14, 15, 20, 60, 180, 720, 3600]).prop_map(Event::Wait),
        12 => (server.clone(), select(vec![0, 0, 1])).prop_map(|(n, code)| Event::Guest(n, code)),
        6 => (cattle.clone(), 1..4_u8, select(vec![60, 300, 7200]))
            .prop_map(|(cattle, hash, ttl)| Event::Drop { cattle, hash, ttl }),
        1 => cattle.clone().prop_map(Event::Break),
        2 => cattle.clone().prop_map(Event::Remove),
        1 => (cattle, 1..4_u8).prop_map(|(cattle, hash)| Event::Rerun(cattle, hash)),
        2 => Just(Event::ComeBack),
        1 => Just(Event::Crash),
        1 => server.clone().prop_map(Event::Vanish),
        1 => server.clone().prop_map(Event::TurnOff),
        1 => server.clone().prop_map(Event::Odd),
        2 => (server.clone(), any::<bool>()).prop_map(|(n, all)| Event::LoseLabels(n, all)),
        1 => server.clone().prop_map(Event::Rename),
        1 => (server.clone(), 0..3_usize).prop_map(|(n, how)| Event::TakeOver(n, how)),
        1 => server.clone().prop_map(Event::GiveBack),
        1 => server.prop_map(Event::Copy),
        1 => any::<bool>().prop_map(Event::Root),
        1 => any::<bool>().prop_map(Event::PauseStarts),
        1 => any::<bool>().prop_map(Event::PauseEnds),
    ]
}

fn happen(model: &mut Model, event: &Event) {
    let now = model.world.now;
    match event {
        Event::Pass(fates) => {
            let mut fates = fates.iter().copied().cycle();
            model.pass(|| fates.next().unwrap());
        }
        Event::List => model.list(),
        Event::Wait(seconds) => {
            // A guest is heard every fifteen seconds; only the last time matters.
            model.world.now += secs(*seconds);
            model.heartbeats();
        }
        Event::Guest(n, exit_code) => model.guest_step(*n, *exit_code),
        Event::Drop {
            cattle,
            hash: n,
            ttl,
        } => {
            let mut spec = crate::fixture::cattle(NAMES[*cattle]);
            spec.hash = hash(*n);
            spec.ttl = secs(*ttl);
            // One kind that is kept after a failure, and one that is kept whatever comes.
            if *n == 2 {
                spec.on_failure = OnFailure::Hold("10m".parse().unwrap());
            }
            spec.auto_shutdown = *n != 3;
            let name = spec.name.clone();
            model
                .world
                .set_spec(SpecState::Valid(Arc::new(spec)), &name);
        }
        Event::Break(n) => model.world.set_spec(broken(), &name(NAMES[*n])),
        Event::Remove(n) => {
            let name = name(NAMES[*n]);
            if model.world.desired.specs.contains_key(&name) {
                model
                    .world
                    .set_spec(SpecState::Absent { since: now }, &name);
            }
        }
        Event::Rerun(n, of) => model.rerun(&name(NAMES[*n]), &hash(*of)),
        Event::ComeBack => model.come_back(),
        Event::Crash => model.crash(),
        Event::Vanish(n) => model.vanish(*n),
        Event::TurnOff(n) => model.turn_off(*n),
        Event::LoseLabels(n, all) => model.lose_labels(*n, *all),
        Event::Rename(n) => model.rename(*n),
        Event::TakeOver(n, how) => model.take_over(*n, *how),
        Event::GiveBack(n) => model.give_back(*n),
        Event::Copy(n) => model.copy(*n),
        Event::Odd(n) => model.turn_odd(*n),
        Event::Root(readable) => {
            let state = if *readable {
                RootState::Readable
            } else {
                RootState::Unreadable("no such directory".to_owned())
            };
            model.world.desired.roots.insert(ROOT.to_owned(), state);
        }
        Event::PauseStarts(paused) => {
            lift(model, |pause| pause.starts);
            if *paused {
                model.world.pause(true, false);
            }
        }
        Event::PauseEnds(paused) => {
            lift(model, |pause| pause.ends);
            if *paused {
                model.world.pause(false, true);
            }
        }
    }
}

/// An operator's pauses are over; what the controller holds back by itself is not.
fn lift(model: &mut Model, is_meant: impl Fn(&Pause) -> bool) {
    let pauses = &mut model.world.ledger.pauses;
    pauses.retain(|pause| pause.reason != PauseReason::Paused || !is_meant(pause));
}

/// Lists and passes until a fresh list leaves nothing to do; that must not take many, or the
/// controller would spin.
fn settle(model: &mut Model) {
    for _ in 0..10 {
        model.list();
        if model.pass(|| Fate::Works) == 0 {
            return;
        }
        let passes = (0..10)
            .take_while(|_| model.pass(|| Fate::Works) > 0)
            .count();
        assert!(
            passes < 10,
            "plans do not come to an end: {:#?}",
            model.world.plan()
        );
    }
    panic!("lists do not come to an end: {:#?}", model.world.plan());
}

/// All is well from here on: calls work, guests do their tasks, broken specs are mended, two of
/// the servers that others took are ours again.
fn calm_down(model: &mut Model) {
    model.come_back();
    for n in 0..2 {
        model.give_back(n);
    }
    happen(model, &Event::Root(true));
    lift(model, |_| true);
    for text in NAMES {
        let name = name(text);
        let broken = model.world.desired.specs.get(&name);
        if broken.is_some_and(|entry| matches!(entry.state, SpecState::Broken(_))) {
            let spec = Arc::new(crate::fixture::cattle(text));
            model.world.set_spec(SpecState::Valid(spec), &name);
        }
    }
}

/// After so many rounds all that goes on is somebody who tries each minute, for a day at most: to make
/// a server whose name another owner's has.
const LONG_AGO: usize = 300;

/// Goes from deadline to deadline until there are none.
fn rest(model: &mut Model) {
    for round in 0..400 {
        // Somebody looks at what is held back, and lets it go on.
        model.world.resume();
        settle(model);
        assert!(
            model.world.plan().actions.is_empty(),
            "the second plan is not empty"
        );
        for n in 0..MAX_INSTANCES as usize {
            model.guest_step(n, 0);
        }
        model.heartbeats();
        model.give_up();
        settle(model);
        let plan = model.world.plan();
        match plan.next_wake {
            Some(at) => {
                assert!(at > model.world.now, "a wake in the past");
                // Guests go on meanwhile.
                model.world.now = if round >= LONG_AGO {
                    model.world.now + secs(3600)
                } else if round % 8 == 7 {
                    at
                } else {
                    at.min(model.world.now + secs(15))
                };
                model.heartbeats();
            }
            None if plan.waiting.is_empty() && model.findable() == 0 => return,
            None => model.world.now += secs(15),
        }
    }
    panic!(
        "no rest: {:#?}\n{:#?}",
        model.world.plan(),
        model.world.ledger
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_to_rest_and_runs_nothing_twice(
        orphans in vec((0..NAMES.len(), 1..3_u8, select(vec![60_u64, 7200])), 0..3),
        events in vec(event(), 1..80),
        budget in select(BUDGETS.to_vec()),
    ) {
        let mut model = Model::new(MAX_INSTANCES);
        model.world = model.world.with_budget(budget.0, budget.1);
        for (cattle, hash, lives) in orphans {
            model.add_orphan(NAMES[cattle], hash, lives);
        }
        for event in &events {
            happen(&mut model, event);
            model.check();
        }
        calm_down(&mut model);
        rest(&mut model);
        model.check_rest();
    }
}

#[test]
fn who_waits_for_a_name_that_another_owners_server_has_comes_to_rest_too() {
    let mut model = Model::new(MAX_INSTANCES);
    model.add_orphan(NAMES[0], 1, 60);
    let drop = |cattle| Event::Drop {
        cattle,
        hash: 1,
        ttl: 60,
    };
    let take_over = || Event::TakeOver(0, 0);
    for event in [
        Event::List,
        drop(1),
        Event::Pass(vec![Fate::Works, Fate::Crash]),
        take_over(),
        take_over(),
        drop(2),
        Event::List,
        Event::Pass(vec![Fate::Works, Fate::Works]),
        take_over(),
    ] {
        happen(&mut model, &event);
        model.check();
    }
    calm_down(&mut model);
    rest(&mut model);
    model.check_rest();
}

#[test]
fn a_crowd_is_done_within_its_limit() {
    let mut model = Model::new(MAX_INSTANCES);
    for i in 0..50 {
        let spec = crate::fixture::cattle(&format!("rex-{i:02}"));
        let name = spec.name.clone();
        model
            .world
            .set_spec(SpecState::Valid(Arc::new(spec)), &name);
    }
    model.list();
    let mut most = 0;
    for _ in 0..2000 {
        model.pass(|| Fate::Works);
        most = most.max(model.count());
        for n in 0..MAX_INSTANCES as usize {
            model.guest_step(n, 0);
        }
        model.world.now += secs(1);
        model.list();
    }
    assert_eq!(most, MAX_INSTANCES as usize);
    let done = model
        .world
        .ledger
        .runs
        .values()
        .filter(|run| run.outcome.is_some())
        .count();
    assert_eq!(done, 50);
    model.check_rest();
    assert_eq!(model.world.ledger.runs.len(), 50);
    assert!(
        !model
            .world
            .observed
            .servers
            .iter()
            .any(|server| server.id > ServerId(1000))
    );
}

#[test]
fn a_refusal_after_a_lost_reply_frees_no_slot() {
    let mut model = Model::new(1);
    let drop = |cattle| Event::Drop {
        cattle,
        hash: 1,
        ttl: 7200,
    };
    happen(&mut model, &drop(0));
    model.list();
    // Queued; its server is made, but nobody hears of it.
    model.pass(|| Fate::ReplyLost);
    assert_eq!(model.count(), 1);
    model.world.now += secs(5);
    model.pass(|| Fate::Refused);
    happen(&mut model, &drop(1));
    model.pass(|| Fate::Works);
    assert_eq!(
        model.count(),
        1,
        "the second cattle waits for the first one's server"
    );
    rest(&mut model);
    model.check_rest();
}

/// Each start meets its mishap once; what follows works.
fn after(mishap: Fate) -> Model {
    let mut model = Model::new(1);
    let drop = Event::Drop {
        cattle: 0,
        hash: 1,
        ttl: 7200,
    };
    happen(&mut model, &drop);
    model.list();
    model.pass(|| mishap);
    rest(&mut model);
    model.check_rest();
    model
}

/// How each run of the only cattle ended.
fn ends(model: &Model) -> Vec<EndReason> {
    let runs = model.world.ledger.runs.values();
    runs.map(|run| run.ended.as_ref().unwrap().reason).collect()
}

#[test]
fn a_create_that_comes_to_nothing_is_followed_by_one_that_works() {
    for mishap in [Fate::Fails, Fate::Sticks, Fate::StaysOff] {
        assert_eq!(
            ends(&after(mishap)),
            [EndReason::CreateFailed, EndReason::Completed],
            "{mishap:?}"
        );
    }
}

#[test]
fn a_server_born_off_is_powered_on_and_does_its_task() {
    assert_eq!(ends(&after(Fate::BornOff)), [EndReason::Completed]);
}
