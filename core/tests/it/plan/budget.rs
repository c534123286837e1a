//! What a budget lets start, what it keeps waiting, and what it says.

use std::{collections::BTreeMap, sync::Arc};

use cattle_core::{
    action::{Action, Plan},
    charge::{Charge, price_of_run},
    cost::{Amount, ServerPrice, billed_within, day},
    desired::SpecState,
    ledger::RunServer,
    lifecycle,
    names::ServerId,
};
use cattle_schemas::{Timestamp, status::PendingReason};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::fixture::*;

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

/// This many specs, queued in this order.
fn crowd(n: u64) -> World {
    let mut world = World::empty();
    for i in 0..n {
        let text = format!("rex-{i}");
        world = world.with_spec(cattle(&text));
        world
            .ledger
            .assignments
            .insert((name(&text), hash(1)), assignment(at(i)));
    }
    world
}

fn change(world: &mut World, text: &str, change: impl FnOnce(&mut cattle_core::desired::Cattle)) {
    let entry = world.desired.specs.get_mut(&name(text)).unwrap();
    if let SpecState::Valid(cattle) = &mut entry.state {
        change(Arc::make_mut(cattle));
    }
}

/// What is set aside for each start.
fn limits(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Start { hourly_limit, .. } | Action::Retry { hourly_limit, .. } => {
                Some(hourly_limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string()))
            }
            _ => None,
        })
        .collect()
}

/// What those say that wait for the budget.
fn refusals(plan: &Plan) -> Vec<String> {
    plan.waiting
        .iter()
        .filter(|waiting| waiting.reason == PendingReason::Budget)
        .map(|waiting| format!("{}: {}", waiting.cattle, waiting.message))
        .collect()
}

#[test]
fn without_a_budget_nothing_is_set_aside() {
    assert_eq!(limits(&crowd(2).plan()), ["none", "none"]);
}

#[test]
fn no_more_start_than_max_hourly_pays_for() {
    let plan = crowd(5).with_budget(Some("0.02"), None).plan();
    assert_eq!(limits(&plan), ["0.0096", "0.0096"]);
    let refusals = refusals(&plan);
    assert_eq!(refusals.len(), 3);
    insta::assert_snapshot!(refusals[0], @"rex-2: 0.0192 of 0.0200 EUR/h are used (cattle.budget.maxHourly); cx23 in nbg1 would add 0.0096");
}

#[test]
fn what_fits_to_the_last_cent_starts() {
    let plan = crowd(3).with_budget(Some("0.0192"), None).plan();
    assert_eq!(limits(&plan), ["0.0096", "0.0096"]);
}

#[test]
fn servers_that_exist_or_may_exist_count() {
    for world in [World::intended(), World::running(), World::ended()] {
        let world = world
            .with_spec(cattle("max"))
            .with_budget(Some("0.0191"), None);
        assert!(!world.verbs().contains(&"start"), "{world:#?}");
        assert_eq!(refusals(&world.plan()).len(), 1);
    }
}

#[test]
fn a_create_that_was_refused_for_certain_costs_nothing() {
    let mut world = World::intended();
    let refused = PendingReason::Backoff;
    let _ = lifecycle::refuse_create(world.rex(), refused, "busy", Some(at(500)), at(100));
    let world = world
        .with_spec(cattle("max"))
        .with_budget(Some("0.0096"), None);
    assert_eq!(world.verbs(), ["enqueue", "start"]);
}

#[test]
fn its_next_attempt_is_held_against_the_budget_like_a_start() {
    let mut world = World::intended();
    let refused = PendingReason::OutOfStock;
    let _ = lifecycle::refuse_create(world.rex(), refused, "out of stock", Some(at(100)), at(100));
    let fits = world.clone().with_budget(Some("0.0096"), None).plan();
    assert_eq!(limits(&fits), ["0.0096"]);
    let short = world.with_budget(Some("0.0095"), None).plan();
    assert_eq!(limits(&short), [""; 0]);
    assert_eq!(refusals(&short).len(), 1);
}

#[test]
fn the_dearest_candidate_that_fits_is_set_aside() {
    let mut world = World::dropped();
    world.edit(|cattle| cattle.placement.server_types = vec!["cx23".into(), "cpx22".into()]);
    let of = |budget| limits(&world.clone().with_budget(Some(budget), None).plan());
    assert_eq!(of("0.04"), ["0.0320"]);
    // Only the cheaper one fits; nothing dearer is tried then.
    assert_eq!(of("0.03"), ["0.0096"]);
    assert_eq!(of("0.009"), [""; 0]);
}

#[test]
fn for_a_pair_that_cannot_be_nothing_is_set_aside() {
    let mut world = World::dropped().with_budget(Some("1"), None);
    world.edit(|cattle| cattle.placement.server_types = vec!["cx23".into(), "cpx22".into()]);
    assert_eq!(limits(&world.plan()), ["0.0320"]);
    // Its disk is smaller than the image needs.
    let types = &mut Arc::make_mut(&mut world.limits.catalogue).server_types;
    types.get_mut("cpx22").unwrap().disk_gb = Some(20);
    assert_eq!(limits(&world.plan()), ["0.0096"]);
}

#[test]
fn what_was_set_aside_counts_until_the_server_has_a_price() {
    let mut world = World::intended().with_spec(cattle("max"));
    world.rex().hourly_limit = Some(amount("0.0320"));
    let world = world.with_budget(Some("0.04"), None);
    assert_eq!(refusals(&world.plan()).len(), 1);
    let mut world = world;
    world.bind(run_id(1), ServerId(7));
    assert_eq!(refusals(&world.plan()), [""; 0]);
}

#[test]
fn what_no_fleet_could_pay_for_is_told_so() {
    let world = World::dropped();
    let of = |hourly, daily| refusals(&world.clone().with_budget(hourly, daily).plan()).join("\n");
    insta::assert_snapshot!(of(Some("0.005"), None), @"rex: cx23 in nbg1 costs 0.0096 EUR/h, and cattle.budget.maxHourly is 0.0050; it starts when that is raised, or its spec names something cheaper");
    insta::assert_snapshot!(of(None, Some("0.005")), @"rex: one hour of cx23 in nbg1 costs 0.0096 EUR, and cattle.budget.maxDaily is 0.0050; it starts when that is raised, or its spec names something cheaper");
}

#[test]
fn nothing_starts_under_a_budget_before_prices_are_known() {
    let mut world = World::dropped().with_budget(Some("1"), None);
    world.limits.catalogue = Arc::new(catalogue());
    insta::assert_snapshot!(refusals(&world.plan()).join("\n"), @"rex: prices are not known yet, and nothing starts under cattle.budget until they are");
}

#[test]
fn a_candidate_without_a_price_does_not_start_under_a_budget() {
    let mut world = World::dropped().with_budget(Some("1"), None);
    world.edit(|cattle| cattle.placement.server_types = vec!["cx22".into()]);
    insta::assert_snapshot!(refusals(&world.plan()).join("\n"), @"rex: no price is known of cx22 in nbg1, so it cannot start under cattle.budget");
    world.edit(|cattle| cattle.placement.server_types = vec!["cx22".into(), "cx23".into()]);
    assert_eq!(limits(&world.plan()), ["0.0096"]);
}

#[test]
fn a_server_that_no_run_has_counts_at_what_its_type_costs() {
    let mut world = World::running();
    world.ledger.runs.clear();
    world.desired.specs.clear();
    let world = world.with_spec(cattle("max"));
    let of = |budget| refusals(&world.clone().with_budget(Some(budget), None).plan());
    assert_eq!(of("0.0192"), [""; 0]);
    insta::assert_snapshot!(of("0.0191")[0], @"max: 0.0096 of 0.0191 EUR/h are used (cattle.budget.maxHourly); cx23 in nbg1 would add 0.0096");
}

#[test]
fn a_server_of_unknown_price_keeps_everything_waiting_and_is_named() {
    let mut world = World::running().with_spec(cattle("max"));
    world.rex().server.as_mut().unwrap().price = None;
    world.rex().server.as_mut().unwrap().server_type = Some("cx22".to_owned());
    let plan = world.with_budget(Some("1"), None).plan();
    insta::assert_snapshot!(refusals(&plan).join("\n"), @"max: the price of server cattle-rex-000001 is not known, and nothing starts under cattle.budget until it is gone");
}

/// 14:15:00 UTC: nine hours and three quarters are left of the day.
fn hours_today(ttl: u64) -> u64 {
    let until = at(100) + secs(ttl) + lifecycle::deadlines::REAPER_GRACE;
    let today = day(at(100).date_naive());
    billed_within(&ServerPrice::default(), at(100), until, today).hours
}

#[test]
fn max_daily_counts_what_servers_may_still_spend_today() {
    assert_eq!((hours_today(7200), hours_today(86_400)), (3, 10));
    // Each may live for two hours and the time that its end takes: three started hours.
    let plan = crowd(5).with_budget(None, Some("0.06")).plan();
    assert_eq!(limits(&plan), ["0.0096", "0.0096"]);
    insta::assert_snapshot!(refusals(&plan)[0], @"rex-2: 0.0576 of 0.0600 EUR are spent or bound for 2026-09-21 UTC (cattle.budget.maxDaily); cx23 in nbg1 would add 0.0288");
    // With each hour there is less of the day to pay for.
    assert_eq!(
        plan.next_wake,
        Some("2026-09-21T15:00:00Z".parse().unwrap())
    );
}

#[test]
fn what_was_spent_today_counts_after_its_server_is_gone() {
    let mut world = World::ended().with_spec(cattle("max"));
    let _ = lifecycle::mark_gone(world.rex(), at(100));
    world.observed.servers.clear();
    // One hour of rex, three of max.
    let fits = world.clone().with_budget(None, Some("0.0384"));
    assert_eq!(limits(&fits.plan()), ["0.0096"]);
    let short = world.clone().with_budget(None, Some("0.0383"));
    assert_eq!(limits(&short.plan()), [""; 0]);
    // Also when the ledger has no more of it than its charge.
    let run = world.ledger.runs.remove(&run_id(1)).unwrap();
    world.ledger.charges.push(Charge::of_run(&run).unwrap());
    world.desired.specs.remove(&name("rex"));
    let short = world.clone().with_budget(None, Some("0.0383"));
    assert_eq!(limits(&short.plan()), [""; 0]);
    // And never twice.
    world.ledger.runs.insert(run.id, run);
    let fits = world.clone().with_budget(None, Some("0.0384"));
    assert_eq!(limits(&fits.plan()), ["0.0096"]);
    // The next day has a purse of its own.
    world.later(86_400);
    let next = world.with_budget(None, Some("0.0288"));
    assert_eq!(limits(&next.plan()), ["0.0096"]);
}

#[test]
fn the_days_to_come_are_not_spent_the_evening_before() {
    let mut world = crowd(2);
    for text in ["rex-0", "rex-1"] {
        change(&mut world, text, |cattle| cattle.ttl = secs(86_400));
    }
    // A quarter of an hour before midnight.
    world.later(9 * 3600 + 1800);
    assert_eq!(
        world.now,
        "2026-09-21T23:45:00Z".parse::<Timestamp>().unwrap()
    );
    let plan = world.with_budget(None, Some("0.3")).plan();
    assert_eq!(limits(&plan), ["0.0096"]);
    insta::assert_snapshot!(refusals(&plan)[0], @"rex-1: 0.2304 of 0.3000 EUR are spent or bound for 2026-09-22 UTC (cattle.budget.maxDaily); cx23 in nbg1 would add 0.2304");
}

#[test]
fn a_day_that_is_short_enough_lets_start_what_a_whole_one_would_not() {
    let mut world = crowd(1);
    change(&mut world, "rex-0", |cattle| cattle.ttl = secs(6 * 3600));
    // Seven started hours are 0.0672.
    let world = world.with_budget(None, Some("0.05"));
    assert_eq!(limits(&world.plan()), [""; 0]);
    let mut late = world;
    late.later(6 * 3600);
    // Four of them today, three tomorrow.
    assert_eq!(limits(&late.plan()), ["0.0096"]);
}

/// A run, a spec or an orphan of a random world.
#[derive(Clone, Debug)]
struct Thing {
    kind: u8,
    types: Vec<&'static str>,
    ttl: u64,
    age: u64,
    limit: Option<&'static str>,
}

fn thing() -> impl Strategy<Value = Thing> {
    (
        0..6_u8,
        select(vec![
            vec!["cx23"],
            vec!["cpx22"],
            vec!["cx23", "cpx22"],
            vec!["cpx22", "cx23"],
        ]),
        select(vec![60, 3600, 7200, 50_000, 86_400]),
        0..40_000_u64,
        option::of(select(vec!["0.0096", "0.0320"])),
    )
        .prop_map(|(kind, types, ttl, age, limit)| Thing {
            kind,
            types,
            ttl,
            age,
            limit,
        })
}

/// Specs, live runs with and without servers, ended ones, gone ones, refused ones.
fn build(things: &[Thing]) -> World {
    let mut world = World::empty();
    world.limits.max_instances = 100;
    world.limits.live_runs_per_requester = 100;
    add_prices(Arc::make_mut(&mut world.limits.catalogue));
    for (n, thing) in things.iter().enumerate() {
        let text = format!("rex-{n}");
        let mut spec = cattle(&text);
        spec.placement.server_types = thing.types.iter().map(ToString::to_string).collect();
        spec.ttl = secs(thing.ttl);
        let id = run_id(n as u128 + 1);
        world.now = at(50_000 - thing.age);
        world = world.with_spec(spec);
        world
            .ledger
            .assignments
            .insert((name(&text), hash(1)), assignment(at(0)));
        if thing.kind == 0 {
            continue;
        }
        world = world.with_run(&text, n as u128 + 1);
        let price = world
            .limits
            .catalogue
            .price(thing.types[0], "nbg1")
            .unwrap();
        let run = world.ledger.runs.get_mut(&id).unwrap();
        run.hourly_limit = thing.limit.map(amount);
        match thing.kind {
            1 => {}
            2 => {
                let retry_at = Some(at(0));
                let reason = PendingReason::OutOfStock;
                let _ = lifecycle::refuse_create(run, reason, "out", retry_at, at(0));
            }
            kind => {
                let server = RunServer {
                    price: Some(price),
                    server_type: Some(thing.types[0].to_owned()),
                    ..run_server(&world.server_of(id, ServerId(n as u64)))
                };
                let run = world.ledger.runs.get_mut(&id).unwrap();
                let _ = lifecycle::accept_create(run, server);
                let _ = lifecycle::env_handed_out(run, world.now);
                let _ = lifecycle::ready(run, world.now);
                let _ = lifecycle::heartbeat(run, at(50_000));
                if kind > 3 {
                    let reason = cattle_schemas::status::EndReason::Destroyed;
                    let ending = lifecycle::Ending::new(reason, "done");
                    let key = (name(&text), hash(1));
                    let task = world.ledger.assignments.get_mut(&key);
                    let _ = lifecycle::end(run, task, &ending, world.now);
                }
                if kind == 5 {
                    let _ = lifecycle::mark_gone(run, world.now + secs(1));
                }
            }
        }
    }
    world.now = at(50_000);
    world.observed.listed_at = Some(world.now);
    world
}

/// Carries out the starts of a plan, as far as money knows.
fn carry_out(world: &World, plan: &Plan) -> World {
    let mut after = world.clone();
    let mut next = 1000;
    for action in &plan.actions {
        match action {
            Action::Start {
                cattle,
                origin,
                hourly_limit,
            } => {
                next += 1;
                let max_ttl = world.limits.max_ttl;
                let (mut run, _) =
                    lifecycle::begin(run_id(next), cattle, origin, max_ttl, world.now);
                run.hourly_limit = *hourly_limit;
                after.ledger.runs.insert(run.id, run);
            }
            Action::Retry {
                run, hourly_limit, ..
            } => {
                let run = after.ledger.runs.get_mut(run).unwrap();
                let _ = lifecycle::retry(run, world.limits.max_ttl, world.now);
                run.hourly_limit = *hourly_limit;
            }
            _ => {}
        }
    }
    after
}

/// What an hour of all servers costs, counted plainly.
fn hourly(world: &World) -> Amount {
    let runs = world.ledger.runs.values().filter(|run| run.holds_slot());
    runs.map(|run| price_of_run(run, &world.limits.catalogue).unwrap().hourly())
        .sum()
}

/// What each day costs if every server lives as long as it may, counted hour by hour.
fn days(world: &World) -> BTreeMap<String, Amount> {
    let mut days: BTreeMap<String, Amount> = BTreeMap::new();
    for run in world.ledger.runs.values() {
        let had_server = run.server.is_some() || run.holds_slot();
        if !had_server {
            continue;
        }
        let until = run.gone_at.unwrap_or_else(|| {
            let planned = if run.ended.is_some() {
                world.now
            } else {
                run.expires_at.max(world.now)
            };
            planned + lifecycle::deadlines::REAPER_GRACE
        });
        let price = price_of_run(run, &world.limits.catalogue).unwrap().hourly();
        let created = run.server.as_ref().and_then(|server| server.created);
        let mut hour = created.unwrap_or(run.posted_at);
        loop {
            if hour.date_naive() >= world.now.date_naive() {
                let sum = days.entry(hour.date_naive().to_string()).or_default();
                *sum = *sum + price;
            }
            hour += secs(3600);
            if hour >= until {
                break;
            }
        }
    }
    days
}

proptest! {
    #[test]
    fn nothing_is_started_beyond_the_budget(
        things in vec(thing(), 1..25),
        max_hourly in option::of(0..4000_u32),
        max_daily in option::of(0..30_000_u32),
    ) {
        let text = |amount: u32| format!("0.{amount:04}");
        let daily = max_daily.map(|amount| format!("{}.{:04}", amount / 10_000, amount % 10_000));
        let hourly_text = max_hourly.map(text);
        let world = build(&things).with_budget(hourly_text.as_deref(), daily.as_deref());
        let plan = world.plan();
        let is_start = |action: &&Action| match action {
            Action::Start { .. } => true,
            // A lost reply's next attempt is under the name that is paid for.
            Action::Retry { run, .. } => world.ledger.runs[run].is_refused(),
            _ => false,
        };
        let starts = plan.actions.iter().filter(is_start).count();
        let after = carry_out(&world, &plan);
        if starts > 0 {
            if let Some(max) = &hourly_text {
                prop_assert!(hourly(&after) <= amount(max), "{} > {max}", hourly(&after));
            }
            if let Some(max) = &daily {
                let (before, after) = (days(&world), days(&after));
                for (date, sum) in after {
                    let grew = before.get(&date) != Some(&sum);
                    prop_assert!(!grew || sum <= amount(max), "{date}: {sum} > {max}");
                }
            }
        }
        // And nobody waits for money that is there: with it, everybody starts.
        let waits = !refusals(&plan).is_empty();
        let mut rich = world.clone();
        rich.limits.budget = Default::default();
        prop_assert!(!waits || limits(&rich.plan()).len() > limits(&plan).len());
    }
}
