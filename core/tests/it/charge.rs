//! What was billed, put together.

use std::sync::Arc;

use cattle_core::{
    catalogue::Catalogue,
    charge::{Charge, is_within, price_of_run, report},
    cost::Amount,
    lifecycle,
    names::ServerId,
};
use cattle_schemas::{
    Timestamp,
    api::{CostBy, CostItem, CostQuery, CostReply},
    status::PendingReason,
};
use proptest::{collection::vec, option, prelude::*};

use crate::fixture::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn prices() -> Catalogue {
    let mut catalogue = Catalogue::default();
    add_prices(&mut catalogue);
    catalogue
}

/// A cx23 in Nuremberg.
fn charge(persona: &str, created: &str, until: Option<&str>) -> Charge {
    let mut world = World::running();
    Charge {
        persona: persona.parse().unwrap(),
        created: time(created),
        until: until.map(time),
        ..Charge::of_run(world.rex()).unwrap()
    }
}

fn ask(charges: &[Charge], query: &CostQuery) -> CostReply {
    let now = time("2026-11-22T12:00:00Z");
    report(charges, query, &"demo".parse().unwrap(), &prices(), now)
}

fn lines(reply: &CostReply) -> String {
    let line = |item: &CostItem| {
        format!(
            "{} {} {} {} {} {}",
            item.key, item.runs, item.started_hours, item.server, item.ipv4, item.total
        )
    };
    let items = reply.items.iter().chain([&reply.total]).map(line);
    items.collect::<Vec<_>>().join("\n")
}

fn three() -> Vec<Charge> {
    vec![
        charge("rex", "2026-11-20T10:00:00Z", Some("2026-11-20T10:20:00Z")),
        charge("ada", "2026-11-20T23:30:00Z", Some("2026-11-21T02:00:00Z")),
        charge("rex", "2026-11-22T11:30:00Z", None),
    ]
}

#[test]
fn a_report_by_fleet_persona_and_day() {
    let by = |by| {
        let query = CostQuery {
            by,
            ..CostQuery::default()
        };
        lines(&ask(&three(), &query))
    };
    insta::assert_snapshot!(by(CostBy::Fleet), @r"
    demo 3 5 0.0440 0.0040 0.0480
    total 3 5 0.0440 0.0040 0.0480
    ");
    insta::assert_snapshot!(by(CostBy::Persona), @r"
    ada 1 3 0.0264 0.0024 0.0288
    rex 2 2 0.0176 0.0016 0.0192
    total 3 5 0.0440 0.0040 0.0480
    ");
    // The one that ran over midnight is in both days.
    insta::assert_snapshot!(by(CostBy::Day), @r"
    2026-11-20 2 2 0.0176 0.0016 0.0192
    2026-11-21 1 2 0.0176 0.0016 0.0192
    2026-11-22 1 1 0.0088 0.0008 0.0096
    total 3 5 0.0440 0.0040 0.0480
    ");
}

#[test]
fn only_hours_that_began_in_its_time_are_in_a_report() {
    let query = CostQuery {
        by: CostBy::Day,
        since: Some(time("2026-11-21T00:00:00Z")),
        until: Some(time("2026-11-22T11:30:00Z")),
    };
    insta::assert_snapshot!(lines(&ask(&three(), &query)), @r"
    2026-11-21 1 2 0.0176 0.0016 0.0192
    total 1 2 0.0176 0.0016 0.0192
    ");
}

#[test]
fn a_server_without_a_price_is_counted_and_in_no_sum() {
    let mut charges = three();
    charges[0].price = None;
    charges[0].server_type = Some("cx22".to_owned());
    let reply = ask(&charges, &CostQuery::default());
    assert_eq!((reply.unpriced_runs, reply.total.runs), (1, 2));
    assert_eq!(reply.total.started_hours, 4);
    // One of a type that is still sold counts at what it costs now.
    charges[0].server_type = Some("cpx22".to_owned());
    let reply = ask(&charges, &CostQuery::default());
    assert_eq!((reply.unpriced_runs, reply.total.runs), (0, 3));
    assert_eq!(reply.total.total, "0.0704");
}

#[test]
fn nothing_is_billed_for_a_run_without_a_server() {
    let mut world = World::intended();
    assert_eq!(Charge::of_run(world.rex()), None);
    let _ = lifecycle::refuse_create(world.rex(), PendingReason::Queued, "no", None, at(100));
    assert_eq!(Charge::of_run(world.rex()), None);
}

#[test]
fn the_price_of_a_run_is_its_own_or_the_most_that_it_may_be() {
    let hourly = |world: &mut World| {
        let price = price_of_run(world.rex(), &prices());
        price.map(|price| price.hourly().to_string())
    };
    let known = |amount: &str| Some(amount.to_owned());
    let mut world = World::intended();
    assert_eq!(hourly(&mut world), known("0.0096"));
    world.rex().spec.placement.server_types = vec!["cx23".into(), "cpx22".into()];
    assert_eq!(hourly(&mut world), known("0.0320"), "the dearest");
    world.rex().spec.placement.server_types.push("cx22".into());
    assert_eq!(hourly(&mut world), None, "one that may be dearer still");
    world.rex().hourly_limit = "0.0150".parse().ok();
    assert_eq!(hourly(&mut world), known("0.0150"));
    world.bind(run_id(1), ServerId(7));
    assert_eq!(hourly(&mut world), known("0.0096"));
}

#[test]
fn what_costs_more_than_was_set_aside_or_nobody_knows_what_is_not_tried() {
    let limit: Option<Amount> = "0.0096".parse().ok();
    let within = |limit, server_type| is_within(limit, &prices(), (server_type, "nbg1"));
    assert!(within(limit, "cx23"));
    assert!(!within(limit, "cpx22"));
    assert!(!within(limit, "cx22"));
    assert!(within(None, "cx22"));
}

#[test]
fn a_plan_says_what_its_servers_add_an_hour() {
    let mut world = World::empty();
    for text in ["ann", "bob", "cat"] {
        let mut spec = cattle(text);
        spec.placement.server_types = vec!["cpx22".into(), "cx23".into()];
        world = world.with_spec(spec);
    }
    let of = |world: &World| {
        let limits = &world.limits;
        let plan = world.plan();
        let (desired, ledger) = (&world.desired, &world.ledger);
        cattle_core::plan::to_api(&plan, desired, ledger, &limits.catalogue, world.now)
            .spawn
            .map(|spawn| spawn.to_string())
    };
    assert_eq!(of(&world), None, "prices are not known");
    add_prices(Arc::make_mut(&mut world.limits.catalogue));
    insta::assert_snapshot!(of(&world).unwrap(), @"3 to spawn: +0.0960 EUR/h");
    // Under a budget the first that is within it.
    let world = world.with_budget(Some("0.03"), None);
    insta::assert_snapshot!(of(&world).unwrap(), @"3 to spawn: +0.0288 EUR/h");
    assert_eq!(of(&World::running()), None, "nothing to spawn");
}

proptest! {
    #[test]
    fn days_personas_and_the_fleet_add_up_to_the_same(
        lives in vec((0..60 * 86_400_u64, option::of(0..60 * 86_400_u64), 0..3_usize), 0..12),
    ) {
        let charges: Vec<Charge> = lives
            .into_iter()
            .map(|(from, lives, persona)| Charge {
                created: at(from),
                until: lives.map(|lives| at(from + lives)),
                ..charge(["ann", "bob", "cat"][persona], "2026-11-20T10:00:00Z", None)
            })
            .collect();
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        let mut totals = Vec::new();
        for by in [CostBy::Fleet, CostBy::Persona, CostBy::Day] {
            let reply = ask(&charges, &CostQuery { by, ..CostQuery::default() });
            let items: Amount = reply.items.iter().map(|item| amount(&item.total)).sum();
            let hours: u64 = reply.items.iter().map(|item| item.started_hours).sum();
            prop_assert_eq!(items, amount(&reply.total.total));
            prop_assert_eq!(hours, reply.total.started_hours);
            totals.push(reply.total);
        }
        prop_assert!(totals.iter().all(|total| *total == totals[0]));
    }
}
