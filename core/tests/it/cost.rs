//! Money: every started hour is billed whole.

use cattle_core::{
    cost::{Amount, Billed, Price, ServerPrice, billed, billed_within, day, started_hours},
    expiry,
};
use cattle_schemas::Timestamp;
use proptest::prelude::*;

use crate::fixture::{at, secs};

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

#[test]
fn a_started_hour_is_billed_whole() {
    let hours = |seconds| started_hours(at(0), at(seconds));
    assert_eq!(
        [0, 1, 3599, 3600, 3601, 7200].map(hours),
        [1, 1, 1, 1, 2, 2]
    );
}

#[test]
fn a_clock_that_went_backwards_costs_one_hour_and_not_none() {
    assert_eq!(started_hours(at(100), at(0)), 1);
}

/// A cx23 with its IPv4 address, in Nuremberg: the server is capped after 624 hours, the address
/// after 625.
fn cx23() -> ServerPrice {
    crate::fixture::price()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn prices_add_up_without_rounding() {
    let three = billed(&cx23(), at(0), at(3 * 3600));
    assert_eq!(
        (
            three.hours,
            three.server.to_string(),
            three.ipv4.to_string()
        ),
        (3, "0.0264".to_owned(), "0.0024".to_owned())
    );
    assert_eq!(three.total().to_string(), "0.0288");
    // A float would say 0.30000000000000004.
    assert_eq!(amount("0.1") + amount("0.2"), amount("0.3"));
}

#[test]
fn server_and_address_reach_their_monthly_caps_apart() {
    let from = time("2026-10-01T00:00:00Z");
    let after = |hours: u64| billed(&cx23(), from, from + secs(hours * 3600));
    assert_eq!(after(623).server.to_string(), "5.4824");
    assert_eq!(after(624).server.to_string(), "5.4900");
    assert_eq!(after(624).ipv4.to_string(), "0.4992");
    assert_eq!(after(700).total().to_string(), "5.9900");
}

#[test]
fn each_month_is_capped_by_itself() {
    // All of September and of October, and the first hour of November.
    let from = time("2026-09-01T00:00:00Z");
    let all = billed(&cx23(), from, time("2026-11-01T00:00:01Z"));
    assert_eq!(all.hours, (30 + 31) * 24 + 1);
    assert_eq!(all.total().to_string(), "11.9896");
}

#[test]
fn a_price_without_a_cap_has_none() {
    let price = ServerPrice {
        server: Price {
            hourly: amount("0.01"),
            monthly: None,
        },
        ..ServerPrice::default()
    };
    let month = billed(&price, at(0), at(700 * 3600));
    assert_eq!(month.total().to_string(), "7.0000");
}

#[test]
fn an_hour_belongs_to_the_day_on_which_it_begins() {
    let (created, until) = (time("2026-09-30T23:30:00Z"), time("2026-10-01T01:00:00Z"));
    let on = |date: &str| {
        let part = billed_within(&cx23(), created, until, day(date.parse().unwrap()));
        (part.hours, part.total().to_string())
    };
    assert_eq!(on("2026-09-30"), (1, "0.0096".to_owned()));
    assert_eq!(on("2026-10-01"), (1, "0.0096".to_owned()));
    assert_eq!(on("2026-10-02"), (0, "0.0000".to_owned()));
}

#[test]
fn days_after_the_cap_was_reached_cost_nothing() {
    let created = time("2026-10-01T00:00:00Z");
    let until = time("2026-10-31T00:00:00Z");
    let on = |date: &str| {
        let part = billed_within(&cx23(), created, until, day(date.parse().unwrap()));
        (part.hours, part.total().to_string())
    };
    assert_eq!(on("2026-10-25"), (24, "0.2304".to_owned()));
    // Its last hour is cut at the cap; then there is one of the address.
    assert_eq!(on("2026-10-26"), (24, "0.2292".to_owned()));
    assert_eq!(on("2026-10-27"), (24, "0.0008".to_owned()));
    assert_eq!(on("2026-10-28"), (24, "0.0000".to_owned()));
}

#[test]
fn hetzners_long_decimals_are_read() {
    assert_eq!(amount("0.0104720000000000").to_string(), "0.0105");
    assert_eq!(amount("5").to_string(), "5.0000");
}

#[test]
fn anything_but_a_decimal_number_is_no_price() {
    for text in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1,5",
        "NaN",
        "1.2.3",
        "٣",
        "9999999999999",
    ] {
        assert!(text.parse::<Amount>().is_err(), "{text:?}");
    }
}

#[test]
fn a_shortened_ttl_never_leaves_more_than_there_was() {
    let now = at(1000);
    // Plenty left, cut to the past: a minute.
    assert_eq!(expiry::after_change(at(500), at(5000), now), at(1060));
    // Half a minute left: that stays.
    assert_eq!(expiry::after_change(at(500), at(1030), now), at(1030));
    // Longer, or cut to later than a minute: as asked.
    assert_eq!(expiry::after_change(at(9000), at(5000), now), at(9000));
    assert_eq!(expiry::after_change(at(2000), at(5000), now), at(2000));
}

#[test]
fn extensions_end_at_max_ttl() {
    let expiry = |extension| expiry::expires_at(at(0), secs(3600), secs(extension), secs(7200));
    assert_eq!(expiry(0), at(3600));
    assert_eq!(expiry(1800), at(5400));
    assert_eq!(expiry(90_000), at(7200));
}

proptest! {
    #[test]
    fn the_days_of_a_life_add_up_to_its_bill(
        offset in 0..40 * 86_400_u64,
        lives in 0..80 * 86_400_u64,
        cap in 0..900_u64,
    ) {
        let price = ServerPrice {
            server: Price { hourly: amount("0.0088"), monthly: Some(amount("0.0088").times(cap)) },
            ipv4: Price { hourly: amount("0.0008"), monthly: Some(amount("0.5")) },
        };
        let (created, until) = (at(offset), at(offset + lives));
        let mut sum = Billed::default();
        let mut date = created.date_naive();
        while day(date).start < until.max(created + secs(1)) {
            sum += billed_within(&price, created, until, day(date));
            date = date.succ_opt().unwrap();
        }
        prop_assert_eq!(sum, billed(&price, created, until));
    }

    #[test]
    fn any_cut_leaves_the_sum_as_it_is(lives in 0..80 * 86_400_u64, cut in 0..80 * 86_400_u64) {
        let part = |window| billed_within(&cx23(), at(0), at(lives), window);
        let mut sum = part(Timestamp::MIN_UTC..at(cut));
        sum += part(at(cut)..Timestamp::MAX_UTC);
        prop_assert_eq!(sum, billed(&cx23(), at(0), at(lives)));
    }

    #[test]
    fn four_places_are_printed_as_they_were_read(whole in 0..1_000_000_u64, places in 0..10_000_u64) {
        let text = format!("{whole}.{places:04}");
        prop_assert_eq!(amount(&text).to_string(), text);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Amount>();
    }
}
